use std::path::Path;
use std::time::Duration;

use standfast_core::redis::{Redis, RedisConfig, Request, Tls};
use standfast_core::testkit::RedisServer;
use standfast_core::{ErrorKind, Result};

use super::support::{get, message, set, started, text};

// Certificates for 127.0.0.1 of an authority whose key nobody has; worth nothing elsewhere.
const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const CLIENT: (&[u8], &[u8]) = (include_bytes!("tls/client.pem"), include_bytes!("tls/client.key"));

/// A server that speaks TLS on the second port, and wants a certificate of its clients.
async fn server() -> Option<(RedisServer, u16)> {
    let file = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis_handle/tls").join(name)
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = started(|config| {
        config.extra.push(format!("tls-port {port}"));
        for (name, path) in [
            ("tls-ca-cert-file", "ca.pem"),
            ("tls-cert-file", "server.pem"),
            ("tls-key-file", "server.key"),
        ] {
            config.extra.push(format!("{name} {}", file(path).display()));
        }
    })
    .await?;
    Some((server, port))
}

fn config(port: u16) -> RedisConfig {
    let mut config = RedisConfig::from_url(&format!("rediss://127.0.0.1:{port}")).unwrap();
    let mut tls = Tls::default();
    tls.authorities = Some(AUTHORITY.to_vec());
    tls.identity = Some((CLIENT.0.to_vec(), CLIENT.1.to_vec()));
    config.tls = Some(tls);
    config.timeout = Duration::from_secs(1);
    config
}

async fn error_of(config: RedisConfig) -> Result<()> {
    Redis::from_config(config)?.call(get("k")).await.map(drop)
}

#[tokio::test]
async fn requests_and_messages_go_over_tls() {
    let Some((_server, port)) = server().await else { return };
    let redis = Redis::from_config(config(port)).unwrap();
    let large = "x".repeat(3 << 20);
    redis.call(set("k", &large).timeout(Duration::from_secs(30))).await.unwrap();
    assert_eq!(text(redis.call(get("k").timeout(Duration::from_secs(30))).await), large);
    let mut news = redis.subscribe("news").await;
    redis.call(Request::command("t", "PUBLISH", "news").arg("hello")).await.unwrap();
    message(&mut news, "hello").await;
    let shown = format!("{redis:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn a_stranger_is_not_trusted_nor_is_one_without_a_certificate() {
    let Some((_server, port)) = server().await else { return };
    let mut stranger = config(port);
    // of the system, which does not know ours; a system without any refuses at once
    stranger.tls.as_mut().unwrap().authorities = None;
    let error = error_of(stranger).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Invalid), "{error}");

    let mut other_host = config(port);
    other_host.servers = standfast_core::redis::Servers::Single(format!("127.0.0.2:{port}"));
    assert_eq!(error_of(other_host).await.unwrap_err().kind(), ErrorKind::Unavailable);

    let mut nobody = config(port);
    nobody.tls.as_mut().unwrap().identity = None;
    assert_eq!(error_of(nobody).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn certificates_that_are_none_are_refused_before_any_io() {
    for (authorities, identity) in [
        (Some(b"hunter2".to_vec()), None),
        (Some(AUTHORITY.to_vec()), Some((b"hunter2".to_vec(), CLIENT.1.to_vec()))),
        (Some(AUTHORITY.to_vec()), Some((CLIENT.0.to_vec(), b"hunter2".to_vec()))),
    ] {
        let mut config = config(1);
        let tls = config.tls.as_mut().unwrap();
        tls.authorities = authorities;
        tls.identity = identity;
        let error = Redis::from_config(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
