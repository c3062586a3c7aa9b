use std::time::{Duration, Instant};

use standfast_core::testkit::redis::{self, Persistence, RedisServerConfig};
use standfast_core::testkit::{FaultProxy, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn started(configure: impl FnOnce(&mut RedisServerConfig)) -> Option<RedisServer> {
    let mut config = RedisServerConfig::default();
    configure(&mut config);
    RedisServer::start(config).await
}

#[tokio::test]
async fn what_is_in_the_append_only_file_outlives_a_kill() {
    for persistence in [Persistence::EverySecond, Persistence::Always] {
        let Some(server) = started(|config| config.persistence = persistence).await else { return };
        let port = server.port();
        server.command(&["SET", "key", "kept"]).await;
        server.kill();
        assert!(!server.is_running());
        server.try_command(&["PING"]).await.unwrap_err();
        server.restart().await;
        assert_eq!(server.port(), port);
        assert_eq!(server.command(&["GET", "key"]).await, "kept");
        // one that runs is stopped first
        server.restart().await;
        assert_eq!(server.command(&["GET", "key"]).await, "kept");
    }
}

#[tokio::test]
async fn without_persistence_a_restart_forgets() {
    let Some(server) = started(|_| {}).await else { return };
    server.command(&["SET", "key", "lost"]).await;
    server.stop().await;
    assert!(!server.is_running());
    server.restart().await;
    assert_eq!(server.command(&["GET", "key"]).await, "");
}

#[tokio::test]
async fn a_paused_server_accepts_and_answers_nothing_until_it_is_resumed() {
    let Some(server) = started(|_| {}).await else { return };
    server.pause();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    let waited = timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "{answer:?}");
    server.resume();
    timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    // a paused one can be killed and stopped
    server.pause();
    server.kill();
    server.restart().await;
    server.pause();
    server.stop().await;
}

#[tokio::test]
async fn passwords_and_users_are_asked_for() {
    let secret = "it's \"5 %\" @:/";
    let Some(server) = started(|config| config.password = Some(secret.to_owned())).await else {
        return;
    };
    assert_eq!(server.command(&["PING"]).await, "PONG");
    assert!(server.url().contains("it%27s%20%225%20%25%22%20%40%3A%2F@127.0.0.1:"));

    let Some(server) = started(|config| {
        config.password = Some(secret.to_owned());
        config.users.push("reader on >pass ~* +@read +auth".to_owned());
    })
    .await
    else {
        return;
    };
    server.command(&["SET", "key", "value"]).await;
    assert!(server.command(&["ACL", "LIST"]).await.contains("user reader on "));
    assert!(server.url_as("reader", "pass").starts_with("redis://reader:pass@127.0.0.1:"));
}

#[tokio::test]
async fn memory_is_limited() {
    let Some(server) = started(|config| {
        config.maxmemory = Some(8_000_000);
        config.maxmemory_policy = Some("noeviction".to_owned());
    })
    .await
    else {
        return;
    };
    let much = "x".repeat(1_000_000);
    for number in 0..20 {
        if let Err(error) = server.try_command(&["SET", &number.to_string(), &much]).await {
            assert!(error.starts_with("OOM "), "{error}");
            return;
        }
    }
    panic!("20 MB fit into 8 MB");
}

#[tokio::test]
async fn a_replica_follows_its_primary() {
    let Some(primary) = started(|config| config.password = Some("both".to_owned())).await else {
        return;
    };
    let Some(replica) = started(|config| {
        config.password = Some("both".to_owned());
        config.replica_of = Some(primary.port());
    })
    .await
    else {
        return;
    };
    primary.command(&["SET", "key", "value"]).await;
    let start = Instant::now();
    while replica.command(&["GET", "key"]).await != "value" {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", replica.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_configuration_that_redis_refuses_is_shown() {
    let start = tokio::spawn(started(|config| config.extra.push("no-such-thing 1".to_owned())));
    match start.await {
        Ok(None) => {}
        Ok(Some(_)) => panic!("started with a line that is unknown"),
        Err(panic) => {
            let panic = panic.into_panic();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains("no-such-thing"), "{text}");
        }
    }
}

#[tokio::test]
async fn many_servers_start_at_once() {
    let starts: Vec<_> = (0..12).map(|_| tokio::spawn(started(|_| {}))).collect();
    let mut servers = Vec::new();
    for start in starts {
        let Some(server) = start.await.unwrap() else { return };
        servers.push(server);
    }
    for (number, server) in servers.iter().enumerate() {
        server.command(&["SET", "number", &number.to_string()]).await;
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(server.command(&["GET", "number"]).await, number.to_string());
    }
}

#[tokio::test]
async fn the_reply_to_a_command_is_lost_after_redis_obeyed() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    proxy.lose_replies_to(1, "INCR");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await.unwrap();
    // the answers to what is pipelined come back at once, or not at all
    stream.write_all(b"PING\r\nINCR n\r\nINCR n\r\n").await.unwrap();
    assert!(stream.read_u8().await.is_err());
    assert_eq!(server.command(&["GET", "n"]).await, "2");
    assert_eq!(proxy.traffic().replies_lost, 1);
    assert!(server.url_by(proxy.port()).ends_with(&format!(":{}", proxy.port())));
}

#[tokio::test]
async fn a_shared_server_is_one() {
    let Some(redis) = redis::single() else { return };
    let key = format!("shared:{}", std::process::id());
    redis.command(&["SET", &key, "value", "EX", "60"]).await;
    let again = redis::single().unwrap();
    assert_eq!(again.url(), redis.url());
    assert_eq!(again.command(&["GET", &key]).await, "value");
}
