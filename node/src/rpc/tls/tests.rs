//! A core's own key and certificate are looked at before they are used.

use homecore_types::{SystemClock, SystemEntropy};

use super::*;

struct Made {
    cluster: ClusterId,
    key: String,
    chain: Vec<CertificateDer<'static>>,
    ca_key: String,
}

fn made() -> Made {
    let cluster = ClusterId::generate(&SystemEntropy);
    let (ca, ca_key) = pki::new_authority(&cluster, &SystemClock).unwrap();
    let key = pki::new_key().unwrap();
    let request = pki::signing_request(&key).unwrap();
    let chain = pki::sign(&request, NodeId(3), &cluster, &ca, &ca_key, &SystemClock).unwrap();
    Made {
        cluster,
        key,
        chain,
        ca_key,
    }
}

#[test]
fn every_changed_bit_of_the_certificate_is_noticed() {
    let made = made();
    assert!(Identity::new(made.cluster.clone(), &made.key, made.chain.clone()).is_ok());
    for at in 0..made.chain[0].len() {
        let mut leaf = made.chain[0].to_vec();
        leaf[at] ^= 1;
        let chain = vec![CertificateDer::from(leaf), made.chain[1].clone()];
        let used = Identity::new(made.cluster.clone(), &made.key, chain);
        assert!(used.is_err(), "byte {at}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (made, other) = (made(), made());
    let chain = vec![made.chain[0].clone(), other.chain[1].clone()];
    let used = Identity::new(made.cluster, &made.key, chain);
    assert!(matches!(used, Err(TlsError::NotSigned(_))), "{used:?}");
}

#[test]
fn a_key_opens_what_its_own_authority_is() {
    let (made, other) = (made(), made());
    let (ca, key) = (&made.chain[1], &made.ca_key);
    assert!(pki::is_key_of(key, ca).unwrap());
    assert!(!pki::is_key_of(&other.ca_key, ca).unwrap());
}
