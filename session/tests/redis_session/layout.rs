//! What is stored is read for years; what is not ours is left alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use standfast_core::redis::{Redis, Request};
use standfast_core::testkit::redis::{SharedRedis, single};
use standfast_core::{Error, ErrorKind, Reason};
use standfast_session::{
    Access, FieldValue, Flash, FlashLevel, Key, Patch, RedisSessionHandler, Rotation,
    SessionHandler, SessionInit, SessionToken, Via,
};

use crate::support::{commit, handler_in, key, known, namespace, start};

const GOLDEN: &[u8] = include_bytes!("../golden/redis-session-v1.resp");

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

/// The golden session, under the reference and with the secret that it was written for.
async fn restored(redis: &SharedRedis, namespace: &str) -> (RedisSessionHandler, SessionToken) {
    let token: SessionToken =
        format!("{}.{}", "00".repeat(16), "11".repeat(16)).parse().expect("a token");
    let raw = Redis::from_url(&redis.url()).expect("a URL");
    let set = Request::command("test", "HSET", &key(namespace, &token)).args(&golden()[2..]);
    raw.call(set).await.expect("the server stores it");
    (handler_in(&redis.url(), namespace), token)
}

#[tokio::test]
async fn what_version_1_stored_is_read_and_goes_on() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let (handler, token) = restored(redis, &namespace).await;
    let visitor = Access::bearer(&token);
    let session = known(&handler, &visitor).await;
    assert_eq!((session.version, session.via), (9, Via::Current));
    assert_eq!(session.created_at.to_rfc3339(), "2100-01-01T00:00:00+00:00");
    assert_eq!(session.touched_at.to_rfc3339(), "2100-01-01T00:00:01+00:00");
    assert_eq!(session.expires_at.to_rfc3339(), "2100-01-01T00:30:01+00:00");
    assert_eq!(session.ends_at.to_rfc3339(), "2101-02-05T00:00:00+00:00");
    assert_eq!(session.principal.as_deref(), Some("user-7"));
    assert_eq!(session.bytes("cart").expect("bytes"), r#"["tea"]"#);
    assert_eq!(session.revision("cart"), Some(7));
    let code = session.field("code").expect("it is live").expires_at.expect("a deadline");
    assert_eq!(code.to_rfc3339(), "2101-01-01T00:00:00+00:00");
    assert_eq!(session.counter("views"), -(1 << 53) - 1);
    let tags: BTreeSet<Bytes> = ["a", "", "bc"].map(Bytes::from).into();
    assert_eq!(session.field("tags").expect("a set").value, FieldValue::Set(tags));
    let seen = ["one", "two"].map(Bytes::from).to_vec();
    assert_eq!(session.field("seen").expect("a list").value, FieldValue::List(seen));
    assert_eq!(session.business("order").expect("a link").as_str(), "order-17");
    assert_eq!(session.flash()[0].1, Flash::new(FlashLevel::Info, "added"));
    // every kind goes on from what is there, and the sums of sizes agree with it
    let patch = Patch::new()
        .increment("views", 1)
        .add_member("tags", "d")
        .append("seen", "three", 2)
        .compare_and_set("cart", Some(7), None);
    assert_eq!(commit(&handler, &visitor, patch).await, 10);
    let session = known(&handler, &visitor).await;
    assert_eq!(session.counter("views"), -(1 << 53));
    assert_eq!(session.field("code").expect("untouched").revision, 5);
    let record = redis.command(&["HSTRLEN", &key(&namespace, &token), "~"]).await;
    assert_eq!(record, "49");
    let new = token.renewed();
    let rotated = handler.rotate(&visitor, &Rotation::renewal(&new), &Patch::new()).await;
    let _ = rotated.expect("the store answers");
    assert_eq!(known(&handler, &Access::bearer(&new)).await.via, Via::Current);
}

#[tokio::test]
async fn what_is_stored_is_what_is_documented() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let token = SessionToken::random();
    let init = SessionInit::new().with_principal("user-7");
    let (session, hash) = (token.session(), token.verifier_hash());
    let _ = handler.create(session, hash, &init).await.expect("the store answers");
    let visitor = Access::bearer(&token);
    let hour = std::time::Duration::from_secs(3600);
    let patch = Patch::new().set("cart", "tea").expiring("cart", hour).increment("views", 3);
    commit(&handler, &visitor, patch).await;
    let new = token.renewed();
    let rotation = Rotation::renewal(&new);
    let _ = handler.rotate(&visitor, &rotation, &Patch::new()).await.expect("the store answers");
    let at = key(&namespace, &token);
    let mut fields: Vec<String> =
        redis.command(&["HKEYS", &at]).await.lines().map(str::to_owned).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["cart", "views", "~", "~h", "~p", "~u"]);
    for (field, size) in [("~", "49"), ("~h", "32"), ("~p", "40"), ("cart", "20"), ("views", "17")]
    {
        assert_eq!(redis.command(&["HSTRLEN", &at, field]).await, size, "{field}");
    }
    let life: i64 = redis.command(&["PTTL", &at]).await.parse().expect("a number");
    let idle = i64::try_from(init.timeouts.idle.as_millis()).expect("short");
    let most = idle + idle / 16 + 1;
    assert!(idle - 10_000 < life && life <= most, "the key lives as the session: {life}");
}

