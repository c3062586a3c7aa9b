use std::ops::{Range, RangeFrom, RangeTo};

use standfast_core::{Error, ErrorKind, Result};

/// The part of a blob that a reader wants.
///
/// ```
/// use standfast_blobstore::ByteRange;
///
/// assert_eq!(ByteRange::from(2..100).within(10)?, 2..10);
/// assert_eq!(ByteRange::last(4).within(10)?, 6..10);
/// assert!(ByteRange::from(10..).within(10).is_err());
/// # Ok::<(), standfast_blobstore::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange(Wanted);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl ByteRange {
    /// The last `count` bytes, or all of a blob that is shorter.
    pub const fn last(count: u64) -> Self {
        Self(Wanted::Last(count))
    }

    /// The bytes of a blob of `size` bytes that this range stands for: clamped to the end, and
    /// empty where nothing was asked for.
    ///
    /// # Errors
    ///
    /// `Range` where the range begins at or behind the end.
    pub fn within(self, size: u64) -> Result<Range<u64>> {
        let (start, end) = match self.0 {
            Wanted::Between(start, end) if end <= start => {
                return Ok(start.min(size)..start.min(size));
            }
            Wanted::Between(start, end) => (start, end.min(size)),
            Wanted::From(start) => (start, size),
            Wanted::Last(count) => return Ok(size.saturating_sub(count)..size),
        };
        if start >= size {
            return Err(Error::new(ErrorKind::Range, "blobstore", "blob.get")
                .with_detail(format!("a range from {start} of a blob of {size} bytes")));
        }
        Ok(start..end)
    }
}

#[cfg(feature = "object-store")]
impl ByteRange {
    /// Where it begins and ends, unless that depends on the size of the blob or there is nothing.
    pub(crate) fn fixed(self) -> Option<(u64, Option<u64>)> {
        match self.0 {
            Wanted::Between(start, end) => (start < end).then_some((start, Some(end))),
            Wanted::From(start) => Some((start, None)),
            Wanted::Last(_) => None,
        }
    }
}

#[cfg(feature = "s3")]
impl ByteRange {
    /// The range as HTTP writes it; `None` for no bytes, which it cannot ask for.
    pub(crate) fn header(self) -> Option<String> {
        match self.0 {
            Wanted::Between(start, end) if end <= start => None,
            Wanted::Last(0) => None,
            // No object is as long, and some services read no larger number.
            Wanted::Between(start, end) if end > i64::MAX as u64 => Some(format!("bytes={start}-")),
            Wanted::Between(start, end) => Some(format!("bytes={start}-{}", end - 1)),
            Wanted::From(start) => Some(format!("bytes={start}-")),
            Wanted::Last(count) => Some(format!("bytes=-{}", count.min(i64::MAX as u64))),
        }
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self(Wanted::Between(range.start, range.end))
    }
}

impl From<RangeFrom<u64>> for ByteRange {
    fn from(range: RangeFrom<u64>) -> Self {
        Self(Wanted::From(range.start))
    }
}

impl From<RangeTo<u64>> for ByteRange {
    fn from(range: RangeTo<u64>) -> Self {
        Self(Wanted::Between(0, range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_as_http_does() {
        let table: &[(ByteRange, u64, Option<Range<u64>>)] = &[
            ((0..10).into(), 10, Some(0..10)),
            ((0..11).into(), 10, Some(0..10)),
            ((9..10).into(), 10, Some(9..10)),
            ((10..11).into(), 10, None),
            ((5..5).into(), 10, Some(5..5)),
            ((50..50).into(), 10, Some(10..10)),
            ((0..1).into(), 0, None),
            ((0..).into(), 0, None),
            ((3..).into(), 10, Some(3..10)),
            (ByteRange::last(3), 10, Some(7..10)),
            (ByteRange::last(30), 10, Some(0..10)),
            (ByteRange::last(0), 10, Some(10..10)),
            (ByteRange::last(3), 0, Some(0..0)),
            ((u64::MAX..u64::MAX).into(), 10, Some(10..10)),
        ];
        for (range, size, expected) in table {
            assert_eq!(range.within(*size).ok(), *expected, "{range:?} of {size}");
        }
    }
}
