//! HTTP/1.1 with one connection per request, open enough for a test to stop in the middle.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A request whose body and answer may still be on their way.
pub(crate) struct Exchange(BufReader<TcpStream>);

/// An answer whose body is still to be read.
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// The bytes of an answer, an error where it is cut off.
pub(crate) struct Body {
    stream: BufReader<TcpStream>,
    chunked: bool,
    left: u64,
    over: bool,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Exchange {
    /// Connects and sends the head of a request.
    pub(crate) fn begin(
        to: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").map_err(io::Error::other)?;
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes of the body.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Ends the sending here, as a client does that goes away.
    pub(crate) fn cut_off(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }

    /// Waits for the head of the answer.
    pub(crate) fn head(mut self) -> io::Result<Head> {
        let line = line(&mut self.0)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self::line(&mut self.0)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = header(&headers, "content-length").and_then(|length| length.parse().ok());
        let chunked = header(&headers, "transfer-encoding") == Some("chunked");
        let body = Body {
            stream: self.0,
            chunked,
            left: length.unwrap_or(0),
            over: !chunked && length.is_none(),
        };
        Ok(Head { status, headers, body })
    }

    /// Waits for the whole answer.
    pub(crate) fn answer(self) -> io::Result<Answer> {
        let Head { status, headers, body: mut rest } = self.head()?;
        let mut body = Vec::new();
        rest.read_to_end(&mut body)?;
        Ok(Answer { status, headers, body })
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.chunked && !self.over {
            let size = line(&mut self.stream)?;
            self.left = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
            self.over = self.left == 0;
        }
        if self.left == 0 || self.over {
            return Ok(0);
        }
        let most = out.len().min(self.left.try_into().unwrap_or(usize::MAX));
        let read = self.stream.read(&mut out[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        if self.left == 0 && self.chunked {
            line(&mut self.stream)?;
        }
        Ok(read)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("status {}, no JSON: {:?}", self.status, self.text()))
    }

    /// What it says went wrong.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request and waits for its answer, also when it comes before all has been sent.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &length)]].concat();
    let mut exchange = Exchange::begin(to, method, path, &headers)?;
    let sent = exchange.send(body);
    exchange.answer().or_else(|error| sent.and(Err(error)))
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}
