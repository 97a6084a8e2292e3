//! Numbers as the wire has them: times in seconds, and the text that JavaScript gives a number.

use homecore_types::Millis;
use serde_json::{Number, Value};

/// A time of ours in the wire's seconds; whole seconds as an integer.
pub(crate) fn seconds(time: Millis) -> Value {
    Value::Number(seconds_number(time))
}

/// As [`seconds`].
pub(crate) fn seconds_number(time: Millis) -> Number {
    if time.0 % 1000 == 0 {
        return Number::from(time.0 / 1000);
    }
    Number::from_f64(time.as_seconds()).unwrap_or_else(|| Number::from(0))
}

/// A number of ours as JSON; what JSON cannot hold becomes null.
pub(crate) fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// The largest count that is not above `number`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer casts saturate in Rust, which is what is wanted"
)]
pub(crate) fn saturating_count(number: f64) -> usize {
    number as usize
}

/// A number as JavaScript's `String(n)` writes it: shortest digits that read back equal, plain
/// notation from 1e-7 (exclusive) up to 1e21 (exclusive). Integers that a double cannot hold are
/// rounded, as JavaScript does when it reads them.
pub(crate) fn javascript(number: &Number) -> String {
    const EXACT: u64 = 1 << 53;
    if let Some(integer) = number.as_i64().filter(|i| i.unsigned_abs() <= EXACT) {
        return integer.to_string();
    }
    number
        .as_f64()
        .map_or_else(|| "null".to_owned(), javascript_float)
}

/// As [`javascript`].
pub(crate) fn javascript_float(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    // There, Rust writes what JavaScript does.
    if (1e-6..1e21).contains(&number.abs()) {
        return number.to_string();
    }
    // So it does here, but for the sign of what is large.
    let scientific = format!("{number:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if number.abs() > 1.0 => format!("{mantissa}e+{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_javascript_prints() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (0.1, "0.1"),
            (1_795_369_711.439, "1795369711.439"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(javascript_float(number), text);
        }
        let big: Number = serde_json::from_str("18446744073709551615").unwrap();
        assert_eq!(javascript(&big), "18446744073709552000");
        assert_eq!(javascript(&Number::from(-42)), "-42");
    }

    #[test]
    fn our_times_are_whole_or_have_three_digits() {
        assert_eq!(
            seconds(Millis(1_795_369_711_439)).to_string(),
            "1795369711.439"
        );
        assert_eq!(seconds(Millis(1_795_369_711_000)).to_string(), "1795369711");
        assert_eq!(seconds(Millis(-1)).to_string(), "-0.001");
    }

    /// By the steps of ECMA-262, `Number::toString`, from the shortest digits.
    fn by_the_standard(number: f64) -> String {
        let scientific = format!("{:e}", number.abs());
        let (mantissa, exponent) = scientific.split_once('e').unwrap();
        let digits = mantissa.replace('.', "");
        let (k, n) = (digits.len(), exponent.parse::<i32>().unwrap() + 1);
        let plain = match (n, usize::try_from(n).unwrap_or(0)) {
            (1..=21, place) if k <= place => format!("{digits}{}", "0".repeat(place - k)),
            (1..=21, place) => {
                let (whole, rest) = digits.split_at(place);
                format!("{whole}.{rest}")
            }
            (-5..=0, _) => {
                let zeros = usize::try_from(-n).unwrap();
                format!("0.{}{digits}", "0".repeat(zeros))
            }
            _ => format!("{mantissa}e{:+}", n - 1),
        };
        if number < 0.0 {
            format!("-{plain}")
        } else {
            plain
        }
    }

    proptest! {
        /// Plain where JavaScript is plain, with an exponent where it has one.
        #[test]
        fn notation_is_that_of_the_standard(mantissa in -10.0_f64..10.0, exponent in -12_i32..26) {
            let number = mantissa * 10_f64.powi(exponent);
            for number in [number, number.trunc()] {
                if number != 0.0 {
                    prop_assert_eq!(javascript_float(number), by_the_standard(number));
                }
            }
        }

        /// What is written reads back as the same number, whatever it is.
        #[test]
        fn text_reads_back(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(javascript_float(number).parse::<f64>().unwrap(), number);
        }

        /// A time of ours survives the wire's seconds to the millisecond.
        #[test]
        fn times_survive_the_wire(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
            let read: f64 = serde_json::from_str(&seconds(Millis(ms)).to_string()).unwrap();
            prop_assert_eq!(Millis::from_seconds(read), Millis(ms));
        }

        /// A number that a client sent is answered with the same value.
        #[test]
        fn client_numbers_read_back(number in proptest::num::f64::NORMAL) {
            let sent = javascript_float(number);
            let value: Value = serde_json::from_str(&sent).unwrap();
            let answered: f64 = serde_json::from_str(&value.to_string()).unwrap();
            prop_assert_eq!(answered, number);
        }
    }
}
