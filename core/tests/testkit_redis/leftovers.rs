//! Nothing is left behind, however a test process ends.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::RedisServerConfig;

const INNER: &str = "STANDFAST_TEST_LEFTOVERS";

/// What a server is found by.
#[derive(Debug)]
struct Traces {
    pid: u32,
    directory: PathBuf,
}

impl Traces {
    async fn of(server: &RedisServer) -> Self {
        let info = server.command(&["INFO", "server"]).await;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        let directory = server.command(&["CONFIG", "GET", "dir"]).await;
        let directory = directory.lines().nth(1).unwrap();
        Self { pid: pid.parse().unwrap(), directory: PathBuf::from(directory) }
    }

    fn assert_there(&self) {
        assert!(is_alive(self.pid) && self.directory.is_dir(), "{self:?}");
    }

    fn are_gone(&self) -> bool {
        !is_alive(self.pid) && !self.directory.exists()
    }
}

/// Neither gone nor a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until_gone(traces: &Traces) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !traces.are_gone() {
        assert!(Instant::now() < deadline, "{traces:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let traces = Traces::of(&server).await;
    traces.assert_there();
    drop(server);
    assert!(traces.are_gone(), "{traces:?}");
}

/// Tells of its server, and waits to be killed or ends without a word.
#[tokio::test]
#[ignore = "the process that the next test starts"]
async fn inner_process_with_a_server() {
    let state = std::env::var(INNER).expect("the next test sets it");
    let server = RedisServer::start(RedisServerConfig::default()).await.unwrap();
    let traces = Traces::of(&server).await;
    match state.as_str() {
        "killed" => server.kill(),
        "paused" => server.pause(),
        "restarted" => server.restart().await,
        _ => {}
    }
    println!("\nserver {} {} {}", traces.pid, traces.directory.display(), server.port());
    if state == "ended" {
        std::process::exit(0);
    }
    std::thread::sleep(Duration::from_secs(60));
}

#[tokio::test]
async fn a_test_process_that_is_killed_or_ends_leaves_no_server_behind() {
    if RedisServer::start(RedisServerConfig::default()).await.is_none() {
        return;
    }
    for state in ["running", "paused", "killed", "restarted", "ended"] {
        let mut inner = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "leftovers::inner_process_with_a_server"])
            .env(INNER, state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(inner.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().starts_with("server ")).unwrap();
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let traces = Traces { pid: words[1].parse().unwrap(), directory: PathBuf::from(words[2]) };
        // it may have ended by now
        assert!(traces.directory.is_dir() || state == "ended", "{state}");
        inner.kill().unwrap();
        inner.wait().unwrap();
        until_gone(&traces).await;
        let address = format!("127.0.0.1:{}", words[3]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(&address).is_ok() {
            assert!(Instant::now() < deadline, "{state}: something answers at {address}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
