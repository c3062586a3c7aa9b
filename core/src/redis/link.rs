//! One connection to one server, ready for requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use tokio::task::JoinHandle;

use crate::ErrorKind;

use super::address::Address;
use super::error::{Refusal, refusal};
use super::settings::{Login, Settings};
use super::stream;

/// Requests that may wait to be written.
const QUEUED: usize = 1024;

pub(super) struct Link {
    connection: MultiplexedConnection,
    written: Arc<AtomicU64>,
    driver: JoinHandle<()>,
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) enum NoLink {
    /// It will not get better by itself.
    Final(ErrorKind, String),
    /// It may, for this reason.
    Later(String),
}

/// Why a request has no reply, though its connection failed before its deadline.
#[derive(Debug)]
pub(super) enum Failed {
    /// Not one byte was written since: the request did not happen.
    NotSent,
    /// It may have happened.
    Lost,
}

impl Link {
    /// Connects and logs in, and has the server answer once: a server that takes connections but
    /// does not work shows here, before a request may have reached it.
    ///
    /// With `primary` a replica is refused.
    pub(super) async fn open(
        settings: &Settings,
        login: &Login,
        address: &Address,
        primary: bool,
    ) -> Result<Self, NoLink> {
        let later = |why: String| NoLink::Later(format!("{address}: {why}"));
        let written = Arc::new(AtomicU64::new(0));
        let stream = stream::open(settings, address, Arc::clone(&written))
            .await
            .map_err(|error| later(error.to_string()))?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(QUEUED);
        // logging in is left to us, so that the server's own errors are seen
        let nobody = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (connection, driver) = MultiplexedConnection::new_with_config(&nobody, stream, config)
            .await
            .map_err(|error| later(error.to_string()))?;
        let link = Self { connection, written, driver: tokio::spawn(driver) };
        link.log_in(login, address, primary).await?;
        Ok(link)
    }

    async fn log_in(&self, login: &Login, address: &Address, primary: bool) -> Result<(), NoLink> {
        let mut hello = Pipeline::new();
        if let Some(password) = &login.password {
            hello.cmd("AUTH");
            if let Some(username) = &login.username {
                hello.arg(username);
            }
            hello.arg(password);
        }
        if login.database != 0 {
            hello.cmd("SELECT").arg(login.database);
        }
        hello.cmd("PING");
        if primary {
            hello.cmd("ROLE");
        }
        let replies = self
            .send_all(&hello)
            .await
            .map_err(|_| NoLink::Later(format!("{address}: closed while logging in")))?;
        for (command, reply) in hello.cmd_iter().zip(replies) {
            let name = command.args_iter().next();
            let answer_is_enough = matches!(name, Some(redis::Arg::Simple(b"PING" | b"ROLE")));
            match reply {
                Value::ServerError(error) => match refusal("", &error, address) {
                    // a user who may not PING is logged in all the same
                    _ if answer_is_enough
                        && !matches!(error.code(), "NOAUTH" | "DENIED" | "ERR") => {}
                    Refusal::Final(error) => {
                        let kind = match error.kind() {
                            ErrorKind::Unexpected => ErrorKind::Invalid,
                            other => other,
                        };
                        return Err(NoLink::Final(kind, format!("{address}: {}", error.detail())));
                    }
                    Refusal::Later(why) => return Err(NoLink::Later(format!("{address}: {why}"))),
                    other => return Err(NoLink::Later(format!("{address}: {other:?}"))),
                },
                Value::Array(role)
                    if role.first().is_some_and(|role| !is_text(role, b"master")) =>
                {
                    return Err(NoLink::Later(format!("{address}: is a replica")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends one command. Errors of the server are values.
    ///
    /// Dropped before its end, the command may still be written.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Failed> {
        let before = self.written();
        let reply = self.connection.clone().send_packed_command(command).await;
        reply.map_err(|_| self.failed(before))
    }

    /// Sends several commands in one go; one value each.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Failed> {
        let before = self.written();
        let mut connection = self.connection.clone();
        let replies = connection.send_packed_commands(commands, 0, commands.len()).await;
        replies.map_err(|_| self.failed(before))
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The driver reads before it writes, so a connection that ended while it was idle fails
    /// with nothing written; and after it has failed it writes no more.
    fn failed(&self, before: u64) -> Failed {
        if self.written() == before { Failed::NotSent } else { Failed::Lost }
    }
}

/// A connection that nobody holds is closed, whatever it still waits for.
impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Whether `value` is this text.
pub(super) fn is_text(value: &Value, text: &[u8]) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text,
        Value::SimpleString(found) => found.as_bytes() == text,
        _ => false,
    }
}
