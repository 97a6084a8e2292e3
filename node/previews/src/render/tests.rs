//! Pictures of every kind, and what is none.

use image::codecs::gif::GifEncoder;
use image::{ExtendedColorType, Frame, ImageEncoder, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    side_max: 4_000,
    pixels_max: 4_000_000,
    decoded_bytes_max: 16_000_000,
    scanned_samples_max: 20_000_000,
};
const RED: [u8; 3] = [230, 20, 20];
const BLUE: [u8; 3] = [20, 20, 230];

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

/// The left half is red, the right half blue.
fn halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 { RED } else { BLUE })
    })
}

fn written(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A JPEG whose EXIF says which side is up, and where it was taken.
#[expect(clippy::little_endian_bytes, reason = "the format's own order")]
fn turned_jpeg(picture: &RgbImage, orientation: u16) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend(orientation.to_le_bytes());
    exif.extend(b"\0\0\x0F\x01\x02\0\x07\0\0\0\x26\0\0\0\0\0\0\0SECRET\0");
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.add_exif_metadata(&exif).unwrap();
    let (width, height) = (picture.width(), picture.height());
    let (width, height) = (width.try_into().unwrap(), height.try_into().unwrap());
    encoder
        .encode(picture.as_raw(), width, height, ColorType::Rgb)
        .unwrap();
    bytes
}

/// Decodes a preview and checks that it is one.
fn read(preview: &[u8], expected: Size) -> RgbImage {
    assert!(preview.starts_with(b"\xFF\xD8"));
    assert!(
        preview.windows(2).any(|pair| pair == b"\xFF\xC2"),
        "progressive"
    );
    let read = image::load_from_memory_with_format(preview, ImageFormat::Jpeg).unwrap();
    assert_eq!(size(read.width(), read.height()), expected);
    read.into_rgb8()
}

#[track_caller]
fn is_like(picture: &RgbImage, x: u32, y: u32, colour: [u8; 3]) {
    let found = picture.get_pixel(x, y).0;
    let near = found.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 24);
    assert!(near, "{found:?} at {x}, {y} instead of {colour:?}");
}

#[test]
fn every_kind_is_read() {
    let picture = halves(600, 400);
    let mut gif = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut gif);
        let frame =
            |picture: &RgbImage| Frame::new(DynamicImage::ImageRgb8(picture.clone()).into_rgba8());
        encoder.encode_frame(frame(&picture)).unwrap();
        encoder
            .encode_frame(frame(&RgbImage::new(600, 400)))
            .unwrap();
    }
    for (name, bytes) in [
        ("jpeg", written(&picture, ImageFormat::Jpeg)),
        ("png", written(&picture, ImageFormat::Png)),
        ("webp", written(&picture, ImageFormat::WebP)),
        ("gif", gif),
    ] {
        assert_eq!(look(&bytes, &BOUNDS).unwrap(), size(600, 400), "{name}");
        for to in [
            size(256, 256),
            size(512, 341),
            size(1_024, 683),
            size(256, 1),
        ] {
            let preview = read(&render(&bytes, to, &BOUNDS).unwrap(), to);
            is_like(&preview, 8, to.height / 2, RED);
            is_like(&preview, to.width - 8, to.height / 2, BLUE);
        }
    }
}

#[test]
fn the_middle_is_shown() {
    let thirds = RgbImage::from_fn(900, 300, |x, _| match x {
        0..300 => Rgb([0, 255, 0]),
        300..450 => Rgb(RED),
        450..600 => Rgb(BLUE),
        _ => Rgb([0, 255, 0]),
    });
    let bytes = written(&thirds, ImageFormat::Png);
    let preview = read(
        &render(&bytes, size(256, 256), &BOUNDS).unwrap(),
        size(256, 256),
    );
    is_like(&preview, 6, 6, RED);
    is_like(&preview, 249, 249, BLUE);
}

