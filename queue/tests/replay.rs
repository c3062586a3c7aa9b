//! Replay: the exact set, in the order of time, once for each id, whatever interrupts it.
#![cfg(feature = "blobstore")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faulty_blobs;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use faulty_blobs::{BlobFault, FaultyBlobs};
use sink::Sink;
use standfast_blobstore::{BlobKey, BlobStore, Body, FsBlobStore, PutOptions};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, Error, ErrorKind, JobId, Result, SystemClock};
use standfast_queue::testkit::Gate;
use standfast_queue::wrap::{
    Archive, ArchiveConfig, ArchiveEvent, ArchiveReceived, Archived, Replay, ReplayFilter, Replayed,
};
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, MemoryQueue, OutgoingMessage, Priority, Queue,
    ReceiveOptions, RedriveOptions, SendOutcome, Settlement,
};

struct Fixture {
    clock: ManualClock,
    blobs: FaultyBlobs,
    queue: Archived<MemoryQueue>,
    archive: Archive,
}

fn fixture() -> Fixture {
    let (clock, blobs) = (ManualClock::new(), FaultyBlobs::new());
    let mut config = ArchiveConfig::default();
    config.linger = Duration::ZERO;
    config.clock = Arc::new(clock.clone());
    let queue = Archived::with_config(MemoryQueue::new(), Arc::new(blobs.clone()), config).unwrap();
    let archive = Archive::new(Arc::new(blobs.clone()), "archive").unwrap();
    Fixture { clock, blobs, queue, archive }
}

impl Fixture {
    /// Sends a message and lets a second pass.
    async fn send(&self, envelope: Envelope) -> JobId {
        let id = envelope.id;
        assert!(self.queue.send(&[envelope.into()]).await.unwrap()[0].is_sent());
        self.clock.advance(Duration::from_secs(1));
        id
    }

    /// Puts something under `key` that is no segment.
    async fn replace(&self, key: &str) {
        let key = BlobKey::new(key).unwrap();
        let put = self.blobs.put(&key, Body::from("?"), &PutOptions::default()).await;
        assert!(put.unwrap().stored().is_some());
    }

    /// Runs a replay of everything while the clock goes on.
    async fn drive(&self, name: &str, sink: &Sink) -> Result<Replayed> {
        let (replay, sink) = (self.replay(name, all()), sink.clone());
        let running = tokio::spawn(async move { replay.run(&sink).await });
        while !running.is_finished() {
            tokio::task::yield_now().await;
            self.clock.advance(Duration::from_secs(1));
        }
        running.await.unwrap()
    }

    fn replay(&self, name: &str, filter: ReplayFilter) -> Replay {
        self.archive.replay(name, filter).clock(Arc::new(self.clock.clone()))
    }
}

/// Dates of a batch: a microsecond apart.
fn micros(number: usize) -> TimeDelta {
    TimeDelta::microseconds(i64::try_from(number).unwrap())
}

fn mail(body: impl Into<String>) -> Envelope {
    Envelope::new("mail", body.into())
}

fn all() -> ReplayFilter {
    ReplayFilter::default()
}

#[tokio::test]
async fn a_message_is_sent_again_as_it_was_and_marked() {
    let t = fixture();
    let mut envelope = mail("hello").with_handle(standfast_queue::StatusHandle::random());
    envelope.headers.insert("tenant".to_owned(), "acme".into());
    let message = OutgoingMessage::new(envelope.clone())
        .priority(Priority::Low)
        .group("g")
        .dedupe("key", Duration::from_secs(3600))
        .delay(Duration::from_secs(5))
        .drop_after(Duration::from_secs(60));
    let at = t.clock.now();
    t.queue.send(&[message]).await.unwrap();
    t.clock.advance(Duration::from_secs(10));
    let sink = Sink::default();
    let replayed = t.replay("again", all()).run(&sink).await.unwrap();
    assert_eq!((replayed.matched, replayed.sent, replayed.scanned), (1, 1, 1));
    let sent = sink.messages().remove(0);
    let mut expected = envelope.next_run();
    let from = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    expected.headers.insert("replayed_from".to_owned(), from.into());
    assert_eq!(*sent.envelope, expected);
    assert_eq!((sent.priority, sent.group.as_deref()), (Priority::Low, Some("g")));
    assert_eq!((sent.delay, sent.dedupe, sent.drop_after), (Duration::ZERO, None, None));
}

