//! The list of somebody's sessions, which is in another slot than they are.

use standfast_core::Id128;
use standfast_core::testkit::redis::{SharedRedis, cluster, single};
use standfast_session::{
    Access, Patch, PrincipalChange, RedisSessionHandler, Rotation, RotationKind, SessionHandler,
    SessionHandlerExt, SessionInit, SessionToken,
};

use crate::support::{commit, handler_in, key, namespace, start};

fn index(namespace: &str, principal: &str) -> String {
    let hash = Id128::derive("standfast:session:principal", &[principal.as_bytes()]);
    format!("standfast:1:session-index:{{{namespace}.{hash}}}")
}

async fn login(handler: &RedisSessionHandler, principal: &str) -> SessionToken {
    let init = SessionInit::new().with_principal(principal);
    handler.start(&init).await.expect("the store answers").token
}

async fn list(handler: &RedisSessionHandler, principal: &str) -> usize {
    handler.sessions_of(principal, 1000).await.expect("the store answers").len()
}

/// As if everything in the index were an hour old.
async fn age(redis: &SharedRedis, at: &str) {
    for session in redis.command(&["ZRANGE", at, "0", "-1"]).await.lines() {
        redis.command(&["ZINCRBY", at, "-3600000000", session]).await;
    }
}

async fn entries(redis: &SharedRedis, at: &str) -> String {
    redis.command(&["ZCARD", at]).await
}

#[tokio::test]
async fn an_entry_whose_session_never_came_is_not_shown_and_goes_later() {
    let Some(redis) = cluster() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let at = index(&namespace, "ada");
    // a process that died between the two steps, just now
    login(&handler, "ada").await;
    let lost = SessionToken::random().session().to_string();
    redis.command(&["ZADD", &at, "1", &lost]).await;
    age(redis, &at).await;
    let now = redis.command(&["TIME"]).await;
    let now: Vec<&str> = now.lines().collect();
    let now = format!("{}{:0>6}", now[0], now[1]);
    redis.command(&["ZADD", &at, &now, &lost]).await;
    assert_eq!(list(&handler, "ada").await, 1);
    assert_eq!(entries(redis, &at).await, "2", "its second step may still come");
    age(redis, &at).await;
    assert_eq!(list(&handler, "ada").await, 1);
    assert_eq!(entries(redis, &at).await, "1", "it cannot come any more");
}

#[tokio::test]
async fn what_was_announced_again_meanwhile_is_not_taken_off() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let at = index(&namespace, "ada");
    let (token, visitor) = start(&handler).await;
    let first = token.renewed();
    let rotated = handler.rotate(&visitor, &Rotation::login(&first, "ada"), &Patch::new()).await;
    let _ = rotated.expect("the store answers");
    age(redis, &at).await;
    let out = first.renewed();
    let clear = Rotation::new(&out, RotationKind::Privilege(PrincipalChange::Clear));
    let _ =
        handler.rotate(&Access::bearer(&first), &clear, &Patch::new()).await.expect("it answers");
    let again = out.renewed();
    let login = Rotation::login(&again, "ada");
    let _ = handler.rotate(&Access::bearer(&out), &login, &Patch::new()).await.expect("it answers");
    assert_eq!((list(&handler, "ada").await, entries(redis, &at).await), (1, "1".into()));
}

#[tokio::test]
async fn a_session_of_somebody_else_is_in_no_list() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let (token, visitor) = start(&handler).await;
    let first = token.renewed();
    let _ =
        handler.rotate(&visitor, &Rotation::login(&first, "ada"), &Patch::new()).await.expect("ok");
    let second = Rotation::login(&first.renewed(), "bob");
    let _ = handler.rotate(&Access::bearer(&first), &second, &Patch::new()).await.expect("ok");
    assert_eq!((list(&handler, "ada").await, list(&handler, "bob").await), (0, 1));
    assert_eq!(handler.end_sessions("ada", None).await.expect("ok"), 0);
    assert_eq!(handler.end_sessions("bob", None).await.expect("ok"), 1);
    let left = redis.command(&["EXISTS", &key(&namespace, &token)]).await;
    assert_eq!((left, entries(redis, &index(&namespace, "bob")).await), ("0".into(), "0".into()));
}

#[tokio::test]
async fn an_index_that_nobody_reads_stays_about_as_large_as_what_lives() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let at = index(&namespace, "bot");
    let mut alive = Vec::new();
    for round in 0..120 {
        let token = login(&handler, "bot").await;
        if round % 10 == 0 {
            alive.push(token);
        } else {
            // it ends by itself: nobody logs out
            redis.command(&["DEL", &key(&namespace, &token)]).await;
        }
        age(redis, &at).await;
    }
    let count: usize = entries(redis, &at).await.parse().expect("a number");
    assert!(count < 64, "{count} entries for {} sessions", alive.len());
    assert_eq!(list(&handler, "bot").await, alive.len());
    let life: i64 = redis.command(&["PTTL", &at]).await.parse().expect("a number");
    assert!(life > 0, "it goes with its last session");
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let Some(redis) = cluster() else { return };
    let handler = handler_in(&redis.url(), &namespace());
    let mut last = None;
    for _ in 0..150 {
        last = Some(login(&handler, "many").await);
    }
    assert_eq!(list(&handler, "many").await, 150);
    let newest = handler.sessions_of("many", 1).await.expect("it answers");
    assert_eq!(newest[0].session, last.expect("there are some").session());
    assert!(handler.sessions_of("many", 0).await.expect("it answers").is_empty());
    let kept = newest[0].session;
    assert_eq!(handler.end_sessions("many", Some(kept)).await.expect("it answers"), 149);
    let worker = Access::trusted(kept);
    assert_eq!(commit(&handler, &worker, Patch::new().set("a", "1")).await, 2);
}
