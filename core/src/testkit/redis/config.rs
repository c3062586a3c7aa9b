use std::fmt::{self, Write as _};

/// How a Redis server keeps what it is told.
///
/// ```
/// use standfast_core::testkit::redis::{Persistence, RedisServerConfig};
///
/// let mut config = RedisServerConfig::default();
/// config.persistence = Persistence::Always;
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Persistence {
    /// In memory only.
    #[default]
    None,
    /// Append-only file, flushed once a second. What was written survives the death of the process,
    /// not that of the machine.
    EverySecond,
    /// Append-only file, flushed before each reply.
    Always,
}

/// How a [`RedisServer`](super::RedisServer) is configured, or each node of a cluster or of a
/// group that sentinels watch.
///
/// ```
/// use standfast_core::testkit::redis::RedisServerConfig;
///
/// let mut config = RedisServerConfig::default();
/// config.password = Some("open sesame".to_owned());
/// config.users.push("reader on >secret ~standfast:* +@read".to_owned());
/// config.maxmemory = Some(8 << 20);
/// config.extra.push("maxmemory-policy allkeys-lru".to_owned());
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RedisServerConfig {
    /// What survives a restart; nothing by default.
    pub persistence: Persistence,
    /// The password of the user `default`, who may do everything; none by default.
    pub password: Option<String>,
    /// More users, in an ACL file: a name and its rules each.
    pub users: Vec<String>,
    /// How many bytes of memory it uses at most; no limit by default.
    pub maxmemory: Option<u64>,
    /// Which keys it evicts at `maxmemory`; `noeviction` by default.
    pub maxmemory_policy: Option<String>,
    /// The port of the server on this machine of which it is a replica, under the same password;
    /// a primary by default.
    pub replica_of: Option<u16>,
    /// More lines for the configuration file; they win over the ones above.
    pub extra: Vec<String>,
}

impl fmt::Debug for RedisServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the lines of users, and any other, may have a password in them
        f.debug_struct("RedisServerConfig")
            .field("persistence", &self.persistence)
            .field("maxmemory", &self.maxmemory)
            .field("maxmemory_policy", &self.maxmemory_policy)
            .field("replica_of", &self.replica_of)
            .finish_non_exhaustive()
    }
}

pub(super) const ACL_FILE: &str = "users.acl";

impl RedisServerConfig {
    /// The configuration file.
    pub(super) fn file(&self, port: u16) -> String {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {port}"),
            "save \"\"".to_owned(),
            "daemonize no".to_owned(),
            // seconds of waiting for more replicas, of which there are none
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        match self.persistence {
            Persistence::None => lines.push("appendonly no".to_owned()),
            Persistence::EverySecond => {
                lines.extend(["appendonly yes", "appendfsync everysec"].map(str::to_owned));
            }
            Persistence::Always => {
                lines.extend(["appendonly yes", "appendfsync always"].map(str::to_owned));
            }
        }
        if let Some(password) = &self.password {
            lines.push(format!("masterauth {}", quoted(password)));
            if self.users.is_empty() {
                lines.push(format!("requirepass {}", quoted(password)));
            }
        }
        if !self.users.is_empty() {
            lines.push(format!("aclfile {ACL_FILE}"));
        }
        if let Some(bytes) = self.maxmemory {
            lines.push(format!("maxmemory {bytes}"));
        }
        if let Some(policy) = &self.maxmemory_policy {
            lines.push(format!("maxmemory-policy {policy}"));
        }
        if let Some(primary) = self.replica_of {
            lines.push(format!("replicaof 127.0.0.1 {primary}"));
        }
        lines.extend(self.extra.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// The file of users, when there are any.
    pub(super) fn acl_file(&self) -> Option<String> {
        if self.users.is_empty() {
            return None;
        }
        let password = match &self.password {
            Some(password) => format!("#{}", sha256_hex(password)),
            None => "nopass".to_owned(),
        };
        let mut file = format!("user default on {password} ~* &* +@all\n");
        for user in &self.users {
            // invariant: a String takes every line
            writeln!(file, "user {user}").expect("written to memory");
        }
        Some(file)
    }
}

/// A value of the configuration file, in the quotes that Redis reads.
pub(super) fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in value.bytes() {
        // invariant: a String takes every byte
        write!(quoted, "\\x{byte:02x}").expect("written to memory");
    }
    quoted + "\""
}

fn sha256_hex(value: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
