//! The part of Lambda that a function sees: an interface to ask for invocations and to answer them.

use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use standfast_core::JobId;
use standfast_queue::SqsQueues;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::function::{self, Log};
use crate::sqs_support::Service;

/// How the function answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Response(Value),
    Error(Value),
    /// It did not, within its time.
    None,
}

struct Invocation {
    event: String,
    timeout: Duration,
    answer: oneshot::Sender<Answer>,
}

struct Interface {
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

/// A function that runs, in a process of its own.
pub(crate) struct Platform {
    invocations: mpsc::UnboundedSender<Invocation>,
    function: Child,
    pub(crate) log: Log,
    _dir: TempDir,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Platform {
    /// Starts a function for the messages of `queues`.
    pub(crate) async fn start(service: &Service, queues: &SqsQueues, concurrency: usize) -> Self {
        let (invocations, next) = mpsc::unbounded_channel();
        let interface =
            Arc::new(Interface { next: tokio::sync::Mutex::new(next), running: Mutex::default() });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(interface);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

        let dir = TempDir::new().unwrap();
        let log = Log::at(dir.path().join("log"));
        let function = Command::new(std::env::current_exe().unwrap())
            .arg("function")
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "test")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs(function::environment(service, queues, &log, concurrency))
            .spawn()
            .unwrap();
        Self { invocations, function, log, _dir: dir }
    }

    /// Hands the function an event, and waits for its answer for as long as it may take.
    pub(crate) async fn invoke(&self, event: impl ToString, timeout: Duration) -> Answer {
        let (answer, answered) = oneshot::channel();
        let event = event.to_string();
        self.invocations.send(Invocation { event, timeout, answer }).ok().unwrap();
        // on a busy machine the function may take its time to start and ask
        let patience = timeout + Duration::from_secs(30);
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(answer)) => answer,
            _ => Answer::None,
        }
    }

    /// The ids that a response keeps in the queue.
    pub(crate) async fn failures(&self, event: &Value, timeout: Duration) -> Vec<String> {
        let answer = self.invoke(event, timeout).await;
        let Answer::Response(response) = &answer else { panic!("{answer:?}") };
        assert_eq!(response.as_object().unwrap().len(), 1, "{response}");
        let failures = response["batchItemFailures"].as_array().unwrap();
        let id = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().to_owned();
        failures.iter().map(id).collect()
    }

    pub(crate) fn kill(&mut self) {
        // it may have ended already, which is no failure of the test that ends here
        let _ = self.function.kill();
        let _ = self.function.wait();
    }
}

async fn next_invocation(State(interface): State<Arc<Interface>>) -> Response {
    let Some(invocation) = interface.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = JobId::random().to_string();
    let deadline = SystemTime::now() + invocation.timeout;
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    interface.running.lock().unwrap().insert(id.clone(), invocation.answer);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:test".into()),
        ("content-type", "application/json".into()),
    ];
    (headers, invocation.event).into_response()
}

async fn response(
    State(interface): State<Arc<Interface>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    interface.answer(&id, Answer::Response(serde_json::from_slice(&body).unwrap()))
}

async fn error(
    State(interface): State<Arc<Interface>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    interface.answer(&id, Answer::Error(serde_json::from_slice(&body).unwrap()))
}

impl Interface {
    fn answer(&self, id: &str, answer: Answer) -> StatusCode {
        let running = self.running.lock().unwrap().remove(id);
        match running.map(|waits| waits.send(answer)) {
            Some(Ok(())) => StatusCode::ACCEPTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
