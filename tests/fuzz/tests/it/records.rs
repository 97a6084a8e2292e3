//! Records of archives, as an import takes them: unusable, which names the field, or taken; and what is
//! taken can be stored.

use homecore_archive::{Archive, Section, Unlock, memory::Memory};
use homecore_fuzz_tests::{Campaign, Verdict};
use homecore_kernel::archive::event::EventRecord;
use homecore_kernel::archive::{Unusable, access, account, audit, event, profile, stream};
use serde_json::{Map, Value, json};

use crate::archives::golden;
use crate::methods::change;
use crate::{Allocated, MEGABYTE};

/// Every record of a whole archive, under the name of its section.
fn records() -> Vec<Value> {
    let archive = Archive::open(Memory::of(golden("plain")), &Unlock::default()).unwrap();
    let mut records = Vec::new();
    for listed in &archive.manifest().users {
        let user = archive.user(listed).unwrap();
        for section in Section::ALL {
            for record in user.records(*section).unwrap() {
                let record = record.unwrap().object;
                records.push(json!({ "section": section.name(), "record": record }));
            }
        }
    }
    records
}

fn named<T>(section: &str, read: Result<T, Unusable>) -> Result<Result<T, String>, String> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(why) if why.field.is_empty() => Err(format!("{section}: refused for no field")),
        Err(why) => Ok(Err(format!("{section}: not for {}", why.field))),
    }
}

fn take(section: &str, record: Map<String, Value>) -> Verdict {
    let ended = match section {
        "events" => match named(section, event::read(record))? {
            Ok(taken) => match taken.item {
                EventRecord::Event(head) => {
                    drop((head.files(), head.streams().count()));
                    named(section, head.seal())?.map(|sealed| {
                        let body: Result<Map<String, Value>, _> =
                            serde_json::from_slice(&sealed.body);
                        assert!(body.is_ok() && !sealed.id.is_empty() && sealed.id.len() <= 255);
                    })
                }
                _ => Ok(()),
            },
            Err(refused) => Err(refused),
        },
        "streams" => named(section, stream::read(&record))?.map(drop),
        "accesses" => named(section, access::read(&record))?.map(drop),
        "profile" => named(section, profile::read(&record))?.map(drop),
        "account" => named(section, {
            account::read("samplebeta1", &record, &account::Names::default())
        })?
        .map(drop),
        "audit" => named(section, audit::read(&record))?.map(drop),
        _ => return Ok("left out".into()),
    };
    Ok(ended
        .map_or_else(|refused| refused, |()| format!("{section}: taken"))
        .into())
}

#[test]
fn records_of_archives() {
    let records = records();
    let seeds = records
        .iter()
        .map(|record| record.to_string().into_bytes())
        .collect();
    let campaign = Campaign::new("archive-records", seeds)
        .words(&[
            "null",
            "\"\"",
            "1e308",
            "[]",
            "{}",
            "\"id\":",
            "\"headId\":\"x\",",
            "\"deleted\":1,",
            "\\u0000",
        ])
        .made_by(|chance| {
            let mut record = chance.pick(&records).cloned().unwrap_or_default();
            for _ in 0..=chance.below(3) {
                change(&mut record["record"], chance);
            }
            record.to_string().into_bytes()
        })
        .bytes_max(256 * 1024)
        .memory_max(&Allocated, 64 * MEGABYTE);
    let report = campaign.run(|text| {
        let Ok(Value::Object(mut given)) = serde_json::from_slice(text) else {
            return Ok("no record".into());
        };
        match (given.remove("section"), given.remove("record")) {
            (Some(Value::String(section)), Some(Value::Object(record))) => take(&section, record),
            _ => Ok("no record".into()),
        }
    });
    for end in [
        "events: taken",
        "events: not for",
        "streams: taken",
        "accesses: taken",
        "account: taken",
        "profile: taken",
    ] {
        assert!(report.ended(end) > 0, "never came to {end:?}: {report}");
    }
}
