//! An HTTP client for the SDK that fails as it is told, in front of a real service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{HttpClient, RuntimeComponents};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The service answers this instead of doing anything.
    Answer(u16, &'static str),
    /// The service does it, and the answer never comes: the connection is cut.
    LoseAnswer,
    /// The service does it and says that it failed inside.
    FailAfterwards,
    /// The connection is cut before anything arrives.
    Cut,
    /// It takes so long until the request is sent.
    Late(Duration),
    /// It takes so long until the answer is there.
    LateAnswer(Duration),
    /// The service leaves out this entry and names the code for it.
    Entry(usize, &'static str),
}

#[derive(Debug)]
struct Rule {
    on: &'static str,
    times: usize,
    fault: Fault,
}

/// The client. Clones share what is to fail and what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    log: Vec<String>,
    /// One of so many requests fails, by turns in each way.
    every: usize,
    /// Whether a request is sent when the one before it is answered.
    in_turn: bool,
}

/// Whose turn it is, in the whole process.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Faults {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next so many requests of an operation fail.
    pub(crate) fn fail(&self, on: &'static str, times: usize, fault: Fault) {
        self.state().rules.push(Rule { on, times, fault });
    }

    /// Lets one of `every` requests fail, in each way in turn; none with 0.
    pub(crate) fn trouble(&self, every: usize) {
        self.state().every = every;
    }

    /// Another one, of which nothing was asked and which fails nothing yet.
    pub(crate) fn apart(&self) -> Self {
        let in_turn = self.state().in_turn;
        Self(Arc::new(Mutex::new(State { in_turn, ..State::default() })))
    }

    /// Sends one request after another, but for those that wait for messages.
    pub(crate) fn in_turn(self) -> Self {
        self.state().in_turn = true;
        self
    }

    /// How often an operation was asked for.
    pub(crate) fn asked(&self, operation: &str) -> usize {
        self.state().log.iter().filter(|name| *name == operation).count()
    }

    /// How often anything was asked for.
    pub(crate) fn all(&self) -> usize {
        self.state().log.len()
    }

    fn next(&self, operation: &str) -> Option<Fault> {
        let mut state = self.state();
        state.log.push(operation.to_owned());
        for rule in &mut state.rules {
            if rule.on == operation && rule.times > 0 {
                rule.times -= 1;
                return Some(rule.fault.clone());
            }
        }
        let asked = state.log.len();
        if state.every == 0 || !asked.is_multiple_of(state.every) {
            return None;
        }
        Some(match asked / state.every % 7 {
            0 => Fault::Answer(500, "InternalError"),
            1 => Fault::LoseAnswer,
            2 => Fault::Answer(400, "RequestThrottled"),
            3 => Fault::FailAfterwards,
            4 => Fault::Cut,
            5 => Fault::Answer(503, "ServiceUnavailable"),
            _ => Fault::LateAnswer(Duration::from_millis(300)),
        })
    }

    async fn run(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let cut = || ConnectorError::io(std::io::Error::other("the connection was cut").into());
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let fault = self.next(&operation);
        let mut request = request.try_into_http1x().expect("a request of HTTP 1");
        let mut left_out = None;
        match &fault {
            Some(Fault::Answer(status, code)) => return Ok(answer(*status, &error(code))),
            Some(Fault::Cut) => return Err(cut()),
            Some(Fault::Late(span)) => tokio::time::sleep(*span).await,
            Some(Fault::Entry(index, _)) => {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.expect("bytes").to_bytes();
                let mut json: Value = serde_json::from_slice(&bytes).expect("JSON");
                let entries = json["Entries"].as_array_mut().expect("a batch");
                left_out = Some(entries.remove(*index)["Id"].clone());
                let alone = entries.is_empty();
                request = http::Request::from_parts(head, SdkBody::from(json.to_string()));
                request.headers_mut().remove("content-length");
                if alone {
                    let failed = json!({"Successful": [], "Failed": []});
                    return Ok(answer(200, &leave_out(failed, left_out, &fault)));
                }
            }
            _ => {}
        }
        let waits = || {
            let asked = request.body().bytes().and_then(|it| serde_json::from_slice(it).ok());
            asked.is_some_and(|asked: Value| asked["WaitTimeSeconds"].as_u64() > Some(0))
        };
        let in_turn = self.state().in_turn && !waits();
        let _turn = if in_turn { Some(TURN.lock().await) } else { None };
        let client: Client<Tcp, SdkBody> = pool();
        let response = client.request(request).await;
        let response = response.map_err(|error| ConnectorError::io(error.into()))?;
        let (head, body) = response.into_parts();
        // it was done when it was answered in full
        let read = body.collect().await.map_err(|error| ConnectorError::io(error.into()))?;
        let mut text = read.to_bytes().to_vec();
        match fault {
            Some(Fault::LoseAnswer) => return Err(cut()),
            Some(Fault::FailAfterwards) => return Ok(answer(500, &error("InternalError"))),
            Some(Fault::LateAnswer(span)) => tokio::time::sleep(span).await,
            Some(Fault::Entry(..)) => {
                let json = serde_json::from_slice(&text).expect("JSON");
                text = leave_out(json, left_out, &fault).into_bytes();
            }
            _ => {}
        }
        let mut response = http::Response::from_parts(head, SdkBody::from(text));
        response.headers_mut().remove("content-length");
        Ok(HttpResponse::try_from(response).expect("an answer of HTTP 1"))
    }
}

/// The connections of this thread's runtime: one that outlives its runtime is dead.
fn pool() -> Client<Tcp, SdkBody> {
    thread_local! {
        static POOL: std::cell::RefCell<Option<(tokio::runtime::Id, Client<Tcp, SdkBody>)>> =
            const { std::cell::RefCell::new(None) };
    }
    let runtime = tokio::runtime::Handle::current().id();
    POOL.with_borrow_mut(|pool| match pool {
        Some((of, client)) if *of == runtime => client.clone(),
        _ => {
            let client = Client::builder(TokioExecutor::new()).build_http();
            *pool = Some((runtime, client.clone()));
            client
        }
    })
}

fn leave_out(mut json: Value, id: Option<Value>, fault: &Option<Fault>) -> String {
    let Some(Fault::Entry(_, code)) = fault else { return json.to_string() };
    let ours = *code != "InternalError";
    let failed = json!({"Id": id, "Code": code, "SenderFault": ours, "Message": "a test"});
    match json["Failed"].as_array_mut() {
        Some(all) => all.push(failed),
        None => json["Failed"] = json!([failed]),
    }
    json.to_string()
}

fn error(code: &str) -> String {
    json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "a test"}).to_string()
}

fn answer(status: u16, body: &str) -> HttpResponse {
    let response = http::Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(SdkBody::from(body));
    HttpResponse::try_from(response.expect("an answer")).expect("an answer of HTTP 1")
}

impl HttpConnector for Faults {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().run(request))
    }
}

impl HttpClient for Faults {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
