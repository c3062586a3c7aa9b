use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use standfast_core::{BoxError, JobId, Tick};

/// What a listener may return: nothing, or a `Result` of anything.
///
/// An `Ok` says that everything has been handed on; the ids of the jobs are put into the record of
/// the tick where it is a [`JobId`] or a `Vec` of them. After an error the listener is called
/// again.
///
/// ```
/// use standfast_core::JobId;
/// use standfast_cron_lock::Dispatched;
///
/// fn may_be_returned(_: impl Dispatched) {}
/// may_be_returned(());
/// may_be_returned(Ok::<_, std::io::Error>("whatever the queue said"));
/// may_be_returned(Ok::<_, std::io::Error>(JobId::random()));
/// ```
pub trait Dispatched {
    /// The jobs that were dispatched.
    ///
    /// # Errors
    ///
    /// Why they were not, or not all.
    fn jobs(self) -> Result<Vec<JobId>, BoxError>;
}

impl Dispatched for () {
    fn jobs(self) -> Result<Vec<JobId>, BoxError> {
        Ok(Vec::new())
    }
}

impl<T: Any, E: Into<BoxError>> Dispatched for Result<T, E> {
    fn jobs(self) -> Result<Vec<JobId>, BoxError> {
        let value: Box<dyn Any> = Box::new(self.map_err(Into::into)?);
        // what a queue returns is a type of the queue's, which this crate does not know
        Ok(match value.downcast::<JobId>() {
            Ok(id) => vec![*id],
            Err(value) => value.downcast::<Vec<JobId>>().map_or_else(|_| Vec::new(), |ids| *ids),
        })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<JobId>, BoxError>> + Send>>;

/// A caller's closure, whatever it returns.
#[derive(Clone)]
pub(super) struct Listener(Arc<dyn Fn(Tick) -> Answer + Send + Sync>);

impl Listener {
    pub(super) fn new<F, Fut>(call: F) -> Self
    where
        F: Fn(Tick) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Dispatched> + Send + 'static,
    {
        Self(Arc::new(move |tick| {
            let answer = call(tick);
            Box::pin(async move { answer.await.jobs() })
        }))
    }

    pub(super) async fn call(&self, tick: Tick) -> Result<Vec<JobId>, BoxError> {
        (self.0)(tick).await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
