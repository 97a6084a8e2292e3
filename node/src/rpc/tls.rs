//! Mutual TLS between cores, with an identity that can be replaced while it is in use.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use homecore_types::{ClusterId, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use thiserror::Error;

use super::pki::{self, PkiError};
use super::secrets::sha256_hex;

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// Key or certificate are not usable.
    #[error("this core's key and certificate cannot be used together")]
    Identity(#[source] rustls::Error),
    /// The key cannot be read.
    #[error("this core's key cannot be read")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The CA cannot be used.
    #[error("the cluster's CA certificate, the last one in node.crt, cannot be used")]
    Authority(#[source] rustls::Error),
    /// The CA did not sign it.
    #[error("the cluster's CA did not sign this core's certificate, or one of the two was changed")]
    NotSigned(#[source] rustls::Error),
    /// The verifier cannot be made.
    #[error("peers' certificates cannot be verified")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The certificate is none of ours.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificate is another core's.
    #[error("the certificate is for node {0}, not for this one")]
    OtherNode(NodeId),
    /// No certificate at all.
    #[error("this core has no certificate")]
    NoCertificate,
}

/// The TLS library's cryptography, named explicitly so that no second one can slip in.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Who this core is to other cores. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    cluster: ClusterId,
    node: NodeId,
    ca: CertificateDer<'static>,
    key_pem: Arc<homecore_types::Secret>,
    current: Arc<ArcSwap<CertifiedKey>>,
}

impl Identity {
    /// From the files of a core.
    pub(crate) fn new(
        cluster: ClusterId,
        key_pem: &str,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let (node, _) = pki::node_of(leaf)?;
        let ca = chain.last().ok_or(TlsError::NoCertificate)?.clone();
        let certified = certified(key_pem, chain)?;
        is_signed_by(&certified, &ca)?;
        Ok(Self {
            cluster,
            node,
            ca,
            key_pem: Arc::new(homecore_types::Secret::new(key_pem)),
            current: Arc::new(ArcSwap::from_pointee(certified)),
        })
    }

    /// Uses a renewed certificate from the next handshake on.
    pub(crate) fn replace(&self, chain: Vec<CertificateDer<'static>>) -> Result<(), TlsError> {
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let (node, cluster) = pki::node_of(leaf)?;
        if node != self.node || cluster != self.cluster.as_str() {
            return Err(TlsError::OtherNode(node));
        }
        self.current
            .store(Arc::new(certified(self.key_pem.expose(), chain)?));
        Ok(())
    }

    /// A signing request for the same key.
    pub(crate) fn signing_request(&self) -> Result<Vec<u8>, TlsError> {
        Ok(pki::signing_request(self.key_pem.expose())?)
    }

    /// The node that the certificate names.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The cluster's CA certificate.
    pub(crate) fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// The certificate in use.
    pub(crate) fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.current.load().cert.first().cloned()
    }

    /// For the listener. A caller without a certificate gets through the handshake and then only
    /// to the enrolment service; one with a certificate of another CA does not get through.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider())
                .allow_unauthenticated()
                .build()
                .map_err(TlsError::Verifier)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Identity)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// For calls to other cores.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Identity)?
            .with_root_certificates(self.roots()?)
            .with_client_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).map_err(TlsError::Authority)?;
        Ok(roots)
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Refuses a certificate that other cores would refuse whenever they look at it. One that has expired is
/// another matter, and not damaged: it is looked at as when it was new.
fn is_signed_by(certified: &CertifiedKey, ca: &CertificateDer<'static>) -> Result<(), TlsError> {
    let leaf = certified.cert.first().ok_or(TlsError::NoCertificate)?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(TlsError::Authority)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(TlsError::Verifier)?;
    let name =
        ServerName::try_from(pki::ANY_CORE).map_err(|_name| TlsError::Pki(PkiError::NoNode))?;
    let ended = u64::try_from(pki::expiry(leaf)?.0 / 1000).unwrap_or(0);
    let valid = UnixTime::since_unix_epoch(Duration::from_secs(ended.saturating_sub(1)));
    let verified = verifier.verify_server_cert(leaf, &[], &name, &[], valid);
    verified.map(drop).map_err(TlsError::NotSigned)
}

fn certified(key_pem: &str, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Identity)
}

/// For a joiner: trusts exactly the CA whose fingerprint is given, or, without one, the CA that the
/// server presents (the joiner then proves the cluster by other means) and remembers which it was.
#[derive(Debug)]
pub(crate) struct PinnedAuthority {
    fingerprint: Option<String>,
    seen: std::sync::Mutex<Option<CertificateDer<'static>>>,
}

impl PinnedAuthority {
    /// Pins a CA by the hex SHA-256 of its certificate.
    pub(crate) fn new(fingerprint: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            fingerprint,
            seen: std::sync::Mutex::new(None),
        })
    }

    /// The CA of the last server that was accepted.
    pub(crate) fn seen(&self) -> Option<CertificateDer<'static>> {
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// A client configuration that verifies servers this way, without a certificate of its own.
    pub(crate) fn client_config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Self>::clone(self);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Identity)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|c| {
                self.fingerprint
                    .as_ref()
                    .is_none_or(|pinned| sha256_hex(c) == *pinned)
            })
            .ok_or_else(|| {
                rustls::Error::General(
                    "this core belongs to another cluster: its CA is not the one in the token"
                        .to_owned(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        *self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
