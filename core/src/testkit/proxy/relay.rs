//! One connection through the proxy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Shared;
use super::faults::{Direction, Faults, Mode};

/// Why a connection ends, other than by both ends closing it.
enum Broken {
    /// One side is gone, and the other is to meet a reset as well.
    Reset,
    ReplyLost,
}

enum Piece {
    Bytes(Vec<u8>),
    End,
    Failure,
}

/// Carries one connection to its end. `start` is what was switched on when it was accepted.
pub(super) async fn carry(
    shared: Arc<Shared>,
    mut client: TcpStream,
    faults: watch::Receiver<Faults>,
    start: Faults,
) {
    let _open = shared.counters.connection();
    let mut server = None;
    let mut watched = faults.clone();
    let cut = async { drop(watched.wait_for(|now| now.cuts != start.cuts).await) };
    let whole = tokio::select! {
        biased;
        () = cut => false,
        whole = through(&shared, &mut client, &mut server, faults, start) => whole,
    };
    if !whole {
        // dropped with this set, a socket sends a reset and forgets what it still had to send; it
        // may fail where the peer has done so already
        for stream in [Some(client), server].into_iter().flatten() {
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
}

/// True when both sides ended the connection in order.
async fn through(
    shared: &Shared,
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    mut faults: watch::Receiver<Faults>,
    start: Faults,
) -> bool {
    match start.mode {
        Mode::Pass => {}
        Mode::Freeze => {
            // the sender lives in `shared`
            drop(faults.wait_for(|now| now.mode != Mode::Freeze).await);
        }
        Mode::BlackHole => {
            let _ = tokio::io::copy(client, &mut tokio::io::sink()).await;
            return std::future::pending().await;
        }
    }
    let Ok(connected) = TcpStream::connect(&shared.upstream).await else { return false };
    let server = server.insert(connected);
    // as direct as without a proxy; a socket that refuses is about to fail anyway
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);

    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let link = Link { shared, asked: AtomicBool::new(false), doomed: AtomicBool::new(false) };
    let ended = tokio::try_join!(
        link.pump(Direction::ToServer, client_read, server_write, faults.clone(), start),
        link.pump(Direction::ToClient, server_read, client_write, faults, start),
    );
    if let Err(Broken::ReplyLost) = ended {
        // The end of the stream, not a reset, which would make the server forget what it has not
        // read yet: when it closes, it has acted on all that it was sent.
        let _ = server.shutdown().await;
        let mut nowhere = tokio::io::sink();
        let closed = tokio::io::copy(server, &mut nowhere);
        let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
        shared.counters.replies_lost.fetch_add(1, Ordering::SeqCst);
    }
    ended.is_ok()
}

struct Link<'a> {
    shared: &'a Shared,
    /// The client has spoken since the server last did.
    asked: AtomicBool,
    /// The next reply is to be lost.
    doomed: AtomicBool,
}

impl Link<'_> {
    /// Carries one direction until its end has been passed on.
    async fn pump(
        &self,
        direction: Direction,
        from: ReadHalf<'_>,
        to: WriteHalf<'_>,
        faults: watch::Receiver<Faults>,
        start: Faults,
    ) -> Result<(), Broken> {
        // reading goes on while earlier pieces wait: a delay is a delay, not a narrow stream
        let (pieces, arrived) = mpsc::channel(64);
        let reading = async {
            read(from, pieces).await;
            std::future::pending().await
        };
        tokio::select! {
            written = self.write(direction, to, arrived, faults, start) => written,
            never = reading => never,
        }
    }

    async fn write(
        &self,
        direction: Direction,
        mut to: WriteHalf<'_>,
        mut arrived: mpsc::Receiver<(Instant, Piece)>,
        mut faults: watch::Receiver<Faults>,
        start: Faults,
    ) -> Result<(), Broken> {
        let side = direction as usize;
        let mut tail = Vec::new();
        let mut closed = false;
        loop {
            let half_closed = async {
                let count = start.half_closes[side];
                drop(faults.wait_for(|now| now.half_closes[side] != count).await);
            };
            let next = tokio::select! {
                biased;
                () = half_closed, if !closed => {
                    to.shutdown().await.map_err(|_| Broken::Reset)?;
                    closed = true;
                    continue;
                }
                next = arrived.recv() => next,
            };
            let Some((at, piece)) = next else { return Ok(()) };
            if !may_pass(&mut faults, side, at).await {
                continue;
            }
            match piece {
                Piece::Failure => return Err(Broken::Reset),
                Piece::End if closed => return Ok(()),
                Piece::End => return to.shutdown().await.map_err(|_| Broken::Reset),
                Piece::Bytes(_) if closed => {}
                Piece::Bytes(bytes) => {
                    self.note(direction, &mut tail, &bytes)?;
                    to.write_all(&bytes).await.map_err(|_| Broken::Reset)?;
                    let counter = &self.shared.counters.bytes[side];
                    counter.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                }
            }
        }
    }

    /// Counts requests and decides which replies are lost.
    fn note(&self, direction: Direction, tail: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Broken> {
        let mut losses = self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner);
        match direction {
            Direction::ToServer => {
                if !self.asked.swap(true, Ordering::SeqCst) {
                    self.shared.counters.requests.fetch_add(1, Ordering::SeqCst);
                }
                // one loss per connection: its other requests are lost with it
                if !self.doomed.load(Ordering::SeqCst) && losses.marks(tail, bytes) {
                    self.doomed.store(true, Ordering::SeqCst);
                }
                Ok(())
            }
            Direction::ToClient => {
                self.asked.store(false, Ordering::SeqCst);
                let lost = self.doomed.load(Ordering::SeqCst) || losses.take_any();
                if lost { Err(Broken::ReplyLost) } else { Ok(()) }
            }
        }
    }
}

async fn read(mut from: ReadHalf<'_>, pieces: mpsc::Sender<(Instant, Piece)>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let piece = match from.read(&mut buffer).await {
            Ok(0) => Piece::End,
            Ok(count) => Piece::Bytes(buffer[..count].to_vec()),
            Err(_) => Piece::Failure,
        };
        let last = !matches!(piece, Piece::Bytes(_));
        // the receiver is gone when the other side failed
        if pieces.send((Instant::now(), piece)).await.is_err() || last {
            return;
        }
    }
}

/// Waits until what arrived at `at` may go on. False when it is swallowed.
async fn may_pass(faults: &mut watch::Receiver<Faults>, side: usize, at: Instant) -> bool {
    loop {
        let now = *faults.borrow_and_update();
        let due = at + now.delays[side];
        match now.mode {
            Mode::Pass if due <= Instant::now() => return true,
            Mode::Pass => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // the sender lives in the proxy's shared state
                _ = faults.changed() => {}
            },
            Mode::Freeze => {
                let _ = faults.changed().await;
            }
            Mode::BlackHole => return false,
        }
    }
}
