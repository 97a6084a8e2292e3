//! A mail server on this machine that writes down what it is told, and refuses what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What one connection is like.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// A command, and the answer that it gets instead of the usual one.
    pub(super) refuses: Option<(&'static str, &'static str)>,
    /// The connection ends before a word is said.
    pub(super) hangs_up: bool,
    /// TLS is offered.
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Answers one connection for each manner; what each was told comes out.
pub(super) async fn serve(manners: Vec<Manner>) -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = mpsc::channel(manners.len().max(1));
    tokio::spawn(async move {
        for manner in manners {
            let (stream, _) = listener.accept().await.unwrap();
            let lines = if manner.hangs_up {
                Vec::new()
            } else {
                converse(stream, &manner).await
            };
            told.send(lines).await.unwrap();
        }
    });
    (address, heard)
}

async fn converse(stream: TcpStream, manner: &Manner) -> Vec<String> {
    let mut lines = Vec::new();
    let mut stream = BufStream::new(stream);
    say(&mut stream, "220 test ESMTP").await;
    if !talk(&mut stream, manner, &mut lines, true).await {
        return lines;
    }
    let config = manner.tls.clone().unwrap();
    let inner = stream.into_inner();
    let Ok(secured) = TlsAcceptor::from(config).accept(inner).await else {
        lines.push("(no TLS)".to_owned());
        return lines;
    };
    lines.push("(TLS)".to_owned());
    talk(&mut BufStream::new(secured), manner, &mut lines, false).await;
    lines
}

/// Until the client goes, or wants TLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    manner: &Manner,
    lines: &mut Vec<String>,
    in_clear: bool,
) -> bool {
    while let Some(line) = hear(stream).await {
        let command = line.clone();
        lines.push(line);
        if let Some((_, answer)) = manner.refuses.filter(|(of, _)| command.starts_with(of)) {
            say(stream, answer).await;
            continue;
        }
        let answer = match command.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" if manner.tls.is_some() && in_clear => "250-test\r\n250 STARTTLS",
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "STARTTLS" => {
                say(stream, "220 go on").await;
                return true;
            }
            "AUTH" => "235 known",
            "DATA" => {
                say(stream, "354 go on").await;
                while let Some(line) = hear(stream).await.filter(|line| line != ".") {
                    lines.push(line);
                }
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        say(stream, answer).await;
    }
    false
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end().to_owned()),
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, line: &str) {
    // A client that is gone hears nothing.
    let said = async {
        stream.write_all(line.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await
    };
    drop(said.await);
}

/// A certificate for this machine, and the authority that signed it.
pub(super) fn certificate() -> (Arc<rustls::ServerConfig>, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (Arc::new(config), ca.pem())
}
