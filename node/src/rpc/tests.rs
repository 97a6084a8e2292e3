//! Hostile bytes where a core reads of others before it knows them: `tests/fuzz` has the driver and says
//! how to run these for longer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homecore_fuzz_tests::{Campaign, Chance};
use homecore_types::{ClusterId, CoreId, NodeId, Secret, SystemClock, SystemEntropy};
use rustls::pki_types::CertificateDer;

use super::tls::Identity;
use super::token::{self, JoinToken};
use super::{files, pki};

fn printed() -> String {
    JoinToken {
        addresses: vec![
            "10.0.0.1:4002".to_owned(),
            "core-b.example.com:4002".to_owned(),
        ],
        ca_fingerprint: "ab".repeat(32),
        core: CoreId::parse("core-b").unwrap(),
        secret: Secret::new("s3cret"),
        domain: Some("example.com".to_owned()),
    }
    .to_text()
}

/// A token whose checksum is right, of a body that is changed.
fn token_of(chance: &mut Chance) -> Vec<u8> {
    let values = [
        "\"x\"",
        "[]",
        "null",
        "1e999",
        "[\"\"]",
        "{\"a\":{}}",
        "\"..\"",
        "\"\\u0000\"",
        "[[[[[[",
        "\"core-b\"",
    ];
    let members =
        ["a", "f", "c", "s", "d", "c"].map(|name| format!("\"{name}\":{}", chance.text(&values)));
    let body = format!(
        "{{{}}}",
        members
            .get(..=chance.below(6).min(5))
            .unwrap_or_default()
            .join(",")
    );
    let mut bytes = token::checksum(body.as_bytes()).to_vec();
    bytes.extend(body.bytes());
    format!("hc1.{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes()
}

#[test]
fn fuzz_join_tokens() {
    let campaign = Campaign::new("join-tokens", vec![printed().into_bytes()])
        .words(&["hc1.", "hc2.", "A", "=", "\n", " ", "\u{e9}"])
        .made_by(token_of);
    let report = campaign.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match JoinToken::parse(&text) {
            // What was read can be printed, and is then the same.
            Ok(read) if JoinToken::parse(&read.to_text()).as_ref() == Ok(&read) => {
                Ok("read".into())
            }
            Ok(read) => Err(format!(
                "printed again it is {:?}",
                JoinToken::parse(&read.to_text())
            )),
            Err(error) => Ok(format!("{error:?}").into()),
        }
    });
    for end in ["read", "NotAToken", "Newer", "Damaged"] {
        assert!(report.ended(end) > 0, "never came to {end}: {report}");
    }
}

/// An authority with a request of somebody who would like to be more than he is.
struct Office {
    cluster: ClusterId,
    authority: CertificateDer<'static>,
    key: String,
    own_key: String,
    honest: Vec<u8>,
    greedy: Vec<u8>,
}

fn office() -> Office {
    let cluster = ClusterId::generate(&SystemEntropy);
    let (authority, key) = pki::new_authority(&cluster, &SystemClock).unwrap();
    let own_key = pki::new_key().unwrap();
    let names = [
        pki::node_name(NodeId(1), &cluster),
        "*.example.com".to_owned(),
    ];
    let mut wanted = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    wanted.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let pair = rcgen::KeyPair::from_pem(&own_key).unwrap();
    let greedy = wanted.serialize_request(&pair).unwrap().der().to_vec();
    let honest = pki::signing_request(&own_key).unwrap();
    Office {
        cluster,
        authority,
        key,
        own_key,
        honest,
        greedy,
    }
}

impl Office {
    fn sign(&self, request: &[u8]) -> Result<Vec<CertificateDer<'static>>, pki::PkiError> {
        pki::sign(
            request,
            NodeId(7),
            &self.cluster,
            &self.authority,
            &self.key,
            &SystemClock,
        )
    }
}

/// The names of a certificate, and whether it may sign others.
fn claims(certificate: &[u8]) -> (Vec<String>, bool) {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter().map(ToString::to_string);
    (names.collect(), parsed.is_ca())
}

#[test]
fn fuzz_signing_requests() {
    let office = office();
    let granted = claims(&office.sign(&office.honest).unwrap()[0]);
    let seeds = vec![office.honest.clone(), office.greedy.clone()];
    let campaign = Campaign::new("signing-requests", seeds).words(&[
        "\x30\u{82}\x01\0",
        "\x30\u{80}",
        "\x02\x01\0",
        "\x06\x03\x55\x1d\x11",
        "\u{a0}\u{84}",
    ]);
    let report = campaign.run(|bytes| {
        let known = pki::key_of_request(bytes).is_ok();
        let Ok(chain) = office.sign(bytes) else {
            return Ok(if known {
                "read and not signed"
            } else {
                "refused"
            }
            .into());
        };
        if !known {
            return Err("signed for nobody knows whom".to_owned());
        }
        // Who asks for more gets what everybody gets.
        if claims(&chain[0]) != granted {
            return Err(format!("the certificate says {:?}", claims(&chain[0])));
        }
        Ok("signed".into())
    });
    assert!(
        report.ended("signed") >= 2 && report.ended("refused") > 0,
        "{report}"
    );
}

#[test]
fn fuzz_certificates() {
    let office = office();
    let chain = office.sign(&office.honest).unwrap();
    let seeds = chain
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    let campaign = Campaign::new("certificates", seeds).words(&[
        "node-",
        ".homecore.internal",
        "\x30\u{82}",
        "\u{82}\x09node-9.x.",
        "18446744073709551616",
    ]);
    let report = campaign.run(|bytes| {
        let certificate = CertificateDer::from(bytes.to_vec());
        let node = pki::node_of(&certificate).map(|(node, _)| node.0 == 7);
        let ends = pki::expiry(&certificate).is_ok();
        let chain = vec![certificate, office.authority.clone()];
        let used = Identity::new(office.cluster.clone(), &office.own_key, chain);
        // A core does not take another's certificate for its own.
        if used.is_ok() && node.is_err() {
            return Err("a certificate of no core is used".to_owned());
        }
        let node = node.map_or(
            "of none",
            |own| if own { "of node 7" } else { "of another" },
        );
        Ok(format!("{node}, ends: {ends}, used: {}", used.is_ok()).into())
    });
    assert!(
        report.ended("of node 7, ends: true, used: true") > 0,
        "{report}"
    );
    assert!(report.ended("of none") > 0, "{report}");
}

#[test]
fn fuzz_blocks() {
    let seed = files::join_blocks(&[b"leaf".to_vec(), Vec::new(), b"ca".to_vec()]);
    let report =
        Campaign::new("blocks", vec![seed]).run(|bytes| match files::split_blocks(bytes) {
            Some(blocks) if files::join_blocks(&blocks) == bytes => Ok("whole".into()),
            Some(_) => Err("written again it is something else".to_owned()),
            None => Ok("none".into()),
        });
    assert!(
        report.ended("whole") > 1 && report.ended("none") > 0,
        "{report}"
    );
}
