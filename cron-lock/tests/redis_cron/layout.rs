//! What is stored is read for years; what is not ours is left alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use standfast_core::redis::{Redis, Reply, Request};
use standfast_core::testkit::redis::single;
use standfast_core::{Error, ErrorKind, Fence, Id128, Reason};
use standfast_cron_lock::{
    Claim, CronLock, CronLockConfig, Owner, RecordQuery, RedisCronLock, SettleOutcome, Settlement,
    TickRecord, TickState,
};

use crate::support::{
    MINUTE, claim, finish, key, lock_in, minute, namespace, records, tick, win, with_rules, won,
};

const GOLDEN: &[u8] = include_bytes!("../golden/redis-cron-v1.resp");
const LAST_FENCE: u64 = 8_000_000_000_000_000;

/// The golden commands, each in words.
fn golden() -> Vec<Vec<Vec<u8>>> {
    let mut rest = GOLDEN;
    let line = |rest: &mut &[u8]| -> usize {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line");
        let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
        *rest = &rest[end + 2..];
        number
    };
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let mut words = Vec::new();
        for _ in 0..line(&mut rest) {
            let size = line(&mut rest);
            words.push(rest[..size].to_vec());
            rest = &rest[size + 2..];
        }
        commands.push(words);
    }
    commands
}

/// Bytes at our keys, as whoever wrote them left them.
struct Stored {
    redis: Redis,
    namespace: String,
    lock: RedisCronLock,
}

impl Stored {
    fn new() -> Option<Self> {
        let (url, namespace) = (single()?.url(), namespace());
        let lock = lock_in(&url, &namespace);
        Some(Self { redis: Redis::from_url(&url).unwrap(), namespace, lock })
    }

    /// The golden namespace, under a name of this test's own.
    async fn golden() -> Option<Self> {
        let stored = Self::new()?;
        for words in golden() {
            let name = match words[0].as_slice() {
                b"HSET" => "HSET",
                b"ZADD" => "ZADD",
                _ => "SET",
            };
            let key = String::from_utf8(words[1].clone()).unwrap();
            stored.call(name, key.rsplit(':').next().unwrap(), &words[2..]).await;
        }
        Some(stored)
    }

    async fn call(&self, name: &'static str, part: &str, args: &[Vec<u8>]) -> Reply {
        let request = Request::command("test", name, &key(&self.namespace, part)).args(args);
        self.redis.call(request).await.unwrap()
    }

    async fn put(&self, at: DateTime<Utc>, raw: impl Into<Vec<u8>>) {
        let tick = at.timestamp_micros().to_string().into_bytes();
        self.call("HSET", "records", &[tick.clone(), raw.into()]).await;
        self.call("ZADD", "order", &[tick.clone(), tick]).await;
    }

