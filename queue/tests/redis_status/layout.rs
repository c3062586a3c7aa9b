//! What is stored is read for years; what is not ours is left alone.

use std::time::Duration;

use serde_json::json;
use standfast_core::redis::{Redis, Request};
use standfast_core::testkit::redis::{SharedRedis, single};
use standfast_core::{Error, ErrorKind, Reason, SessionRef};
use standfast_queue::{
    JobFailure, JobState, Progress, RedisStatusStore, StatusHandle, StatusStore,
};

use crate::support::{DAY, applied, key, known, namespace, step, store_in};

const GOLDEN: &[u8] = include_bytes!("../golden/redis-status-v1.resp");

/// Every field of the layout, as documented.
const FIELDS: [&str; 22] = [
    "attempt",
    "cancel",
    "checkpoint",
    "created",
    "delivery",
    "detail",
    "done",
    "error",
    "finished",
    "kind",
    "message",
    "owner",
    "result",
    "retry",
    "run",
    "started",
    "state",
    "step",
    "total",
    "updated",
    "v",
    "version",
];

/// The words of the golden command.
fn golden() -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = GOLDEN;
    let line = |rest: &mut &[u8]| -> usize {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line");
        let number = std::str::from_utf8(&rest[1..end]).expect("text").parse().expect("a number");
        *rest = &rest[end + 2..];
        number
    };
    for _ in 0..line(&mut rest) {
        let size = line(&mut rest);
        words.push(rest[..size].to_vec());
        rest = &rest[size + 2..];
    }
    words
}

async fn stored(redis: &SharedRedis, key: &str) -> String {
    // the order of fields changes with their number: sorted, it does not
    let all = redis.command(&["HGETALL", key]).await;
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[tokio::test]
async fn what_version_1_stored_is_read_and_goes_on() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    let raw = Redis::from_url(&redis.url()).expect("a URL");
    let words = golden();
    let set = Request::command("test", "HSET", &key(&namespace, &handle)).args(&words[2..]);
    raw.call(set).await.expect("the server stores it");
    let status = known(&store, &handle).await;
    assert_eq!((status.state, status.run, status.progress.done), (JobState::Failed, 2, u64::MAX));
    let next = step(JobState::Running).execution(3, 1, 1);
    let next = applied(&store, &handle, next).await;
    assert_eq!((next.version, next.created_at), (status.version + 1, status.created_at));
    assert_eq!(
        (next.owner, next.checkpoint.clone(), next.error.clone()),
        (status.owner, None, None)
    );
    let left = redis.command(&["HKEYS", &key(&namespace, &handle)]).await;
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    let expected = [
        "attempt", "created", "delivery", "done", "kind", "owner", "run", "started", "state",
        "step", "updated", "v", "version",
    ];
    assert_eq!(left, expected, "what a new run does not have is not stored");
}

#[tokio::test]
async fn what_is_stored_is_what_is_documented() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    applied(&store, &handle, step(JobState::Running).owner(Some(SessionRef::random()))).await;
    store.request_cancel(&handle).await.expect("the store answers");
    let update = step(JobState::Failed)
        .progress(Progress::new(1, 2).message("half"))
        .checkpoint("here")
        .result(json!(1))
        .error(JobFailure::new("no disk").detail("/dev/full"))
        .retry_in(DAY);
    applied(&store, &handle, update).await;
    let fields = redis.command(&["HKEYS", &key(&namespace, &handle)]).await;
    let mut fields: Vec<&str> = fields.lines().collect();
    fields.sort_unstable();
    assert_eq!(fields, FIELDS);
    let life: i64 =
        redis.command(&["PTTL", &key(&namespace, &handle)]).await.parse().expect("a number");
    let day = i64::try_from(DAY.as_millis()).expect("short");
    assert!(day - 10_000 < life && life <= day, "an ended one lives as told: {life}");
}

#[tokio::test]
async fn a_job_that_begins_late_is_known_until_then() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    let year = 365 * DAY;
    applied(&store, &handle, step(JobState::Queued).retry_in(year)).await;
    let life: u64 =
        redis.command(&["PTTL", &key(&namespace, &handle)]).await.parse().expect("a number");
    let life = Duration::from_millis(life);
    assert!(life > year + 29 * DAY, "a month more than its delay: {life:?}");
    applied(&store, &handle, step(JobState::Queued).execution(1, 2, 2).retry_in(Duration::MAX))
        .await;
    assert!(known(&store, &handle).await.retry_at.is_none(), "no such time");
}

