//! A Redis server of the run's own, and what it says about itself.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::{Client, Connection, cmd};

const THERE: &str = "the server is there";
const END: &str = "the end of what is to be counted";

/// A `redis-server` on a free port of this machine, gone with the value.
pub struct RedisServer {
    port: u16,
    client: Client,
    control: Mutex<Connection>,
    // the last to go
    _process: Process,
}

/// A server that ends, and whose files are gone, with the value.
struct Process(Child, PathBuf);

impl Drop for Process {
    fn drop(&mut self) {
        // nothing of it is kept, so there is nothing to end in order
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

impl RedisServer {
    /// Starts one that keeps everything in memory only; `None`, and a line that says so, where
    /// there is no `redis-server`.
    pub fn start() -> Option<Self> {
        Self::start_with(&["--appendonly", "no"])
    }

    /// Starts one that writes an append-only file and syncs it once a second.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    fn start_with(settings: &[&str]) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let directory = std::env::temp_dir().join(format!("standfast-bench-{port}"));
        std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(settings)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: no `redis-server` ({error})");
                return None;
            }
        };
        let process = Process(process, directory);
        let client = Client::open(format!("redis://127.0.0.1:{port}")).expect("it is a URL");
        let began = Instant::now();
        let control = loop {
            match client.get_connection() {
                Ok(connection) => break Mutex::new(connection),
                Err(error) => {
                    let is_late = began.elapsed() > Duration::from_secs(10);
                    assert!(!is_late, "redis-server does not come up: {error}");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        Some(Self { port, client, control, _process: process })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forgets everything it holds.
    pub fn clear(&self) {
        let mut connection = self.control.lock().expect("no panic");
        cmd("FLUSHALL").exec(&mut *connection).expect(THERE);
    }

    /// What it used since it was started.
    pub fn usage(&self) -> RedisUsage {
        let info = self.info();
        let number = |name: &str| -> f64 {
            let value = info.get(name).and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} in INFO"))
        };
        RedisUsage {
            cpu: Duration::from_secs_f64(number("used_cpu_user") + number("used_cpu_sys")),
            commands: number("total_commands_processed") as u64,
            reads: number("total_reads_processed") as u64,
            memory: number("used_memory") as u64,
            clients: number("connected_clients") as u64,
        }
    }

    fn info(&self) -> BTreeMap<String, String> {
        let mut connection = self.control.lock().expect("no panic");
        let info: String = cmd("INFO").query(&mut *connection).expect(THERE);
        let fields = info.lines().filter_map(|line| line.trim().split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Begins to count the commands that arrive, as `MONITOR` shows them. It slows the server down:
    /// count with it, and measure without.
    pub fn count_commands(&self) -> RedisMonitor {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect(THERE);
        stream.write_all(b"MONITOR\r\n").expect(THERE);
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).expect(THERE);
        assert_eq!(first.trim(), "+OK");
        let counting = std::thread::spawn(move || {
            let mut commands = RedisCommands::default();
            for line in lines.lines() {
                let line = line.expect("MONITOR shows text");
                if line.contains(END) {
                    break;
                }
                commands.count(&line);
            }
            commands
        });
        RedisMonitor { counting, client: self.client.clone() }
    }
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisServer").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Counts commands until it is told to end.
#[derive(Debug)]
pub struct RedisMonitor {
    counting: JoinHandle<RedisCommands>,
    client: Client,
}

impl RedisMonitor {
    /// What arrived until now.
    pub fn end(self) -> RedisCommands {
        let mut connection = self.client.get_connection().expect(THERE);
        cmd("ECHO").arg(END).exec(&mut connection).expect(THERE);
        self.counting.join().expect("no panic")
    }
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug)]
pub struct RedisUsage {
    /// The time its process ran.
    pub cpu: Duration,
    /// Commands, those of scripts too.
    pub commands: u64,
    /// How often it read from a socket: at least once per round trip, more for what is larger than
    /// 16 KiB.
    pub reads: u64,
    /// The bytes it has allocated.
    pub memory: u64,
    /// Connections, that of the question too.
    pub clients: u64,
}

impl RedisUsage {
    /// The microseconds of its processor that each of `count` took since `before`.
    pub fn micros_per(&self, before: &Self, count: usize) -> f64 {
        (self.cpu - before.cpu).as_secs_f64() * 1e6 / count as f64
    }
}

/// How often each command was called.
#[derive(Debug, Default)]
pub struct RedisCommands {
    /// By clients.
    pub from_clients: BTreeMap<String, usize>,
    /// By scripts.
    pub from_scripts: BTreeMap<String, usize>,
}

impl RedisCommands {
    /// Counts a line such as `+1700000000.123456 [0 127.0.0.1:5000] "SET" "key" "value"`.
    fn count(&mut self, line: &str) {
        let Some((source, command)) = line.split_once("] \"") else { return };
        let name = command.split('"').next().unwrap_or_default().to_uppercase();
        if matches!(name.as_str(), "MONITOR" | "CLIENT" | "INFO") {
            return;
        }
        let of = match source.ends_with("lua") {
            true => &mut self.from_scripts,
            false => &mut self.from_clients,
        };
        *of.entry(name).or_default() += 1;
    }

    /// How many came from clients.
    pub fn calls(&self) -> usize {
        self.from_clients.values().sum()
    }

    /// How many came from scripts.
    pub fn inner(&self) -> usize {
        self.from_scripts.values().sum()
    }
}
