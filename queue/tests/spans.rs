//! What queues and workers tell those who follow spans. A process of its own: which spans are followed is
//! decided once per process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use standfast_core::{Context, Error, ErrorKind};
use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
use standfast_queue::wrap::Traced;
use standfast_queue::{
    Envelope, Job, Jobs, MemoryQueue, MemoryStatusStore, OutgoingMessage, Queue, ReceiveOptions,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

/// Writes down each span with its fields as they were when it was made and as they were recorded.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Line(&mut line));
        spans.push(line);
        Id::from_u64(spans.len() as u64)
    }
    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()[span.into_u64() as usize - 1]));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn mail() -> OutgoingMessage {
    OutgoingMessage::new(Envelope::new("mail", "hello"))
}

#[tokio::test]
async fn calls_and_jobs_are_spans() {
    let inner = Faulty::new(MemoryQueue::new());
    let queue = Traced::new(inner.clone(), "mails");
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    queue.send(&[mail(), mail()]).await.unwrap();
    queue.receive(&ReceiveOptions::new(10)).await.unwrap();
    let down = Error::new(ErrorKind::Unavailable, "memory", "queue.settle");
    inner.script(QueueOperation::Settle, [Fault::ErrorBefore(down)]);
    queue.settle(&[]).await.unwrap_err();
    assert_eq!(
        *spans.0.lock().unwrap(),
        [
            r#"queue.send backend="memory" queue="mails" entries=2 done=2"#,
            r#"queue.receive backend="memory" queue="mails" entries=10 done=2"#,
            r#"queue.settle backend="memory" queue="mails" entries=0 error="unavailable""#,
        ]
    );

    let jobs = Jobs::new(MemoryQueue::new(), MemoryStatusStore::new());
    let mut context = Context::default();
    context.request_id = Some("req-1".to_owned());
    jobs.send(Ping).context(context).detached().await.unwrap();
    jobs.worker(()).on(async |_: Ping| Ok(())).drain().await;
    let told = spans.0.lock().unwrap();
    let job = told.iter().find(|line| line.starts_with("job ")).expect("a job is a span");
    assert!(job.ends_with(r#"kind=ping run=1 attempt=1 request_id="req-1""#), "{job}");
}

#[derive(Deserialize, Serialize)]
struct Ping;

impl Job for Ping {
    const KIND: &'static str = "ping";
    type Output = ();
}
