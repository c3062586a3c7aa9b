//! A store that takes no excuses: what is not implemented or not supported is a failed test.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use standfast_blobstore::AsObjectStore;

#[derive(Debug)]
pub(crate) struct Strict(pub(crate) AsObjectStore);

impl fmt::Display for Strict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn strict<T>(result: Result<T>) -> Result<T> {
    if let Err(excuse @ (Error::NotImplemented { .. } | Error::NotSupported { .. })) = &result {
        panic!("{excuse}");
    }
    result
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Strict {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        strict(self.0.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = strict(self.0.put_multipart_opts(location, options).await)?;
        Ok(Box::new(StrictUpload(upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        strict(self.0.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        strict(self.0.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations).map(strict).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).map(strict).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset).map(strict).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        strict(self.0.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        strict(self.0.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        strict(self.0.rename_opts(from, to, options).await)
    }
}

#[derive(Debug)]
struct StrictUpload(Box<dyn MultipartUpload>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for StrictUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.0.put_part(data);
        Box::pin(async { strict(part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        strict(self.0.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        strict(self.0.abort().await)
    }
}
