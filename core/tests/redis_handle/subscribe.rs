use std::time::{Duration, Instant};

use standfast_core::redis::{Redis, Request, Signal, Subscription};
use standfast_core::testkit::{FaultProxy, RedisServer};
use tokio::time::timeout;

use super::support::{LONG, doubt, handle, message, started};

async fn publish(redis: &Redis, channel: &str, body: &str) -> i64 {
    let request = Request::command("test.publish", "PUBLISH", channel).arg(body);
    redis.call(request).await.unwrap().into_int("t").unwrap()
}

/// Waits until the server counts so many subscribers of `channel`.
async fn subscribers(server: &RedisServer, channel: &str, count: usize) {
    let counted = async {
        let wanted = format!("{channel}\n{count}");
        while server.command(&["PUBSUB", "NUMSUB", channel]).await != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, counted).await.unwrap_or_else(|_| panic!("never {count} of {channel}"));
}

async fn nothing(subscription: &mut Subscription) {
    let next = timeout(Duration::from_millis(100), subscription.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn a_subscription_that_was_returned_misses_nothing() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    let mut one = redis.subscribe("one").await;
    let mut other = redis.clone().subscribe("other").await;
    for body in ["a", "b", "c"] {
        assert_eq!(publish(&redis, "one", body).await, 1);
    }
    for body in ["a", "b", "c"] {
        assert_eq!(one.next().await, Signal::Message(body.into()));
    }
    nothing(&mut one).await;
    nothing(&mut other).await;
}

#[tokio::test]
async fn readers_of_one_channel_share_it_and_the_last_one_ends_it() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    let (mut first, mut second) = tokio::join!(redis.subscribe("c"), redis.subscribe("c"));
    assert_eq!(publish(&redis, "c", "both").await, 1);
    message(&mut first, "both").await;
    message(&mut second, "both").await;
    drop(first);
    assert_eq!(publish(&redis, "c", "one").await, 1);
    message(&mut second, "one").await;
    drop(second);
    subscribers(&server, "c", 0).await;
    // and again
    let mut third = redis.subscribe("c").await;
    assert_eq!(publish(&redis, "c", "again").await, 1);
    message(&mut third, "again").await;
}

#[tokio::test]
async fn the_connection_goes_with_the_last_handle_and_subscription() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    let mut subscription = redis.subscribe("c").await;
    drop(redis);
    server.command(&["PUBLISH", "c", "still"]).await;
    message(&mut subscription, "still").await;
    drop(subscription);
    let gone = async {
        while !server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.trim().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.expect("the connection goes");
}

#[tokio::test]
async fn a_restart_is_a_doubt_and_then_messages_come_again() {
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    let mut subscription = redis.subscribe("c").await;
    for body in ["1", "2"] {
        server.kill();
        doubt(&mut subscription).await;
        // while it is away, each second
        let began = Instant::now();
        doubt(&mut subscription).await;
        doubt(&mut subscription).await;
        assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
        server.restart().await;
        // the doubt that comes once the server has confirmed: from then on nothing is missed
        subscribers(&server, "c", 1).await;
        doubt(&mut subscription).await;
        assert_eq!(publish(&redis, "c", body).await, 1);
        message(&mut subscription, body).await;
    }
}

#[tokio::test]
async fn a_cut_connection_is_replaced_within_moments() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = handle(&server.url_by(proxy.port()));
    let mut subscription = redis.subscribe("c").await;
    for body in ["1", "2", "3"] {
        proxy.cut();
        let began = Instant::now();
        doubt(&mut subscription).await;
        subscribers(&server, "c", 1).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        publish(&handle(&server.url()), "c", body).await;
        message(&mut subscription, body).await;
    }
}

#[tokio::test]
async fn a_connection_that_died_silently_is_found_out() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let redis = handle(&server.url_by(proxy.port()));
    let mut subscription = redis.subscribe("c").await;
    proxy.black_hole();
    let began = Instant::now();
    doubt(&mut subscription).await;
    // a ping every five seconds, with five seconds for the answer
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    proxy.pass();
    subscribers(&server, "c", 1).await;
    doubt(&mut subscription).await;
    publish(&handle(&server.url()), "c", "back").await;
    message(&mut subscription, "back").await;
}

#[tokio::test]
async fn without_a_server_a_subscription_is_in_doubt_until_there_is_one() {
    let Some(server) = started(|_| {}).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    proxy.refuse();
    let redis = handle(&server.url_by(proxy.port()));
    let mut first = timeout(LONG, redis.subscribe("c")).await.expect("subscribe returns");
    let mut second = timeout(LONG, redis.subscribe("d")).await.expect("subscribe returns");
    for _ in 0..3 {
        doubt(&mut first).await;
        doubt(&mut second).await;
    }
    proxy.accept();
    subscribers(&server, "c", 1).await;
    subscribers(&server, "d", 1).await;
    publish(&redis, "c", "hello").await;
    publish(&redis, "d", "hello").await;
    message(&mut first, "hello").await;
    message(&mut second, "hello").await;
}

#[tokio::test]
async fn ten_thousand_waiters_hold_one_connection() {
    const MANY: usize = 10_000;
    let Some(server) = started(|_| {}).await else { return };
    let redis = handle(&server.url());
    let began = Instant::now();
    let mut waiters = tokio::task::JoinSet::new();
    for n in 0..MANY {
        let redis = redis.clone();
        waiters.spawn(async move { (n, redis.subscribe(&format!("c{n}")).await) });
    }
    let mut subscriptions = waiters.join_all().await;
    let subscribed = began.elapsed();
    let clients = server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    assert_eq!(clients.trim().lines().count(), 1, "{clients}");
    let publishing = {
        let redis = redis.clone();
        tokio::spawn(async move {
            for n in 0..MANY {
                publish(&redis, &format!("c{n}"), &n.to_string()).await;
            }
        })
    };
    for (n, subscription) in &mut subscriptions {
        message(subscription, &n.to_string()).await;
    }
    publishing.await.unwrap();
    // all come back
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    for (_, subscription) in &mut subscriptions {
        doubt(subscription).await;
    }
    subscribers(&server, "c9999", 1).await;
    drop(subscriptions);
    subscribers(&server, "c9999", 0).await;
    assert!(subscribed < Duration::from_secs(20), "{subscribed:?}");
}

#[tokio::test]
async fn a_wrong_password_is_a_doubt_and_no_end() {
    let Some(server) = started(|config| config.password = Some("s3cret".into())).await else {
        return;
    };
    let redis = handle(&format!("redis://:wrong@{}", server.address()));
    let mut subscription = timeout(LONG, redis.subscribe("c")).await.expect("subscribe returns");
    doubt(&mut subscription).await;
    server.command(&["CONFIG", "SET", "requirepass", "wrong"]).await;
    let publisher = handle(&format!("redis://:wrong@{}", server.address()));
    let heard = async {
        while publish(&publisher, "c", "hello").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, heard).await.expect("it subscribes with the password that is right now");
    message(&mut subscription, "hello").await;
}

#[test]
fn a_subscription_moves_from_runtime_to_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let Some(server) = first.block_on(started(|_| {})) else { return };
    let redis = handle(&server.url());
    let mut subscription = first.block_on(redis.subscribe("c"));
    drop(first);
    runtime().block_on(async {
        doubt(&mut subscription).await;
        subscribers(&server, "c", 1).await;
        publish(&redis, "c", "hello").await;
        message(&mut subscription, "hello").await;
    });
}
