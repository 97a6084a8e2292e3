//! What is kept of a JPEG, what is counted, and what is refused.

use super::*;

const START: [u8; 2] = [MARKER, START_OF_IMAGE];
const END: [u8; 2] = [MARKER, END_OF_IMAGE];
const SCAN: [u8; 11] = [0xFF, 0xDA, 0, 3, 1, 0xAA, 0xFF, 0x00, 0xFF, 0xD0, 0xBB];

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[MARKER, marker], length.as_slice(), body].concat()
}

#[track_caller]
fn is_broken(parts: &[&[u8]]) {
    let refused = plain(&parts.concat());
    assert!(
        matches!(refused, Err(RenderError::Broken(_))),
        "{refused:?}"
    );
}

#[track_caller]
fn is_too_large(parts: &[&[u8]]) {
    let refused = plain(&parts.concat());
    assert!(matches!(refused, Err(RenderError::TooLarge)));
}

#[test]
fn a_scan_counts_by_its_components() {
    let file = [
        0xFF, 0xD8, 0xFF, 0xDA, 0, 3, 3, 0xFF, 0xDA, 0, 3, 0, 0xFF, 0xDA, 0, 2,
    ];
    let found = plain(&file).unwrap();
    assert_eq!(found.scanned_components, 5, "three, and at least one each");
    assert_eq!(found.bytes, file);
}

#[test]
fn scans_are_counted_where_they_are() {
    let mut file = START.to_vec();
    file.extend(segment(0xFE, &[0xFF, 0xDA, 0xFF, 0xDA]));
    is_broken(&[&file]);
    for count in 1..=3 {
        file.extend(SCAN);
        let found = plain(&file).unwrap();
        assert_eq!(found.scanned_components, count, "a comment is no scan");
    }
    file.extend([0xFF, 0xFF, 0xFF, 0xDA, 0, 3, 1]);
    assert_eq!(plain(&file).unwrap().scanned_components, 4, "fill bytes");
    file.extend(END);
    let whole = plain(&file).unwrap();
    assert!(whole.bytes.ends_with(&END));
    file.extend(SCAN);
    let found = plain(&file).unwrap();
    assert_eq!(found.bytes, whole.bytes, "what follows is another file");
    assert_eq!(found.scanned_components, 4);
    for cut in 0..file.len() {
        if let Ok(found) = plain(&file[..cut]) {
            assert!(found.scanned_components <= 4);
        }
    }
}

#[test]
fn only_what_is_needed_is_kept() {
    let exif = segment(0xE1, b"Exif\0\0II*\0");
    let film = segment(0xE0, b"AVI1\0\0");
    let colours = segment(0xEE, b"Adobe\0\0\0\0\0\0\x01");
    let tables = segment(0xC4, &[0; 20]);
    let frame = segment(0xC0, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0]);
    let needed: [&[u8]; 8] = [
        &START, &exif, &film, &colours, &tables, &frame, &SCAN, &tables,
    ];
    let needed = [needed.concat(), SCAN.to_vec(), END.to_vec()].concat();
    let noise = [
        segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        // Read as one byte more by the decoder.
        segment(0xE0, b"JFXX"),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0"),
        segment(0xE2, b"ICC_PROFILE\0\x01\x01some"),
        segment(0xED, b"Photoshop 3.0\0"),
        segment(0xEE, b"other"),
        segment(0xFE, b"a comment"),
        segment(0x02, b"reserved"),
    ]
    .concat();
    let second = segment(0xE1, b"Exif\0\0MM\0*");
    let file: [&[u8]; 16] = [
        &START, &noise, &exif, &film, b"junk", &colours, &tables, b"\xFF\0", &frame, &noise,
        &second, &SCAN, &noise, &tables, &noise, b"junk",
    ];
    let file = [file.concat(), SCAN.to_vec(), END.to_vec(), noise].concat();
    let found = plain(&file).unwrap();
    assert_eq!(found.bytes, needed);
    assert_eq!(found.scanned_components, 2);
}

#[test]
fn what_decoders_read_in_two_ways_is_refused() {
    let tables = segment(0xC4, &[0; 20]);
    for marker in [1, 0xD0, 0xD3, 0xD7, 0xD8] {
        // Its length hides the end of the picture.
        let hides: [u8; 6] = [0xFF, marker, 0, 4, 0xFF, 0xD9];
        is_broken(&[&START, &hides, &SCAN, &END]);
        is_broken(&[&START, &SCAN, &tables, &hides, &SCAN, &END]);
        if !(0xD0..=0xD7).contains(&marker) {
            is_broken(&[&START, &SCAN, &hides, &SCAN, &END]);
        }
    }
    is_broken(&[&START, &END, &SCAN, &END]);
    is_broken(&[&START, &[0xFF, 0xC4, 0, 1], &SCAN]);
    is_broken(&[&START, &[0xFF, 0xC4, 0, 9, 0]]);
    is_broken(&[&SCAN]);
    is_broken(&[]);
}

#[test]
fn segments_and_tables_are_bounded() {
    let note = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0");
    let most = note.repeat(SEGMENTS_MAX - 1);
    plain(&[&START, most.as_slice(), &SCAN].concat()).unwrap();
    is_too_large(&[&START, &most, &note, &SCAN]);
    is_too_large(&[&START, &SCAN, &most, &note]);
    let tables = segment(0xC4, &[0; 60_000]).repeat(18);
    is_too_large(&[&START, &tables, &SCAN]);
}