#[tokio::test]
async fn a_batch_keeps_its_order() {
    let t = fixture();
    // the clock stands still meanwhile
    let batches: Vec<Vec<OutgoingMessage>> = (0..5)
        .map(|_| (0..20).map(|_| OutgoingMessage::new(mail("")).group("g")).collect())
        .collect();
    let mut ids = Vec::new();
    for batch in batches {
        ids.extend(batch.iter().map(|message| message.envelope.id));
        t.queue.send(&batch).await.unwrap();
    }
    t.clock.advance(Duration::from_secs(1));
    let sink = Sink::default();
    t.replay("in order", all()).run(&sink).await.unwrap();
    assert_eq!(sink.ids(), ids);
}

#[tokio::test]
async fn filters_mean_what_they_say() {
    let t = fixture();
    let start = t.clock.now();
    let mut ids = Vec::new();
    for number in 0..6_u8 {
        let mut envelope = Envelope::new(if number % 2 == 0 { "even" } else { "odd" }, "");
        if number >= 4 {
            envelope.headers.insert("tenant".to_owned(), "acme".into());
            envelope.headers.insert("size".to_owned(), 7.into());
        } else {
            envelope.context.headers.insert("tenant".to_owned(), "other".to_owned());
        }
        ids.push(t.send(envelope).await);
    }
    let at = |seconds| start + TimeDelta::seconds(seconds);
    for (what, filter, expected) in [
        ("everything", all(), vec![0, 1, 2, 3, 4, 5]),
        ("kind", all().kind("odd"), vec![1, 3, 5]),
        ("since, inclusive", all().since(at(4)), vec![4, 5]),
        ("until, exclusive", all().until(at(2)), vec![0, 1]),
        ("a range", all().since(at(1)).until(at(3)), vec![1, 2]),
        ("ids", all().id(ids[5]).id(ids[0]), vec![0, 5]),
        ("a header", all().header("tenant", "acme"), vec![4, 5]),
        ("a number", all().header("size", "7"), vec![4, 5]),
        ("of the context", all().header("tenant", "other"), vec![0, 1, 2, 3]),
        ("all at once", all().kind("even").header("tenant", "acme").since(at(1)), vec![4]),
        ("nobody", all().header("no", "such"), vec![]),
    ] {
        let dry = t.replay(what, filter.clone()).dry_run().await.unwrap();
        let sink = Sink::default();
        let replayed = t.replay(what, filter).run(&sink).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(|number: usize| ids[number]).collect();
        assert_eq!(sink.ids(), expected, "{what}");
        assert_eq!((dry.matched, dry.sent), (replayed.sent, 0), "{what}");
    }
    let keys = t.blobs.keys().await;
    let cursors = keys.iter().filter(|key| key.starts_with("archive/replays/"));
    assert_eq!(cursors.count(), 11, "a dry run leaves nothing behind");
}

