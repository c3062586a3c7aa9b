use std::sync::Arc;

use async_trait::async_trait;
use standfast_core::Result;

use crate::body::Body;
use crate::key::BlobKey;
use crate::list::{ListOptions, Page};
use crate::meta::BlobMeta;
use crate::options::{CopyOptions, DeleteOptions, GetOptions, PutOptions};
use crate::outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
use crate::sign::{SignRequest, SignedUrl};
use crate::store::{BlobCapabilities, BlobStore};

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: BlobStore + ?Sized> BlobStore for $pointer<S> {
            fn capabilities(&self) -> BlobCapabilities {
                (**self).capabilities()
            }
            async fn put(&self, key: &BlobKey, body: Body, how: &PutOptions) -> Result<PutOutcome> {
                (**self).put(key, body, how).await
            }
            async fn get(&self, key: &BlobKey, how: &GetOptions) -> Result<GetOutcome> {
                (**self).get(key, how).await
            }
            async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
                (**self).head(key).await
            }
            async fn list(&self, options: &ListOptions) -> Result<Page> {
                (**self).list(options).await
            }
            async fn copy(
                &self,
                from: &BlobKey,
                to: &BlobKey,
                how: &CopyOptions,
            ) -> Result<CopyOutcome> {
                (**self).copy(from, to, how).await
            }
            async fn delete(&self, key: &BlobKey, how: &DeleteOptions) -> Result<DeleteOutcome> {
                (**self).delete(key, how).await
            }
            async fn delete_many(&self, keys: &[BlobKey]) -> Result<Vec<DeleteOutcome>> {
                (**self).delete_many(keys).await
            }
            async fn sign(&self, request: &SignRequest) -> Result<SignedUrl> {
                (**self).sign(request).await
            }
            async fn public_url(&self, key: &BlobKey) -> Result<Option<String>> {
                (**self).public_url(key).await
            }
            async fn sweep(&self, max: usize) -> Result<Swept> {
                (**self).sweep(max).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
