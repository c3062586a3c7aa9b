//! Servers that die, stall, fill up, or come back empty-handed.

use std::time::Duration;

use standfast_core::redis::Durability;
use standfast_core::testkit::redis::RedisServerConfig;
use standfast_core::testkit::{RedisCluster, RedisSentinel, RedisServer};
use standfast_core::{ErrorKind, HealthCheck, Reason};
use standfast_session::{
    Access, CommitOutcome, DestroyOutcome, LoadOutcome, Patch, RotateOutcome, Rotation,
    SessionHandler, SessionHandlerExt, SessionInit, TouchOutcome,
};

use crate::support::{SOON, commit, forgetful, handler_in, known, lasting, namespace, open, start};

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_has_every_session() {
    let Some(server) = lasting().await else { return };
    let handler = handler_in(&server.url(), &namespace());
    let mut sessions = Vec::new();
    for n in 0..20 {
        let (_, visitor) = start(&handler).await;
        commit(&handler, &visitor, Patch::new().increment("n", n)).await;
        sessions.push(visitor);
    }
    let (_, ended) = start(&handler).await;
    assert_eq!(handler.destroy(&ended).await.expect("ok"), DestroyOutcome::Destroyed);
    server.kill();
    let error = handler.load(&sessions[0]).await.expect_err("there is no server");
    assert!(error.is_retryable(), "never `Absent`: {error}");
    assert!(!handler.health().await.is_usable(), "the health tells");
    server.restart().await;
    for (n, visitor) in sessions.iter().enumerate() {
        assert_eq!(known(&handler, visitor).await.counter("n"), n as i64);
        assert_eq!(commit(&handler, visitor, Patch::new().increment("n", 1)).await, 3);
    }
    assert_eq!(handler.load(&ended).await.expect("it answers"), LoadOutcome::Absent);
}

