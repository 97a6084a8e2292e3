//! Files that say more than they have.

use image::{ImageFormat, Rgb, RgbImage};

use super::*;
use crate::render::{Bounds, look, render};
use crate::size::Size;

const BOUNDS: Bounds = Bounds {
    side_max: 4_000,
    pixels_max: 4_000_000,
    decoded_bytes_max: 16_000_000,
    scanned_samples_max: 20_000_000,
};
/// Two pixels wide and high, all red.
const RED: [u8; 48] = [
    0xd0, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x02, 0x00, 0x02, 0x00, 0x02, 0x00, 0x34, 0x25, 0xa0, 0x02,
    0x74, 0xba, 0x01, 0xf8, 0x00, 0x03, 0xb0, 0x00, 0xfe, 0xf0, 0xc4, 0x0b, 0xff, 0x20, 0xb9, 0x61,
    0x75, 0xc8, 0xd7, 0xff, 0x20, 0x3f, 0xe4, 0x07, 0xfc, 0x80, 0xff, 0xf8, 0xf2, 0x00, 0x00, 0x00,
];
const HAS_EXIF: u8 = 8;
const MOVES: u8 = 2;

/// The format's own order.
fn bytes_of(number: u32) -> [u8; 4] {
    let mut bytes = number.to_be_bytes();
    bytes.reverse();
    bytes
}

fn part_of(name: &[u8], length: usize, body: &[u8]) -> Vec<u8> {
    let length = bytes_of(u32::try_from(length).unwrap());
    let pad: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
    [name, &length, body, pad].concat()
}

fn part(name: &[u8], body: &[u8]) -> Vec<u8> {
    part_of(name, body.len(), body)
}

fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    part(b"RIFF", &[b"WEBP".to_vec(), parts.concat()].concat())
}

fn side(side: u32) -> [u8; 3] {
    let [low, middle, high, _] = bytes_of(side - 1);
    [low, middle, high]
}

fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    part(
        b"VP8X",
        &[&[flags, 0, 0, 0], side(width).as_slice(), &side(height)].concat(),
    )
}

fn frame(width: u32, height: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let sides = [side(width), side(height)].concat();
    let head = [&[0; 6], sides.as_slice(), &[0; 4]].concat();
    part(b"ANMF", &[head, parts.concat()].concat())
}

/// A picture that says to be of these sides.
fn red(width: u16, height: u16) -> Vec<u8> {
    let mut body = RED;
    body[6..8].copy_from_slice(&width.swap_bytes().to_be_bytes());
    body[8..10].copy_from_slice(&height.swap_bytes().to_be_bytes());
    part(b"VP8 ", &body)
}

fn lossless(width: u32, height: u32) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb([230, 20, 20]))
        .write_to(&mut out, ImageFormat::WebP)
        .unwrap();
    out.into_inner()[HEAD_BYTES..].to_vec()
}

fn film() -> Vec<u8> {
    part(b"ANIM", &[0; 6])
}

/// Files to be damaged: a picture with notes, and a film.
pub(crate) fn samples() -> [Vec<u8>; 2] {
    let exif = part(b"EXIF", b"II*\0\x08\0\0\0\0");
    let inside = frame(9, 5, &[lossless(9, 5)]);
    [
        file(&[extended(HAS_EXIF, 2, 2), red(2, 2), exif]),
        file(&[extended(MOVES, 20, 10), film(), inside.clone(), inside]),
    ]
}

#[track_caller]
fn is_shown(bytes: &[u8], width: u32, height: u32) {
    assert_eq!(look(bytes, &BOUNDS).unwrap(), Size { width, height });
    let small = Size {
        width: 8,
        height: 8,
    };
    render(bytes, small, &BOUNDS).unwrap();
}

#[track_caller]
fn is_broken(bytes: &[u8]) {
    let refused = look(bytes, &BOUNDS);
    assert!(
        matches!(refused, Err(RenderError::Broken(_))),
        "{refused:?}"
    );
}

#[test]
fn every_kind_is_shown() {
    let exif = part(b"EXIF", b"II*\0\x08\0\0\0\0");
    is_shown(&file(&[red(2, 2)]), 2, 2);
    is_shown(&file(&[lossless(9, 5)]), 9, 5);
    is_shown(
        &file(&[extended(HAS_EXIF, 2, 2), red(2, 2), exif.clone()]),
        2,
        2,
    );
    is_shown(&file(&[extended(0, 9, 5), lossless(9, 5)]), 9, 5);
    let frames = [
        frame(2, 2, &[red(2, 2)]),
        frame(9, 5, &[lossless(9, 5), exif]),
    ];
    for frame in frames {
        let parts = [extended(MOVES, 20, 10), film(), frame.clone(), frame];
        is_shown(&file(&parts), 20, 10);
    }
    // What follows the file is none of it.
    let mut followed = file(&[extended(0, 2, 2), red(2, 2)]);
    followed.extend(part_of(b"EXIF", 1 << 30, &[]));
    is_shown(&followed, 2, 2);
}

#[test]
fn no_part_ends_after_the_file() {
    let long = 0xFFFF_FFF0;
    for name in [b"EXIF", b"XMP ", b"ICCP", b"what"] {
        let parts = [
            extended(HAS_EXIF, 2, 2),
            red(2, 2),
            part_of(name, long, b"II*\0\x08\0\0\0"),
        ];
        is_broken(&file(&parts));
    }
    is_broken(&file(&[part_of(b"VP8 ", 50, &RED)]));
    let inside = frame(2, 2, &[part_of(b"VP8 ", 50, &RED)]);
    is_broken(&file(&[extended(MOVES, 2, 2), film(), inside.clone()]));
    // Nor after the part that it is in.
    is_broken(&file(&[extended(MOVES, 2, 2), film(), inside, red(2, 2)]));
    is_broken(&file(&[
        extended(MOVES, 2, 2),
        film(),
        part(b"ANMF", b"short"),
    ]));
    is_broken(&file(&[part(b"VP8X", b"short"), red(2, 2)]));
}

#[test]
fn pixels_are_as_many_as_was_said() {
    for (width, height) in [(16_383, 16_383), (3, 2), (2, 3)] {
        is_broken(&file(&[extended(0, 2, 2), red(width, height)]));
        let inside = frame(2, 2, &[red(width, height)]);
        is_broken(&file(&[extended(MOVES, 2, 2), film(), inside]));
        let alpha = part(b"ALPH", &[0; 6]);
        let mut unnamed = red(width, height);
        let inside = frame(2, 2, &[alpha.clone(), unnamed.clone()]);
        is_broken(&file(&[extended(MOVES, 2, 2), film(), inside]));
        unnamed[..4].copy_from_slice(b"what");
        let inside = frame(2, 2, &[alpha, unnamed]);
        is_broken(&file(&[extended(MOVES, 2, 2), film(), inside]));
    }
    is_broken(&file(&[extended(0, 9, 6), lossless(9, 5)]));
    let inside = frame(9, 6, &[lossless(9, 5)]);
    is_broken(&file(&[extended(MOVES, 9, 9), film(), inside]));
    let mut follows = red(2, 2);
    follows[8] |= 1;
    is_broken(&file(&[extended(0, 2, 2), follows]));
}
