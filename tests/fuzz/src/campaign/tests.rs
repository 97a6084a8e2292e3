//! Targets that are broken on purpose are found, and what is found can be repeated.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Reads `len byte*` pairs and has a defect: it trusts a length above 200.
fn broken(input: &[u8]) -> Verdict {
    let mut rest = input;
    let mut records = 0;
    while let Some((length, more)) = rest.split_first() {
        let length = usize::from(*length);
        if length > 200 {
            let _record = &more[..length];
        }
        let Some(more) = more.get(length..) else {
            return Ok("cut off".into());
        };
        records += 1;
        rest = more;
    }
    Ok(if records > 0 { "whole" } else { "empty" }.into())
}

fn campaign() -> Campaign<'static> {
    Campaign::new("broken", vec![b"\x03abc\x02de".to_vec()]).words(&["\x00", "\x05hello"])
}

#[test]
fn a_panic_is_found_shrunk_and_repeated_by_its_seed() {
    let settings = Settings::of(7, 20_000);
    let found = campaign().run_with(&settings, broken);
    let fault = found.fault.clone().expect("it was not found");
    assert!(fault.what.contains("range end index"), "{}", fault.what);
    assert_eq!(fault.shrunk.len(), 1, "{:?}", fault.shrunk);
    assert!(fault.shrunk[0] > 200);
    assert!(fault.case.is_some());
    assert_eq!(campaign().run_with(&settings, broken), found);

    let alone = Settings {
        input: Some(fault.shrunk),
        ..settings
    };
    let again = campaign().run_with(&alone, broken).fault.unwrap();
    assert_eq!(kind_of(&again.what), kind_of(&fault.what));

    let said = caught(|| found.assert_sound()).unwrap_err();
    assert!(said.contains("HOMECORE_FUZZ_SEED=7") && said.contains("HOMECORE_FUZZ_INPUT="));
}

#[test]
fn what_a_target_says_is_found() {
    let settings = Settings::of(1, 20_000);
    let report = campaign().run_with(&settings, |input| {
        if input.contains(&b'X') && input.len() > 3 {
            return Err("an X".to_owned());
        }
        Ok("fine".into())
    });
    let fault = report.fault.expect("it was not found");
    assert_eq!(fault.shrunk.len(), 4, "{:?}", fault.shrunk);
    assert!(fault.shrunk.contains(&b'X'));
}

#[test]
fn too_much_time_is_found() {
    let campaign = campaign().cpu_max(Duration::from_millis(20));
    let report = campaign.run_with(&Settings::of(1, 20_000), |input| {
        let begun = cpu_time();
        while input.len() > 1_000 && cpu_time().saturating_sub(begun) < Duration::from_millis(30) {}
        Ok("done".into())
    });
    assert!(report.fault.expect("it was not found").what.contains("ms"));
}

#[derive(Debug, Default)]
struct Counted(AtomicUsize);

impl Memory for Counted {
    fn begin(&self) -> usize {
        self.0.store(0, Ordering::Relaxed);
        0
    }

    fn most(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn too_much_memory_is_found() {
    let memory = Counted::default();
    let campaign = campaign().memory_max(&memory, 1024 * 1024);
    let report = campaign.run_with(&Settings::of(1, 20_000), |input| {
        // What a reader does that believes a length.
        let length = input.first_chunk::<4>().map(|n| u32::from_be_bytes(*n));
        memory.0.store(
            usize::try_from(length.unwrap_or(0)).unwrap(),
            Ordering::Relaxed,
        );
        Ok("read".into())
    });
    let fault = report.fault.expect("it was not found");
    assert!(fault.what.contains("kB of memory"), "{}", fault.what);
    assert_eq!(fault.shrunk.len(), 4);
}

#[test]
fn new_ends_lead_deeper() {
    // Four bytes that must all be right: by chance alone one in four billion.
    let report =
        Campaign::new("deep", vec![b"....".to_vec()]).run_with(&Settings::of(3, 60_000), |input| {
            let right = input.iter().zip(b"\x00\x01\x7f\xff");
            let right = right.take_while(|(byte, wanted)| byte == wanted).count();
            if right == 4 {
                Err("it got there".to_owned())
            } else {
                Ok(format!("{right}").into())
            }
        });
    assert!(report.fault.is_some(), "{report}");
}
