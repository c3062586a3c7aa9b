//! The application as its users have it: the program, run with a home of its own.

#![allow(dead_code, reason = "each test program uses another part")]

pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod table;
pub(crate) mod visitor;
pub(crate) mod webdriver;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use standfast_core::Id128;
use standfast_core::testkit::service;
use tempfile::TempDir;

use self::http::{Answer, Exchange, request};
use self::process::Signal;
use self::table::{Table, Totals, read_totals};

/// What of the environment the program reads.
const VARIABLES: [&str; 8] =
    ["BLOBS", "BUSINESS", "LISTEN", "LOCKS", "NAME", "QUEUE", "SESSIONS", "STATUS"];

/// The program, which nothing has been said to.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standfast-report"));
    for name in VARIABLES {
        command.env_remove(format!("STANDFAST_{name}"));
    }
    command
}

/// A prefix of the tests' bucket that nobody else uses. `None`, loudly, where there is no bucket.
pub(crate) fn bucket() -> Option<String> {
    let url = service("s3", "STANDFAST_TEST_S3")?;
    let (bucket, query) = url.split_once('?').unwrap_or((&url, ""));
    Some(format!("{}/{}?{query}", bucket.trim_end_matches('/'), Id128::random()))
}

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) home: Arc<TempDir>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these options beside the usual ones.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::in_home(Arc::new(tempfile::tempdir().unwrap()), options)
    }

    /// With what an earlier server has left.
    pub(crate) fn in_home(home: Arc<TempDir>, options: &[&str]) -> Self {
        let temporary = home.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let log = File::options().append(true).create(true).open(home.path().join("log")).unwrap();
        let mut process = program()
            .args(["--listen", "127.0.0.1:0", "--every", "86400", "--blobs"])
            .arg(home.path().join("blobs"))
            .args(options)
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').parse();
        let address = address.unwrap_or_else(|_| panic!("not the line that is expected: {line:?}"));
        Self { process, address, home }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"").unwrap()
    }

    pub(crate) fn get_as(&self, path: &str, cookie: &str) -> Answer {
        request(self.address, "GET", path, &[("Cookie", cookie)], b"").unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(self.address, "POST", path, headers, body).unwrap()
    }

    pub(crate) fn post_json(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.post(path, &headers, body.to_string().as_bytes())
    }

    /// Uploads a table without ever holding it, and returns its id.
    pub(crate) fn upload(&self, table: Table) -> String {
        let mut exchange = self.begin("POST", "/data", &[("Transfer-Encoding", "chunked")]);
        table.write(&mut io::BufWriter::with_capacity(1 << 20, Chunks(&mut exchange))).unwrap();
        exchange.send(b"0\r\n\r\n").unwrap();
        let answer = exchange.answer().unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["columns"], json!(["id", "region", "amount", "note"]));
        assert_eq!(json["rows"], table.rows);
        json["data"].as_str().unwrap().to_owned()
    }

    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Exchange {
        Exchange::begin(self.address, method, path, headers).unwrap()
    }

    /// Starts a report about an uploaded [`Table`], and returns where to ask for it.
    pub(crate) fn start_report(&self, data: &str) -> String {
        let body = json!({ "data": data, "group_by": "region", "sum": "amount" });
        let answer = self.post_json("/get_report", &[], &body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["poll"].as_str().unwrap().to_owned()
    }

    /// How a report stands once this is so.
    pub(crate) fn until(&self, poll: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        let mut answer = self.get(poll).json();
        while !is_so(&answer) {
            assert!(begin.elapsed() < Duration::from_secs(60), "still {answer}");
            assert_eq!(answer["status"], "wait", "{answer}");
            answer = self.get(&format!("{poll}&wait=5s&seen={}", answer["version"])).json();
        }
        answer
    }

    /// How a report has ended.
    pub(crate) fn end_of(&self, poll: &str) -> Value {
        self.until(poll, |answer| answer["status"] != "wait")
    }

    /// The totals of a report that is ready.
    pub(crate) fn totals(&self, ready: &Value) -> Totals {
        assert_eq!(ready["status"], "ready", "{ready}");
        let totals = self.download(ready["totals_url"].as_str().unwrap());
        assert_eq!(totals.header("content-type"), Some("text/csv; charset=utf-8"));
        read_totals(&totals.body, "region,amount")
    }

    /// What is behind an absolute link.
    pub(crate) fn download(&self, url: &str) -> Answer {
        let path = url.strip_prefix(&format!("http://{}", self.address)).expect("an own link");
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Waits for the process of a job, and keeps it from going on.
    pub(crate) fn stop_job(&self) -> u32 {
        let begin = Instant::now();
        loop {
            let found =
                process::descendants(self.pid()).into_iter().find(|pid| process::is_job(*pid));
            if let Some(pid) = found {
                process::signal(pid, Signal::STOP);
                return pid;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "no job process");
            sleep(Duration::from_millis(1));
        }
    }

    /// The temporary directories of this server and of those before it.
    pub(crate) fn job_bases(&self) -> Vec<PathBuf> {
        fs::read_dir(self.home.path().join("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// What uploads and jobs have in temporary directories.
    pub(crate) fn staged(&self) -> Vec<PathBuf> {
        let bases = self.job_bases().into_iter();
        let inside = bases.flat_map(|base| fs::read_dir(base).unwrap());
        inside.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("lock")).collect()
    }

    /// The files of the blobs, except the application's own.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.home.path().join("blobs"), &mut found);
        found.retain(|path| !path.ends_with("application%/secret"));
        found
    }

    /// Whether it serves, and nothing of what was refused is left.
    pub(crate) fn assert_unharmed(&self) {
        self.assert_well();
        assert_eq!(self.stored(), Vec::<PathBuf>::new());
    }

    /// Whether it serves, and holds nothing that was on its way.
    pub(crate) fn assert_well(&self) {
        eventually("nothing is staged", || self.staged().is_empty());
        assert_eq!(self.get("/health").status, 200);
        let peak = process::peak_memory(self.pid()).unwrap() >> 20;
        assert!(peak < 200, "{peak} MiB of memory");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits for the end of the process.
    pub(crate) fn ended_within(&mut self, span: Duration) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < span, "the server still runs after {span:?}");
            sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Sends what is written as chunks of a body.
struct Chunks<'a>(&'a mut Exchange);

impl io::Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.0.send(bytes)?;
        self.0.send(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until this is so.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    within(Duration::from_secs(10), what, is_so);
}

/// Waits until this is so, for so long.
pub(crate) fn within(span: Duration, what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < span, "not so after {span:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        } else if entry.file_name() != ".standfast" {
            collect(&entry.path(), found);
        }
    }
}
