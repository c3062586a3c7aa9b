//! A service of one's own, that may be killed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use standfast_core::JobId;
use standfast_core::testkit::service;

use crate::sqs_support::Service;

pub(crate) struct Server {
    program: String,
    port: u16,
    state: std::path::PathBuf,
    child: Child,
}

impl Server {
    /// The stand-in with its state in a file; `None` if there is none here.
    pub(crate) async fn start() -> Option<Self> {
        let program = service("sqs-server", "STANDFAST_TEST_SQS_SERVER")?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let state = std::env::temp_dir().join(format!("standfast-sqs-{}", JobId::random()));
        let child = spawn(&program, port, &state);
        let server = Self { program, port, state, child };
        server.answers().await;
        Some(server)
    }

    pub(crate) fn service(&self) -> Service {
        Service::at(format!("http://127.0.0.1:{}", self.port))
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.program, self.port, &self.state);
        self.answers().await;
    }

    async fn answers(&self) {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the service does not answer");
    }
}

fn spawn(program: &str, port: u16, state: &std::path::Path) -> Child {
    Command::new(program)
        .arg(port.to_string())
        .arg(state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the stand-in starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.state);
    }
}
