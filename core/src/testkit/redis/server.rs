use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::client::{Answer, Login, ask, ask_within};
use super::config::{ACL_FILE, RedisServerConfig};
use super::endpoint::userinfo;
use super::process::Process;
use super::{is_installed, until};
use crate::testkit::FaultProxy;
use crate::testkit::port::Port;

const CONFIG_FILE: &str = "redis.conf";

/// How long a server may take to start, to load its data, or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// A `redis-server` on a loopback port, in a temporary directory.
///
/// It ends when it is dropped or when the process of the test ends, in whichever way, and takes its
/// directory with it.
///
/// ```
/// use standfast_core::testkit::RedisServer;
/// use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut config = RedisServerConfig::default();
/// config.persistence = Persistence::EverySecond;
/// let Some(server) = RedisServer::start(config).await else { return };
/// server.command(&["SET", "greeting", "hello"]).await;
/// server.kill();
/// server.restart().await;
/// assert_eq!(server.command(&["GET", "greeting"]).await, "hello");
/// # }
/// ```
#[derive(Debug)]
pub struct RedisServer {
    port: Port,
    login: Login,
    command: Vec<&'static str>,
    process: Mutex<Process>,
}

impl RedisServer {
    /// Starts a server and waits until it answers. None, with a loud skip, where no `redis-server`
    /// is on the `PATH`.
    ///
    /// # Panics
    ///
    /// When there is none and `STANDFAST_TEST_REQUIRE` has `redis`, or when it does not start.
    pub async fn start(config: RedisServerConfig) -> Option<Self> {
        if !is_installed("redis") {
            return None;
        }
        Some(Self::launch(&config).await)
    }

    /// Starts a server where `redis-server` is known to be installed.
    pub(super) async fn launch(config: &RedisServerConfig) -> Self {
        let login = Login { user: None, password: config.password.clone() };
        let users = config.acl_file();
        Self::run(login, vec!["redis-server", CONFIG_FILE], |port, process| {
            process.write(CONFIG_FILE, &config.file(port));
            if let Some(users) = &users {
                process.write(ACL_FILE, users);
            }
        })
        .await
    }

    /// Starts a sentinel, whose configuration file follows from its port.
    pub(super) async fn launch_sentinel(file: impl Fn(u16) -> String + Send) -> Self {
        let command = vec!["redis-server", CONFIG_FILE, "--sentinel"];
        Self::run(Login::default(), command, move |port, process| {
            process.write(CONFIG_FILE, &file(port));
        })
        .await
    }

    async fn run(
        login: Login,
        command: Vec<&'static str>,
        configure: impl Fn(u16, &Process) + Send,
    ) -> Self {
        loop {
            let (port, mut process) = (Port::claim(), Process::new());
            configure(port.number(), &process);
            process.spawn(&command);
            let process = Mutex::new(process);
            let server = Self { port, login: login.clone(), command: command.clone(), process };
            if server.is_up().await {
                return server;
            }
        }
    }

    /// Waits until the server answers; false when its port was taken.
    async fn is_up(&self) -> bool {
        let deadline = Instant::now() + LIMIT;
        loop {
            if !self.process().is_running() {
                let log = self.process().log();
                assert!(log.contains("Address already in use"), "redis-server has ended:\n{log}");
                return false;
            }
            // another server may have been quicker to take the port
            let id = self.process().id().map(|id| format!("process_id:{id}"));
            let limit = Duration::from_secs(1);
            let info = ask_within(limit, &self.address(), &self.login, &["INFO"]).await;
            if let (Ok(info), Some(id)) = (info.map(|info| info.to_string()), id)
                && info.lines().any(|line| line == id)
                && !info.contains("\nloading:1")
            {
                return true;
            }
            let log = || self.process().log();
            assert!(
                Instant::now() < deadline,
                "redis-server is not up after {LIMIT:?}:\n{}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its port, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:` and its port.
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// Its URL for the user `default`: `redis://127.0.0.1:6379`, or `redis://:secret@…`.
    pub fn url(&self) -> String {
        format!("redis://{}{}", userinfo(&self.login), self.address())
    }

    /// Its URL for another user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let login = Login { user: Some(user.to_owned()), password: Some(password.to_owned()) };
        format!("redis://{}{}", userinfo(&login), self.address())
    }

    /// Its URL by way of something that listens on another loopback port, such as a
    /// [`FaultProxy`](crate::testkit::FaultProxy).
    pub fn url_by(&self, port: u16) -> String {
        format!("redis://{}127.0.0.1:{port}", userinfo(&self.login))
    }

    /// Sends a command as the user `default`, over a connection of its own, and gives the answer as
    /// `redis-cli` does: nothing for nil, a line for each element of an array.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or does not come within ten seconds.
    pub async fn command<S: AsRef<str> + Sync>(&self, words: &[S]) -> String {
        self.try_command(words)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", words[0].as_ref()))
    }

    /// As [`command`](Self::command), for a test that expects an error.
    ///
    /// # Errors
    ///
    /// What the server answered, or what happened to the connection.
    pub async fn try_command<S: AsRef<str> + Sync>(&self, words: &[S]) -> Result<String, String> {
        Ok(self.ask(words).await?.to_string())
    }

    pub(super) async fn ask<S: AsRef<str> + Sync>(&self, words: &[S]) -> Result<Answer, String> {
        ask(&self.address(), &self.login, words).await
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Stops it in its tracks with SIGSTOP: its port accepts connections, and nobody answers.
    pub fn pause(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Ends it in order, with SIGTERM, and waits for that.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn stop(&self) {
        self.resume();
        self.process().signal(Signal::TERM);
        until("redis-server has stopped", LIMIT, async || !self.process().is_running()).await;
    }

    /// Starts it again on its port, with the directory and the configuration that it left; one that
    /// still runs is [stopped](Self::stop) first. Waits until it answers, its data loaded.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&self) {
        if self.process().is_running() {
            self.stop().await;
        }
        until("the port is free again", LIMIT, async || {
            self.process().spawn(&self.command);
            self.is_up().await
        })
        .await;
    }

    /// What it wrote to its log since it was last started.
    pub fn log(&self) -> String {
        self.process().log()
    }

    /// Whether its process runs, paused or not.
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Whether its process runs and is not paused.
    pub(super) fn is_awake(&self) -> bool {
        let mut process = self.process();
        process.is_running() && !process.is_paused()
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Puts a proxy in front of it, whose port it announces by the setting `name`, also after a
    /// restart.
    pub(super) async fn announce_proxy(&self, name: &str) -> FaultProxy {
        let proxy = FaultProxy::start(self.address()).await;
        self.command(&["CONFIG", "SET", name, &proxy.port().to_string()]).await;
        self.command(&["CONFIG", "REWRITE"]).await;
        proxy
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts servers side by side, in this order.
pub(super) async fn launch_all(configs: Vec<RedisServerConfig>) -> Vec<RedisServer> {
    let launch = |config| tokio::spawn(async move { RedisServer::launch(&config).await });
    let starts: Vec<_> = configs.into_iter().map(launch).collect();
    let mut servers = Vec::new();
    for start in starts {
        match start.await {
            Ok(server) => servers.push(server),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    servers
}
