//! What `Traced` tells those who follow spans. A process of its own: which spans are followed is
//! decided once per process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use standfast_core::{Error, ErrorKind};
use standfast_queue::testkit::{Fault, Faulty, QueueOperation};
use standfast_queue::wrap::Traced;
use standfast_queue::{Envelope, MemoryQueue, OutgoingMessage, Queue, ReceiveOptions};
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
async fn each_call_is_a_span_that_tells_what_became_of_it() {
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
}
