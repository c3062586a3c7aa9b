//! What a handler can ask for.

use std::sync::{Arc, Mutex};

use standfast_core::{Context, Id128};
use standfast_queue::{FromJob, Job, JobContext, JobError, JobState, Jobs};

use crate::support::{Task, World, secs, status_of, task};

#[derive(Clone)]
struct App {
    name: &'static str,
}

struct Tenant(String);

impl FromJob<App> for Tenant {
    fn from_job(context: &JobContext, _: &App) -> Result<Self, JobError> {
        let tenant = context.context().headers.get("tenant");
        Ok(Self(tenant.cloned().ok_or_else(|| JobError::dead("no tenant"))?))
    }
}

struct Name(&'static str);

impl FromJob<App> for Name {
    fn from_job(_: &JobContext, app: &App) -> Result<Self, JobError> {
        Ok(Self(app.name))
    }
}

macro_rules! kind {
    ($name:ident) => {
        #[derive(serde::Deserialize, serde::Serialize)]
        struct $name;

        impl Job for $name {
            const KIND: &'static str = stringify!($name);
            type Output = String;
        }
    };
}

kind!(None0);
kind!(One);
kind!(Two);
kind!(Three);
kind!(Four);

async fn none(_: None0) -> Result<String, JobError> {
    Ok("none".into())
}

async fn one(_: One, app: App) -> Result<String, JobError> {
    Ok(app.name.into())
}

async fn two(_: Two, context: JobContext, app: App) -> Result<String, JobError> {
    Ok(format!("{} {}", app.name, context.attempt()))
}

async fn three(_: Three, tenant: Tenant, app: App, _: JobContext) -> Result<String, JobError> {
    Ok(format!("{} {}", app.name, tenant.0))
}

async fn four(
    _: Four,
    Name(name): Name,
    _: JobContext,
    Tenant(tenant): Tenant,
    app: App,
) -> Result<String, JobError> {
    Ok(format!("{} {name} {tenant}", app.name))
}

async fn output<J: Job<Output = String>>(jobs: &Jobs, job: J) -> String {
    let app = App { name: "app" };
    let handle = jobs.send(job).await.unwrap();
    let worker = jobs.worker(app).on(none).on(one).on(two).on(three).on(four);
    worker.drain().await;
    handle.wait(secs(1)).await.unwrap()
}

#[tokio::test]
async fn a_handler_gets_what_it_asks_for() {
    let mut context = Context::default();
    context.headers.insert("tenant".into(), "acme".into());
    let jobs = World::new().jobs.with_context(context);
    assert_eq!(output(&jobs, None0).await, "none");
    assert_eq!(output(&jobs, One).await, "app");
    assert_eq!(output(&jobs, Two).await, "app 1");
    assert_eq!(output(&jobs, Three).await, "app acme");
    assert_eq!(output(&jobs, Four).await, "app app acme");
}

#[tokio::test]
async fn what_cannot_be_extracted_ends_the_attempt_as_its_error_says() {
    let world = World::new();
    let handle = world.jobs.send(Three).await.unwrap();
    let worker = world.jobs.worker(App { name: "app" }).on(three);
    assert_eq!(worker.drain().await.dead, 1);
    let status = status_of(&handle).await;
    assert_eq!(status.state, JobState::Failed);
    assert_eq!(status.error.as_ref().unwrap().message, "no tenant");
}

#[test]
#[should_panic(expected = "two handlers of the kind `task`")]
fn two_handlers_of_a_kind_are_a_mistake() {
    let handler = async |job: Task| Ok(job.n);
    let _ = World::new().jobs.worker(()).on(handler).on(handler);
}

#[tokio::test]
async fn an_effect_has_the_same_name_in_every_attempt_and_another_in_every_job() {
    let world = World::new();
    let names = Arc::new(Mutex::new(Vec::<Id128>::new()));
    let noted = Arc::clone(&names);
    let worker = world.jobs.worker(()).on(move |_: Task, ctx: JobContext| {
        noted.lock().unwrap().extend([ctx.once("mail"), ctx.once("invoice")]);
        async move {
            match ctx.attempt() {
                1 => Err(JobError::retry_in(std::time::Duration::ZERO, "again")),
                _ => Ok(0),
            }
        }
    });
    world.jobs.send(task(1)).await.unwrap();
    worker.drain().await;
    world.jobs.send(task(2)).await.unwrap();
    worker.drain().await;
    let names = names.lock().unwrap();
    assert_eq!(names[0..2], names[2..4]);
    assert_ne!(names[0], names[1]);
    assert_ne!(names[0], names[4]);
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn layers_go_around_handlers_and_the_last_one_is_the_outermost() {
    use standfast_queue::{JobRequest, middleware::JobService};
    use tower_layer::layer_fn;
    use tower_service::Service;

    #[derive(Clone)]
    struct Noting<S>(&'static str, Arc<Mutex<Vec<String>>>, S);

    impl<S: Service<JobRequest>> Service<JobRequest> for Noting<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), S::Error>> {
            self.2.poll_ready(cx)
        }

        fn call(&mut self, request: JobRequest) -> S::Future {
            let kind = &request.context.envelope().kind;
            self.1.lock().unwrap().push(format!("{} {kind}", self.0));
            self.2.call(request)
        }
    }

    let (world, log) = (World::new(), Arc::new(Mutex::new(Vec::new())));
    let noting = |name: &'static str| {
        let log = Arc::clone(&log);
        layer_fn(move |inner: JobService| Noting(name, Arc::clone(&log), inner))
    };
    let worker = world
        .jobs
        .worker(())
        .layer(noting("inner"))
        .on(async |job: Task| Ok(job.n))
        .layer(noting("outer"));
    let handle = world.jobs.send(task(3)).await.unwrap();
    worker.drain().await;
    assert_eq!(handle.wait(secs(1)).await.unwrap(), 3);
    assert_eq!(*log.lock().unwrap(), ["outer task", "inner task"]);
}
