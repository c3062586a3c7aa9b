//! A server of a test's own, which it may kill.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use standfast_core::Id128;
use standfast_core::testkit::service;

/// What it insists not to be: root.
const NOBODY: u32 = 65_534;

// The shell becomes the server. Before that it leaves somebody behind who ends the server and
// removes its directory when the test is gone.
const GUARD: &str = r#"
exec 3<&0 </dev/null
directory=$1
shift
{
    trap '' HUP INT TERM
    read -r _ <&3 || { kill -KILL $$ 2>/dev/null; sleep 1; rm -rf "$directory"; }
} &
exec "$@" 3<&-
"#;

/// A PostgreSQL of its own, gone with the value.
pub(crate) struct PostgresServer {
    bin: PathBuf,
    directory: PathBuf,
    port: u16,
    child: Child,
}

impl PostgresServer {
    /// Starts one from the binaries that `STANDFAST_TEST_POSTGRES_BIN` names.
    pub(crate) async fn start() -> Option<Self> {
        let bin = PathBuf::from(service("postgres-server", "STANDFAST_TEST_POSTGRES_BIN")?);
        let directory = std::env::temp_dir().join(format!("standfast-{}", Id128::random()));
        std::fs::create_dir(&directory).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = demoted(&bin.join("initdb"))
            .args(["-U", "test", "--auth=trust", "-E", "UTF8", "--no-sync", "-D"])
            .arg(directory.join("db"))
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = spawn(&bin, &directory, free.port());
        let server = Self { bin, directory, port: free.port(), child };
        server.await_ready().await;
        Some(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A pool that connects through `port`, one of a proxy or of the server.
    pub(crate) fn pool_by(port: u16) -> PgPool {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("test")
            .database("postgres");
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5));
        pool.connect_lazy_with(options)
    }

    pub(crate) fn pool(&self) -> PgPool {
        Self::pool_by(self.port)
    }

    /// A connection for the test itself, once there is one.
    async fn connect(&self) -> PgConnection {
        let options = self.pool().connect_options();
        loop {
            if let Ok(connection) = PgConnection::connect_with(&options).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn await_ready(&self) {
        let answers = async {
            loop {
                let asked = sqlx::query("SELECT 1").execute(&mut self.connect().await).await;
                if asked.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answers).await.expect("it comes up");
    }

    /// Kills a backend that is within a transaction, with SIGKILL, or any other; the server ends
    /// all others then, and recovers.
    pub(crate) async fn kill_backend(&self) {
        let victim: i32 = loop {
            // it may be recovering from the last time
            let found = sqlx::query_scalar(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                 AND pid <> pg_backend_pid() ORDER BY xact_start IS NULL, random() LIMIT 1",
            )
            .fetch_one(&mut self.connect().await)
            .await;
            match found {
                Ok(found) => break found,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        // it is a process of a server of ours, asked for a moment ago
        let _ = kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL);
    }

    /// Kills the server with SIGKILL, and starts it again.
    pub(crate) async fn kill_and_restart(&mut self) {
        loop {
            // the new one will have somebody of its own who sees to the directory
            self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            self.child = spawn(&self.bin, &self.directory, self.port);
            tokio::time::sleep(Duration::from_millis(300)).await;
            // those of the dead one may still have its memory, and then it does not start
            if self.child.try_wait().unwrap().is_none() {
                break;
            }
        }
        self.await_ready().await;
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn demoted(program: &Path) -> Command {
    let mut command = Command::new(program);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn spawn(bin: &Path, directory: &Path, port: u16) -> Child {
    let mut sockets = "unix_socket_directories=".to_owned();
    sockets += directory.to_str().unwrap();
    demoted(Path::new("/bin/sh"))
        .args(["-c", GUARD, "guard"])
        .arg(directory)
        .arg(bin.join("postgres"))
        .arg("-D")
        .arg(directory.join("db"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", &sockets])
        // many of them are killed, and each would wait for this long
        .args(["-c", "restart_after_crash=on", "-c", "checkpoint_timeout=30s"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}
