use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use super::{JobContext, JobError};
use crate::jobs::{Job, decode};

/// Something a handler can ask for beside its job.
///
/// The state of the worker and the [`JobContext`] can be asked for as they are; for anything else,
/// implement this trait with its default `Via`.
///
/// ```
/// use standfast_queue::{FromJob, JobContext, JobError};
///
/// #[derive(Clone)] struct App;
/// struct Tenant(String);
///
/// impl FromJob<App> for Tenant {
///     fn from_job(context: &JobContext, _app: &App) -> Result<Self, JobError> {
///         let tenant = context.context().headers.get("tenant");
///         Ok(Self(tenant.cloned().ok_or_else(|| JobError::dead("no tenant"))?))
///     }
/// }
/// ```
pub trait FromJob<S, Via = ByUser>: Sized {
    /// Takes it from the job's context and the worker's state.
    ///
    /// # Errors
    ///
    /// Ends the attempt before the handler runs, as if the handler had returned it.
    fn from_job(context: &JobContext, state: &S) -> Result<Self, JobError>;
}

/// Marks what users make extractable.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// use standfast_queue::{ByUser, FromJob};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = String; }
///
/// struct Attempt(u32);
///
/// // `ByUser` is the default, so that `FromJob<S>` says the same
/// impl<S> FromJob<S, ByUser> for Attempt {
///     fn from_job(context: &JobContext, _state: &S) -> Result<Self, JobError> {
///         Ok(Self(context.attempt()))
///     }
/// }
///
/// async fn greet(job: Greet, Attempt(attempt): Attempt) -> Result<String, JobError> {
///     Ok(format!("hello {}, at attempt {attempt}", job.name))
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// # let handle = jobs.send(Greet { name: "Ada".into() }).await?;
/// # jobs.worker(()).on(greet).drain().await;
/// # assert_eq!(handle.wait(Duration::from_secs(5)).await?, "hello Ada, at attempt 1");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ByUser {}

/// Marks the state of the worker.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = String; }
/// #[derive(Clone)]
/// struct App { greeting: &'static str }
///
/// // nobody writes the mark: that `App` is the state says it
/// async fn greet(job: Greet, app: App) -> Result<String, JobError> {
///     Ok(format!("{} {}", app.greeting, job.name))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Greet { name: "Ada".into() }).await?;
/// jobs.worker(App { greeting: "good morning" }).on(greet).drain().await;
/// assert_eq!(handle.wait(Duration::from_secs(5)).await?, "good morning Ada");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ByState {}

/// Marks the [`JobContext`].
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = String; }
/// // nobody writes the mark: that it is a `JobContext` says it
/// async fn greet(job: Greet, ctx: JobContext) -> Result<String, JobError> {
///     Ok(format!("hello {}, at attempt {}", job.name, ctx.attempt()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Greet { name: "Ada".into() }).await?;
/// jobs.worker(()).on(greet).drain().await;
/// assert_eq!(handle.wait(Duration::from_secs(5)).await?, "hello Ada, at attempt 1");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ByContext {}

impl<S: Clone> FromJob<S, ByState> for S {
    fn from_job(_context: &JobContext, state: &S) -> Result<Self, JobError> {
        Ok(state.clone())
    }
}

impl<S> FromJob<S, ByContext> for JobContext {
    fn from_job(context: &JobContext, _state: &S) -> Result<Self, JobError> {
        Ok(context.clone())
    }
}

/// An asynchronous function from a job, and up to four [extractable](FromJob) values, to its
/// output.
///
/// `M` is found by the compiler.
///
/// ```
/// # use std::time::Duration;
/// # use standfast_queue::{Job, JobContext, JobError, Jobs, MemoryQueue, MemoryStatusStore, Worker};
/// use standfast_queue::{Handler, KindConfig};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = String; }
///
/// /// Adds a handler whose jobs run one at a time.
/// fn on_serially<M: 'static>(worker: Worker<()>, handler: impl Handler<(), M>) -> Worker<()> {
///     worker.on_with(KindConfig::default().concurrency(1), handler)
/// }
///
/// async fn greet(job: Greet, _ctx: JobContext) -> Result<String, JobError> {
///     Ok(format!("hello {}", job.name))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
/// let handle = jobs.send(Greet { name: "Ada".into() }).await?;
/// on_serially(jobs.worker(()), greet).drain().await;
/// assert_eq!(handle.wait(Duration::from_secs(5)).await?, "hello Ada");
/// # Ok(()) }
/// ```
pub trait Handler<S, M>: Send + Sync + 'static {
    /// The job it handles.
    type Job: Job;

    /// Handles one job.
    fn call(
        &self,
        job: Self::Job,
        context: &JobContext,
        state: &S,
    ) -> impl Future<Output = Result<<Self::Job as Job>::Output, JobError>> + Send;
}

macro_rules! handler {
    ($(($argument:ident, $via:ident)),*) => {
        impl<F, Fut, S, J, $($argument, $via),*> Handler<S, (J, $(($argument, $via)),*)> for F
        where
            F: Fn(J, $($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<J::Output, JobError>> + Send,
            J: Job,
            S: Sync,
            $($argument: FromJob<S, $via> + Send),*
        {
            type Job = J;

            #[allow(unused_variables, reason = "a handler of the job alone asks for nothing else")]
            async fn call(
                &self,
                job: J,
                context: &JobContext,
                state: &S,
            ) -> Result<J::Output, JobError> {
                (self)(job, $(<$argument as FromJob<S, $via>>::from_job(context, state)?),*).await
            }
        }
    };
}

handler!();
handler!((A, Va));
handler!((A, Va), (B, Vb));
handler!((A, Va), (B, Vb), (C, Vc));
handler!((A, Va), (B, Vb), (C, Vc), (D, Vd));

/// A job on its way to its handler: the request of [worker middleware](crate::Worker).
///
/// ```
/// use standfast_queue::JobRequest;
///
/// /// What a layer that logs may say.
/// fn line(request: &JobRequest) -> String {
///     let (envelope, attempt) = (request.context.envelope(), request.context.attempt());
///     format!("{} {}, attempt {attempt}", envelope.kind, envelope.id)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobRequest {
    /// What is known about the job; its envelope has kind and body.
    pub context: JobContext,
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Value, JobError>> + Send>>;

/// A handler of any job, from bytes to JSON.
pub(crate) type AnyHandler = Arc<dyn Fn(JobRequest) -> Answer + Send + Sync>;

/// Reads the job, calls the handler and writes its output.
pub(crate) fn erase<S, M, H>(handler: H, state: S) -> AnyHandler
where
    H: Handler<S, M>,
    S: Send + Sync + 'static,
    M: 'static,
{
    let shared = Arc::new((handler, state, PhantomData::<fn() -> M>));
    Arc::new(move |JobRequest { context }| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let (handler, state, _) = &*shared;
            let job = decode::<H::Job>(context.envelope())
                .map_err(|error| JobError::dead(error.to_string()))?;
            let output = handler.call(job, &context, state).await?;
            Ok(serde_json::to_value(output)?)
        })
    })
}
