//! Histories recorded from processes that share a session, while some of them are stopped, killed
//! or lose their connections: each must be explained by calls that happened one after the other,
//! for the session as a whole and for every field by itself.
//!
//! The processes are this test binary, started again. They write what they call and what they are
//! answered as lines of one file that all append to, so a call spans in the history at least what
//! it spanned in the world.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/broken.rs"]
#[allow(dead_code, reason = "other tests use the other faults")]
mod broken;
mod history;
mod process;
mod rounds;
mod spec;

use standfast_core::testkit::{FaultProxy, redis, service};

use rounds::{Explained, count, explained};

fn all_of(rounds: usize, found: Explained) {
    println!("{found:?}");
    assert_eq!(found.whole, rounds, "{found:?}");
    assert_eq!(found.by_field, rounds * spec::FIELDS.len(), "{found:?}");
    assert!(found.overlapping * 10 >= rounds * 8, "calls overlap: {found:?}");
    assert!(found.unanswered * 4 >= rounds, "some calls are never answered: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_redis_are_linearizable_whoever_stands_still_or_dies() {
    let Some(redis) = redis::single() else { return };
    let address = redis.url().rsplit_once('/').unwrap().1.to_owned();
    let proxy = FaultProxy::start(address).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    all_of(count(), explained(&url, &proxy, false, count()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_postgres_are_linearizable_whoever_stands_still_or_dies() {
    let Some(url) = service("postgres", "STANDFAST_TEST_POSTGRES") else { return };
    let (user, rest) = url.rsplit_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let proxy = FaultProxy::start(address).await;
    let url = format!("{user}@127.0.0.1:{}/{database}", proxy.port());
    all_of(count(), explained(&url, &proxy, false, count()).await);
}

/// How most stores of sessions work: the whole of what was read is written back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_snapshots_are_not_linearizable() {
    let Some(redis) = redis::single() else { return };
    let address = redis.url().rsplit_once('/').unwrap().1.to_owned();
    let proxy = FaultProxy::start(address).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let found = explained(&url, &proxy, true, 10).await;
    println!("{found:?}");
    assert!(found.by_field < 10 * spec::FIELDS.len(), "{found:?}");
}
