use std::time::Duration;

use standfast_core::redis::{Redis, Request, Script};
use standfast_core::{ErrorKind, Reason};

use super::support::{add, get, handle, key, set, started, text};

#[tokio::test]
async fn a_key_of_another_type_is_a_conflict() {
    let Some(server) = started(|_| {}).await else { return };
    let (redis, key) = (handle(&server.url()), key("k"));
    redis.call(Request::command("t", "LPUSH", &key).arg("x")).await.unwrap();
    for request in [get(&key), add(&key)] {
        let error = redis.call(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.detail().contains("another type"), "{error}");
    }
}

#[tokio::test]
async fn a_full_server_says_so() {
    let Some(server) = started(|config| config.maxmemory = Some(1)).await else { return };
    let redis = handle(&server.url());
    for request in [set("k", "v"), add("n")] {
        let error = redis.call(request).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::Unavailable, Some(Reason::NoSpace)));
        assert!(error.is_retryable() && error.detail().contains("maxmemory"), "{error}");
    }
    assert!(redis.call(get("k")).await.unwrap().is_nil());
}

#[tokio::test]
async fn a_replica_takes_no_writes_until_it_is_a_primary() {
    let Some(primary) = started(|_| {}).await else { return };
    let Some(replica) = started(|config| config.replica_of = Some(primary.port())).await else {
        return;
    };
    let redis = handle(&format!("{}?timeout_ms=400", replica.url()));
    for request in [set("k", "v"), add("n")] {
        let error = redis.call(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.detail().contains("is a replica"), "{error}");
    }
    // promoted while the call waits
    let promotion = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        replica.command(&["REPLICAOF", "NO", "ONE"]).await
    };
    let patient = set("k", "v").timeout(Duration::from_secs(30));
    let (reply, _) = tokio::join!(redis.call(patient), promotion);
    assert_eq!(text(reply), "OK");
}

#[tokio::test]
async fn errors_of_our_scripts_have_their_kinds() {
    static FAIL: Script =
        Script::new("return redis.error_reply('STANDFAST ' .. ARGV[1] .. ' the why')");
    static RAISE: Script = Script::new("error({err = 'STANDFAST ' .. ARGV[1] .. ' the why'})");
    static BUG: Script = Script::new("return nil .. 'x'");
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    for (word, kind) in [
        ("INVALID", ErrorKind::Invalid),
        ("CORRUPT", ErrorKind::Corrupt),
        ("CONFLICT", ErrorKind::Conflict),
        ("UNSUPPORTED", ErrorKind::Unsupported),
        ("ELSE", ErrorKind::Unexpected),
    ] {
        for script in [&FAIL, &RAISE] {
            let error = redis.call(script.on("t.fail", &["k"]).arg(word)).await.unwrap_err();
            assert_eq!((error.kind(), error.detail()), (kind, "the why"), "{error}");
            assert_eq!((error.backend(), error.operation()), ("redis", "t.fail"));
        }
    }
    let error = redis.call(BUG.on("t.bug", &["k"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
}

#[tokio::test]
async fn an_unknown_command_is_unsupported_and_its_arguments_are_not_repeated() {
    let Some(server) = started(|_| {}).await else { return };
    let request = Request::command("t", "NOPE", "key").arg("hunter2");
    let error = handle(&server.url()).call(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_the_deadline() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let redis = Redis::from_url(&format!("redis://{free}?timeout_ms=300")).unwrap();
    let began = std::time::Instant::now();
    let error = redis.call(set("k", "v")).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
    assert!(error.detail().contains(&free.to_string()), "{error}");
}

#[cfg(not(feature = "redis-tls"))]
#[test]
fn tls_without_its_feature_is_unsupported() {
    let error = Redis::from_url("rediss://h").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.detail().contains("redis-tls"), "{error}");
}
