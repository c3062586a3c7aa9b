use std::time::Duration;

use standfast_core::redis::{KeySpace, Redis, RedisConfig, Reply, Request, Script, Servers};
use standfast_core::testkit::redis::{self, RedisServerConfig};
use standfast_core::{ErrorKind, Health, HealthCheck, Verdict};

use super::support::{add, get, handle, int, key, set, started, text};

#[tokio::test]
async fn what_is_set_is_got() {
    let Some(server) = redis::single() else { return };
    let (redis, key) = (handle(&server.url()), key("greeting"));
    assert!(redis.call(get(&key)).await.unwrap().is_nil());
    assert_eq!(text(redis.call(set(&key, "hello")).await), "OK");
    assert_eq!(text(redis.clone().call(get(&key)).await), "hello");
    let bytes: Vec<u8> = (0..=255).collect();
    redis.call(Request::command("t", "SET", &key).arg(&bytes)).await.unwrap();
    assert_eq!(redis.call(get(&key)).await.unwrap().into_bytes("t").unwrap(), bytes);
    let encoding = redis.call(Request::command("t", "OBJECT ENCODING", &key)).await;
    assert_eq!(text(encoding), "raw");
}

#[tokio::test]
async fn replies_of_every_shape_arrive() {
    static SHAPES: Script =
        Script::new("return {1, 'two', false, {3, {}}, redis.status_reply('FINE')}");
    let Some(server) = redis::single() else { return };
    let reply = handle(&server.url()).call(SHAPES.on("t", &[key("shapes")])).await.unwrap();
    let bytes = |text: &str| Reply::Bytes(text.into());
    let nested = Reply::Array(vec![Reply::Int(3), Reply::Array(vec![])]);
    let expected = vec![Reply::Int(1), bytes("two"), Reply::Nil, nested, bytes("FINE")];
    assert_eq!(reply, Reply::Array(expected));
}

#[tokio::test]
async fn a_large_value_and_many_arguments_pass() {
    let Some(server) = redis::single() else { return };
    let (redis, key) = (handle(&server.url()), key("large"));
    let large = vec![7; 8 << 20];
    redis.call(Request::command("t", "SET", &key).arg(&large)).await.unwrap();
    assert_eq!(redis.call(get(&key)).await.unwrap().into_bytes("t").unwrap(), large);
    let many = Request::command("t", "RPUSH", &format!("{key}:list"));
    assert_eq!(int(redis.call(many.args((0..5_000).map(|n| n.to_string()))).await), 5_000);
}

#[tokio::test]
async fn a_script_that_was_flushed_is_taught_again() {
    let Some(server) = started(|_| {}).await else { return };
    let (redis, key) = (handle(&server.url()), key("n"));
    for expected in 1..=3 {
        assert_eq!(int(redis.call(add(&key)).await), expected);
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn many_calls_at_once_share_one_connection() {
    let Some(server) = started(|_| {}).await else { return };
    let (redis, key) = (handle(&server.url()), key("n"));
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (redis, request) = (redis.clone(), add(&key));
            tokio::spawn(async move { int(redis.call(request).await) })
        })
        .collect();
    let mut seen = Vec::new();
    for call in calls {
        seen.push(call.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    let clients = server.command(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    // ours, and the one that asks
    assert_eq!(clients.lines().filter(|line| line.contains("id=")).count(), 2, "{clients}");
}

#[tokio::test]
async fn a_database_is_one_of_its_own() {
    let Some(server) = started(|_| {}).await else { return };
    let key = key("k");
    handle(&format!("{}/3", server.url())).call(set(&key, "three")).await.unwrap();
    assert!(handle(&server.url()).call(get(&key)).await.unwrap().is_nil());
    let three = handle(&format!("{}/3", server.url()));
    assert_eq!(text(three.call(get(&key)).await), "three");
    let error = handle(&format!("{}/99", server.url())).call(get(&key)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn users_log_in_and_may_do_what_they_may() {
    let configure = |config: &mut RedisServerConfig| {
        config.password = Some("p@ss/w:rd%".into());
        config.users.push("app on >s3cret ~test:* &* +@all -@dangerous -flushall".into());
        config.users.push("mute on >s3cret ~test:* &* +get".into());
    };
    let Some(server) = started(configure).await else { return };
    let key = key("k");
    // the password is percent-encoded in the URL
    assert_eq!(text(handle(&server.url()).call(set(&key, "v")).await), "OK");
    let app = handle(&server.url_as("app", "s3cret"));
    assert_eq!(text(app.call(get(&key)).await), "v");
    let forbidden = app.call(get("other")).await.unwrap_err();
    assert_eq!(forbidden.kind(), ErrorKind::Denied);
    assert!(!forbidden.is_retryable());
    // one who may neither PING nor INFO works as well
    let mute = handle(&server.url_as("mute", "s3cret"));
    assert_eq!(text(mute.call(get(&key)).await), "v");
    assert_eq!(mute.check().await, Verdict::Healthy);
}

#[tokio::test]
async fn wrong_credentials_are_denied_at_once() {
    let configure = |config: &mut RedisServerConfig| {
        config.password = Some("s3cret".into());
    };
    let Some(server) = started(configure).await else { return };
    let Some(open) = started(|_| {}).await else { return };
    for url in [
        format!("redis://:hunter2@{}", server.address()),
        format!("redis://nobody:hunter2@{}", server.address()),
        format!("redis://{}", server.address()),
        format!("redis://:hunter2@{}", open.address()),
    ] {
        let began = std::time::Instant::now();
        let error = handle(&url).call(get("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_handle_from_parts_is_as_good() {
    let Some(server) = started(|config| config.password = Some("s3cret".into())).await else {
        return;
    };
    let mut config = RedisConfig::new(Servers::Single(server.address()));
    config.password = Some("s3cret".into());
    let redis = Redis::from_config(config).unwrap();
    assert_eq!(text(redis.call(set(&key("k"), "v")).await), "OK");
    let Health { asked, verdict, .. } = redis.health().await;
    assert_eq!(verdict, Verdict::Healthy);
    assert!(asked.contains(&server.address()), "{asked}");
    assert!(!format!("{redis:?}{asked}").contains("s3cret"));
}

#[tokio::test]
async fn keys_of_one_object_go_into_one_script() {
    static BOTH: Script = Script::new("return {redis.call('GET', KEYS[1]), KEYS[2]}");
    let Some(server) = redis::single() else { return };
    let redis = handle(&server.url());
    let keys = KeySpace::new("test", "both").unwrap();
    let reply = redis.call(BOTH.on("t", &[keys.key("a"), keys.key("b")])).await.unwrap();
    let [_, second] = reply.into_fields("t").unwrap();
    assert_eq!(second.into_text("t").unwrap(), "standfast:1:test:{both}:b");
    // found out on a single server as well, long before somebody moves to a Cluster
    let error = redis.call(BOTH.on("t", &["a", "b"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_handle_moves_from_runtime_to_runtime() {
    let Some(server) = redis::single() else { return };
    let (redis, key) = (handle(&server.url()), key("k"));
    for value in ["1", "2", "3"] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // not repeatable: that the connection died with the last runtime must not make it unknown
        assert_eq!(text(runtime.block_on(redis.call(set(&key, value)))), "OK");
    }
}
