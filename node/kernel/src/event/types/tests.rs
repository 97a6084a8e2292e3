//! The catalogue that is shipped, and those that are laid over it.

use serde_json::json;

use super::*;

fn with(types: &Value) -> Result<EventTypes, CatalogueError> {
    let used = EventTypes::shipped()?;
    used.replace(
        json!({ "version": 1, "types": types })
            .to_string()
            .as_bytes(),
    )?;
    Ok(used)
}

#[test]
fn the_shipped_catalogue_is_read_whole() {
    let shipped = EventTypes::shipped().unwrap().current();
    assert_eq!(shipped.len(), 352);
    for (kind, good) in [
        ("mass/kg", json!(72.5)),
        ("note/txt", json!("dear diary")),
        ("activity/plain", json!(null)),
        ("picture/attached", json!(null)),
        (
            "position/wgs84",
            json!({"latitude": 46.5, "longitude": 6.6}),
        ),
        ("nobody/knows", json!([1, "2"])),
    ] {
        assert_eq!(shipped.violations(kind, Some(&good)), [], "{kind}");
    }
    for (kind, bad) in [
        ("mass/kg", json!("heavy")),
        ("mass/kg", json!(null)),
        ("note/txt", json!(1)),
        ("note/txt", json!("x".repeat(4_194_305))),
        ("activity/plain", json!(true)),
        ("picture/attached", json!({})),
        ("position/wgs84", json!({"latitude": 46.5})),
    ] {
        assert_eq!(shipped.violations(kind, Some(&bad)).len(), 1, "{kind}");
    }
    assert_eq!(shipped.violations("mass/kg", None).len(), 1);
    assert_eq!(shipped.violations("activity/plain", None), []);
}

#[test]
fn a_catalogue_is_laid_over_the_shipped_one() {
    let used = with(&json!({"mass/kg": {"type": "string"}, "my/own": {"type": "null"}})).unwrap();
    let now = used.current();
    assert_eq!(now.len(), 353);
    assert_eq!(now.violations("mass/kg", Some(&json!("heavy"))), []);
    assert_eq!(now.violations("my/own", Some(&json!(1))).len(), 1);
    assert_eq!(now.violations("note/txt", Some(&json!(1))).len(), 1);
    // What the next one does not know is as shipped again.
    used.replace(br#"{"types":{}}"#).unwrap();
    assert_eq!(used.current().violations("mass/kg", Some(&json!(1))), []);
}

#[test]
fn a_bad_catalogue_changes_nothing() {
    let used = with(&json!({"my/own": {"type": "null"}})).unwrap();
    let large = vec![b' '; limits::EVENT_TYPES_BYTES_MAX + 1];
    assert!(matches!(
        used.replace(&large),
        Err(CatalogueError::TooLarge)
    ));
    for bad in [
        &b"<html>"[..],
        b"",
        b"[]",
        b"{}",
        br#"{"types":[]}"#,
        b"\xff",
    ] {
        assert!(matches!(used.replace(bad), Err(CatalogueError::Form(_))));
    }
    let bad = br#"{"types":{"a/b":{"type":"number"},"c/d":{"type":"figure"}}}"#;
    let refused = used.replace(bad).unwrap_err();
    assert!(matches!(refused, CatalogueError::Schema { kind, .. } if kind == "c/d"));
    assert_eq!(used.current().len(), 353);
}
