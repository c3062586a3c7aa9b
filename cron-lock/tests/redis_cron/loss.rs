//! Networks that lose replies.

use std::time::Duration;

use standfast_core::redis::Redis;
use standfast_core::testkit::{FaultProxy, RedisServer};
use standfast_cron_lock::{
    Claim, CronLock, ExtendOutcome, Owner, RedisCronLock, SettleOutcome, Settlement, TickState,
};

use crate::support::{
    MINUTE, claim, finish, forgetful, lock_in, minute, namespace, records, tick, win, won,
};

/// A server, what is between it and a lock, that lock, and one with a way of its own.
struct Lossy {
    _server: RedisServer,
    proxy: FaultProxy,
    lock: RedisCronLock,
    direct: RedisCronLock,
}

impl Lossy {
    async fn start() -> Option<Self> {
        let server = forgetful().await?;
        let proxy = FaultProxy::start(server.address()).await;
        let redis = Redis::from_url(&server.url_by(proxy.port())).unwrap();
        let other = RedisCronLock::from_parts(redis.clone(), &namespace(), Default::default());
        let (warm, name) = (other.unwrap(), namespace());
        // connected, and every script is known: the first reply about a tick is its own
        let claimed = win(&warm, tick(&warm).await).await;
        let fence = claimed.tick.fence;
        let _ = warm.extend(claimed.tick.at, fence, Duration::from_secs(90)).await.unwrap();
        finish(&warm, &claimed).await;
        records(&warm).await;
        let lock = RedisCronLock::from_parts(redis, &name, Default::default()).unwrap();
        let direct = lock_in(&server.url(), &name);
        Some(Self { _server: server, proxy, lock, direct })
    }

    /// Does something whose first reply is lost.
    async fn losing<T>(&self, call: impl Future<Output = standfast_core::Result<T>>) -> T {
        let before = self.proxy.traffic().replies_lost;
        self.proxy.lose_replies_to(1, format!("{{{}}}", self.lock.namespace()));
        let answer = call.await.unwrap();
        assert_eq!(self.proxy.traffic().replies_lost, before + 1, "the reply was lost");
        answer
    }
}

#[tokio::test]
async fn a_claim_whose_reply_is_lost_has_won_and_does_not_wait_for_itself() {
    let Some(net) = Lossy::start().await else { return };
    let (at, owner) = (tick(&net.direct).await, Owner::new("web"));
    let claimed = won(net.losing(net.lock.claim(at, &owner, &minute())).await);
    assert_eq!(claimed.tick.attempt, 1, "and was granted once");
    let [record] = records(&net.direct).await.try_into().unwrap();
    assert_eq!((record.fence, record.attempt), (claimed.tick.fence, 1));
    assert_eq!((claimed.now, claimed.lease_until), (record.claimed_at, record.lease_until));
    assert!(matches!(claim(&net.direct, at, &Owner::new("rival")).await, Claim::Held(_)));
    // another claim of the same owner is another claim
    let Claim::Held(held) = claim(&net.lock, at, &owner).await else { panic!("it is held") };
    assert_eq!(held.owner, owner);
    finish(&net.lock, &claimed).await;
}

#[tokio::test]
async fn a_takeover_whose_reply_is_lost_is_granted_once() {
    let Some(net) = Lossy::start().await else { return };
    let (at, owner) = (tick(&net.direct).await, Owner::new("web"));
    let first = win(&net.direct, at).await;
    let let_go = net.direct.settle(at, first.tick.fence, &Settlement::Abandon).await.unwrap();
    assert_eq!(let_go, SettleOutcome::Settled);
    let second = won(net.losing(net.lock.claim(at, &owner, &minute())).await);
    assert_eq!(second.tick.attempt, 2);
    let [record] = records(&net.direct).await.try_into().unwrap();
    assert_eq!((record.fence, record.former.len()), (second.tick.fence, 1));
}

#[tokio::test]
async fn a_claim_that_is_refused_is_refused_again() {
    let Some(net) = Lossy::start().await else { return };
    let (at, owner) = (tick(&net.direct).await, Owner::new("web"));
    let first = win(&net.direct, at).await;
    let answer = net.losing(net.lock.claim(at, &owner, &minute())).await;
    assert!(matches!(answer, Claim::Held(held) if held.fence == first.tick.fence));
    finish(&net.direct, &first).await;
    let answer = net.losing(net.lock.claim(at, &owner, &minute())).await;
    assert!(matches!(answer, Claim::Finished(_)), "{answer:?}");
}

#[tokio::test]
async fn settlements_and_extensions_whose_reply_is_lost_are_answered_as_the_first_time() {
    let Some(net) = Lossy::start().await else { return };
    let at = tick(&net.direct).await;
    for (minutes, settlement, state) in [
        (0, Settlement::Abandon, TickState::Abandoned),
        (1, Settlement::fail("no queue"), TickState::Failed),
        (2, Settlement::finish([]), TickState::Done),
    ] {
        let at = at + MINUTE * minutes;
        let claimed = win(&net.direct, at).await;
        let fence = claimed.tick.fence;
        let longer = Duration::from_secs(90);
        let extended = net.losing(net.lock.extend(at, fence, longer)).await;
        let ExtendOutcome::Extended { lease_until, .. } = extended else { panic!("{extended:?}") };
        assert!(lease_until > claimed.lease_until);
        let settled = net.losing(net.lock.settle(at, fence, &settlement)).await;
        assert_eq!(settled, SettleOutcome::Settled);
        let record = records(&net.direct).await.pop().unwrap();
        assert_eq!((record.at, record.state, record.attempt), (at, state, 1));
    }
}

#[tokio::test]
async fn reads_are_asked_again() {
    let Some(net) = Lossy::start().await else { return };
    let claimed = win(&net.direct, tick(&net.direct).await).await;
    let now = net.losing(net.lock.now()).await;
    assert!(now >= claimed.now);
    let read = net.losing(net.lock.records(&Default::default())).await;
    assert_eq!(read[0].fence, claimed.tick.fence);
}
