//! What is written is read; what is not ours is refused with a reason.

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    a: u32,
    b: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    a: u32,
    b: Option<String>,
    #[serde(default)]
    c: Vec<u8>,
}

#[test]
fn values_come_back() {
    let value = Old {
        a: 7,
        b: Some("x".to_owned()),
    };
    let bytes = encode(1, &value).unwrap();
    assert_eq!(bytes.first(), Some(&1));
    assert_eq!(decode::<Old>(1, &bytes).unwrap(), value);
}

#[test]
fn an_added_field_reads_as_its_default() {
    let bytes = encode(1, &Old { a: 7, b: None }).unwrap();
    assert_eq!(
        decode::<New>(1, &bytes).unwrap(),
        New {
            a: 7,
            b: None,
            c: Vec::new()
        }
    );
}

#[test]
fn a_field_of_a_newer_release_is_refused() {
    let bytes = encode(
        1,
        &New {
            a: 7,
            b: None,
            c: vec![1],
        },
    )
    .unwrap();
    assert!(matches!(
        decode::<Old>(1, &bytes),
        Err(CodecError::Malformed(_))
    ));
}

#[test]
fn an_unknown_version_names_both() {
    let bytes = encode(9, &1_u8).unwrap();
    let error = decode::<u8>(2, &bytes).unwrap_err();
    assert!(
        matches!(
            error,
            CodecError::UnknownVersion {
                found: 9,
                newest: 2
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains('9') && error.to_string().contains('2'));
}

#[test]
fn damage_is_noticed() {
    assert!(matches!(decode::<u8>(1, &[]), Err(CodecError::Empty)));
    let mut bytes = encode(1, "hello").unwrap();
    assert!(matches!(
        decode::<String>(1, &bytes[..bytes.len() - 1]),
        Err(CodecError::Malformed(_))
    ));
    bytes.push(0);
    assert!(matches!(
        decode::<String>(1, &bytes),
        Err(CodecError::Trailing(1))
    ));
}