#[test]
fn holes_are_white() {
    let mut picture = RgbaImage::from_pixel(300, 300, Rgba([0, 0, 0, 0]));
    for y in 0..300 {
        for x in 150..300 {
            picture.put_pixel(x, y, Rgba([20, 20, 230, 255]));
        }
    }
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, ImageFormat::Png).unwrap();
    let preview = render(&out.into_inner(), size(256, 256), &BOUNDS).unwrap();
    let preview = read(&preview, size(256, 256));
    is_like(&preview, 10, 128, [255; 3]);
    is_like(&preview, 246, 128, BLUE);
}

#[test]
fn the_right_side_is_up_and_nothing_else_is_kept() {
    // Where the red half is found after turning: in the middle of the left, right, top or bottom.
    let (left, right, top, bottom) = ((4, 32), (59, 32), (32, 4), (32, 59));
    for (orientation, red, blue) in [
        (1, left, right),
        (2, right, left),
        (3, right, left),
        (4, left, right),
        (5, top, bottom),
        (6, top, bottom),
        (7, bottom, top),
        (8, bottom, top),
        (9, left, right),
    ] {
        let bytes = turned_jpeg(&halves(320, 200), orientation);
        let holds_secret = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"SECRET");
        assert!(holds_secret(&bytes));
        let seen = look(&bytes, &BOUNDS).unwrap();
        let turns = (5..=8).contains(&orientation);
        let expected = if turns {
            size(200, 320)
        } else {
            size(320, 200)
        };
        assert_eq!(seen, expected, "{orientation}");
        let preview = render(&bytes, size(64, 64), &BOUNDS).unwrap();
        assert!(!holds_secret(&preview), "{orientation}");
        let preview = read(&preview, size(64, 64));
        is_like(&preview, red.0, red.1, RED);
        is_like(&preview, blue.0, blue.1, BLUE);
    }
}

#[test]
fn what_would_take_too_much_is_refused_by_its_header() {
    // A header is enough: there are no pixels behind it.
    let claiming = |width: u32, height: u32| {
        let mut png = written(&RgbImage::new(1, 1), ImageFormat::Png);
        png.splice(16..20, width.to_be_bytes());
        png.splice(20..24, height.to_be_bytes());
        let crc = crc32(&png[12..29]).to_be_bytes();
        png.splice(29..33, crc);
        png
    };
    for (width, height) in [(60_000, 60_000), (4_001, 1), (1, 4_001), (2_001, 2_000)] {
        let refused = look(&claiming(width, height), &BOUNDS);
        assert!(matches!(refused, Err(RenderError::TooLarge)), "{width}");
        let refused = render(&claiming(width, height), size(1, 1), &BOUNDS);
        assert!(matches!(refused, Err(RenderError::TooLarge)), "{width}");
    }
    // 8 bytes a pixel.
    let deep = vec![0_u8; 1_600 * 1_600 * 8];
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(&deep, 1_600, 1_600, ExtendedColorType::Rgba16)
        .unwrap();
    let refused = look(&png, &BOUNDS);
    assert!(matches!(refused, Err(RenderError::TooLarge)), "{refused:?}");
}

#[test]
fn a_jpeg_of_many_scans_is_refused() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_progressive(true);
    encoder
        .encode(halves(1_000, 1_000).as_raw(), 1_000, 1_000, ColorType::Rgb)
        .unwrap();
    look(&bytes, &BOUNDS).unwrap();
    let end = bytes.len() - 2;
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0x3F, 0x10];
    for _ in 0..30 {
        bytes.splice(end..end, scan);
    }
    let refused = render(&bytes, size(256, 256), &BOUNDS);
    assert!(matches!(refused, Err(RenderError::TooLarge)), "{refused:?}");
}

