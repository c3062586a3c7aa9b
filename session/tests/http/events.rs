//! What a security log is told, and what developers are.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use standfast_session::SessionToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::routes::{Gate, routes};
use crate::support::{Browser, Store, ask, serve};

/// Keeps the events of this crate, one line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("standfast")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    /// The lines with this in them, since the last call.
    fn take(&self, part: &str) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines.into_iter().filter(|line| line.contains(part)).collect()
    }
}

fn security(log: &Log) -> Vec<String> {
    let lines = log.take("standfast::session::security");
    let name = |line: &String| line.split("event=\"").nth(1)?.split('"').next().map(str::to_owned);
    lines.iter().filter_map(name).collect()
}

// one thread, so that the subscriber of this test sees everything that the server does
#[tokio::test]
async fn the_security_log_is_told_without_secrets() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let store = Store::default();
    let server = serve(store, routes(&Gate::new())).await;
    assert_eq!(log.take("public URL is http").len(), 1, "once, at the start");
    let browser = Browser::new(server);
    browser.read("/view").await;
    let planted = browser.stolen();
    let secret = planted.cookie()[36..].to_owned();
    assert_eq!(log.take("created").len(), 1);
    for (path, events) in [("/login/ada", "login"), ("/renew", "renewed"), ("/logout", "logout")] {
        browser.read(path).await;
        assert_eq!(security(&log), [events], "{path}");
    }
    planted.get("/views").await;
    assert_eq!(security(&log), ["unknown"]);
    browser.read("/login/ada").await;
    log.take("");
    let late = browser.stolen();
    browser.read("/login/bob").await;
    assert_eq!(security(&log), ["login"]);
    late.get("/view").await;
    assert_eq!(security(&log), ["refused", "dropped"]);
    ask(server, "/views", b"id=nonsense").await;
    assert_eq!(security(&log), ["malformed"]);
    let two = [SessionToken::random(), SessionToken::random()].map(|token| token.expose());
    ask(server, "/ignore", format!("id={}; id={}", two[0], two[1]).as_bytes()).await;
    let lines = log.take("ambiguous");
    assert_eq!(lines.len(), 1);
    for line in lines {
        assert!(line.contains("request_id=") && line.contains("session="), "{line}");
        assert!(!line.contains(&secret) && !line.contains(&two[0][33..]), "{line}");
    }
    browser.read("/logout_everywhere").await;
    assert_eq!(security(&log), ["logout_everywhere", "logout"]);
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn a_blind_write_that_overtakes_another_is_told_to_developers() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let gate = Gate::new();
    let browser = Browser::new(serve(Store::default(), routes(&gate)).await);
    browser.read("/view").await;
    let slow = {
        let tab = browser.clone();
        tokio::spawn(async move { tab.get("/slow/name/Bob").await.status })
    };
    gate.arrived.acquire().await.unwrap().forget();
    browser.read("/name/Ada").await;
    assert!(log.take("standfast::session::races").is_empty());
    gate.open.add_permits(1);
    assert_eq!(slow.await.unwrap(), 200);
    let [line] = &log.take("standfast::session::races")[..] else { panic!("one warning") };
    assert!(line.contains("field=name"), "{line}");
    assert!(line.contains("request_id=") && line.contains("overwrote="), "{line}");
    // the one that knew what was there overwrote nothing unseen
    browser.read("/name/Cid").await;
    assert!(log.take("standfast::session::races").is_empty());
}
