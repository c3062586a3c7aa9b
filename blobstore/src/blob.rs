use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt as _;
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::checksum::{Checksums, Crc64};
use crate::meta::BlobMeta;

/// A blob that is being read: what is known of it, and its bytes as a stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a.txt", "hello world").await?;
/// let blob = blobs.get("a.txt").range(6..).await?;
/// assert_eq!((blob.range(), blob.meta().size), (6..11, 11));
/// assert_eq!(blob.bytes(1024).await?, "world");
/// # Ok(()) }
/// ```
pub struct Blob {
    meta: BlobMeta,
    range: Range<u64>,
    stream: BlobStream,
}

impl Blob {
    /// The bytes in `range` of the blob that `meta` describes, for a backend to hand out.
    ///
    /// The stream is held to the length of the range, and to the checksum in `meta` if the range
    /// is the whole blob and `verify` is set.
    pub fn new<S>(meta: BlobMeta, range: Range<u64>, verify: bool, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        let whole = range == (0..meta.size);
        let expected = meta.crc64.filter(|_| verify && whole);
        let stream = BlobStream {
            inner: Some(Box::pin(stream)),
            left: range.end - range.start,
            expected: expected.map(|crc64| (Checksums::new(false), crc64)),
        };
        Self { meta, range, stream }
    }

    /// What is known of the blob.
    pub fn meta(&self) -> &BlobMeta {
        &self.meta
    }

    /// Which bytes of it the stream gives.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The bytes, piece by piece.
    pub fn into_stream(self) -> BlobStream {
        self.stream
    }

    /// All the bytes, if there are no more than `at_most`.
    ///
    /// # Errors
    ///
    /// `TooLarge` before anything is read; else what the stream met.
    pub async fn bytes(mut self, at_most: u64) -> Result<Bytes> {
        let len = self.range.end - self.range.start;
        if len > at_most {
            return Err(Error::new(ErrorKind::TooLarge, "blobstore", "blob.get")
                .with_reason(Reason::BodyTooLarge)
                .with_detail(format!("{:?} has {len} bytes, over {at_most}", self.meta.key)));
        }
        let Some(first) = self.stream.next().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() as u64 == len {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(len as usize);
        all.extend_from_slice(&first);
        while let Some(piece) = self.stream.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.freeze())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("meta", &self.meta).field("range", &self.range).finish()
    }
}

/// The bytes of a [`Blob`], piece by piece.
///
/// Whoever has seen as many bytes as were promised has seen the right ones: the last piece is held
/// back until the checksum agrees, and an error comes instead of it if it does not. After an error
/// the stream has ended.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use futures_util::TryStreamExt;
/// use standfast_blobstore::{Blobs, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("a.txt", "hello").await?;
/// let mut pieces = blobs.get("a.txt").await?.into_stream();
/// while let Some(piece) = pieces.try_next().await? {
///     assert_eq!(piece, "hello");
/// }
/// # Ok(()) }
/// ```
pub struct BlobStream {
    inner: Option<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>>,
    left: u64,
    expected: Option<(Checksums, Crc64)>,
}

impl BlobStream {
    fn check(&mut self, piece: &Bytes) -> Result<()> {
        let corrupt = |detail: String| {
            Error::new(ErrorKind::Corrupt, "blobstore", "blob.get")
                .with_reason(Reason::LengthMismatch)
                .with_detail(detail)
        };
        self.left = self
            .left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| corrupt("more bytes are stored than the blob has".into()))?;
        if let Some((sums, expected)) = &mut self.expected {
            sums.update(piece);
            if self.left == 0 && sums.crc64() != *expected {
                return Err(Error::new(ErrorKind::Checksum, "blobstore", "blob.get")
                    .with_detail(format!("stored {expected}, read {}", sums.crc64())));
            }
        }
        Ok(())
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
            let item = match ready!(inner.as_mut().poll_next(cx)) {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => self.check(&piece).map(|()| piece),
                Some(Err(error)) => Err(error),
                None if self.left == 0 => {
                    self.inner = None;
                    return Poll::Ready(None);
                }
                None => Err(Error::new(ErrorKind::Corrupt, "blobstore", "blob.get")
                    .with_reason(Reason::LengthMismatch)
                    .with_detail(format!("the last {} bytes are missing", self.left))),
            };
            if item.is_err() {
                self.inner = None;
            }
            return Poll::Ready(Some(item));
        }
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use futures_util::stream;

    use super::*;
    use crate::{BlobKey, Version};

    fn blob(pieces: &[&'static str], stored: &str, verify: bool) -> Blob {
        let size = stored.len() as u64;
        let key = BlobKey::new("k").unwrap();
        let mut meta = BlobMeta::new(key, size, Version::new("1"), Utc::now());
        meta.crc64 = Some(Crc64::of(stored.as_bytes()));
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        Blob::new(meta, 0..size, verify, stream::iter(pieces))
    }

    async fn kinds(blob: Blob) -> Vec<Result<Bytes, ErrorKind>> {
        blob.into_stream().map(|item| item.map_err(|error| error.kind())).collect().await
    }

    #[tokio::test]
    async fn the_last_piece_is_kept_back_when_the_bytes_are_wrong() {
        let good = kinds(blob(&["ab", "", "cd"], "abcd", true)).await;
        assert_eq!(good, [Ok("ab".into()), Ok("cd".into())]);
        let wrong = kinds(blob(&["ab", "cx"], "abcd", true)).await;
        assert_eq!(wrong, [Ok("ab".into()), Err(ErrorKind::Checksum)]);
        let unchecked = kinds(blob(&["ab", "cx"], "abcd", false)).await;
        assert_eq!(unchecked, [Ok("ab".into()), Ok("cx".into())]);
    }

    #[tokio::test]
    async fn too_few_and_too_many_bytes_are_errors() {
        assert_eq!(kinds(blob(&["ab"], "abc", true)).await[1], Err(ErrorKind::Corrupt));
        assert_eq!(kinds(blob(&["ab", "cd"], "abc", true)).await[1], Err(ErrorKind::Corrupt));
        assert!(kinds(blob(&[], "", true)).await.is_empty());
    }
}
