//! Decodes a picture within bounds, and writes a small one.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits, Rgb, RgbImage};
use jpeg_encoder::{ColorType, Encoder};
use thiserror::Error;

use crate::size::{Size, part};
use crate::{jpeg, webp};

/// Of 100.
const QUALITY: u8 = 80;
/// What shows through where a picture has holes.
const PAPER: u32 = 255;

/// What decoding may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Pixels from left to right, and from top to bottom.
    pub side_max: u32,
    /// Pixels.
    pub pixels_max: u64,
    /// Bytes of the decoded pixels.
    pub decoded_bytes_max: u64,
    /// Samples that a JPEG goes over in all of its scans together: its pixels times the colour components
    /// of each scan.
    pub scanned_samples_max: u64,
}

/// Why there is no preview of a file.
#[derive(Debug, Error)]
pub enum RenderError {
    /// It is no picture of a kind that is known.
    #[error("it is no JPEG, PNG, GIF or WebP picture")]
    UnknownFormat,
    /// Decoding it would take too much.
    #[error("the picture is too large for a preview")]
    TooLarge,
    /// It is damaged.
    #[error("the picture cannot be decoded")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The size of a picture as it is seen, from its header. What is beyond the bounds is refused here,
/// before anything is decoded.
///
/// # Errors
/// See [`RenderError`].
pub fn look(bytes: &[u8], bounds: &Bounds) -> Result<Size, RenderError> {
    open(bytes, bounds).map(|picture| picture.seen())
}

/// A preview of a picture, or of its first frame: a progressive JPEG of exactly this size. The picture
/// fills it; what does not fit is cut off at two sides alike.
///
/// # Errors
/// See [`RenderError`].
pub fn render(bytes: &[u8], preview: Size, bounds: &Bounds) -> Result<Vec<u8>, RenderError> {
    let picture = open(bytes, bounds)?;
    let orientation = picture.orientation;
    let lying = if turns(orientation) {
        preview.turned()
    } else {
        preview
    };
    let decoded = DynamicImage::from_decoder(picture.decoder).map_err(refused)?;
    let mut small = DynamicImage::ImageRgb8(shrink(&opaque(decoded), lying));
    small.apply_orientation(orientation);
    encode(&small.into_rgb8())
}

struct Picture<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    /// As it is stored.
    size: Size,
    orientation: Orientation,
}

impl Picture<'_> {
    fn seen(&self) -> Size {
        if turns(self.orientation) {
            self.size.turned()
        } else {
            self.size
        }
    }
}

/// Whether width and height change places.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn open<'a>(bytes: &'a [u8], bounds: &Bounds) -> Result<Picture<'a>, RenderError> {
    let format = image::guess_format(bytes).map_err(|_unknown| RenderError::UnknownFormat)?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(bounds.side_max);
    limits.max_image_height = Some(bounds.side_max);
    limits.max_alloc = Some(bounds.decoded_bytes_max);
    let mut scanned = 0;
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        ImageFormat::Jpeg => {
            let plain = jpeg::plain(bytes)?;
            scanned = plain.scanned_components;
            Box::new(JpegDecoder::new(Cursor::new(plain.bytes)).map_err(refused)?)
        }
        ImageFormat::Png => {
            Box::new(PngDecoder::with_limits(Cursor::new(bytes), limits.clone()).map_err(refused)?)
        }
        ImageFormat::Gif => Box::new(GifDecoder::new(Cursor::new(bytes)).map_err(refused)?),
        ImageFormat::WebP => {
            let file = webp::checked(bytes)?;
            Box::new(WebPDecoder::new(Cursor::new(file)).map_err(refused)?)
        }
        _ => return Err(RenderError::UnknownFormat),
    };
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    if size.pixels() == 0 {
        return Err(RenderError::Broken("it has no pixels".into()));
    }
    if width.max(height) > bounds.side_max
        || size.pixels() > bounds.pixels_max
        || decoder.total_bytes() > bounds.decoded_bytes_max
        || size.pixels().saturating_mul(scanned) > bounds.scanned_samples_max
    {
        return Err(RenderError::TooLarge);
    }
    decoder.set_limits(limits).map_err(refused)?;
    // A damaged note of which side is up is no reason to show nothing.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(Picture {
        decoder,
        size,
        orientation,
    })
}

fn refused(error: ImageError) -> RenderError {
    match error {
        ImageError::Limits(_) => RenderError::TooLarge,
        other => RenderError::Broken(Box::new(other)),
    }
}

/// A picture without holes.
fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let see_through = picture.into_rgba8();
    let mut out = RgbImage::new(see_through.width(), see_through.height());
    for (to, from) in out.pixels_mut().zip(see_through.pixels()) {
        let [red, green, blue, alpha] = from.0;
        let alpha = u32::from(alpha);
        let on_paper = |colour: u8| {
            let mixed = (u32::from(colour) * alpha + PAPER * (255 - alpha) + 127) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        *to = Rgb([red, green, blue].map(on_paper));
    }
    out
}

/// The middle of a picture in another size: first quickly to about twice that size, then well.
fn shrink(picture: &RgbImage, to: Size) -> RgbImage {
    let whole = Size {
        width: picture.width(),
        height: picture.height(),
    };
    let part = part(whole, to);
    let left = whole.width.saturating_sub(part.width) / 2;
    let top = whole.height.saturating_sub(part.height) / 2;
    let view = imageops::crop_imm(picture, left, top, part.width, part.height);
    let (across, down) = (to.width * 2, to.height * 2);
    if part.width > across && part.height > down {
        let between = imageops::thumbnail(&*view, across, down);
        imageops::resize(&between, to.width, to.height, FilterType::Triangle)
    } else {
        imageops::resize(&*view, to.width, to.height, FilterType::Triangle)
    }
}

fn encode(picture: &RgbImage) -> Result<Vec<u8>, RenderError> {
    let side = |side: u32| u16::try_from(side).map_err(|_large| RenderError::TooLarge);
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_progressive(true);
    encoder
        .encode(picture.as_raw(), width, height, ColorType::Rgb)
        .map_err(|error| RenderError::Broken(Box::new(error)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
