//! Forms as clients send them, in pieces of every size, and forms that are none.

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=X";

/// Parts as (head, data), or why not.
fn read(body: &[u8], piece: usize) -> Result<Vec<(PartHead, Vec<u8>)>, MultipartError> {
    let mut parser = Parser::new(TYPE)?;
    let mut parts: Vec<(PartHead, Vec<u8>)> = Vec::new();
    let mut open = false;
    for bytes in body.chunks(piece) {
        parser.feed(bytes);
        while let Some(event) = parser.advance()? {
            match event {
                Event::Begin(head) => {
                    assert!(!open);
                    open = true;
                    parts.push((head, Vec::new()));
                }
                Event::Data(data) => {
                    assert!(open && !data.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(&data);
                }
                Event::End => open = false,
            }
        }
        assert!(parser.buffer.len() <= HEADERS_BYTES_MAX + piece + 80);
    }
    parser.finish()?;
    assert!(!open);
    Ok(parts)
}

fn head(file_name: Option<&str>, content_type: Option<&str>) -> PartHead {
    PartHead {
        file_name: file_name.map(str::to_owned),
        content_type: content_type.map(str::to_owned),
    }
}

#[test]
fn a_form_of_a_browser() {
    let body = b"--X\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n{\"a\":1}\r\n\
        --X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"caf\xC3\xA9.jpg\"\r\n\
        Content-Type: image/jpeg\r\n\r\n\r\n--Y\r\n--\r\n\r\n--X--\r\nbye";
    for piece in [1, 2, 3, 7, 1_000] {
        assert_eq!(
            read(body, piece).unwrap(),
            [
                (head(None, None), b"{\"a\":1}".to_vec()),
                (
                    head(Some("café.jpg"), Some("image/jpeg")),
                    b"\r\n--Y\r\n--\r\n".to_vec()
                ),
            ],
            "{piece}"
        );
    }
}

#[test]
fn odd_forms_that_are_allowed() {
    for (body, parts) in [
        (&b"--X--"[..], vec![]),
        (b"--X--\r\n", vec![]),
        (
            b"preamble\r\n--X \t\r\n\r\n\r\n--X--",
            vec![(head(None, None), vec![])],
        ),
        (
            b"--X\r\n\r\na\r\n--X--",
            vec![(head(None, None), b"a".to_vec())],
        ),
        (
            b"--X\r\nnonsense\r\ncontent-disposition:form-data;filename=a.b ; x\r\n\r\na\r\n--X--",
            vec![(head(Some("a.b"), None), b"a".to_vec())],
        ),
    ] {
        assert_eq!(read(body, 1_000), Ok(parts.clone()));
        assert_eq!(read(body, 1), Ok(parts));
    }
}

#[test]
fn forms_that_are_none() {
    use MultipartError as E;
    let long = [
        b"--X\r\nA: ".to_vec(),
        vec![b'a'; 9_000],
        b"\r\n\r\n".to_vec(),
    ]
    .concat();
    for (body, error) in [
        (&b""[..], E::CutOff),
        (b"hello", E::CutOff),
        (b"--X\r\n\r\nhello", E::CutOff),
        (b"--X\r\n\r\nhello\r\n--X", E::CutOff),
        (b"--X\r\nA: b", E::CutOff),
        (b"--Xa\r\n\r\n", E::Delimiter),
        (b"--X-a", E::Delimiter),
        (&[b' '; 70_000], E::Preamble),
        (&long, E::Headers),
    ] {
        for piece in [1, 1_000, 100_000] {
            assert_eq!(read(body, piece), Err(error), "{}", body.len());
        }
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        &long,
    ] {
        assert_eq!(Parser::new(kind).unwrap_err(), E::Boundary);
    }
    assert!(Parser::new("multipart/form-data; charset=x; Boundary=\"a b\"").is_ok());
}

#[test]
fn file_names_are_read_as_they_were_meant() {
    for (value, name) in [
        ("form-data; name=a", None),
        ("form-data; filename=\"\"", Some("")),
        (
            "form-data; filename=\"a \\\"b\\\" ; c=d.txt\"; x=y",
            Some("a \"b\" ; c=d.txt"),
        ),
        (
            "form-data; filename=\"C:\\dir\\file.txt\"",
            Some("file.txt"),
        ),
        ("form-data; filename=\"../../etc/passwd\"", Some("passwd")),
        (
            "form-data; filename=\"x\"; filename*=UTF-8''na%C3%AFve",
            Some("naïve"),
        ),
        ("form-data; filename*=latin1''x; filename=y", Some("y")),
        ("form-data; filename=\"日本.txt\"", Some("日本.txt")),
    ] {
        assert_eq!(file_name(value.as_bytes()).as_deref(), name, "{value}");
    }
}

/// What is a form in one piece is one in any.
#[test]
fn bounds_do_not_depend_on_where_pieces_end() {
    let padded = |blanks: usize| format!("--X{}\r\n\r\n\r\n--X--", " ".repeat(blanks));
    let header = |bytes: usize| format!("--X\r\n{}\r\n\r\n\r\n--X--", "a".repeat(bytes));
    for (body, is_form) in [
        (padded(PADDING_BYTES_MAX), true),
        (padded(PADDING_BYTES_MAX + 1), false),
        (header(HEADERS_BYTES_MAX - 2), true),
        (header(HEADERS_BYTES_MAX - 1), false),
    ] {
        for piece in [1, 2, 3, 5, 7, 8_191, 8_195, 8_196, 20_000] {
            let read = read(body.as_bytes(), piece);
            assert_eq!(read.is_ok(), is_form, "{} by {piece}: {read:?}", body.len());
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        contents in prop::collection::vec(
            prop::collection::vec(prop_oneof![
                3 => prop::sample::select(b"\r\n-X".to_vec()),
                1 => any::<u8>(),
            ], 0..200),
            0..4,
        ),
        piece in 1..50_usize,
    ) {
        prop_assume!(contents.iter().all(|c| memmem::find(c, b"\r\n--X").is_none()));
        let mut body = Vec::new();
        for content in &contents {
            body.extend_from_slice(b"--X\r\nContent-Disposition: form-data; filename=f\r\n\r\n");
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--X--\r\n");
        let wanted: Vec<_> =
            contents.into_iter().map(|content| (head(Some("f"), None), content)).collect();
        prop_assert_eq!(read(&body, piece), Ok(wanted));
    }

    #[test]
    fn no_bytes_do_harm(body in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
        let framed = [b"--X\r\n".to_vec(), body.clone()].concat();
        for body in [body, framed] {
            if let Err(error) = read(&body, piece) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
