//! Servers that die, stall, fill up, or come back empty-handed.

use std::time::Duration;

use standfast_core::redis::Durability;
use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::{Error, ErrorKind, HealthCheck, Reason};
use standfast_cron_lock::{
    Claim, CronLock, CronLockExt, ExtendOutcome, Owner, RecordQuery, RedisCronLock, SettleOutcome,
    Settlement, TickState, TryClaim,
};

use crate::support::{
    MINUTE, SOON, claim, finish, forgetful, key, lasting, lock_in, minute, namespace, open,
    records, tick, win,
};

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_has_every_record() {
    let Some(server) = lasting().await else { return };
    let lock = lock_in(&server.url(), &namespace());
    let at = tick(&lock).await;
    let done = win(&lock, at).await;
    finish(&lock, &done).await;
    let held = win(&lock, at + MINUTE).await;
    let before = records(&lock).await;
    server.kill();
    let error = lock.claim(at, &Owner::new("late"), &minute()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(!lock.health().await.is_usable(), "the health tells");
    server.restart().await;
    assert_eq!(records(&lock).await, before);
    let rival = Owner::new("rival");
    assert!(matches!(claim(&lock, at, &rival).await, Claim::Finished(_)));
    assert!(matches!(claim(&lock, at + MINUTE, &rival).await, Claim::Held(_)));
    finish(&lock, &held).await;
    let next = win(&lock, at + MINUTE * 2).await;
    assert_eq!(next.tick.previous, Some(at + MINUTE));
    assert!(next.tick.fence.supersedes(held.tick.fence));
    assert!(next.known.contains("sync"));
}

#[tokio::test]
async fn after_a_restart_with_an_empty_memory_nothing_is_made_up_for() {
    let Some(server) = forgetful().await else { return };
    let lock = lock_in(&server.url(), &namespace());
    let at = tick(&lock).await;
    let lost = win(&lock, at).await;
    server.kill();
    server.restart().await;
    let fence = lost.tick.fence;
    let settled = lock.settle(at, fence, &Settlement::finish([])).await.unwrap();
    assert_eq!(settled, SettleOutcome::Missing);
    assert_eq!(lock.extend(at, fence, MINUTE).await.unwrap(), ExtendOutcome::Missing);
    let next = win(&lock, at + MINUTE).await;
    assert_eq!((next.tick.previous, next.missed(MINUTE)), (None, 0));
    assert!(next.tick.fence.supersedes(fence), "although the last fence is lost");
    assert!(matches!(claim(&lock, at, &Owner::new("late")).await, Claim::TooOld { .. }));
}

#[tokio::test]
async fn a_server_that_forgets_the_scripts_learns_them_again() {
    let Some(server) = forgetful().await else { return };
    let lock = lock_in(&server.url(), &namespace());
    let flush = async || drop(server.command(&["SCRIPT", "FLUSH"]).await);
    let at = tick(&lock).await;
    flush().await;
    let claimed = win(&lock, at).await;
    flush().await;
    let extended = lock.extend(at, claimed.tick.fence, MINUTE * 2).await.unwrap();
    assert!(matches!(extended, ExtendOutcome::Extended { .. }));
    flush().await;
    finish(&lock, &claimed).await;
    flush().await;
    assert_eq!(records(&lock).await.len(), 1);
    flush().await;
    assert!(lock.now().await.unwrap() > at);
}

#[tokio::test]
async fn a_server_that_stalls_holds_nobody_and_decides_when_it_goes_on() {
    let Some(server) = lasting().await else { return };
    let name = namespace();
    let lock = open(&server.url(), &name, Duration::from_millis(500), Durability::Primary);
    let (at, owner) = (tick(&lock).await, Owner::new("web"));
    server.pause();
    let stalled = tokio::time::timeout(SOON, lock.claim(at, &owner, &minute())).await;
    let error = stalled.expect("it gives up").unwrap_err();
    assert!(error.is_retryable(), "{error}");
    server.resume();
    // the request was written, so the claim is this owner's, as the contract says; or never came
    match claim(&lock, at, &owner).await {
        Claim::Held(held) => assert_eq!(held.owner, owner),
        Claim::Claimed(claimed) => assert_eq!(claimed.tick.attempt, 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_server_changes_nothing_and_still_refuses_rightly() {
    let Some(server) = forgetful().await else { return };
    let lock = lock_in(&server.url(), &namespace());
    let at = tick(&lock).await;
    let held = win(&lock, at).await;
    let before = records(&lock).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let (fence, rival) = (held.tick.fence, Owner::new("rival"));
    let errors: [Result<(), Error>; 3] = [
        lock.claim(at + MINUTE, &rival, &minute()).await.map(drop),
        lock.extend(at, fence, MINUTE * 2).await.map(drop),
        lock.settle(at, fence, &Settlement::finish([])).await.map(drop),
    ];
    for error in errors {
        let error = error.expect_err("there is no room");
        assert_eq!(error.reason(), Some(Reason::NoSpace), "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    assert!(matches!(claim(&lock, at, &rival).await, Claim::Held(_)));
    assert_eq!(records(&lock).await, before);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    finish(&lock, &held).await;
    assert_eq!(win(&lock, at + MINUTE).await.tick.previous, Some(at), "the cursor had not moved");
}

/// Every call; what each answers.
async fn every_call(lock: &RedisCronLock, at: chrono::DateTime<chrono::Utc>) -> Vec<Error> {
    let (owner, fence) = (Owner::new("web"), standfast_core::Fence::new(1));
    let answers = [
        lock.claim(at, &owner, &minute()).await.map(drop),
        lock.extend(at, fence, MINUTE).await.map(drop),
        lock.settle(at, fence, &Settlement::Abandon).await.map(drop),
        lock.records(&RecordQuery::default()).await.map(drop),
    ];
    answers.into_iter().filter_map(Result::err).collect()
}

#[tokio::test]
async fn a_key_of_another_type_is_a_conflict_and_nothing_changes() {
    let Some(server) = forgetful().await else { return };
    for (part, refused) in [("records", 3), ("order", 2), ("cursor", 1)] {
        let name = namespace();
        let lock = lock_in(&server.url(), &name);
        let at = tick(&lock).await;
        let before = match part {
            "cursor" => server.command(&["HSET", &key(&name, part), "mine", "1"]).await,
            _ => server.command(&["SET", &key(&name, part), "mine"]).await,
        };
        let errors = every_call(&lock, at).await;
        assert!(errors.len() >= refused, "{part} {before}: {errors:?}");
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{part}: {error}");
        }
        let pattern = format!("standfast:1:cron:{{{name}}}:*");
        assert_eq!(server.command(&["KEYS", &pattern]).await, key(&name, part));
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let mut config = RedisServerConfig::default();
    config.password = Some("open sesame".to_owned());
    let Some(server) = RedisServer::start(config).await else { return };
    let lock = lock_in(&server.url_as("default", "hunter2"), &namespace());
    let error = lock.now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!error.is_retryable());
    assert!(!format!("{error:?} {lock:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_must_be_replicated_says_if_it_is_not() {
    let Some(primary) = lasting().await else { return };
    let mut config = RedisServerConfig::default();
    config.replica_of = Some(primary.port());
    let Some(replica) = RedisServer::start(config).await else { return };
    // the replica says that it is linked up to a second before the primary counts on it
    let counted = async {
        while !primary.command(&["INFO", "replication"]).await.contains("state=online") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("the replica follows");
    let durability = Durability::Replicated { replicas: 1, timeout: Duration::from_secs(2) };
    let lock = open(&primary.url(), &namespace(), Duration::from_secs(5), durability);
    let (at, owner, options) = (tick(&lock).await, Owner::new("web"), minute());
    finish(&lock, &win(&lock, at).await).await;
    replica.pause();
    let error = lock.claim(at + MINUTE, &owner, &options).await.expect_err("no replica has it");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(error.reason(), Some(Reason::NotReplicated), "{error}");
    replica.resume();
    // the primary has it: a claim of the same owner says so, who gives it back and claims again
    let Claim::Held(held) = claim(&lock, at + MINUTE, &owner).await else { panic!("it is held") };
    assert_eq!(held.owner, owner);
    let let_go = lock.settle(at + MINUTE, held.fence, &Settlement::Abandon).await.unwrap();
    assert_eq!(let_go, SettleOutcome::Settled);
    let TryClaim::Won(guard) = lock.try_claim(at + MINUTE, &owner, &options).await.unwrap() else {
        panic!("it is free")
    };
    replica.pause();
    let unsettled = guard.finish([]).await.expect_err("no replica has it");
    assert_eq!(unsettled.error.reason(), Some(Reason::NotReplicated));
    replica.resume();
    assert_eq!(unsettled.guard.finish([]).await.unwrap(), SettleOutcome::Settled);
    assert_eq!(records(&lock).await.pop().unwrap().state, TickState::Done);
}
