//! The one way in which objects are changed by parts: keys that are named replace those that are
//! there, a null takes its key away, everything else stays (spec/pryv-api §5.4, §9.1).

use serde_json::{Map, Value};

/// Brings changes into an object, one level deep.
pub(crate) fn merge_keys(present: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, value) in changes {
        if value.is_null() {
            present.shift_remove(key);
        } else {
            present.insert(key.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_keys_change_and_others_stay() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let mut present = map(json!({ "a": 1, "b": { "x": 1 }, "c": 3 }));
        merge_keys(
            &mut present,
            &map(json!({ "a": null, "b": { "y": null }, "d": 4, "e": null })),
        );
        assert_eq!(
            Value::Object(present),
            json!({ "b": { "y": null }, "c": 3, "d": 4 })
        );
    }
}
