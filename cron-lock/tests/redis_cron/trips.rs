//! What each call costs, counted on the wire.

use std::time::Duration;

use standfast_core::testkit::FaultProxy;
use standfast_cron_lock::{CronLock, Owner, RecordQuery, RedisCronLock, SettleOutcome, Settlement};

use crate::support::{claim, finish, forgetful, namespace, tick, win};

/// Round trips of each kind of call.
async fn count(proxy: &FaultProxy, lock: &RedisCronLock) -> Vec<(&'static str, u64)> {
    let at = tick(lock).await;
    let (mut counted, mut so_far) = (Vec::new(), proxy.traffic().requests);
    let mut since = |what| {
        let now = proxy.traffic().requests;
        counted.push((what, now - so_far));
        so_far = now;
    };
    lock.now().await.unwrap();
    since("now");
    let claimed = win(lock, at).await;
    since("claim that wins");
    let _held = claim(lock, at, &Owner::new("rival")).await;
    since("claim of a held tick");
    let fence = claimed.tick.fence;
    let _extended = lock.extend(at, fence, Duration::from_secs(90)).await.unwrap();
    since("extend");
    let let_go = lock.settle(at, fence, &Settlement::Abandon).await.unwrap();
    assert_eq!(let_go, SettleOutcome::Settled);
    since("abandon");
    let claimed = win(lock, at).await;
    since("takeover");
    finish(lock, &claimed).await;
    since("finish");
    let _finished = claim(lock, at, &Owner::new("rival")).await;
    since("claim of a finished tick");
    lock.records(&RecordQuery::default()).await.unwrap();
    since("records");
    counted
}

#[tokio::test]
async fn each_call_is_one_round_trip() {
    let Some(server) = forgetful().await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = standfast_core::redis::Redis::from_url(&server.url_by(proxy.port())).unwrap();
    let [first, lock] = [namespace(), namespace()].map(|namespace| {
        RedisCronLock::from_parts(redis.clone(), &namespace, Default::default()).unwrap()
    });
    // connected, and the scripts are known
    count(&proxy, &first).await;
    for (what, trips) in count(&proxy, &lock).await {
        assert_eq!(trips, 1, "{what}");
    }
}
