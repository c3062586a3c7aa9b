//! The socket under a connection: TCP, TLS where asked for, and a count of what was written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::address::Address;
use super::settings::Settings;

#[cfg(feature = "redis-tls")]
pub(super) use super::tls::Tls;
#[cfg(not(feature = "redis-tls"))]
pub(super) use plain::Tls;

/// When the system begins to probe an idle connection, and how often.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects; `written` counts the bytes that are handed to the socket.
pub(super) async fn open(
    settings: &Settings,
    address: &Address,
    written: Arc<AtomicU64>,
) -> io::Result<Stream> {
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
    socket.set_nodelay(true)?;
    let (idle, interval) = KEEPALIVE;
    SockRef::from(&socket)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval))?;
    let io: Box<dyn Io> = match &settings.tls {
        Some(tls) => tls.wrap(socket, &address.host).await?,
        None => Box::new(socket),
    };
    Ok(Stream { io, written })
}

pub(super) struct Stream {
    io: Box<dyn Io>,
    written: Arc<AtomicU64>,
}

impl Stream {
    fn count(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &result {
            self.written.fetch_add(*n as u64, Ordering::Release);
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(not(feature = "redis-tls"))]
mod plain {
    use super::{Io, TcpStream, io};
    use crate::redis::{config, error};
    use crate::{ErrorKind, Result};

    /// There is no value of it: who asks for TLS without the feature is refused.
    pub(in crate::redis) enum Tls {}

    impl Tls {
        pub(in crate::redis) fn new(_: &config::Tls) -> Result<Self> {
            Err(error::configuration(ErrorKind::Unsupported, "TLS needs the feature `redis-tls`"))
        }

        pub(super) async fn wrap(&self, _: TcpStream, _: &str) -> io::Result<Box<dyn Io>> {
            match *self {}
        }
    }
}
