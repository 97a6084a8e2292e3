//! Forms with files: however a body is cut into pieces, the same comes out, and little is held.

use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_http::multipart::{Event, MultipartError, Parser, PartHead};

use crate::{Allocated, MEGABYTE};

/// What a form says, without where its pieces end.
type Parts = Vec<(PartHead, Vec<u8>)>;

fn read<'a>(
    boundary: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Parts, MultipartError> {
    let mut parser = Parser::new(&format!("multipart/form-data; boundary={boundary}"))?;
    let mut parts: Parts = Vec::new();
    let mut is_open = false;
    for piece in pieces {
        parser.feed(piece);
        while let Some(event) = parser.advance()? {
            match event {
                Event::Begin(head) => {
                    assert!(!is_open, "a part begins within another");
                    is_open = true;
                    parts.push((head, Vec::new()));
                }
                Event::Data(data) => {
                    assert!(is_open && !data.is_empty(), "data of no part");
                    parts.last_mut().unwrap().1.extend_from_slice(&data);
                }
                Event::End => {
                    assert!(is_open, "what did not begin ended");
                    is_open = false;
                }
            }
        }
    }
    parser.finish()?;
    assert!(!is_open, "the form ends within a part");
    Ok(parts)
}

fn check(input: &[u8]) -> Verdict {
    // The first line is the boundary: an attacker chooses it, too.
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (boundary, body) = input.split_at(end);
    let boundary = String::from_utf8_lossy(boundary);
    let body = body.get(1..).unwrap_or_default();
    let whole = read(&boundary, std::iter::once(body));
    let single = read(&boundary, body.chunks(1));
    // What is held at once decides which bound is met first, never whether a form is one.
    if whole.is_ok() && whole != single {
        return Err(format!(
            "in single bytes it is {single:?}, at once {whole:?}"
        ));
    }
    for size in [2, 7, 64] {
        let cut = read(&boundary, body.chunks(size));
        if cut.is_ok() != whole.is_ok() || (cut.is_ok() && cut != whole) {
            return Err(format!(
                "in pieces of {size} it is {cut:?}, at once {whole:?}"
            ));
        }
    }
    let parts = match whole {
        Ok(parts) => parts,
        Err(error) => return Ok(format!("{error:?}").into()),
    };
    for (head, data) in &parts {
        let name = head.file_name.as_deref().unwrap_or_default();
        if name.contains(['/', '\\']) {
            return Err(format!("a file name has folders: {name:?}"));
        }
        if !boundary.is_empty() && contains(data, format!("\r\n--{boundary}").as_bytes()) {
            return Err("a delimiter is data".to_owned());
        }
    }
    let named = parts.iter().filter(|(head, _)| head.file_name.is_some());
    Ok(format!(
        "{} parts, {} files",
        parts.len().min(3),
        named.count().min(2)
    )
    .into())
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

fn made(chance: &mut Chance) -> Vec<u8> {
    let boundary = chance.text(&["b", "----WebKit", "\"a b\"", "'", "b\r"]);
    let bare = boundary.trim_matches('"').to_owned();
    let mut body = format!("{boundary}\n");
    for _ in 0..chance.below(4) {
        let name = chance.text(&["x.png", "../../etc/passwd", "a\\b", "\\\"", "", ".."]);
        body += &format!(
            "--{bare}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n"
        );
        if chance.one_in(2) {
            body += "Content-Disposition: form-data; filename*=UTF-8''%2e%2e%2fx%00\r\n";
        }
        body += &format!(
            "\r\n{}\r\n",
            chance.text(&["data", "--b", "\r\n-", "\r\n--b-"])
        );
    }
    body += &format!("--{bare}--");
    body.into_bytes()
}

#[test]
fn multipart_bodies() {
    let one = "b\n--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\x01\x02\r\n--b--\r\n";
    let campaign = Campaign::new("multipart", vec![one.into(), made(&mut Chance::of(1, 1))])
        .words(&[
            "\r\n",
            "--b",
            "\r\n--b",
            "--",
            "\r\n\r\n",
            "filename*=UTF-8''%2f",
            "filename=\"",
            "\\\"",
            ";",
            "=",
            "Content-Disposition: form-data;",
            "\t",
            " ",
        ])
        .made_by(made)
        .memory_max(&Allocated, 4 * MEGABYTE);
    let report = campaign.run(check);
    for end in [
        "1 parts",
        "2 parts, 1 files",
        "CutOff",
        "Boundary",
        "Delimiter",
    ] {
        assert!(report.ended(end) > 0, "never came to {end:?}: {report}");
    }
}
