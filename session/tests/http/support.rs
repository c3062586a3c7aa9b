//! A server, a browser, and a store that counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use standfast_core::{Error, ErrorKind, Health, HealthCheck, Result, SessionRef};
use standfast_session::http::{SessionLayer, SessionLayerConfig};
use standfast_session::testkit::async_trait;
use standfast_session::{
    Access, CommitOutcome, CreateOutcome, DestroyOutcome, LoadOutcome, MemorySessionHandler, Patch,
    RotateOutcome, Rotation, SessionCapabilities, SessionHandler, SessionInit, SessionSummary,
    Swept, TouchOutcome, VerifierHash,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A store in memory that counts what it is asked, and fails when told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) memory: MemorySessionHandler,
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) fails: Arc<AtomicBool>,
}

impl Store {
    fn asked(&self) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "test", "session"));
        }
        Ok(())
    }

    /// Store operations since the last call.
    pub(crate) fn count(&self) -> u64 {
        self.calls.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

#[async_trait]
impl SessionHandler for Store {
    fn capabilities(&self) -> SessionCapabilities {
        self.memory.capabilities()
    }

    async fn create(
        &self,
        session: SessionRef,
        verifier: VerifierHash,
        init: &SessionInit,
    ) -> Result<CreateOutcome> {
        self.asked()?;
        self.memory.create(session, verifier, init).await
    }

    async fn load(&self, access: &Access) -> Result<LoadOutcome> {
        self.asked()?;
        self.memory.load(access).await
    }

    async fn commit(&self, access: &Access, patch: &Patch) -> Result<CommitOutcome> {
        self.asked()?;
        self.memory.commit(access, patch).await
    }

    async fn rotate(
        &self,
        access: &Access,
        rotation: &Rotation,
        patch: &Patch,
    ) -> Result<RotateOutcome> {
        self.asked()?;
        self.memory.rotate(access, rotation, patch).await
    }

    async fn touch(&self, access: &Access) -> Result<TouchOutcome> {
        self.asked()?;
        self.memory.touch(access).await
    }

    async fn destroy(&self, access: &Access) -> Result<DestroyOutcome> {
        self.asked()?;
        self.memory.destroy(access).await
    }

    async fn sessions_of(&self, principal: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        self.asked()?;
        self.memory.sessions_of(principal, limit).await
    }

    async fn sweep(&self, max: usize) -> Result<Swept> {
        self.memory.sweep(max).await
    }
}

#[async_trait]
impl HealthCheck for Store {
    async fn health(&self) -> Health {
        self.memory.health().await
    }
}

/// Serves `routes` on a loopback port, with sessions in `store`.
pub(crate) async fn serve_with(
    store: impl SessionHandler,
    public_url: &str,
    config: SessionLayerConfig,
    routes: Router,
) -> SocketAddr {
    let layer = SessionLayer::with_config(store, public_url, config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes.layer(layer)).await });
    address
}

pub(crate) async fn serve(store: impl SessionHandler, routes: Router) -> SocketAddr {
    serve_with(store, "http://localhost", SessionLayerConfig::default(), routes).await
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The `Set-Cookie` headers.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let lines = self.head.lines();
        lines.filter_map(|line| line.strip_prefix("set-cookie: ")).collect()
    }
}

/// Asks for `path` with these cookies.
pub(crate) async fn ask(server: SocketAddr, path: &str, cookie: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    if !cookie.is_empty() {
        request += "cookie: ";
    }
    let mut request = request.into_bytes();
    request.extend_from_slice(cookie);
    request.extend_from_slice(if cookie.is_empty() { b"\r\n" } else { b"\r\n\r\n" });
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Keeps one cookie, as browsers do. Clones are other tabs of it.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    server: SocketAddr,
    cookie: Arc<Mutex<String>>,
}

impl Browser {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, cookie: Arc::default() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let cookie = self.cookie();
        let answer = ask(self.server, path, cookie.as_bytes()).await;
        if let Some(set) = answer.cookies().last() {
            let pair = set.split(';').next().unwrap().to_owned();
            *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) =
                if set.contains("Max-Age=0") { String::new() } else { pair };
        }
        answer
    }

    /// The body of an answer that must be fine.
    pub(crate) async fn read(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    pub(crate) fn cookie(&self) -> String {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_cookie(&self, cookie: &str) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = cookie.to_owned();
    }

    /// Loads `<page><number>` in as many tabs at once, so often in each. A page that says 409 is
    /// loaded again: the retries inside have lost.
    pub(crate) async fn load_in_tabs(&self, page: &str, tabs: usize, times: usize) {
        let mut loading = JoinSet::new();
        for number in 0..tabs {
            let (tab, path) = (self.clone(), format!("{page}{number}"));
            loading.spawn(async move {
                for _ in 0..times {
                    loop {
                        match tab.get(&path).await.status {
                            200 => break,
                            409 => {}
                            other => panic!("{other}"),
                        }
                    }
                }
            });
        }
        loading.join_all().await;
    }

    /// Another browser with the same cookie now.
    pub(crate) fn stolen(&self) -> Self {
        let other = Self::new(self.server);
        other.set_cookie(&self.cookie());
        other
    }
}
