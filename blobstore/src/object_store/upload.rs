//! Uploads in parts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::object_store::path::Path;
use ::object_store::{MultipartUpload, PutPayload, PutResult, Result as TheirResult, UploadPart};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::future::Shared;
use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use standfast_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use super::convert::{failure, generic, put_result};
use crate::body::Body;
use crate::key::BlobKey;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::store::BlobStore;

/// An upload that is one put of a stream, whose pieces are the parts in the order of their calls.
///
/// So nothing is anywhere before the put ends, which it does well only after `complete`: if the
/// upload is aborted or dropped, the stream ends in an error, and the store clears up; if the
/// process dies, the put was never done.
pub(super) struct Upload {
    path: Path,
    /// `None` once no more can come.
    steps: Option<mpsc::UnboundedSender<Step>>,
    /// Whether a part's future was dropped before it was done: nobody can tell whether its caller
    /// means the part to be there.
    torn: Arc<AtomicBool>,
    put: Shared<BoxFuture<'static, Result<PutOutcome>>>,
}

enum Step {
    Part(PutPayload, oneshot::Sender<()>),
    End,
}

impl Upload {
    pub(super) fn begin(
        store: Arc<dyn BlobStore>,
        path: Path,
        key: BlobKey,
        options: PutOptions,
    ) -> Self {
        let (steps, receiver) = mpsc::unbounded_channel();
        // In a task of its own: parts must arrive whichever of their futures is polled.
        let put =
            tokio::spawn(
                async move { store.put(&key, Body::stream(pieces(receiver)), &options).await },
            );
        let put = put.map(|ended| ended.unwrap_or_else(|panic| Err(broken().with_source(panic))));
        Self { path, steps: Some(steps), torn: Arc::default(), put: put.boxed().shared() }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Unexpected, "blobstore", "blob.put")
}

/// The bytes of the parts, with an error at the end unless it was said that this is the end.
fn pieces(
    mut receiver: mpsc::UnboundedReceiver<Step>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let cut = stream::once(future::ready(None));
    stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|step| step.map(Some)))
        .chain(cut)
        .take_while(|step| future::ready(!matches!(step, Some(Step::End))))
        .flat_map(|step| match step {
            Some(Step::Part(payload, taken)) => {
                // Once the store asks for more, it has done with the part.
                let taken = stream::once(async move { _ = taken.send(()) });
                let taken = taken.filter_map(|()| future::ready(None));
                stream::iter(payload).map(Ok).chain(taken).boxed()
            }
            _ => {
                let given_up = Error::new(ErrorKind::Cancelled, "blobstore", "blob.put")
                    .with_detail("the upload was given up");
                stream::once(future::ready(Err(given_up))).boxed()
            }
        })
}

/// Notes on its drop that a part was not waited for, unless it was.
struct Awaited(Option<Arc<AtomicBool>>);

impl Awaited {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(torn) = &self.0 {
            torn.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (taken, done) = oneshot::channel();
        if let Some(steps) = &self.steps {
            // If nobody receives, the put has failed, which the part's future says.
            _ = steps.send(Step::Part(data, taken));
        }
        let awaited = Awaited(Some(Arc::clone(&self.torn)));
        let (path, put) = (self.path.clone(), self.put.clone());
        Box::pin(async move {
            let taken = done.await;
            awaited.done();
            if taken.is_ok() {
                return Ok(());
            }
            Err(match put.await {
                Err(error) => failure(&path, error),
                Ok(_) => generic("the upload was completed before this part"),
            })
        })
    }

    async fn complete(&mut self) -> TheirResult<PutResult> {
        if let Some(steps) = self.steps.take() {
            if self.torn.load(Ordering::Relaxed) {
                return Err(generic("a part was given up before it was done"));
            }
            // If nobody receives, the put has failed, which it says.
            _ = steps.send(Step::End);
        }
        put_result(&self.path, self.put.clone().await)
    }

    async fn abort(&mut self) -> TheirResult<()> {
        self.steps = None;
        match self.put.clone().await {
            Ok(_) => Err(generic("the upload was completed before it was aborted")),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.path).finish_non_exhaustive()
    }
}
