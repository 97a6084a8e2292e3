//! Comparing JSON values as their numbers and texts mean it: 1 is 1.0, the order of an object's
//! members counts for nothing, and values of different types are different.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// A total order: by type first; numbers as doubles, texts by code points.
#[must_use]
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            // Negative zero is zero.
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap_or_default() + 0.0);
            a.total_cmp(&b)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| compare(a, b));
            first_difference(pairs).then_with(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted(a), sorted(b));
            let pairs = a
                .iter()
                .zip(&b)
                .map(|(a, b)| a.0.cmp(b.0).then_with(|| compare(a.1, b.1)));
            first_difference(pairs).then_with(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Whether two values are the same.
#[must_use]
pub fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b) == Ordering::Equal
}

fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

fn first_difference(mut pairs: impl Iterator<Item = Ordering>) -> Ordering {
    pairs
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_as_numbers_and_members_in_any_order() {
        assert!(equal(&json!(1), &json!(1.0)) && equal(&json!(-0.0), &json!(0)));
        assert!(equal(
            &json!({"a": 1, "b": [2]}),
            &json!({"b": [2.0], "a": 1})
        ));
        for (a, b) in [
            (json!(1), json!("1")),
            (json!(1), json!(true)),
            (json!({"a": null}), json!({})),
            (json!([1]), json!([1, 1])),
            (json!(null), json!(false)),
        ] {
            assert!(!equal(&a, &b) && compare(&a, &b) == compare(&b, &a).reverse());
        }
    }
}
