//! The program `standfast-replay`, as a person or a script runs it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use standfast_blobstore::{BlobKey, BlobStore, Body, FsBlobStore, PutOptions};
use standfast_core::JobId;
use standfast_queue::wrap::{ArchiveConfig, Archived};
use standfast_queue::{Envelope, MemoryQueue, Queue, ReceiveOptions, Settlement};

/// An archive of three mails, the first of which was received and acked, and one alarm.
struct Fixture {
    dir: tempfile::TempDir,
    mails: Vec<JobId>,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn BlobStore> = Arc::new(FsBlobStore::open(dir.path()).await.unwrap());
    let mut config = ArchiveConfig::default();
    (config.linger, config.outcomes) = (Duration::ZERO, true);
    let queue = Archived::with_config(MemoryQueue::new(), store, config).unwrap();
    let mut mails = Vec::new();
    for number in 0..3 {
        let mut mail = Envelope::new("mail", format!("secret {number}"));
        mail.headers.insert("tenant".to_owned(), format!("t{number}").into());
        mails.push(mail.id);
        queue.send(&[mail.into()]).await.unwrap();
    }
    queue.send(&[Envelope::new("alarm\u{1b}[2J", "").into()]).await.unwrap();
    let received = queue.receive(&ReceiveOptions::new(1)).await.unwrap().deliveries.remove(0);
    queue.settle(&[(received.receipt, Settlement::Ack)]).await.unwrap();
    queue.flush().await;
    Fixture { dir, mails }
}

fn run(dir: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_standfast-replay"))
        .args(line.split_whitespace())
        .env("STANDFAST_ARCHIVE", format!("file://{}", dir.display()))
        .env_remove("STANDFAST_QUEUE")
        .output()
        .unwrap()
}

impl Fixture {
    /// What it prints, and its exit code.
    fn run(&self, line: &str) -> (String, i32) {
        let output = run(self.dir.path(), line);
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).unwrap(), output.status.code().unwrap())
    }

    fn ok(&self, line: &str) -> String {
        let (text, code) = self.run(line);
        assert_eq!(code, 0, "{line}: {text}");
        text
    }
}

#[tokio::test]
async fn it_lists_and_inspects() {
    let t = fixture().await;
    let text = t.ok("list");
    let events: Vec<_> = text.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(events, ["sent", "sent", "sent", "sent", "received", "acked"]);
    assert!(text.contains(&t.mails[0].to_string()) && !text.contains("secret"), "{text}");
    assert!(!text.contains('\u{1b}'), "nothing that a terminal obeys: {text:?}");
    assert_eq!(t.ok("list --kind mail --limit 2").lines().count(), 2);
    assert_eq!(t.ok("list --header tenant=t1").lines().count(), 1);
    assert_eq!(t.ok("list --until 1h").lines().count(), 0);
    let first: serde_json::Value =
        serde_json::from_str(t.ok("list --json --since 1h").lines().next().unwrap()).unwrap();
    assert_eq!((first["event"].as_str(), first["bytes"].as_u64()), (Some("sent"), Some(8)));

    let first = t.mails[0];
    let text = t.ok(&format!("inspect {first}"));
    assert!(text.contains("tenant: ") && text.contains("acked") && !text.contains("secret"));
    assert_eq!(t.ok(&format!("inspect {first} --body")), "secret 0");
    let (text, code) = t.run(&format!("inspect {}", JobId::random()));
    assert_eq!(code, 1, "{text}");
}

#[tokio::test]
async fn it_says_what_is_wrong_and_no_secret() {
    let t = fixture().await;
    let (text, code) = t.run("replay --name x");
    assert!(code == 2 && text.contains("--queue"), "{text}");
    assert!(t.ok("--help").contains("Exit codes"));
    let (text, code) = t.run("replay --name x --queue nonsense://u:hunter2@h/q");
    assert!(code == 1 && !text.contains("hunter2"), "{text}");
    let missing = run(&t.dir.path().join("missing"), "list");
    assert_eq!(missing.status.code(), Some(1));
    assert!(!t.dir.path().join("missing").exists(), "looking makes nothing");
    let (text, code) = t.run("list --store s3://k:hunter2@bucket");
    assert!(code == 1 && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_dry_run_counts_and_damage_is_told_by_the_exit_code() {
    let t = fixture().await;
    let text = t.ok("replay --name x --kind mail --dry-run");
    assert!(text.starts_with("3 messages would be sent"), "{text}");
    let json = t.ok("replay --name x --kind mail --dry-run --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["matched"].as_u64(), json["dry_run"].as_bool()), (Some(3), Some(true)));

    let store = FsBlobStore::open(t.dir.path()).await.unwrap();
    let key =
        "archive/segments/2026/01/01/00/20260101T000000.000000Z-20260101T000000.000000Z-x-1.v1.gz";
    let key = BlobKey::new(key).unwrap();
    let put = store.put(&key, Body::from("no gzip"), &PutOptions::default()).await.unwrap();
    assert!(put.stored().is_some());
    let (text, code) = t.run("replay --name x --kind mail --dry-run");
    assert!(code == 3 && text.contains("1 segments could not be read"), "{text}");
    assert_eq!(t.run("list").1, 3);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn it_replays_into_redis_and_goes_on_by_name() {
    use standfast_queue::RedisQueue;

    let Some(server) = standfast_core::testkit::redis::single() else { return };
    let (t, name) = (fixture().await, JobId::random().to_string());
    let url = format!("{}/{name}", server.url());
    let text = t.ok(&format!("replay --name march --kind mail --queue {url} --rate 100"));
    assert!(text.starts_with("3 of 3 messages sent"), "{text}");
    let queue = RedisQueue::from_url(&server.url(), &name).unwrap();
    let batch = queue.receive(&ReceiveOptions::new(10)).await.unwrap();
    let ids: Vec<_> = batch.deliveries.iter().map(|one| one.receipt.id()).collect();
    assert_eq!(ids, t.mails);
    assert!(batch.deliveries[0].envelope().headers.contains_key("replayed_from"));
    let acks: Vec<_> =
        batch.deliveries.into_iter().map(|one| (one.receipt, Settlement::Ack)).collect();
    queue.settle(&acks).await.unwrap();

    t.ok(&format!("replay --name march --kind mail --queue {url}"));
    assert_eq!(queue.stats().await.unwrap().ready, 0, "that name is finished");
    t.ok(&format!("replay --name april --kind mail --queue {url}"));
    let batch = queue.receive(&ReceiveOptions::new(10)).await.unwrap();
    let runs: Vec<_> = batch.deliveries.iter().map(|one| one.envelope().run).collect();
    assert_eq!(runs, [3, 3, 3], "what was replayed was archived");
}
