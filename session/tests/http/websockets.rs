//! What goes on after the head: a websocket that was really upgraded, and a body in pieces.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use futures_util::stream;
use standfast_session::http::{Session, SessionError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::routes::{Gate, VIEWS, routes};
use crate::support::{Browser, Store, serve};

const SOON: Duration = Duration::from_secs(30);

/// Adds one for each message, commits, and says how that went.
async fn converse(mut socket: WebSocket, session: Session) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(_) = message else { break };
        session.add(&VIEWS, 1);
        let said = match session.commit().await {
            Ok(()) => "stored".to_owned(),
            Err(error) => format!("{:?}", error.error().kind()),
        };
        if socket.send(Message::Text(said.into())).await.is_err() {
            break;
        }
    }
}

fn app() -> Router {
    let socket = async |upgrade: WebSocketUpgrade, session: Session| -> Result<_, SessionError> {
        // its cookie goes out with the head, or never
        session.ensure().await?;
        Ok(upgrade.on_upgrade(|socket| converse(socket, session)))
    };
    let pieces = async |session: Session| -> Result<Response, SessionError> {
        session.ensure().await?;
        let pieces = stream::unfold((session, 0), async |(session, count)| {
            session.add(&VIEWS, 1);
            let piece = match session.commit().await {
                Ok(()) => Ok(format!("{count};")),
                Err(error) => Err(std::io::Error::other(error.to_string())),
            };
            (count < 1000).then_some((piece, (session, count + 1)))
        });
        Ok(Response::new(Body::from_stream(pieces)))
    };
    Router::new()
        .route("/socket", get(socket))
        .route("/pieces", get(pieces))
        .merge(routes(&Gate::new()))
}

/// The client's end of a websocket: nothing but what this test needs of it.
struct Socket(BufReader<TcpStream>);

impl Socket {
    /// Upgrades, and gives the cookie that came with it.
    async fn open(server: SocketAddr) -> (Self, String) {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request = "GET /socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let (mut head, mut cookie) = (String::new(), String::new());
        while stream.read_line(&mut head).await.unwrap() > 2 {
            if let Some(set) = head.strip_prefix("set-cookie: ") {
                cookie = set.split(';').next().unwrap().to_owned();
            }
            assert!(!head.starts_with("HTTP/") || head.starts_with("HTTP/1.1 101"), "{head}");
            head.clear();
        }
        (Self(stream), cookie)
    }

    /// Sends a text and reads the answer.
    async fn say(&mut self, text: &str) -> String {
        // one frame, masked with zeros
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend(text.bytes());
        self.0.get_mut().write_all(&frame).await.unwrap();
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.unwrap();
        let mut answer = vec![0; head[1] as usize];
        self.0.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn a_websocket_commits_by_itself_while_it_is_open() {
    let server = serve(Store::default(), app()).await;
    let (mut socket, cookie) = Socket::open(server).await;
    let browser = Browser::new(server);
    browser.set_cookie(&cookie);
    for count in 1..=3 {
        assert_eq!(socket.say("one more").await, "stored");
        assert_eq!(browser.read("/views").await, count.to_string(), "the others see it at once");
    }
    // it was opened by the old secret, which a login kills
    browser.read("/login/ada").await;
    assert_eq!(socket.say("one more").await, "NotFound");
    assert_eq!(browser.read("/views").await, "3");
    let (mut socket, cookie) = Socket::open(server).await;
    browser.set_cookie(&cookie);
    assert_eq!(socket.say("one more").await, "stored");
    browser.read("/logout").await;
    assert_eq!(socket.say("one more").await, "NotFound", "nothing comes back after a logout");
}

#[tokio::test]
async fn a_body_in_pieces_commits_each_and_stops_where_nobody_reads() {
    let server = serve(Store::default(), app()).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = "GET /pieces HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut line, browser) = (String::new(), Browser::new(server));
    // the head, with the cookie, comes before the first piece; then pieces
    let read = async {
        loop {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if let Some(set) = line.strip_prefix("set-cookie: ") {
                browser.set_cookie(set.split(';').next().unwrap());
            }
            if line.starts_with("2;") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("pieces come");
    // each was committed before it went out
    let views: u64 = browser.read("/views").await.parse().unwrap();
    assert!(views >= 3, "{views}");
    drop(stream);
    let last = async {
        loop {
            let before = browser.read("/views").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if browser.read("/views").await == before {
                return before;
            }
        }
    };
    let last: u64 = tokio::time::timeout(SOON, last).await.expect("it ends").parse().unwrap();
    assert!((views..=1001).contains(&last), "{last}");
}
