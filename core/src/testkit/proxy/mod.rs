//! A TCP proxy that misbehaves when told.

mod counters;
mod faults;
mod relay;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::port::Port;
use counters::Counters;
pub use counters::Traffic;
pub use faults::Direction;
use faults::{Faults, Losses, Mode};

/// A TCP proxy on a free loopback port whose behaviour is switched while it runs, for any protocol.
///
/// It needs a tokio runtime with I/O and time. It ends, and resets what it carries, when it is
/// dropped. Each switch works from its return on. What lasts, lasts until [`pass`](Self::pass), for
/// existing connections and new ones.
///
/// ```
/// use standfast_core::testkit::FaultProxy;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?).await;
/// tokio::spawn(async move {
///     let (mut stream, _) = server.accept().await.unwrap();
///     let mut order = [0; 5];
///     stream.read_exact(&mut order).await.unwrap();
///     stream.write_all(b"done").await.unwrap();
/// });
///
/// proxy.lose_replies(1);
/// let mut client = TcpStream::connect(proxy.address()).await?;
/// client.write_all(b"order").await?;
/// // the server has acted, and the client cannot know
/// assert!(client.read_u8().await.is_err());
/// assert_eq!(proxy.traffic().replies_lost, 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    runtime: Handle,
}

/// What the proxy and the tasks of its connections share.
#[derive(Debug)]
struct Shared {
    upstream: String,
    faults: watch::Sender<Faults>,
    losses: Mutex<Losses>,
    counters: Counters,
    /// None while new connections are refused.
    listener: Mutex<Option<TcpListener>>,
    listener_changed: Notify,
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream`, an address such as `127.0.0.1:6379`. It connects to
    /// it anew for every connection, so the server may come and go.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(upstream: impl ToString) -> Self {
        let (port, listener) = listen().await;
        let shared = Arc::new(Shared {
            upstream: upstream.to_string(),
            faults: watch::Sender::default(),
            losses: Mutex::default(),
            counters: Counters::default(),
            listener: Mutex::new(Some(listener)),
            listener_changed: Notify::new(),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared)));
        Self { port, shared, accepting, runtime: Handle::current() }
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The number of its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends every fault that is switched on. What [`freeze`](Self::freeze) held flows again; the
    /// connections that a [`black_hole`](Self::black_hole) swallowed from are cut.
    ///
    /// # Panics
    ///
    /// When connections were [refused](Self::refuse) and something else took the port meanwhile.
    pub fn pass(&self) {
        self.accept();
        *self.losses() = Losses::default();
        self.shared.faults.send_modify(|faults| {
            faults.become_mode(Mode::Pass);
            faults.delays = [Duration::ZERO; 2];
        });
    }

    /// Lets everything that goes in `direction` arrive `delay` later, in order and without
    /// narrowing the stream.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.faults.send_modify(|faults| faults.delays[direction as usize] = delay);
    }

    /// Holds what is on its way, in both directions: connections stay open, new ones are accepted,
    /// nothing moves, not even the news that one side is gone. It flows on after
    /// [`pass`](Self::pass), as it does when a broken network heals.
    pub fn freeze(&self) {
        self.shared.faults.send_modify(|faults| faults.become_mode(Mode::Freeze));
    }

    /// Accepts connections and swallows what is sent, in both directions. A stream with a hole is
    /// worth nothing, so [`pass`](Self::pass) cuts the connections there are then.
    pub fn black_hole(&self) {
        self.shared.faults.send_modify(|faults| faults.become_mode(Mode::BlackHole));
    }

    /// Resets every connection there is, at both ends. New ones are welcome.
    pub fn cut(&self) {
        self.shared.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Ends the stream in `direction` on every connection there is: who reads there meets the end,
    /// what is sent there later is swallowed, and the other direction goes on.
    pub fn half_close(&self, direction: Direction) {
        self.shared.faults.send_modify(|faults| faults.half_closes[direction as usize] += 1);
    }

    /// Closes the port, so that new connections are refused, as they are while a server is down.
    /// Existing ones stay.
    pub fn refuse(&self) {
        drop(self.listener().take());
        self.shared.listener_changed.notify_one();
    }

    /// Opens the port again after [`refuse`](Self::refuse).
    ///
    /// # Panics
    ///
    /// When something else took the port meanwhile.
    pub fn accept(&self) {
        let mut listener = self.listener();
        if listener.is_none() {
            let _runtime = self.runtime.enter();
            let again = std::net::TcpListener::bind(self.address()).and_then(|socket| {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket)
            });
            *listener = Some(again.expect("the port of the proxy is still free"));
            self.shared.listener_changed.notify_one();
        }
    }

    /// Loses the next `count` replies, on whichever connection they come: what the server sends is
    /// dropped and the client's connection reset. The server has then acted on all that it was
    /// sent.
    ///
    /// That includes the greetings and push messages of a protocol; where a client sends those, use
    /// [`lose_replies_to`](Self::lose_replies_to). Zero ends it.
    pub fn lose_replies(&self, count: u64) {
        *self.losses() = Losses { left: count, marker: None };
    }

    /// As [`lose_replies`](Self::lose_replies), but only on connections over which a request with
    /// `marker` in it goes from now on: the name of a command, the hash of a script, an id. Replies
    /// to what else is under way on such a connection are lost with it.
    ///
    /// # Panics
    ///
    /// When `marker` is empty.
    pub fn lose_replies_to(&self, count: u64, marker: impl AsRef<[u8]>) {
        let marker = marker.as_ref().to_vec();
        assert!(!marker.is_empty(), "a marker of lost replies is not empty");
        *self.losses() = Losses { left: count, marker: Some(marker) };
    }

    /// What went through since the start.
    pub fn traffic(&self) -> Traffic {
        self.shared.counters.read()
    }

    fn losses(&self) -> std::sync::MutexGuard<'_, Losses> {
        self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> std::sync::MutexGuard<'_, Option<TcpListener>> {
        self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.refuse();
        self.cut();
    }
}

async fn listen() -> (Port, TcpListener) {
    loop {
        let port = Port::claim();
        match TcpListener::bind(port.address()).await {
            Ok(listener) => return (port, listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("cannot listen on {}: {error}", port.address()),
        }
    }
}

async fn accept(shared: Arc<Shared>) {
    loop {
        let accepted = poll_fn(|context| {
            let listener = shared.listener.lock().unwrap_or_else(PoisonError::into_inner);
            listener.as_ref().map_or(Poll::Pending, |listener| listener.poll_accept(context))
        });
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((client, _)) => serve(&shared, client),
                // out of file descriptors: a moment later there may be one
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            // a new listener has to learn of this task
            () = shared.listener_changed.notified() => {}
        }
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream) {
    // taken before the task runs: a cut from now on concerns this connection
    let faults = shared.faults.subscribe();
    let start = *faults.borrow();
    tokio::spawn(relay::carry(Arc::clone(shared), client, faults, start));
}