/// Every call on a status; what each answers.
async fn every_call(store: &RedisStatusStore, handle: &StatusHandle) -> [Result<(), Error>; 5] {
    let advance = step(JobState::Running).execution(9, 9, 9);
    [
        store.get(handle).await.map(drop),
        store.wait(handle, 7, DAY).await.map(drop),
        store.advance(handle, &advance, DAY).await.map(drop),
        store.request_cancel(handle).await.map(drop),
        store.remove(handle).await.map(drop),
    ]
}

#[tokio::test]
async fn a_status_of_a_newer_library_is_refused_and_left_as_it_is() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    let key = key(&namespace, &handle);
    redis.command(&["HSET", &key, "v", "2", "everything", "else"]).await;
    let before = stored(redis, &key).await;
    for answer in every_call(&store, &handle).await {
        let error = answer.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.reason(), Some(Reason::NewerVersion), "{error}");
        assert_eq!(stored(redis, &key).await, before, "{error}");
    }
    redis.command(&["DEL", &key]).await;
}

#[tokio::test]
async fn what_is_no_status_is_corrupt_and_left_as_it_is() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let foreign = StatusHandle::random();
    let key_of = |handle: &StatusHandle| key(&namespace, handle);
    redis.command(&["HSET", &key_of(&foreign), "colour", "red"]).await;
    for answer in every_call(&store, &foreign).await {
        let error = answer.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    assert_eq!(stored(redis, &key_of(&foreign)).await, "colour\nred");
    let broken = [
        ("state", "asleep"),
        ("kind", ""),
        ("run", "0x1"),
        ("attempt", "4294967296"),
        ("delivery", "-1"),
        ("done", "18446744073709551616"),
        ("total", "01"),
        ("created", "yesterday"),
        ("updated", "9223372036854775807"),
        ("started", ""),
        ("version", "9007199254740992"),
        ("owner", "ada"),
        ("v", "0"),
    ];
    for (field, value) in broken {
        let handle = StatusHandle::random();
        let running = step(JobState::Running).owner(Some(SessionRef::random()));
        applied(&store, &handle, running.progress(Progress::new(1, 2))).await;
        let key = key_of(&handle);
        match field {
            // an empty kind is one: the field has to be missing
            "kind" => redis.command(&["HDEL", &key, field]).await,
            _ => redis.command(&["HSET", &key, field, value]).await,
        };
        let before = stored(redis, &key).await;
        let [_, _, advance, cancel, remove] = every_call(&store, &handle).await;
        for answer in [advance, cancel] {
            let error = answer.expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{field}: {error}");
            assert!(error.detail().contains(&format!("`{field}`")), "{error}");
        }
        if field == "v" {
            assert_eq!(remove.expect_err("it may be anybody's").kind(), ErrorKind::Corrupt);
            assert_eq!(stored(redis, &key).await, before, "{field}: it is left as it is");
        } else {
            remove.expect("what is ours and broken can be removed");
            assert_eq!(redis.command(&["EXISTS", &key]).await, "0");
        }
    }
}

#[tokio::test]
async fn a_broken_status_is_not_changed_by_a_step() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    applied(&store, &handle, step(JobState::Queued)).await;
    let key = key(&namespace, &handle);
    redis.command(&["HDEL", &key, "delivery"]).await;
    let before = stored(redis, &key).await;
    let error = store.advance(&handle, &step(JobState::Running), DAY).await;
    assert_eq!(error.expect_err("it is broken").kind(), ErrorKind::Corrupt);
    assert_eq!(stored(redis, &key).await, before);
    for error in [store.get(&handle).await, store.wait(&handle, 7, DAY).await] {
        assert_eq!(error.expect_err("it is broken").kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_a_conflict_and_left_as_it_is() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let store = store_in(&redis.url(), &namespace);
    let handle = StatusHandle::random();
    let key = key(&namespace, &handle);
    redis.command(&["SET", &key, "mine"]).await;
    for answer in every_call(&store, &handle).await {
        let error = answer.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(!error.to_string().contains(&handle.to_string()), "{error}");
    }
    assert_eq!(redis.command(&["GET", &key]).await, "mine");
}

#[tokio::test]
async fn namespaces_do_not_meet() {
    let Some(redis) = single() else { return };
    let (one, other) = (store_in(&redis.url(), &namespace()), store_in(&redis.url(), &namespace()));
    let handle = StatusHandle::random();
    applied(&one, &handle, step(JobState::Queued)).await;
    assert!(other.get(&handle).await.expect("the store answers").is_none());
}