#[test]
fn notes_of_a_jpeg_cost_nothing() {
    let bytes = turned_jpeg(&halves(320, 200), 6);
    let guid = [b'0'; 32];
    let note = |offset: u32| {
        let head = b"\xFF\xE1\0\x4Dhttp://ns.adobe.com/xmp/extension/\0";
        [
            head,
            guid.as_slice(),
            &u32::MAX.to_be_bytes(),
            &offset.to_be_bytes(),
        ]
        .concat()
    };
    let noted = |count: u32| {
        let notes: Vec<u8> = (0..count).flat_map(note).collect();
        [&bytes[..2], &notes, &bytes[2..]].concat()
    };
    assert_eq!(look(&noted(500), &BOUNDS).unwrap(), size(200, 320));
    let small = size(64, 64);
    assert_eq!(
        render(&noted(500), small, &BOUNDS).unwrap(),
        render(&bytes, small, &BOUNDS).unwrap()
    );
    // The decoder would sort them after each.
    let refused = look(&noted(5_000), &BOUNDS);
    assert!(matches!(refused, Err(RenderError::TooLarge)), "{refused:?}");
}

#[test]
fn scans_cannot_be_hidden() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_progressive(true);
    encoder
        .encode(halves(100, 100).as_raw(), 100, 100, ColorType::Rgb)
        .unwrap();
    let few = Bounds {
        scanned_samples_max: 1,
        ..BOUNDS
    };
    bytes.splice(2..2, [0xFF, 0x01, 0, 4, 0xFF, 0xD9]);
    let refused = look(&bytes, &few);
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn what_is_no_picture_has_no_preview() {
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".as_slice();
    for bytes in [
        b"".as_slice(),
        b"hello attachment",
        svg,
        b"BM\0\0\0\0\0\0",
        b"\x89PNG",
    ] {
        let refused = render(bytes, size(1, 1), &BOUNDS);
        assert!(
            matches!(refused, Err(RenderError::UnknownFormat)),
            "{bytes:?}"
        );
    }
    // What only begins like one, or lost its end.
    let webp = written(&halves(60, 40), ImageFormat::WebP);
    let png = written(&halves(60, 40), ImageFormat::Png);
    for bytes in [
        b"\xFF\xD8\xFF\xE0".as_slice(),
        b"\x89PNG\r\n\x1A\n",
        b"GIF89a",
        b"GIF89a\0\0\0\0\0\0\0",
        b"RIFF\xFF\xFF\xFF\xFFWEBPVP8X",
        &webp[..webp.len() / 2],
        &png[..png.len() / 2],
    ] {
        let refused = render(bytes, size(1, 1), &BOUNDS);
        assert!(matches!(refused, Err(RenderError::Broken(_))), "{bytes:?}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

/// Files of each kind, to be damaged.
fn samples() -> Vec<Vec<u8>> {
    let picture = halves(40, 30);
    let mut progressive = Vec::new();
    let mut encoder = Encoder::new(&mut progressive, 80);
    encoder.set_progressive(true);
    encoder
        .encode(picture.as_raw(), 40, 30, ColorType::Rgb)
        .unwrap();
    let mut gif = Vec::new();
    GifEncoder::new(&mut gif)
        .encode_frame(Frame::new(
            DynamicImage::ImageRgb8(picture.clone()).into_rgba8(),
        ))
        .unwrap();
    let [noted_webp, film] = webp::tests::samples();
    vec![
        noted_webp,
        film,
        turned_jpeg(&picture, 6),
        progressive,
        written(&picture, ImageFormat::Png),
        written(&picture, ImageFormat::WebP),
        gif,
    ]
}

/// What is true of any bytes: an error, or a preview of the size that was asked for.
fn check(bytes: &[u8]) {
    if let Ok(seen) = look(bytes, &BOUNDS) {
        assert!(seen.pixels() > 0 && seen.pixels() <= BOUNDS.pixels_max);
    }
    let to = size(24, 16);
    if let Ok(preview) = render(bytes, to, &BOUNDS) {
        read(&preview, to);
    }
}

proptest! {
    #[test]
    fn random_bytes_are_an_answer(kind in 0..6_usize, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let heads: [&[u8]; 6] = [
            b"", b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1A\n", b"GIF89a", b"RIFF\x40\0\0\0WEBP", b"RIFF\x40\0\0\0WEBPVP8X",
        ];
        check(&[heads[kind], &tail].concat());
    }

    #[test]
    fn damaged_files_are_an_answer(
        kind in 0..7_usize,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = samples().swap_remove(kind);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }
}
