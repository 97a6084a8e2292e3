//! The cluster's own certificate authority, and the certificates of its cores.
//!
//! Every core has one certificate, for serving and for calling. Its names are
//! `node-<n>.<cluster>.homecore.internal` (who it is; compared with the membership on every call)
//! and [`ANY_CORE`] (any core of a cluster, for a joiner that does not know whom it reached). The
//! CA's key is in the platform store, sealed: any member can sign, and none needs to be special.

use homecore_types::{Clock, ClusterId, Millis, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::time::Duration;
use thiserror::Error;
use time::OffsetDateTime;

/// A name that every core's certificate has.
pub(crate) const ANY_CORE: &str = "core.homecore.internal";
/// How long a core's certificate lives.
pub(crate) const CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The CA lives this long.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Certificates start this much in the past, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// Why a certificate could not be made or read.
#[derive(Debug, Error)]
pub(crate) enum PkiError {
    /// The library refused.
    #[error("{doing}")]
    Certificate {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A time that no certificate can carry.
    #[error("the clock shows a time that no certificate can carry: {0} ms since 1970")]
    Time(Millis),
    /// A certificate that is not one of ours.
    #[error("the certificate names no core of a cluster")]
    NoNode,
    /// A certificate that cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
}

fn failed(doing: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { doing, source }
}

/// A new authority: certificate (DER) and private key (PEM).
pub(crate) fn new_authority(
    cluster: &ClusterId,
    clock: &dyn Clock,
) -> Result<(CertificateDer<'static>, String), PkiError> {
    let key = KeyPair::generate().map_err(failed("drawing the CA's key"))?;
    let mut params = validity(clock.now(), CA_LIFE)?;
    params.distinguished_name = named(&format!("homecore cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(&key)
        .map_err(failed("signing the CA's certificate"))?;
    Ok((certificate.der().clone(), key.serialize_pem()))
}

/// A new key for a core (PEM).
pub(crate) fn new_key() -> Result<String, PkiError> {
    Ok(KeyPair::generate()
        .map_err(failed("drawing this core's key"))?
        .serialize_pem())
}

/// A signing request (PKCS#10 DER) for a core's key. Only the public key in it counts: the names
/// are the signer's to give.
pub(crate) fn signing_request(key_pem: &str) -> Result<Vec<u8>, PkiError> {
    let key = KeyPair::from_pem(key_pem).map_err(failed("reading this core's key"))?;
    let mut params = CertificateParams::new(vec![ANY_CORE.to_owned()])
        .map_err(failed("making a signing request"))?;
    params.distinguished_name = named("joining core");
    let request = params
        .serialize_request(&key)
        .map_err(failed("making a signing request"))?;
    Ok(request.der().to_vec())
}

/// Who asks: hex SHA-256 of the public key in a signing request, whose signature is checked.
pub(crate) fn key_of_request(request: &[u8]) -> Result<String, PkiError> {
    let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(
        request.to_vec(),
    ))
    .map_err(failed("reading the signing request"))?;
    Ok(super::secrets::sha256_hex(rcgen::PublicKeyData::der_bytes(
        &request.public_key,
    )))
}

/// Signs a core's request: the chain to present, leaf first.
pub(crate) fn sign(
    request: &[u8],
    node: NodeId,
    cluster: &ClusterId,
    ca_certificate: &CertificateDer<'static>,
    ca_key_pem: &str,
    clock: &dyn Clock,
) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let ca_key = KeyPair::from_pem(ca_key_pem).map_err(failed("reading the CA's key"))?;
    let issuer = Issuer::from_ca_cert_der(ca_certificate, ca_key)
        .map_err(failed("reading the CA's certificate"))?;
    let mut request = CertificateSigningRequestParams::from_der(
        &CertificateSigningRequestDer::from(request.to_vec()),
    )
    .map_err(failed("reading the signing request"))?;
    let mut params = CertificateParams::new(vec![node_name(node, cluster), ANY_CORE.to_owned()])
        .map_err(failed("naming a core's certificate"))?;
    let valid = validity(clock.now(), CERTIFICATE_LIFE)?;
    params.not_before = valid.not_before;
    params.not_after = valid.not_after;
    params.distinguished_name = named(&format!("homecore node {node}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    request.params = params;
    let leaf = request
        .signed_by(&issuer)
        .map_err(failed("signing a core's certificate"))?;
    Ok(vec![leaf.der().clone(), ca_certificate.clone()])
}

/// Whether a private key (PEM) is the one of a certificate.
pub(crate) fn is_key_of(key_pem: &str, certificate: &CertificateDer<'_>) -> Result<bool, PkiError> {
    let key = KeyPair::from_pem(key_pem).map_err(failed("reading the CA's key"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| PkiError::Unreadable(error.to_string()))?;
    let own = rcgen::PublicKeyData::der_bytes(&key);
    Ok(own == &*parsed.public_key().subject_public_key.data)
}

/// The name of a node in its certificate.
pub(crate) fn node_name(node: NodeId, cluster: &ClusterId) -> String {
    format!("node-{node}.{cluster}.homecore.internal")
}

/// Which node of which cluster a certificate speaks for.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Result<(NodeId, String), PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| PkiError::Unreadable(error.to_string()))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| PkiError::Unreadable(error.to_string()))?
        .ok_or(PkiError::NoNode)?;
    for name in &names.value.general_names {
        let x509_parser::extensions::GeneralName::DNSName(name) = name else {
            continue;
        };
        let Some(rest) = name.strip_suffix(".homecore.internal") else {
            continue;
        };
        let Some((node, cluster)) = rest.split_once('.') else {
            continue;
        };
        if let Some(Ok(number)) = node.strip_prefix("node-").map(str::parse) {
            return Ok((NodeId(number), cluster.to_owned()));
        }
    }
    Err(PkiError::NoNode)
}

/// When a certificate ends.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Result<Millis, PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| PkiError::Unreadable(error.to_string()))?;
    Ok(Millis(
        parsed.validity().not_after.timestamp().saturating_mul(1000),
    ))
}

fn validity(now: Millis, life: Duration) -> Result<CertificateParams, PkiError> {
    let at = |time: Millis| {
        OffsetDateTime::from_unix_timestamp(time.0 / 1000).map_err(|_range| PkiError::Time(time))
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now - BACKDATED)?;
    params.not_after = at(now + life)?;
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use homecore_types::{SystemClock, SystemEntropy};

    #[test]
    fn a_signed_request_speaks_for_its_node_only() {
        let cluster = ClusterId::generate(&SystemEntropy);
        let (ca, ca_key) = new_authority(&cluster, &SystemClock).unwrap();
        let key = new_key().unwrap();
        let request = signing_request(&key).unwrap();
        let chain = sign(&request, NodeId(7), &cluster, &ca, &ca_key, &SystemClock).unwrap();
        assert_eq!(
            node_of(&chain[0]).unwrap(),
            (NodeId(7), cluster.to_string())
        );
        assert!(node_of(&ca).is_err());
        assert!(expiry(&chain[0]).unwrap() > SystemClock.now());
        assert_eq!(
            key_of_request(&request).unwrap(),
            key_of_request(&signing_request(&key).unwrap()).unwrap()
        );
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let mut request = signing_request(&new_key().unwrap()).unwrap();
        let last = request.len() - 1;
        request[last] ^= 1;
        assert!(key_of_request(&request).is_err());
    }
}