    async fn raw(&self, at: DateTime<Utc>) -> Vec<u8> {
        let tick = at.timestamp_micros().to_string().into_bytes();
        self.call("HGET", "records", &[tick]).await.into_bytes("test").unwrap()
    }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn owner(name: &str, byte: u8) -> Owner {
    Owner::from_parts(name, Id128::from_bytes([byte; 16]))
}

#[tokio::test]
async fn what_version_1_stored_is_read() {
    let Some(stored) = Stored::golden().await else { return };
    let [done, failed, claimed, abandoned] = records(&stored.lock).await.try_into().unwrap();

    assert_eq!((done.at, done.previous), (time("2026-01-01T00:00:00Z"), None));
    assert_eq!((done.state, done.attempt, done.crashes), (TickState::Done, 3, 1));
    assert_eq!((&done.owner, done.fence.get()), (&owner("web-1", 2), LAST_FENCE - 5));
    assert_eq!(done.first_claimed_at, time("2026-01-01T00:00:00.000001Z"));
    assert_eq!(done.claimed_at, time("2026-01-01T00:00:40Z"));
    assert_eq!(done.lease_until, time("2026-01-01T00:01:10Z"));
    assert_eq!(done.finished_at, Some(time("2026-01-01T00:00:41Z")));
    assert_eq!(done.error, None);
    let jobs: Vec<_> = done.jobs.iter().map(|job| Id128::from(*job).to_bytes()[0]).collect();
    assert_eq!(jobs, [3, 4]);
    assert_eq!(done.known.iter().collect::<Vec<_>>(), ["sync"]);
    assert_eq!(done.schedules.iter().collect::<Vec<_>>(), ["billing", "sync"]);
    let former: Vec<_> = done.former.iter().map(|it| it.owner.clone()).collect();
    assert_eq!(former, [owner("web-0", 5), owner("wéb", 6)]);
    assert_eq!(done.former[1].fence.get(), LAST_FENCE - 6);
    assert_eq!(done.former[1].lease_until, time("2026-01-01T00:00:32Z"));

    assert_eq!((failed.state, failed.previous), (TickState::Failed, Some(done.at)));
    assert_eq!(failed.error.as_deref(), Some("the queue is full"));
    assert_eq!((claimed.state, &claimed.owner), (TickState::Claimed, &owner("", 9)));
    assert_eq!((claimed.finished_at, claimed.former.len()), (None, 0));
    assert_eq!((abandoned.state, &abandoned.owner), (TickState::Abandoned, &owner("web-2", 11)));
}

#[tokio::test]
async fn what_version_1_stored_goes_on() {
    let Some(stored) = Stored::golden().await else { return };
    let lock = &stored.lock;
    let [done, _, held, abandoned] = records(lock).await.try_into().unwrap();
    let rival = Owner::new("rival");
    assert_eq!(claim(lock, done.at, &rival).await, Claim::Finished(done));
    let Claim::Held(by) = claim(lock, held.at, &rival).await else { panic!("it is held") };
    assert_eq!((by.owner, by.fence), (held.owner, held.fence));
    let settled = lock.settle(held.at, held.fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(settled, SettleOutcome::Settled);
    assert!(matches!(claim(lock, abandoned.at, &rival).await, Claim::TooOld { .. }));

    // an abandoned tick that is not too late, taken over
    let recent = tick(lock).await;
    stored.put(recent, stored.raw(abandoned.at).await).await;
    let taken = won(claim(lock, recent, &rival).await);
    assert_eq!((taken.tick.attempt, taken.tick.previous), (2, abandoned.previous));
    assert_eq!(taken.tick.fence, Fence::new(LAST_FENCE + 1), "beyond the last one, not the time");
    assert_eq!(taken.known, abandoned.known);
    let record = records(lock).await.pop().unwrap();
    assert_eq!(record.former[0].owner, abandoned.owner);
    assert_eq!((record.first_claimed_at, record.crashes), (abandoned.first_claimed_at, 0));

    let next = win(lock, recent + MINUTE).await;
    assert_eq!((next.tick.previous, &next.known), (Some(abandoned.at), &abandoned.schedules));
    assert_eq!(next.tick.fence, Fence::new(LAST_FENCE + 2));
    finish(lock, &next).await;
}

#[tokio::test]
async fn what_is_stored_is_what_is_documented() {
    let Some(stored) = Stored::new() else { return };
    let Stored { namespace, lock, .. } = &stored;
    let redis = single().expect("it was there");
    let at = tick(lock).await;
    let claimed = win(lock, at).await;
    let micros = at.timestamp_micros().to_string();
    let part = |part| key(namespace, part);
    assert_eq!(redis.command(&["HKEYS", &part("records")]).await, micros);
    assert_eq!(redis.command(&["ZRANGE", &part("order"), "0", "-1"]).await, micros);
    assert_eq!(redis.command(&["ZSCORE", &part("order"), &micros]).await, micros);
    assert_eq!(redis.command(&["STRLEN", &part("cursor")]).await, (17 + "sync".len()).to_string());
    let raw = stored.raw(at).await;
    assert_eq!(raw.len(), 99 + 6 * 4 + "web".len() + "sync".len());
    assert_eq!(
        (&raw[..3], &raw[3..11]),
        (&[1, 2, 0][..], &claimed.tick.fence.get().to_be_bytes()[..])
    );
    let rules = lock.capabilities().config;
    let longest = (rules.retention + rules.max_lease).as_millis();
    for (part, lives) in [("records", true), ("order", true), ("cursor", false)] {
        let life: i128 = redis.command(&["PTTL", &key(namespace, part)]).await.parse().unwrap();
        let longest = i128::try_from(longest).unwrap();
        let bounds = if lives { longest - 60_000..longest + 2 } else { -1..0 };
        assert!(bounds.contains(&life), "{part} lives for {life} ms");
    }
}

#[tokio::test]
async fn records_are_bounded_by_the_retention() {
    let ms = Duration::from_millis;
    let mut rules = CronLockConfig::default();
    (rules.resolution, rules.max_lease, rules.max_late) = (ms(20), ms(100), ms(200));
    rules.retention = ms(600);
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let lock = with_rules(&redis.url(), &namespace, rules.clone());
    let options = standfast_cron_lock::ClaimOptions::new(ms(100));
    let (mut ticks, mut most) = (0, 0);
    let mut last = rules.tick_at(lock.now().await.unwrap());
    while ticks < 100 {
        tokio::time::sleep(ms(10)).await;
        let at = rules.tick_at(lock.now().await.unwrap());
        if at == last {
            continue;
        }
        (last, ticks) = (at, ticks + 1);
        let claim = lock.claim(at, &Owner::new("web"), &options).await.unwrap();
        // a tick that this very test was too slow for is too old
        if matches!(claim, Claim::TooOld { .. }) {
            continue;
        }
        finish(&lock, &won(claim)).await;
        let count = async |name: &str, part: &str| -> u32 {
            redis.command(&[name.to_owned(), key(&namespace, part)]).await.parse().unwrap()
        };
        let kept = count("HLEN", "records").await;
        assert_eq!(kept, count("ZCARD", "order").await);
        most = most.max(kept);
    }
    // 600 ms of ticks of 20 ms, and the lease
    assert!((5..=40).contains(&most), "{most} of {ticks} records at once");
    tokio::time::sleep(ms(900)).await;
    let [records, order] = ["records", "order"].map(|part| key(&namespace, part));
    let left = redis.command(&["EXISTS", &records, &order]).await;
    assert_eq!(left, "0", "a namespace that nobody uses goes by itself");
}

#[tokio::test]
async fn records_that_count_no_longer_hide_none_that_do() {
    let Some(stored) = Stored::new() else { return };
    let first = tick(&stored.lock).await;
    win(&stored.lock, first).await;
    let mut raw = stored.raw(first).await;
    // kept until 1970
    raw[51..59].fill(0);
    for minutes in 1..=250 {
        stored.put(first - MINUTE * minutes, raw.clone()).await;
    }
    let query = |limit| {
        let mut query = RecordQuery::default();
        query.limit = limit;
        query
    };
    for limit in [1, 2, 1000] {
        let read = stored.lock.records(&query(limit)).await.unwrap();
        assert_eq!(read.iter().map(|record| record.at).collect::<Vec<_>>(), [first], "{limit}");
    }
}

async fn every_call(lock: &RedisCronLock, at: DateTime<Utc>) -> [Result<(), Error>; 4] {
    let fence = Fence::new(1);
    [
        lock.claim(at, &Owner::new("web"), &minute()).await.map(drop),
        lock.extend(at, fence, MINUTE).await.map(drop),
        lock.settle(at, fence, &Settlement::Abandon).await.map(drop),
        lock.records(&RecordQuery::default()).await.map(drop),
    ]
}

fn assert_refused(error: &Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}");
    let newer = kind == ErrorKind::Unsupported;
    assert_eq!(error.reason() == Some(Reason::NewerVersion), newer, "{error}");
}

#[tokio::test]
async fn records_that_are_not_ours_are_refused_and_left_as_they_are() {
    for (raw, kind) in [
        ("red".to_owned(), ErrorKind::Corrupt),
        (String::new(), ErrorKind::Corrupt),
        ("\u{1}short".to_owned(), ErrorKind::Corrupt),
        (format!("\u{1}\u{9}{}", "x".repeat(200)), ErrorKind::Corrupt),
        (format!("\u{2}{}", "x".repeat(200)), ErrorKind::Unsupported),
        ("\u{2}".to_owned(), ErrorKind::Unsupported),
    ] {
        // what begins as text does has a layout beyond ours
        let kind = if raw == "red" { ErrorKind::Unsupported } else { kind };
        let Some(stored) = Stored::new() else { return };
        let at = tick(&stored.lock).await;
        stored.put(at, raw.as_bytes()).await;
        for (number, answer) in every_call(&stored.lock, at).await.into_iter().enumerate() {
            assert_refused(&answer.expect_err(&format!("{number} {raw:?}")), kind);
        }
        assert_eq!(stored.raw(at).await, raw.as_bytes());
        // ticks beside it are not affected
        win(&stored.lock, at + MINUTE).await;
    }
}

#[tokio::test]
async fn a_record_with_a_broken_tail_is_corrupt_and_left_as_it_is() {
    let Some(stored) = Stored::new() else { return };
    let lock = &stored.lock;
    let at = tick(lock).await;
    let fence = win(lock, at).await.tick.fence;
    let whole = stored.raw(at).await;
    for broken in [whole[..whole.len() - 1].to_vec(), [&whole[..], b"x"].concat()] {
        stored.put(at, broken.clone()).await;
        let errors = [
            lock.extend(at, fence, MINUTE * 2).await.map(drop),
            lock.settle(at, fence, &Settlement::Abandon).await.map(drop),
            lock.records(&RecordQuery::default()).await.map(drop),
        ];
        for error in errors {
            assert_refused(&error.expect_err("it is broken"), ErrorKind::Corrupt);
        }
        // who has it can be read
        assert!(matches!(claim(lock, at, &Owner::new("rival")).await, Claim::Held(_)));
        assert_eq!(stored.raw(at).await, broken);
    }
}

#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused_and_left_as_it_is() {
    for (raw, kind) in [
        (&b"\x02whatever comes then"[..], ErrorKind::Unsupported),
        (b"\x01short", ErrorKind::Corrupt),
        (b"", ErrorKind::Corrupt),
    ] {
        let Some(stored) = Stored::new() else { return };
        let at = tick(&stored.lock).await;
        stored.call("SET", "cursor", &[raw.to_vec()]).await;
        let refused = stored.lock.claim(at, &Owner::new("web"), &minute()).await;
        assert_refused(&refused.expect_err("the cursor is none"), kind);
        assert_eq!(stored.call("GET", "cursor", &[]).await, Reply::Bytes(raw.to_vec()));
        assert_eq!(records(&stored.lock).await, Vec::<TickRecord>::new(), "nothing was written");
    }
}