#[tokio::test]
async fn each_id_is_sent_once_after_its_last_run() {
    let t = fixture();
    let plain = t.send(mail("plain")).await;
    let redriven = t.send(mail("redriven")).await;
    let options = ReceiveOptions::new(1).lease(Duration::from_secs(3600));
    for _ in 0..2 {
        let received = t.queue.receive(&options).await.unwrap().deliveries.remove(0);
        let how = match received.receipt.id() == redriven {
            true => Settlement::DeadLetter { reason: "no use".to_owned() },
            false => Settlement::Release { delay: Duration::ZERO, counted: true, error: None },
        };
        t.queue.settle(&[(received.receipt, how)]).await.unwrap();
    }
    t.queue.redrive(&DeadLetterFilter::default(), &RedriveOptions::default()).await.unwrap();
    t.clock.advance(Duration::from_secs(1));
    let batch = t.queue.receive(&ReceiveOptions::new(10)).await.unwrap().deliveries;
    assert_eq!(batch.len(), 2);
    t.clock.advance(Duration::from_secs(1));
    let sink = Sink::default();
    let replayed = t.replay("first", all()).run(&sink).await.unwrap();
    assert_eq!((replayed.sent, replayed.matched), (2, 2));
    let runs: BTreeMap<_, _> =
        sink.messages().iter().map(|one| (one.envelope.id, one.envelope.run)).collect();
    assert_eq!(runs, BTreeMap::from([(plain, 2), (redriven, 3)]));

    // into the queue itself: the second replay sees the first one
    let acks: Vec<_> = batch.into_iter().map(|one| (one.receipt, Settlement::Ack)).collect();
    t.queue.settle(&acks).await.unwrap();
    for (name, runs) in [("second", [2, 3]), ("third", [3, 4])] {
        t.replay(name, all()).run(&t.queue).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
        let batch = t.queue.receive(&ReceiveOptions::new(10)).await.unwrap().deliveries;
        let mut seen: Vec<_> = batch.iter().map(|one| one.envelope().run).collect();
        seen.sort_unstable();
        assert_eq!(seen, runs, "{name}");
        let acks: Vec<_> = batch.into_iter().map(|one| (one.receipt, Settlement::Ack)).collect();
        t.queue.settle(&acks).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn what_was_never_in_the_queue_is_not_replayed() {
    let t = fixture();
    let hour = Duration::from_secs(3600);
    let first = OutgoingMessage::new(mail("first")).dedupe("key", hour);
    let second = OutgoingMessage::new(mail("second")).dedupe("key", hour);
    assert!(t.queue.send(std::slice::from_ref(&first)).await.unwrap()[0].is_sent());
    t.clock.advance(Duration::from_secs(1));
    let refused = t.queue.send(std::slice::from_ref(&second)).await.unwrap().remove(0);
    assert!(matches!(refused, SendOutcome::Duplicate(_)));
    t.queue.flush().await;
    t.clock.advance(Duration::from_secs(1));
    let sink = Sink::default();
    assert_eq!(t.replay("first", all()).run(&sink).await.unwrap().sent, 1);
    assert_eq!(sink.ids(), [first.envelope.id]);

    // refused once and sent the next time
    let mut again = second.clone();
    again.dedupe = None;
    assert!(t.queue.send(&[again]).await.unwrap()[0].is_sent());
    t.clock.advance(Duration::from_secs(1));
    let sink = Sink::default();
    t.replay("second", all()).run(&sink).await.unwrap();
    assert_eq!(sink.ids().len(), 2);
}

#[tokio::test]
async fn a_send_that_failed_takes_nothing_back_but_itself() {
    let t = fixture();
    let message = OutgoingMessage::new(mail("a"));
    assert!(t.queue.send(std::slice::from_ref(&message)).await.unwrap()[0].is_sent());
    t.clock.advance(Duration::from_secs(1));
    // repeated, and nobody knows whether that is in the archive: it is not
    for _ in 0..2 {
        t.blobs.next("put", BlobFault::Before(ErrorKind::OutcomeUnknown));
    }
    let failed = t.queue.send(std::slice::from_ref(&message)).await.unwrap().remove(0);
    assert!(matches!(failed, SendOutcome::Failed(_)));
    t.queue.flush().await;
    t.clock.advance(Duration::from_secs(1));
    let mut records = t.archive.records(None, None);
    let mut events = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        events.push(record.event);
    }
    assert_eq!(events, [ArchiveEvent::Sent, ArchiveEvent::Unsent]);
    let sink = Sink::default();
    t.replay("it is in the queue", all()).run(&sink).await.unwrap();
    assert_eq!(sink.ids(), [message.envelope.id]);
}

#[tokio::test]
async fn a_rate_is_kept_and_one_that_is_none_refused() {
    let t = fixture();
    for number in 0..30 {
        t.send(mail(number.to_string())).await;
    }
    let clock = t.clock.clone();
    let (replay, sink) = (t.replay("slow", all()).rate(10.0), Sink::default());
    let seen = sink.clone();
    let (began, running) = (clock.instant(), tokio::spawn(async move { replay.run(&seen).await }));
    while !running.is_finished() {
        tokio::task::yield_now().await;
        let (elapsed, sent) = (clock.instant() - began, sink.ids().len());
        assert!(sent as f64 <= elapsed.as_secs_f64() * 10.0 + 1.0, "{sent} in {elapsed:?}");
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(running.await.unwrap().unwrap().sent, 30);
    assert!(clock.instant() - began >= Duration::from_millis(2900));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = t.replay("none", all()).rate(rate).run(&sink).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let error = t.replay("a/b", all()).run(&sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_finished_replay_sends_nothing_more_and_another_filter_is_refused() {
    let t = fixture();
    t.send(mail("a")).await;
    let sink = Sink::default();
    let first = t.replay("once", all()).run(&sink).await.unwrap();
    t.send(mail("b")).await;
    assert_eq!(t.replay("once", all()).run(&sink).await.unwrap(), first);
    assert_eq!(sink.ids().len(), 1);
    let error = t.replay("once", all().kind("mail")).run(&sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn two_processes_cannot_run_one_replay() {
    let t = fixture();
    for number in 0..10 {
        t.send(mail(number.to_string())).await;
    }
    let (gate, sink) = (Gate::new(), Sink::default());
    sink.hold_after(5, gate.clone());
    let (replay, seen) = (t.replay("shared", all()).checkpoint(2), sink.clone());
    let slow = tokio::spawn(async move { replay.run(&seen).await });
    while sink.ids().len() < 5 {
        tokio::task::yield_now().await;
    }
    let other = Sink::default();
    t.replay("shared", all()).checkpoint(2).run(&other).await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    let both: BTreeSet<_> = sink.ids().into_iter().chain(other.ids()).collect();
    assert_eq!(both.len(), 10);
}

#[tokio::test]
async fn a_queue_that_fails_is_tried_again_and_what_it_refuses_is_counted() {
    let t = fixture();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(t.send(mail(number.to_string())).await);
    }
    let error = |kind| Error::new(kind, "sink", "queue.send");
    let sink = Sink::default();
    sink.answer(move |call, message| match (call, message.envelope.id) {
        (0, id) if id == ids[1] => SendOutcome::Failed(error(ErrorKind::Unavailable)),
        (0, id) if id == ids[2] => SendOutcome::Full,
        (_, id) if id == ids[3] => SendOutcome::Failed(error(ErrorKind::TooLarge)),
        _ => SendOutcome::Sent,
    });
    let replayed = t.drive("bumpy", &sink).await.unwrap();
    assert_eq!((replayed.sent, replayed.refused, replayed.matched), (4, 1, 5));

    let full = Sink::default();
    full.answer(|_, _| SendOutcome::Full);
    assert_eq!(t.drive("full", &full).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let sink = Sink::default();
    assert_eq!(t.replay("full", all()).run(&sink).await.unwrap().sent, 5, "it goes on later");
}

#[tokio::test]
async fn a_segment_of_a_newer_library_stops_a_replay_before_it_sends() {
    let t = fixture();
    t.send(mail("a")).await;
    let key = t.blobs.keys().await.remove(0).replace(".v1.gz", ".v2.gz");
    t.replace(&key).await;
    let sink = Sink::default();
    let error = t.replay("new", all()).run(&sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(sink.ids().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_counted() {
    let t = fixture();
    t.send(mail("lost")).await;
    let key = t.blobs.keys().await.remove(0);
    let kept = t.send(mail("kept")).await;
    t.replace(&key).await;
    let sink = Sink::default();
    let replayed = t.replay("damaged", all()).run(&sink).await.unwrap();
    assert_eq!((replayed.truncated, replayed.sent), (1, 1));
    assert_eq!(sink.ids(), [kept]);
}

#[tokio::test]
async fn what_the_cursor_has_seen_is_not_sent_twice() {
    let t = fixture();
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(t.send(mail(number.to_string())).await);
    }
    let sink = Sink::default();
    sink.hold_before(6, Gate::new());
    let (replay, seen) = (t.replay("halves", all()).checkpoint(5), sink.clone());
    let dying = tokio::spawn(async move { replay.run(&seen).await });
    while sink.ids().len() < 5 || t.blobs.calls("put") < 12 {
        tokio::task::yield_now().await;
    }
    dying.abort();
    drop(dying.await);
    sink.release();
    let replayed = t.replay("halves", all()).checkpoint(5).run(&sink).await.unwrap();
    assert_eq!(sink.ids(), ids);
    assert_eq!((replayed.sent, replayed.matched), (10, 10), "all runs together");
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[tokio::test]
async fn a_replay_that_is_killed_anywhere_goes_on_and_misses_nothing() {
    let t = fixture();
    let mut expected = Vec::new();
    for number in 0..400 {
        let kind = if number % 2 == 0 { "mail" } else { "other" };
        let id = t.send(Envelope::new(kind, number.to_string())).await;
        if kind == "mail" {
            expected.push(id);
        }
    }
    let mut kills = 0;
    let seed = u64::from(std::process::id());
    for round in 0..8 {
        kills +=
            replay_and_kill(&t, &expected, Dice(seed + round), &format!("round {round}")).await;
    }
    println!("{kills} kills in 8 replays of 200 messages");
    assert!(kills > 4, "the replays are killed, seed {seed}");
}

/// Killed wherever it can be: in a send, around the write of its cursor. Says how often.
async fn replay_and_kill(t: &Fixture, expected: &[JobId], mut dice: Dice, name: &str) -> usize {
    const CHECKPOINT: usize = 20;
    let seed = dice.0;
    let sink = Sink::default();
    let mut kills = 0;
    let finished = loop {
        let gate = Gate::new(); // never opened: what waits there dies
        let (sent, far) = (sink.ids().len(), dice.below(120));
        match dice.below(4) {
            0 => sink.hold_before(sent + far, gate),
            1 => sink.hold_after(sent + far, gate),
            how => {
                // the first one opens the cursor
                (0..far / CHECKPOINT).for_each(|_| t.blobs.next("put", BlobFault::None));
                let unknown = BlobFault::After(ErrorKind::OutcomeUnknown);
                t.blobs.next("put", if how == 2 { BlobFault::Hold(gate) } else { unknown });
            }
        }
        let replay = t.replay(name, all().kind("mail")).checkpoint(CHECKPOINT);
        let seen = sink.clone();
        let running = tokio::spawn(async move { replay.run(&seen).await });
        for _ in 0..2_000 {
            if running.is_finished() {
                break;
            }
            tokio::task::yield_now().await;
        }
        sink.release();
        t.blobs.heal();
        if running.is_finished() {
            match running.await.unwrap() {
                Ok(replayed) => break replayed,
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}"),
            }
        } else {
            running.abort();
            drop(running.await);
        }
        kills += 1;
        assert!(kills < 300, "it comes to its end, seed {seed}");
    };
    assert_eq!(finished.matched, 200);
    let (mut first, mut seen) = (Vec::new(), BTreeSet::new());
    for id in sink.ids() {
        if seen.insert(id) {
            first.push(id);
        }
    }
    assert_eq!(first, expected, "each one, in order, seed {seed}");
    let twice = sink.ids().len() - first.len();
    assert!(twice <= CHECKPOINT * kills, "{twice} sent twice in {kills} kills, seed {seed}");
    assert!(sink.messages().iter().all(|message| message.envelope.run == 2));
    kills
}

/// The figure of a line of `/proc/self/status`, in KiB.
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

const MESSAGES: usize = 100_000;

/// Where the process that replays finds the archive.
const DIR: &str = "STANDFAST_TEST_REPLAY_DIR";

/// Archives messages of four processes, 100 MB of bodies that hardly compress; the ids of one kind of
/// ten, in order.
async fn fill(dir: &Path) -> Vec<JobId> {
    let store: Arc<dyn BlobStore> = Arc::new(FsBlobStore::open(dir).await.unwrap());
    let clock = ManualClock::at(Utc::now() - TimeDelta::days(2));
    let processes: Vec<_> = (0..4)
        .map(|_| {
            let mut config = ArchiveConfig::default();
            config.linger = Duration::ZERO;
            config.received = ArchiveReceived::Not;
            config.clock = Arc::new(clock.clone());
            Archived::with_config(Sink::of_ids(), Arc::clone(&store), config).unwrap()
        })
        .collect();
    let mut wanted = Vec::new();
    let mut noise = 1_u64;
    for number in 0..MESSAGES / 500 {
        let mut batch = Vec::with_capacity(500);
        for within in 0..500 {
            let mut body = Vec::with_capacity(1_000);
            while body.len() < 1_000 {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                body.extend_from_slice(&noise.to_le_bytes());
            }
            let kind = if within % 10 == 3 { "wanted" } else { "other" };
            let envelope = Envelope::new(kind, body);
            if kind == "wanted" {
                wanted.push((clock.now() + micros(within), envelope.id));
            }
            batch.push(envelope.into());
        }
        let sent = processes[number % 4].send(&batch).await.unwrap();
        assert!(sent.iter().all(SendOutcome::is_sent));
        if number % 4 == 3 {
            // all four have written at the same time
            clock.advance(Duration::from_secs(120));
        }
    }
    wanted.sort_unstable();
    wanted.into_iter().map(|(_, id)| id).collect()
}

/// Two processes: one archives, the other replays and measures itself.
#[tokio::test]
async fn one_kind_of_a_hundred_thousand_is_replayed_in_bounded_memory() {
    if let Some(dir) = std::env::var_os(DIR) {
        return replay_wanted(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let wanted = fill(&dir.path().join("blobs")).await;
    let lines: Vec<_> = wanted.iter().map(JobId::to_string).collect();
    std::fs::write(dir.path().join("wanted"), lines.join("\n")).unwrap();
    let name = "one_kind_of_a_hundred_thousand_is_replayed_in_bounded_memory";
    let replaying = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&replaying.stdout).into_owned();
    println!("{said}");
    let failed = String::from_utf8_lossy(&replaying.stderr).into_owned();
    assert!(replaying.status.success() && said.contains("1 passed"), "{failed}");
}

async fn replay_wanted(dir: &Path) {
    let store = FsBlobStore::open(dir.join("blobs")).await.unwrap();
    let archive = Archive::new(Arc::new(store), "archive").unwrap();
    let sink = Sink::of_ids();
    let (before, began) = (status("VmHWM"), SystemClock.instant());
    let replayed = archive.replay("wanted", all().kind("wanted")).run(&sink).await.unwrap();
    let (peak, took) = (status("VmHWM"), SystemClock.instant() - began);
    assert_eq!(replayed.scanned, MESSAGES as u64);
    assert_eq!((replayed.matched, replayed.sent), (10_000, 10_000));
    let wanted = std::fs::read_to_string(dir.join("wanted")).unwrap();
    let wanted: Vec<JobId> = wanted.lines().map(|line| line.parse().unwrap()).collect();
    assert!(sink.ids() == wanted, "the exact set, in the order of time");
    println!("{MESSAGES} records read twice in {took:?}");
    let (Some(before), Some(peak)) = (before, peak) else {
        return println!("this system does not tell how much memory a process uses: not measured");
    };
    let grown = (peak - before) / 1024;
    println!("memory grew by {grown} MiB for 100 MB of archive");
    assert!(grown < 32, "{grown} MiB");
}

#[tokio::test]
async fn a_received_message_of_a_foreign_sender_is_replayed() {
    let t = fixture();
    let foreign = mail("foreign");
    t.queue.inner().send(&[foreign.clone().into()]).await.unwrap();
    t.queue.receive(&ReceiveOptions::new(1)).await.unwrap();
    t.clock.advance(Duration::from_secs(1));
    let sink = Sink::default();
    t.replay("foreign", all().since(t.clock.now() - TimeDelta::hours(1))).run(&sink).await.unwrap();
    assert_eq!(sink.ids(), [foreign.id]);
    let mut records = t.archive.records(None, Some(Utc::now() + TimeDelta::days(1)));
    assert_eq!(records.next().await.unwrap().unwrap().event, ArchiveEvent::Received);
}
