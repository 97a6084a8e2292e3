//! How large a preview is: one of a few sizes, so that few are made of one picture.

/// The sides that previews have, smallest first.
const STANDARD: [u32; 4] = [256, 512, 768, SIDE_MAX];
/// Longest side of a preview.
pub const SIDE_MAX: u32 = 1_024;

/// Width and height in pixels, as they are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Size {
    /// How many pixels that is.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width).saturating_mul(u64::from(self.height))
    }

    /// The same picture lying on its side.
    #[must_use]
    pub(crate) fn turned(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Wish {
    /// From left to right.
    pub width: Option<f64>,
    /// From top to bottom.
    pub height: Option<f64>,
}

impl Wish {
    /// The size of the preview of a picture. With nothing asked it is a square of the smallest side;
    /// else one side is the next larger standard one and the other follows, so that the preview covers
    /// what was asked. No side is longer than [`SIDE_MAX`]: what does not fit is cut off.
    ///
    /// ```
    /// # use homecore_previews::{Size, Wish};
    /// let picture = Size { width: 4_000, height: 3_000 };
    /// let wish = Wish { width: Some(256.0), height: None };
    /// assert_eq!(wish.of(picture), Size { width: 512, height: 384 });
    /// ```
    #[must_use]
    pub fn of(self, picture: Size) -> Size {
        let by_width = |width| {
            let width = standard(width);
            Size {
                width,
                height: follow(width, picture.height, picture.width),
            }
        };
        let by_height = |height| {
            let height = standard(height);
            Size {
                width: follow(height, picture.width, picture.height),
                height,
            }
        };
        match (self.width, self.height) {
            (None, None) => {
                let [side, ..] = STANDARD;
                Size {
                    width: side,
                    height: side,
                }
            }
            (Some(width), None) => by_width(width),
            (None, Some(height)) => by_height(height),
            (Some(width), Some(height)) => {
                let ratio = f64::from(picture.width) / f64::from(picture.height.max(1));
                if width / height > ratio {
                    by_width(width)
                } else {
                    by_height(height)
                }
            }
        }
    }
}

/// The next larger standard side, or the largest.
fn standard(asked: f64) -> u32 {
    let larger = STANDARD.into_iter().find(|side| asked < f64::from(*side));
    larger.unwrap_or(SIDE_MAX)
}

/// The side that goes with `side` as `other` goes with `this`.
fn follow(side: u32, other: u32, this: u32) -> u32 {
    let this = u64::from(this.max(1));
    let scaled = (u64::from(side) * u64::from(other) + this / 2) / this;
    u32::try_from(scaled).unwrap_or(SIDE_MAX).clamp(1, SIDE_MAX)
}

/// The largest part of a picture that has the shape of a preview.
pub(crate) fn part(picture: Size, preview: Size) -> Size {
    let (width, height) = (u64::from(picture.width), u64::from(picture.height));
    let (across, down) = (u64::from(preview.width), u64::from(preview.height));
    let scaled = |side: u64, by: u64, from: u64, most: u32| {
        let from = from.max(1);
        let scaled = (side.saturating_mul(by) + from / 2) / from;
        u32::try_from(scaled).unwrap_or(most).clamp(1, most.max(1))
    };
    if width.saturating_mul(down) > across.saturating_mul(height) {
        Size {
            width: scaled(height, across, down, picture.width),
            height: picture.height,
        }
    } else {
        Size {
            width: picture.width,
            height: scaled(width, down, across, picture.height),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_are_standard() {
        let landscape = size(4_000, 3_000);
        for (width, height, picture, expected) in [
            (None, None, landscape, size(256, 256)),
            (None, None, size(10, 5_000), size(256, 256)),
            (Some(255.9), None, landscape, size(256, 192)),
            (Some(256.0), None, landscape, size(512, 384)),
            (Some(0.0), None, landscape, size(256, 192)),
            (Some(-3.0), None, landscape, size(256, 192)),
            (Some(768.0), None, landscape, size(1_024, 768)),
            (Some(1e300), None, landscape, size(1_024, 768)),
            (None, Some(300.0), landscape, size(683, 512)),
            // What was asked is covered, by the side that decides.
            (Some(500.0), Some(100.0), landscape, size(512, 384)),
            (Some(100.0), Some(500.0), landscape, size(683, 512)),
            (Some(250.0), Some(200.0), size(110, 100), size(256, 233)),
            (Some(1.0), Some(0.0), landscape, size(256, 192)),
            // Neither side is longer than the longest, nor nothing.
            (Some(1_000.0), None, size(100, 900), size(1_024, 1_024)),
            (Some(100.0), None, size(60_000, 1), size(256, 1)),
        ] {
            let wish = Wish { width, height };
            assert_eq!(wish.of(picture), expected, "{wish:?} of {picture:?}");
        }
    }

    #[test]
    fn a_part_has_the_shape_of_the_preview() {
        assert_eq!(part(size(400, 300), size(256, 256)), size(300, 300));
        assert_eq!(part(size(300, 400), size(256, 256)), size(300, 300));
        assert_eq!(part(size(400, 300), size(512, 384)), size(400, 300));
        assert_eq!(part(size(1, 1), size(256, 1)), size(1, 1));
    }

    proptest! {
        #[test]
        fn previews_are_small_and_parts_fit(
            width in 1..=u32::MAX,
            height in 1..=u32::MAX,
            across in proptest::option::of(any::<f64>()),
            down in proptest::option::of(any::<f64>()),
        ) {
            let picture = size(width, height);
            let preview = Wish { width: across, height: down }.of(picture);
            prop_assert!((1..=SIDE_MAX).contains(&preview.width));
            prop_assert!((1..=SIDE_MAX).contains(&preview.height));
            let part = part(picture, preview);
            prop_assert!((1..=width).contains(&part.width));
            prop_assert!((1..=height).contains(&part.height));
        }
    }
}
