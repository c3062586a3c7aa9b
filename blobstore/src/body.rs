use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use standfast_core::{BoxError, Error, ErrorKind, Reason, Result};

use crate::file::FilePieces;

/// A boxed stream of what a caller uploads.
pub type UploadStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// What a put stores: bytes, a file, or a stream whose length is known or not.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use futures_util::stream;
/// use standfast_blobstore::{Blobs, Body, MemoryBlobStore};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let lines = stream::iter(["a,1\n", "b,2\n"].map(Ok::<_, std::io::Error>));
/// let meta = blobs.put("lines.csv", Body::stream(lines)).await?;
/// assert_eq!(meta.size, 8);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file on this machine.
    File(FileBody),
    /// Bytes that arrive one piece after another.
    Stream(StreamBody),
}

/// A file on this machine, or a range of it, that a put reads.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::{Blobs, Body, MemoryBlobStore};
///
/// let path = std::env::temp_dir().join(format!("standfast-doc-body-{}", std::process::id()));
/// std::fs::write(&path, "head,rows").unwrap();
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// blobs.put("rows", Body::file_range(&path, 5..9)).await?;
/// assert_eq!(blobs.get_bytes("rows").await?, "rows");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileBody {
    pub(crate) path: PathBuf,
    pub(crate) range: Option<Range<u64>>,
}

/// Pieces that arrive one after another, and how many bytes they have where that is known.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use futures_util::stream;
/// use standfast_blobstore::{Blobs, Body, MemoryBlobStore, Reason};
///
/// let blobs = Blobs::new(MemoryBlobStore::new());
/// let lines = stream::iter(["a,1\n", "b,2\n"].map(Ok::<_, std::io::Error>));
/// let error = blobs.put("lines.csv", Body::sized_stream(9, lines)).await.unwrap_err();
/// assert_eq!(error.reason(), Some(Reason::LengthMismatch), "8 bytes came");
/// # }
/// ```
pub struct StreamBody {
    stream: UploadStream,
    len: Option<u64>,
}

impl Body {
    /// The pieces of `stream`, of which nobody knows how many will come.
    pub fn stream<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<BoxError>,
    {
        let stream = stream.map(|piece| piece.map(Into::into).map_err(Into::into));
        Self::Stream(StreamBody { stream: Box::pin(stream), len: None })
    }

    /// The pieces of `stream`, which have `len` bytes together; with fewer or more the put fails.
    pub fn sized_stream<S, B, E>(len: u64, stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<BoxError>,
    {
        match Self::stream(stream) {
            Self::Stream(body) => Self::Stream(StreamBody { len: Some(len), ..body }),
            other => other,
        }
    }

    /// Several pieces of memory, one after another.
    pub fn chunks(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self::sized_stream(len, stream::iter(chunks.into_iter().map(Ok::<_, BoxError>)))
    }

    /// The whole file at `path`, which must not shrink meanwhile.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(FileBody { path: path.into(), range: None })
    }

    /// The bytes in `range` of the file at `path`.
    pub fn file_range(path: impl Into<PathBuf>, range: Range<u64>) -> Self {
        Self::File(FileBody { path: path.into(), range: Some(range) })
    }

    /// The body as pieces, for a backend to store one after another.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Denied` and the like where a file cannot be opened.
    pub async fn into_pieces(self) -> Result<Pieces> {
        let (source, len) = match self {
            Self::Bytes(bytes) => (Source::Once(Some(bytes.clone())), Some(bytes.len() as u64)),
            Self::File(file) => {
                let file = FilePieces::open(file.path, file.range).await?;
                let len = file.len();
                (Source::File(file), Some(len))
            }
            Self::Stream(body) => (Source::Stream(body.stream), body.len),
        };
        Ok(Pieces { source, len, seen: 0 })
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

/// The pieces of a [`Body`], held to the length that was announced.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> standfast_blobstore::Result<()> {
/// use standfast_blobstore::Body;
///
/// let mut pieces = Body::from("hello").into_pieces().await?;
/// assert_eq!(pieces.len(), Some(5));
/// while let Some(piece) = pieces.next().await? {
///     assert_eq!(piece, "hello");
/// }
/// # Ok(()) }
/// ```
pub struct Pieces {
    source: Source,
    len: Option<u64>,
    seen: u64,
}

enum Source {
    File(FilePieces),
    Once(Option<Bytes>),
    Stream(UploadStream),
}

impl Pieces {
    /// How many bytes were announced.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it was announced that there will be no byte.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// The next piece, never an empty one; `None` at the end.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::LengthMismatch`] as soon as there are more bytes than announced,
    /// or at the end if there were fewer; `Cancelled` where the caller's stream failed, unless its
    /// error is an [`Error`] already, which is passed on.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let piece = match &mut self.source {
                Source::File(file) => file.next().await?,
                Source::Once(bytes) => bytes.take(),
                Source::Stream(stream) => stream.next().await.transpose().map_err(producer)?,
            };
            let seen = self.seen + piece.as_ref().map_or(0, |piece| piece.len() as u64);
            if let Some(len) = self.len
                && (seen > len || (piece.is_none() && seen < len))
            {
                return Err(Error::new(ErrorKind::Invalid, "blobstore", "blob.put")
                    .with_reason(Reason::LengthMismatch)
                    .with_detail(format!("{len} bytes were announced, {seen} came")));
            }
            self.seen = seen;
            match piece {
                Some(piece) if piece.is_empty() => {}
                piece => return Ok(piece),
            }
        }
    }
}

fn producer(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Cancelled, "blobstore", "blob.put")
            .with_detail("the stream to store ended in an error")
            .with_source(error),
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody").field("len", &self.len).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("len", &self.len).field("seen", &self.seen).finish()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(Bytes::from_static(bytes))
    }
}