/// Every call on a session; what each answers.
async fn every_call(handler: &RedisSessionHandler, token: &SessionToken) -> Vec<Result<(), Error>> {
    let (visitor, hash) = (Access::bearer(token), token.verifier_hash());
    let patch = Patch::new().set("a", "1");
    let login = Rotation::login(&token.renewed(), "user-7");
    let mut answers = vec![
        handler.create(token.session(), hash, &SessionInit::new()).await.map(drop),
        handler.rotate(&visitor, &login, &patch).await.map(drop),
    ];
    for access in [visitor, Access::trusted(token.session())] {
        answers.push(handler.load(&access).await.map(drop));
        answers.push(handler.commit(&access, &patch).await.map(drop));
        answers.push(handler.commit(&access, &Patch::new()).await.map(drop));
        answers.push(handler.touch(&access).await.map(drop));
        answers.push(handler.destroy(&access).await.map(drop));
    }
    answers
}

async fn stored(redis: &SharedRedis, at: &str) -> String {
    let all = redis.command(&["HGETALL", at]).await;
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let newer = format!("\u{2}{}", "x".repeat(60));
    let short = "\u{1}short".to_owned();
    for (fields, kind) in [
        (vec!["colour", "red"], ErrorKind::Corrupt),
        (vec!["~", &newer, "~h", "x"], ErrorKind::Unsupported),
        (vec!["~", &short], ErrorKind::Corrupt),
        (vec!["~", ""], ErrorKind::Corrupt),
    ] {
        let token = SessionToken::random();
        let at = key(&namespace, &token);
        let mut set = vec!["HSET", &at];
        set.extend(&fields);
        redis.command(&set).await;
        let before = stored(redis, &at).await;
        for (number, answer) in every_call(&handler, &token).await.into_iter().enumerate() {
            let error = answer.expect_err("it is refused");
            assert_eq!(error.kind(), kind, "{number} {fields:?}: {error}");
            let newer = kind == ErrorKind::Unsupported;
            assert_eq!(error.reason() == Some(Reason::NewerVersion), newer, "{error}");
            assert!(!error.to_string().contains(&token.session().to_string()), "{error}");
        }
        assert_eq!(stored(redis, &at).await, before, "{fields:?}");
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_a_conflict_and_left_as_it_is() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let token = SessionToken::random();
    let at = key(&namespace, &token);
    redis.command(&["SET", &at, "mine"]).await;
    for answer in every_call(&handler, &token).await {
        let error = answer.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(!error.to_string().contains(&token.session().to_string()), "{error}");
    }
    assert_eq!(redis.command(&["GET", &at]).await, "mine");
}

#[tokio::test]
async fn a_field_that_cannot_be_read_fails_alone_and_is_replaced() {
    const CART: Key<Vec<String>> = Key::cas("cart");
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let (token, visitor) = start(&handler).await;
    commit(&handler, &visitor, Patch::new().set("locale", "fi")).await;
    for broken in ["", "b", "zzzzzzzzzzzz", "l12345678\u{1}", "B1234567812345678"] {
        redis.command(&["HSET", &key(&namespace, &token), "cart", broken]).await;
        let session = known(&handler, &visitor).await;
        assert_eq!(session.bytes("locale").expect("it is there"), "fi");
        let error = CART.read(&session).expect_err("it cannot be read");
        assert_eq!((error.kind(), error.detail()), (ErrorKind::Corrupt, "field `cart`"));
        for wrong in [Patch::new().increment("cart", 1), Patch::new().add_member("cart", "a")] {
            let error = handler.commit(&visitor, &wrong).await.expect_err("it is no such thing");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{broken:?}: {error}");
        }
        commit(&handler, &visitor, Patch::new().set("cart", r#"["tea"]"#)).await;
        let session = known(&handler, &visitor).await;
        assert_eq!(CART.read(&session).expect("it can"), Some(vec!["tea".to_owned()]));
    }
}

#[tokio::test]
async fn sums_of_sizes_that_went_wrong_are_put_right_when_they_matter() {
    let Some(redis) = single() else { return };
    let namespace = namespace();
    let handler = handler_in(&redis.url(), &namespace);
    let (token, visitor) = start(&handler).await;
    let limits = handler.capabilities().limits;
    // somebody else's field: the record does not count it
    let large = "x".repeat(limits.max_field);
    for name in ["one", "two", "three"] {
        let raw = format!("b12345678{large}");
        redis.command(&["HSET", &key(&namespace, &token), name, &raw]).await;
    }
    let most = Patch::new().set("a", "1").set("b", large.clone());
    commit(&handler, &visitor, most).await;
    redis.command(&["HDEL", &key(&namespace, &token), "b"]).await;
    // by the record it is full; by what is there it is not
    commit(&handler, &visitor, Patch::new().set("c", "x".repeat(limits.max_field / 2))).await;
    let session = known(&handler, &visitor).await;
    assert!(session.bytes("c").is_some() && session.bytes("b").is_none());
}

#[tokio::test]
async fn namespaces_do_not_meet() {
    let Some(redis) = single() else { return };
    let one = handler_in(&redis.url(), &namespace());
    let other = handler_in(&redis.url(), &namespace());
    let (_, visitor) = start(&one).await;
    assert!(other.load(&visitor).await.expect("the store answers").found().is_none());
}
