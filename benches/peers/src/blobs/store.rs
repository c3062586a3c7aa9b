//! What every contender can do.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use opendal::Operator;
use standfast_blobstore::{Blobs, Body};

pub(crate) const THERE: &str = "the store is there";
/// How large the parts of an upload and the ranges of a download are.
pub(crate) const PART: usize = 8 << 20;
/// How many of them are on their way at a time.
pub(crate) const PARTS: usize = 8;
/// What a producer gives at a time.
const PIECE: usize = 64 << 10;

/// Small blobs in one piece.
pub(crate) trait Store: Clone + Send + Sync + 'static {
    fn put(&self, key: String, body: Bytes) -> impl Future<Output = ()> + Send;
    fn get(&self, key: String) -> impl Future<Output = usize> + Send;
}

/// Large blobs in parts.
pub(crate) trait Large: Store {
    /// Uploads so many bytes, of which it learns only as they come.
    fn upload(&self, key: String, len: usize) -> impl Future<Output = ()> + Send;
    /// Downloads all bytes as one stream, and counts them.
    fn stream(&self, key: String) -> impl Future<Output = usize> + Send;
    /// Gets some of the bytes.
    fn range(&self, key: String, range: Range<u64>) -> impl Future<Output = Bytes> + Send;
}

/// The pieces of a body of so many bytes, in memory that is made once.
pub(crate) fn pieces(len: usize) -> impl Iterator<Item = Bytes> + Send + 'static {
    let piece = Bytes::from((0..PIECE).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<_>>());
    (0..len.div_ceil(PIECE)).map(move |at| piece.slice(..PIECE.min(len - at * PIECE)))
}

#[derive(Clone)]
pub(crate) struct Standfast(pub(crate) Blobs);

impl Store for Standfast {
    async fn put(&self, key: String, body: Bytes) {
        self.0.put(key, body).await.expect(THERE);
    }

    async fn get(&self, key: String) -> usize {
        self.0.get_bytes(key).await.expect(THERE).len()
    }
}

impl Large for Standfast {
    async fn upload(&self, key: String, len: usize) {
        let stream = futures_util::stream::iter(pieces(len).map(Ok::<_, std::io::Error>));
        self.0.put(key, Body::stream(stream)).await.expect(THERE);
    }

    async fn stream(&self, key: String) -> usize {
        let stream = self.0.get(key).await.expect(THERE).into_stream();
        stream.try_fold(0, async |sum, piece| Ok(sum + piece.len())).await.expect(THERE)
    }

    async fn range(&self, key: String, range: Range<u64>) -> Bytes {
        self.0.get_bytes(key).range(range).await.expect(THERE)
    }
}

#[derive(Clone)]
pub(crate) struct Objects(pub(crate) Arc<dyn ObjectStore>);

impl Store for Objects {
    async fn put(&self, key: String, body: Bytes) {
        self.0.put(&Path::from(key), body.into()).await.expect(THERE);
    }

    async fn get(&self, key: String) -> usize {
        let got = self.0.get(&Path::from(key)).await.expect(THERE);
        got.bytes().await.expect(THERE).len()
    }
}

impl Large for Objects {
    async fn upload(&self, key: String, len: usize) {
        let upload = self.0.put_multipart(&Path::from(key)).await.expect(THERE);
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART);
        for piece in pieces(len) {
            write.wait_for_capacity(PARTS).await.expect(THERE);
            write.put(piece);
        }
        write.finish().await.expect(THERE);
    }

    async fn stream(&self, key: String) -> usize {
        let stream = self.0.get(&Path::from(key)).await.expect(THERE).into_stream();
        stream.try_fold(0, async |sum, piece| Ok(sum + piece.len())).await.expect(THERE)
    }

    async fn range(&self, key: String, range: Range<u64>) -> Bytes {
        self.0.get_range(&Path::from(key), range).await.expect(THERE)
    }
}

#[derive(Clone)]
pub(crate) struct Dal(pub(crate) Operator);

impl Store for Dal {
    async fn put(&self, key: String, body: Bytes) {
        self.0.write(&key, body).await.expect(THERE);
    }

    async fn get(&self, key: String) -> usize {
        self.0.read(&key).await.expect(THERE).len()
    }
}

impl Large for Dal {
    async fn upload(&self, key: String, len: usize) {
        let writer = self.0.writer_with(&key).chunk(PART).concurrent(PARTS);
        let mut writer = writer.await.expect(THERE);
        for piece in pieces(len) {
            writer.write(piece).await.expect(THERE);
        }
        writer.close().await.expect(THERE);
    }

    async fn stream(&self, key: String) -> usize {
        let reader = self.0.reader(&key).await.expect(THERE);
        let stream = reader.into_bytes_stream(..).await.expect(THERE);
        stream.fold(0, async |sum, piece| sum + piece.expect(THERE).len()).await
    }

    async fn range(&self, key: String, range: Range<u64>) -> Bytes {
        self.0.read_with(&key).range(range).await.expect(THERE).to_bytes()
    }
}
