//! The job's side: what a job process uses to read its input and to report.
//!
//! ```no_run
//! use std::io::Read as _;
//! use standfast_queue::subprocess::child;
//!
//! fn job() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut input = child::input()?;
//!     let reporter = child::Reporter::new();
//!     let mut body = Vec::new();
//!     input.body.read_to_end(&mut body)?;
//!     reporter.progress(1, Some(2), Some("read"))?;
//!     reporter.result(&body.len())?;
//!     Ok(())
//! }
//! # job().ok();
//! ```

use std::io::{self, BufRead, Read, Stdin, Write as _};

use serde::Serialize;

use super::wire::{JobFailureWire, Outgoing, encode_checkpoint};

/// The exit code with which a job asks to be tried again.
pub const EXIT_RETRY: i32 = 75;

const LONGEST_HEADER: u64 = 1024 * 1024;

/// What the worker gave to this job.
///
/// ```no_run
/// use standfast_queue::subprocess::child;
///
/// let input = child::input()?;
/// let header: serde_json::Value = serde_json::from_slice(&input.header)?;
/// let text = std::io::read_to_string(input.body)?;
/// eprintln!("{} bytes for {}", text.len(), header["kind"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Input {
    /// The header line, without its line end.
    pub header: Vec<u8>,
    /// The body, up to the end of the input.
    pub body: Body,
}

/// Reads the body of a job from standard input.
///
/// ```no_run
/// use std::io::{BufRead as _, BufReader};
/// use standfast_queue::subprocess::child;
///
/// let (body, reporter) = (child::input()?.body, child::Reporter::new());
/// for (done, row) in (1..).zip(BufReader::new(body).lines()) {
///     reporter.progress(done, None, Some(&row?))?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Body(Stdin);

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_to_end(buf)
    }
}

/// Reads the header line from standard input, once; the body follows.
pub fn input() -> io::Result<Input> {
    let stdin = io::stdin();
    let header = header(&mut stdin.lock(), LONGEST_HEADER)?;
    Ok(Input { header, body: Body(stdin) })
}

fn header(from: &mut impl BufRead, longest: u64) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    from.take(longest).read_until(b'\n', &mut header)?;
    if header.pop() == Some(b'\n') {
        return Ok(header);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the header line is missing or too long"))
}

/// Reports to the worker, from any thread.
///
/// A message is one line and goes out whole and at once. It starts on a line of its own even if
/// other code left an unfinished line on standard output; only output that bypasses the standard
/// library's lock can still get in between.
///
/// ```
/// use standfast_queue::subprocess::child::Reporter;
///
/// let reporter = Reporter::new();
/// for page in 1..=3 {
///     reporter.progress(page, Some(3), Some("rendering"))?;
///     reporter.checkpoint(&page.to_be_bytes())?;
/// }
/// reporter.result("3 pages")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Reporter;

impl Reporter {
    /// Reports on standard output.
    pub fn new() -> Self {
        Self
    }

    /// Says how far the job is.
    pub fn progress(&self, done: u64, total: Option<u64>, message: Option<&str>) -> io::Result<()> {
        send::<()>(&Outgoing::Progress { done, total, message })
    }

    /// Gives state that the next attempt starts from, if there is one.
    pub fn checkpoint(&self, state: &[u8]) -> io::Result<()> {
        send(&Outgoing::Checkpoint(encode_checkpoint(state).as_str()))
    }

    /// Gives the result of the job. The last one counts, and only with exit code 0.
    pub fn result<T: Serialize + ?Sized>(&self, result: &T) -> io::Result<()> {
        send(&Outgoing::Result(result))
    }

    /// Says how the job failed, which counts more than the exit code.
    pub fn error(&self, failure: &JobFailureWire) -> io::Result<()> {
        send::<()>(&Outgoing::Error(failure))
    }
}

fn send<T: Serialize + ?Sized>(message: &Outgoing<'_, T>) -> io::Result<()> {
    let line = encode(message)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

fn encode<T: Serialize + ?Sized>(message: &Outgoing<'_, T>) -> io::Result<Vec<u8>> {
    // An empty line means nothing to the worker.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_one_bounded_line() {
        let mut from: &[u8] = b"{}\nbody";
        assert_eq!(header(&mut from, 8).unwrap(), b"{}");
        assert_eq!(from, b"body");
        assert!(header(&mut &b"{}"[..], 8).is_err());
        assert!(header(&mut &b"12345678\n"[..], 8).is_err());
    }

    #[test]
    fn a_message_is_a_line_of_its_own() {
        let message = Outgoing::Result("a\nb");
        assert_eq!(encode(&message).unwrap(), b"\n{\"result\":\"a\\nb\"}\n");
        let message: Outgoing<'_, ()> = Outgoing::Progress { done: 1, total: None, message: None };
        let expect = "\n{\"progress\":{\"done\":1,\"total\":null,\"message\":null}}\n";
        assert_eq!(encode(&message).unwrap(), expect.as_bytes());
    }
}
