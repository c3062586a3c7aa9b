//! Each ability of the proxy, with an echo behind it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use standfast_core::testkit::{Direction, FaultProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(150);

/// Answers what it is sent, and keeps it.
struct Echo {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(echo(stream, Arc::clone(&heard)));
                }
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().unwrap().clone()).unwrap()
    }
}

async fn echo(mut stream: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        heard.lock().unwrap().extend(&buffer[..count]);
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // the other end has said all: say the last word
    let _ = stream.write_all(b"bye").await;
}

async fn proxied() -> (Echo, FaultProxy) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(&echo.address).await;
    (echo, proxy)
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn ask(stream: &mut TcpStream, words: &str) -> std::io::Result<String> {
    stream.write_all(words.as_bytes()).await?;
    let mut answer = vec![0; words.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await.expect("an answer or an error")?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Nothing comes, not even an end.
async fn hears_nothing(stream: &mut TcpStream) {
    assert!(timeout(A_WHILE, stream.read_u8()).await.is_err());
}

async fn is_reset(stream: &mut TcpStream) {
    let read = timeout(SOON, stream.read_u8()).await.expect("a reset");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_passes_is_counted() {
    let (_echo, proxy) = proxied().await;
    let mut one = connect(&proxy).await;
    assert_eq!(ask(&mut one, "hello").await.unwrap(), "hello");
    assert_eq!(ask(&mut one, "again").await.unwrap(), "again");
    let mut two = connect(&proxy).await;
    assert_eq!(ask(&mut two, "hi").await.unwrap(), "hi");
    until(|| proxy.traffic().to_client == 12).await;
    let traffic = proxy.traffic();
    assert_eq!((traffic.connections, traffic.open, traffic.requests), (2, 2, 3));
    assert_eq!((traffic.to_server, traffic.to_client, traffic.replies_lost), (12, 12, 0));
    drop(one);
    until(|| proxy.traffic().open == 1).await;
}

#[tokio::test]
async fn a_large_stream_passes_whole() {
    let (_echo, proxy) = proxied().await;
    let (mut read, mut write) = connect(&proxy).await.into_split();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(SOON, read.read_to_end(&mut received)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(received.starts_with(&expected) && received.ends_with(b"bye"));
    assert_eq!(received.len(), expected.len() + 3);
    until(|| proxy.traffic().open == 0).await;
}

#[tokio::test]
async fn a_delay_is_for_its_direction_and_does_not_narrow_the_stream() {
    let (echo, proxy) = proxied().await;
    let mut stream = connect(&proxy).await;
    proxy.delay(Direction::ToClient, Duration::from_millis(300));
    let start = Instant::now();
    for _ in 0..10 {
        stream.write_all(b"x").await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    until(|| echo.heard().len() == 10).await;
    let mut answers = [0; 10];
    stream.read_exact(&mut answers).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // one after the other they would take three seconds
    assert!(took < Duration::from_secs(2), "{took:?}");

    proxy.delay(Direction::ToClient, Duration::from_secs(600));
    stream.write_all(b"y").await.unwrap();
    hears_nothing(&mut stream).await;
    proxy.pass();
    assert_eq!(stream.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn what_is_frozen_flows_on() {
    let (echo, proxy) = proxied().await;
    let mut old = connect(&proxy).await;
    ask(&mut old, "a").await.unwrap();
    proxy.freeze();
    let mut new = connect(&proxy).await;
    old.write_all(b"b").await.unwrap();
    new.write_all(b"c").await.unwrap();
    hears_nothing(&mut old).await;
    hears_nothing(&mut new).await;
    assert_eq!(echo.heard(), "a");
    proxy.pass();
    assert_eq!(old.read_u8().await.unwrap(), b'b');
    assert_eq!(new.read_u8().await.unwrap(), b'c');
}

#[tokio::test]
async fn a_frozen_connection_does_not_tell_that_the_server_is_gone() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap()).await;
    let mut client = connect(&proxy).await;
    let (peer, _) = server.accept().await.unwrap();
    proxy.freeze();
    drop(peer);
    hears_nothing(&mut client).await;
    proxy.pass();
    assert_eq!(timeout(SOON, client.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_black_hole_swallows_and_its_end_cuts() {
    let (echo, proxy) = proxied().await;
    let mut old = connect(&proxy).await;
    ask(&mut old, "a").await.unwrap();
    proxy.black_hole();
    let mut new = connect(&proxy).await;
    // more than any buffer on the way holds
    let much = vec![b'x'; 20_000_000];
    timeout(SOON, old.write_all(&much)).await.unwrap().unwrap();
    timeout(SOON, new.write_all(&much)).await.unwrap().unwrap();
    hears_nothing(&mut old).await;
    hears_nothing(&mut new).await;
    assert_eq!(echo.heard(), "a");
    proxy.pass();
    is_reset(&mut old).await;
    is_reset(&mut new).await;
    assert_eq!(ask(&mut connect(&proxy).await, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn a_cut_resets_what_there_is() {
    let (_echo, proxy) = proxied().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "a").await.unwrap();
    proxy.cut();
    is_reset(&mut stream).await;
    assert_eq!(ask(&mut connect(&proxy).await, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn half_closed_to_the_client_requests_still_arrive() {
    let (echo, proxy) = proxied().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "a").await.unwrap();
    proxy.half_close(Direction::ToClient);
    assert_eq!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    stream.write_all(b"b").await.unwrap();
    until(|| echo.heard() == "ab").await;
    // later connections are whole
    assert_eq!(ask(&mut connect(&proxy).await, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn half_closed_to_the_server_replies_still_arrive() {
    let (echo, proxy) = proxied().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "a").await.unwrap();
    proxy.half_close(Direction::ToServer);
    let mut last = Vec::new();
    timeout(SOON, stream.read_to_end(&mut last)).await.unwrap().unwrap();
    assert_eq!(last, b"bye");
    assert_eq!(echo.heard(), "a");
}

#[tokio::test]
async fn new_connections_are_refused_and_old_ones_stay() {
    let (_echo, proxy) = proxied().await;
    let mut old = connect(&proxy).await;
    ask(&mut old, "a").await.unwrap();
    for round in 0..20 {
        proxy.refuse();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "round {round}");
        assert_eq!(ask(&mut old, "b").await.unwrap(), "b");
        proxy.accept();
        assert_eq!(ask(&mut connect(&proxy).await, "c").await.unwrap(), "c");
    }
}

#[tokio::test]
async fn a_reply_is_lost_after_the_server_acted() {
    let (echo, proxy) = proxied().await;
    proxy.lose_replies(2);
    for (round, heard) in [(1, "a"), (2, "aa")] {
        let mut stream = connect(&proxy).await;
        let lost = ask(&mut stream, "a").await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
        assert_eq!(echo.heard(), heard);
        assert_eq!(proxy.traffic().replies_lost, round);
    }
    assert_eq!(ask(&mut connect(&proxy).await, "a").await.unwrap(), "a");
}

#[tokio::test]
async fn replies_are_lost_to_requests_with_a_marker() {
    let (echo, proxy) = proxied().await;
    proxy.lose_replies_to(1, "pay");
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, "look").await.unwrap(), "look");
    assert_eq!(ask(&mut stream, "pa").await.unwrap(), "pa");
    ask(&mut stream, "y now").await.unwrap_err();
    assert_eq!(echo.heard(), "lookpay now");
    assert_eq!(ask(&mut connect(&proxy).await, "pay").await.unwrap(), "pay");
}

#[tokio::test]
async fn the_server_acts_on_all_that_was_sent_before_the_client_learns_of_the_loss() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap()).await;
    let heard = Arc::new(Mutex::new(String::new()));
    tokio::spawn({
        let heard = Arc::clone(&heard);
        async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut order = [0; 1];
            while stream.read_exact(&mut order).await.is_ok() {
                // the next request arrives meanwhile
                sleep(Duration::from_millis(50)).await;
                heard.lock().unwrap().push(char::from(order[0]));
                let _ = stream.write_all(b"!").await;
            }
        }
    });
    proxy.lose_replies_to(1, "3");
    let mut client = connect(&proxy).await;
    client.write_all(b"123").await.unwrap();
    is_reset(&mut client).await;
    assert_eq!(*heard.lock().unwrap(), "123");
}

#[tokio::test]
async fn a_dropped_proxy_is_gone_with_its_connections() {
    let (_echo, proxy) = proxied().await;
    let address = proxy.address();
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "a").await.unwrap();
    drop(proxy);
    is_reset(&mut stream).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn without_a_server_a_connection_is_reset() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(gone).await;
    is_reset(&mut connect(&proxy).await).await;
}
