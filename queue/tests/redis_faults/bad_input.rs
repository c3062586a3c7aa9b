//! Servers and keys that are not as they should be: typed errors, and nothing is lost.

use std::time::Duration;

use standfast_core::redis::{Redis, RedisConfig};
use standfast_core::testkit::redis::{self, RedisServer, RedisServerConfig};
use standfast_core::{ErrorKind, HealthCheck as _, JobId, Reason};
use standfast_queue::{
    DeadLetterFilter, DeadLetters as _, Envelope, OutgoingMessage, Queue, ReceiveOptions,
    RedisQueue, RedisQueueConfig, SendOutcome, Settlement,
};

fn message() -> OutgoingMessage {
    Envelope::new("mail", "some body").into()
}

fn open(url: &str, name: &str) -> RedisQueue {
    let mut config = RedisConfig::from_url(url).expect("the URL is one");
    config.timeout = Duration::from_secs(1);
    let redis = Redis::from_config(config).expect("the configuration is one");
    RedisQueue::from_parts(redis, name, RedisQueueConfig::default()).expect("the name is one")
}

#[tokio::test]
async fn a_name_or_url_that_is_none_is_invalid() {
    for (url, name) in [
        ("redis://127.0.0.1", "two words"),
        ("redis://127.0.0.1", ""),
        ("redis://127.0.0.1", "a{b}"),
        ("http://127.0.0.1", "mail"),
        ("not a url", "mail"),
    ] {
        let error = RedisQueue::from_url(url, name).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url} {name}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let queue = open("redis://127.0.0.1:1", "mail");
    let error = queue.send(&[message()]).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
    assert!(!queue.health().await.is_usable());
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_shown() {
    let mut config = RedisServerConfig::default();
    config.password = Some("right".to_owned());
    let Some(server) = RedisServer::start(config).await else { return };
    let queue = open(&server.url_as("", "hunter2"), "mail");
    let error = queue.send(&[message()]).await.expect_err("it is denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let shown = format!("{error} {error:?} {queue:?} {:?}", queue.health().await);
    assert!(!shown.contains("hunter2"), "{shown}");
    open(&server.url(), "mail").send(&[message()]).await.expect("the right one is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_a_conflict_and_changes_nothing() {
    let Some(server) = redis::single() else { return };
    let parts = ["bodies", "r2", "leases", "delayed", "counters", "errors", "dead", "letters"];
    for part in parts {
        let name = JobId::random().to_string();
        let queue = open(&server.url(), &name);
        queue.send(&[message(), message().delay(Duration::from_secs(60))]).await.expect("sent");
        let held = queue.receive(&ReceiveOptions::new(1)).await.expect("received");
        let receipt = held.deliveries[0].receipt.clone();
        queue.send(&[message()]).await.expect("sent");
        let before = queue.stats().await.expect("counted");

        let key = format!("standfast:1:queue:{{{name}}}:{part}");
        let aside = format!("{key}:aside");
        let had = server.command(&["EXISTS", &key]).await == "1";
        if had {
            server.command(&["RENAME", &key, &aside]).await;
        }
        server.command(&["SET", &key, "somebody else's"]).await;
        let retry = Settlement::Release {
            delay: Duration::from_secs(60),
            counted: true,
            error: Some("no answer".to_owned()),
        };
        let dead = Settlement::DeadLetter { reason: "no use".to_owned() };
        let mut kinds = Vec::new();
        kinds.push(queue.send(&[message()]).await.err());
        kinds.push(queue.send(&[message().delay(Duration::from_secs(60))]).await.err());
        kinds.push(queue.settle(&[(receipt.clone(), retry)]).await.err());
        kinds.push(queue.settle(&[(receipt.clone(), dead)]).await.err());
        kinds.push(queue.stats().await.err());
        assert!(kinds.iter().any(Option::is_some), "{part} is noticed");
        for error in kinds.into_iter().flatten() {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{part}: {error}");
            assert!(error.to_string().contains(&name), "it says where: {error}");
        }

        server.command(&["DEL", &key]).await;
        if had {
            server.command(&["RENAME", &aside, &key]).await;
        }
        let after = queue.stats().await.expect("counted");
        assert!(after.ready + after.delayed + after.leased + after.dead >= 3, "{part}: {after:?}");
        assert!(after.leased <= before.leased, "{part}: {after:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_envelope_is_put_aside_and_kept() {
    let Some(server) = redis::single() else { return };
    for foreign in ["", "hello", "{\"v\":1}\n", "{\"v\":99}\nbody"] {
        let name = JobId::random().to_string();
        let queue = open(&server.url(), &name);
        let (odd, good) = (message(), message());
        queue.send(&[odd.clone(), good.clone()]).await.expect("sent");
        let key = format!("standfast:1:queue:{{{name}}}:bodies");
        let ids = server.command(&["HKEYS", &key]).await;
        assert!(!ids.is_empty());
        let script = "local id = redis.call('LINDEX', KEYS[2], 0); \
                      redis.call('HSET', KEYS[1], string.sub(id, 2, 17), ARGV[1])";
        let list = format!("standfast:1:queue:{{{name}}}:r2");
        server.command(&["EVAL", script, "2", &key, &list, foreign]).await;
        let batch = queue.receive(&ReceiveOptions::new(10)).await.expect("it answers");
        let ids: Vec<_> = batch.deliveries.iter().map(|one| one.receipt.id()).collect();
        assert_eq!(ids, [good.envelope.id], "what can be read is delivered");
        let stats = queue.stats().await.expect("counted");
        assert_eq!((stats.delayed, stats.leased), (1, 1), "what cannot is kept for later");
    }
}

#[tokio::test]
async fn a_body_that_somebody_deleted_is_told_and_holds_nobody_up() {
    let Some(server) = redis::single() else { return };
    let name = JobId::random().to_string();
    let queue = open(&server.url(), &name);
    queue.send(&[message().group("g"), message().group("g")]).await.expect("sent");
    let script = "local id = redis.call('LINDEX', KEYS[2], 0); \
                  redis.call('HDEL', KEYS[1], string.sub(id, 2, 17))";
    let key = |part: &str| format!("standfast:1:queue:{{{name}}}:{part}");
    server.command(&["EVAL", script, "2", &key("bodies"), &key("r2")]).await;
    let mut received = Vec::new();
    for _ in 0..2 {
        received
            .extend(queue.receive(&ReceiveOptions::new(1)).await.expect("it answers").deliveries);
    }
    assert_eq!(received.len(), 1, "the next of the group is delivered");
}

#[tokio::test]
async fn a_server_that_is_full_takes_nothing_and_gives_everything() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let queue = open(&server.url(), "mail");
    for _ in 0..20 {
        queue.send(&[message(), message().delay(Duration::from_millis(1))]).await.expect("sent");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for refused in [message(), message().delay(Duration::from_secs(1)), message().group("g")] {
        let error = queue.send(&[refused]).await.expect_err("there is no room");
        let why = (error.kind(), error.reason());
        assert_eq!(why, (ErrorKind::Unavailable, Some(Reason::NoSpace)), "{error}");
        assert!(error.to_string().contains("maxmemory"), "it says what to do: {error}");
    }
    // draining is what makes room, so it goes on
    let mut seen = 0;
    while seen < 40 {
        let options = ReceiveOptions::new(7).wait(Duration::from_secs(2));
        let batch = queue.receive(&options).await.expect("it delivers");
        assert!(!batch.is_empty(), "{seen} of 40 so far");
        seen += batch.deliveries.len();
        for (at, received) in batch.deliveries.into_iter().enumerate() {
            let how = match at % 3 {
                0 => Settlement::DeadLetter { reason: "no use".to_owned() },
                _ => Settlement::Ack,
            };
            queue.settle(&[(received.receipt, how)]).await.expect("it settles");
        }
    }
    let stats = queue.stats().await.expect("it counts");
    assert_eq!((stats.ready, stats.leased, stats.delayed), (0, 0, 0), "{stats:?}");
    let dead = queue.list_dead_letters(&DeadLetterFilter::default(), None, 100).await;
    assert_eq!(dead.expect("it lists").letters.len(), usize::try_from(stats.dead).expect("few"));
}

#[tokio::test]
async fn a_replica_refuses_and_says_so() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let mut config = RedisServerConfig::default();
    config.replica_of = Some(server.port());
    let Some(replica) = RedisServer::start(config).await else { return };
    let queue = open(&replica.url(), "mail");
    let error = queue.send(&[message()]).await.expect_err("a replica takes no writes");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replica"), "it says why: {error}");
    assert!(!queue.health().await.is_usable());
    let primary = open(&server.url(), "mail");
    let outcomes = primary.send(&[message()]).await.expect("the primary takes it");
    assert!(matches!(outcomes[0], SendOutcome::Sent));
}