/// Sessions that somebody still has the cookies of, and what happens to them when the servers come
/// back with nothing: every call says so, and none brings anything back.
async fn nothing_comes_back(
    url: &str,
    restart_empty: impl Future<Output = ()>,
    servers: &[&RedisServer],
) {
    let handler = handler_in(url, &namespace());
    let init = SessionInit::new().with_principal("ada");
    let mut sessions = Vec::new();
    // on a Cluster they are on several nodes
    for _ in 0..8 {
        let token = handler.start(&init).await.expect("ok").token;
        commit(&handler, &Access::bearer(&token), Patch::new().set("user", "7")).await;
        sessions.push(token);
    }
    restart_empty.await;
    let back = async {
        while handler.load(&Access::bearer(&sessions[0])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, back).await.expect("it answers soon");
    let patch = Patch::new().set("user", "7");
    for token in &sessions {
        let (visitor, worker) = (Access::bearer(token), Access::trusted(token.session()));
        for access in [&visitor, &worker] {
            assert_eq!(handler.commit(access, &patch).await.expect("ok"), CommitOutcome::Gone);
            assert_eq!(handler.touch(access).await.expect("ok"), TouchOutcome::Gone);
            let rotation = Rotation::renewal(&token.renewed());
            let rotated = handler.rotate(access, &rotation, &patch).await.expect("ok");
            assert_eq!(rotated, RotateOutcome::Gone);
            assert_eq!(handler.destroy(access).await.expect("ok"), DestroyOutcome::Gone);
            assert_eq!(handler.load(access).await.expect("ok"), LoadOutcome::Absent);
        }
        let login = Rotation::login(&token.renewed(), "ada");
        let rotated = handler.rotate(&visitor, &login, &patch).await.expect("ok");
        assert_eq!(rotated, RotateOutcome::Gone);
    }
    assert!(handler.sessions_of("ada", 9).await.expect("ok").is_empty());
    for server in servers {
        assert_eq!(server.command(&["KEYS", "standfast:1:session:*"]).await, "");
    }
}

#[tokio::test]
async fn after_a_restart_with_an_empty_memory_nothing_comes_back() {
    let Some(server) = forgetful().await else { return };
    let restart = async {
        server.kill();
        server.restart().await;
    };
    nothing_comes_back(&server.url(), restart, &[&server]).await;
}

#[tokio::test]
async fn after_a_restart_of_a_cluster_with_an_empty_memory_nothing_comes_back() {
    let Some(cluster) = RedisCluster::start(RedisServerConfig::default()).await else { return };
    let restart = async {
        cluster.kill();
        cluster.restart().await;
    };
    let servers: Vec<_> = cluster.nodes().iter().collect();
    nothing_comes_back(&cluster.url(), restart, &servers).await;
}

#[tokio::test]
async fn after_a_restart_behind_sentinels_with_an_empty_memory_nothing_comes_back() {
    let Some(group) = RedisSentinel::start(RedisServerConfig::default()).await else { return };
    let restart = async {
        group.kill();
        group.restart().await;
    };
    let servers: Vec<_> = group.servers().iter().collect();
    nothing_comes_back(&group.url(), restart, &servers).await;
}

#[tokio::test]
async fn a_server_that_forgets_the_scripts_learns_them_again() {
    let Some(server) = forgetful().await else { return };
    let handler = handler_in(&server.url(), &namespace());
    let flush = async || drop(server.command(&["SCRIPT", "FLUSH"]).await);
    flush().await;
    let (token, visitor) = start(&handler).await;
    flush().await;
    assert_eq!(commit(&handler, &visitor, Patch::new().increment("n", 1)).await, 2);
    flush().await;
    assert_eq!(known(&handler, &visitor).await.counter("n"), 1);
    flush().await;
    let new = token.renewed();
    let login = Rotation::login(&new, "ada");
    let rotated = handler.rotate(&visitor, &login, &Patch::new()).await.expect("ok");
    assert!(matches!(rotated, RotateOutcome::Rotated { .. }), "{rotated:?}");
    flush().await;
    assert_eq!(handler.sessions_of("ada", 9).await.expect("ok").len(), 1);
    flush().await;
    let ended = handler.destroy(&Access::bearer(&new)).await.expect("ok");
    assert_eq!(ended, DestroyOutcome::Destroyed);
}

#[tokio::test]
async fn a_server_that_stalls_holds_nobody() {
    let Some(server) = lasting().await else { return };
    let handler =
        open(&server.url(), &namespace(), Duration::from_millis(500), Durability::Primary);
    let (_, visitor) = start(&handler).await;
    server.pause();
    let patch = Patch::new().increment("n", 1);
    let call = tokio::time::timeout(SOON, handler.commit(&visitor, &patch)).await;
    let error = call.expect("it gives up").expect_err("nobody answers");
    let expected = [ErrorKind::OutcomeUnknown, ErrorKind::Unavailable];
    assert!(expected.contains(&error.kind()), "{error}");
    server.resume();
    assert!(known(&handler, &visitor).await.counter("n") <= 1);
}

#[tokio::test]
async fn a_full_server_changes_nothing_and_still_ends_sessions() {
    let Some(server) = forgetful().await else { return };
    let handler = handler_in(&server.url(), &namespace());
    let (token, visitor) = start(&handler).await;
    let before = known(&handler, &visitor).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let patch = Patch::new().set("a", "1").remove("b");
    let new = token.renewed();
    let errors = [
        handler.commit(&visitor, &patch).await.map(drop),
        handler.rotate(&visitor, &Rotation::login(&new, "ada"), &patch).await.map(drop),
        handler.rotate(&visitor, &Rotation::renewal(&new), &patch).await.map(drop),
        handler.start(&SessionInit::new()).await.map(drop),
    ];
    for error in errors {
        let error = error.expect_err("there is no room");
        assert_eq!(error.reason(), Some(Reason::NoSpace), "{error}");
    }
    let after = known(&handler, &visitor).await;
    assert_eq!((after.version, after.fields), (before.version, before.fields));
    assert_eq!(handler.destroy(&visitor).await.expect("ok"), DestroyOutcome::Destroyed);
}

#[tokio::test]
async fn a_logout_that_must_be_replicated_says_if_it_is_not() {
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
    let handler = open(&primary.url(), &namespace(), Duration::from_secs(5), durability);
    let (_, visitor) = start(&handler).await;
    assert_eq!(commit(&handler, &visitor, Patch::new().set("a", "1")).await, 2);
    replica.pause();
    let error = handler.destroy(&visitor).await.expect_err("no replica has it");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(error.reason(), Some(Reason::NotReplicated), "{error}");
    replica.resume();
    assert_eq!(handler.destroy(&visitor).await.expect("ok"), DestroyOutcome::Gone);
}
