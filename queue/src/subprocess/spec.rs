//! What a job process is started with.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::Limits;

/// Variables of the worker's environment that a job process gets, unless others are named.
const INHERITED: [&str; 14] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
];

const SHORTEST_LINE: usize = 64;

/// How to run a job in a process of its own.
///
/// The process starts with a clean environment: a short list of the worker's variables (`PATH`,
/// `HOME`, the language and similar) and those that are set here. See the
/// [module](super) for what happens to the process.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::subprocess::Subprocess;
///
/// let job = Subprocess::new()
///     .program("render")
///     .args(["--format", "pdf"])
///     .env("TOKEN", "s3cret")
///     .timeout(Duration::from_secs(300));
/// assert!(!format!("{job:?}").contains("s3cret"), "values stay out of logs");
/// ```
#[derive(Clone)]
pub struct Subprocess {
    pub(super) program: Option<OsString>,
    pub(super) args: Vec<OsString>,
    pub(super) shim: Option<PathBuf>,
    inherit: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    pub(super) limits: Limits,
    pub(super) grace: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) start_timeout: Duration,
    pub(super) max_line: usize,
    pub(super) max_checkpoint: usize,
    pub(super) max_result: usize,
    pub(super) max_log_lines: u64,
}

impl Default for Subprocess {
    fn default() -> Self {
        Self::new()
    }
}

impl Subprocess {
    /// Runs this program itself, without arguments.
    pub fn new() -> Self {
        Self {
            program: None,
            args: Vec::new(),
            shim: None,
            inherit: INHERITED.iter().map(OsString::from).collect(),
            env: BTreeMap::new(),
            limits: Limits::new(),
            grace: Duration::from_secs(10),
            timeout: None,
            start_timeout: Duration::from_secs(10),
            max_line: 64 * 1024,
            max_checkpoint: 64 * 1024,
            max_result: 1024 * 1024,
            max_log_lines: 10_000,
        }
    }

    /// Runs another program. A name without a slash is looked up in the `PATH` of the job; a
    /// relative path starts at the job's directory.
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the job's environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Lets the job inherit more variables from the worker.
    pub fn inherit<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.inherit.extend(names.into_iter().map(Into::into));
        self
    }

    /// Lets the job inherit no variables, not even the usual ones.
    pub fn inherit_nothing(mut self) -> Self {
        self.inherit.clear();
        self
    }

    /// Sets resource limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long the job has between the request to stop and being killed; 10 seconds at first.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the job may run, from the call until it is told to stop; any time at first.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long the shim may take to answer; 10 seconds at first.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Uses another program as shim, which must call [`init`](super::init) first thing in `main`;
    /// for programs that cannot call it themselves, such as test harnesses.
    pub fn shim(mut self, program: impl Into<PathBuf>) -> Self {
        self.shim = Some(program.into());
        self
    }

    /// The longest line of output, in bytes, that is held; 64 KiB at first, and at least 64 bytes,
    /// which it takes to recognise a message.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes.max(SHORTEST_LINE);
        self
    }

    /// The largest checkpoint, in bytes; 64 KiB at first. A larger one is dropped with a warning.
    pub fn max_checkpoint(mut self, bytes: usize) -> Self {
        self.max_checkpoint = bytes;
        self
    }

    /// The longest result line, in bytes; 1 MiB at first. A job with a longer one fails.
    pub fn max_result(mut self, bytes: usize) -> Self {
        self.max_result = bytes;
        self
    }

    /// How many lines of each output stream are logged in a run; 10,000 at first.
    pub fn max_log_lines(mut self, lines: u64) -> Self {
        self.max_log_lines = lines;
        self
    }

    /// The job's environment.
    pub(super) fn environment(&self) -> BTreeMap<&OsStr, OsString> {
        let inherited = self.inherit.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((name.as_os_str(), value))
        });
        let set = self.env.iter().map(|(name, value)| (name.as_os_str(), value.clone()));
        inherited.chain(set).collect()
    }
}

impl fmt::Debug for Subprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.keys().collect();
        f.debug_struct("Subprocess")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("shim", &self.shim)
            .field("inherit", &self.inherit)
            .field("env", &names)
            .field("limits", &self.limits)
            .field("grace", &self.grace)
            .field("timeout", &self.timeout)
            .field("start_timeout", &self.start_timeout)
            .field("max_line", &self.max_line)
            .field("max_checkpoint", &self.max_checkpoint)
            .field("max_result", &self.max_result)
            .field("max_log_lines", &self.max_log_lines)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_values_of_the_environment() {
        let text = format!("{:?}", Subprocess::new().env("TOKEN", "s3cret"));
        assert!(text.contains("TOKEN") && !text.contains("s3cret"));
    }

    #[test]
    fn the_environment_is_clean() {
        let spec = Subprocess::new().inherit_nothing().env("A", "1").env("PATH", "/x");
        let expect = [("A", "1"), ("PATH", "/x")];
        let expect = expect.map(|(name, value)| (OsStr::new(name), OsString::from(value)));
        assert_eq!(spec.environment(), BTreeMap::from(expect));
        let spec = Subprocess::new();
        let names: Vec<_> = spec.environment().into_keys().collect();
        assert!(names.contains(&OsStr::new("PATH")));
        assert!(!names.contains(&OsStr::new("CARGO_PKG_NAME")));
    }
}
