use std::fmt;
use std::time::Duration;

use redis::Cmd;

use super::{Script, keys};

/// When a write counts as done.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::redis::{Durability, Request};
///
/// let replicated = Durability::Replicated { replicas: 1, timeout: Duration::from_millis(500) };
/// let request = Request::command("demo.put", "SET", "greeting").arg("hello").durability(replicated);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// When the primary has it. A failover may lose what was not replicated yet.
    #[default]
    Primary,
    /// When this many replicas have it in memory too.
    Replicated {
        /// How many replicas, besides the primary.
        replicas: u32,
        /// How long to wait for them, at most.
        timeout: Duration,
    },
}

/// One command or script call: the name of the operation for errors, keys, arguments.
///
/// ```
/// use std::time::Duration;
/// use standfast_core::redis::Request;
///
/// let read = Request::command("demo.get", "GET", "greeting").repeatable();
/// let mut write = Request::command("demo.put", "HSET", "user:7").timeout(Duration::from_secs(1));
/// for (field, value) in [("name", "Ada"), ("city", "London")] {
///     write.push(field).push(value);
/// }
/// ```
#[derive(Clone)]
pub struct Request {
    pub(super) operation: &'static str,
    pub(super) command: Cmd,
    pub(super) slot: u16,
    pub(super) one_slot: bool,
    pub(super) script: Option<&'static Script>,
    pub(super) repeatable: bool,
    pub(super) timed: bool,
    pub(super) durability: Durability,
    pub(super) timeout: Option<Duration>,
}

impl Request {
    /// A plain command whose first argument is its one key. A subcommand follows the name after a
    /// space: `"OBJECT ENCODING"`. Commands that block hold up everybody else: poll or subscribe.
    pub fn command(operation: &'static str, name: &'static str, key: &str) -> Self {
        let mut request = Self::empty(operation, keys::slot(key));
        for word in name.split(' ') {
            request.push(word);
        }
        request.push(key);
        request
    }

    pub(super) fn empty(operation: &'static str, slot: u16) -> Self {
        Self {
            operation,
            command: Cmd::new(),
            slot,
            one_slot: true,
            script: None,
            repeatable: false,
            timed: false,
            durability: Durability::Primary,
            timeout: None,
        }
    }

    /// Appends an argument.
    #[must_use]
    pub fn arg(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(bytes);
        self
    }

    /// Appends each of `args`.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        for arg in args {
            self.push(arg);
        }
        self
    }

    /// Appends an integer as an argument.
    #[must_use]
    pub fn int(mut self, n: i64) -> Self {
        self.push_int(n);
        self
    }

    /// Appends an argument, for use in loops.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.command.arg(bytes.as_ref());
        self
    }

    /// Appends an integer as an argument, for use in loops.
    pub fn push_int(&mut self, n: i64) -> &mut Self {
        self.command.arg(n);
        self
    }

    /// It does no harm to do this twice, so it is sent again when its reply was lost: for reads
    /// and idempotent writes.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Has the server tell its time as well, in the same round trip: the reply is an array of two,
    /// the time in microseconds since 1970, and the reply to this.
    ///
    /// The time is read first, by the same node. Between the two the server may do what others ask
    /// of it, so the reply is of that time or later. For reads, since it makes this
    /// [repeatable](Self::repeatable); a user who may not do `TIME` is `Denied` both.
    ///
    /// ```no_run
    /// # async fn demo(redis: standfast_core::redis::Redis) -> standfast_core::Result<()> {
    /// use standfast_core::redis::Request;
    ///
    /// let read = Request::command("demo.read", "HGETALL", "user:7").timed();
    /// let [time, all] = redis.call(read).await?.into_fields("demo.read")?;
    /// println!("{} fields at {}", all.into_array("demo.read")?.len() / 2, time.into_int("demo.read")?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn timed(mut self) -> Self {
        self.timed = true;
        self.repeatable()
    }

    /// When the write counts as done.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The deadline of this request instead of the handle's: it covers connecting, redirects and
    /// retries. The time to wait for replicas comes on top.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Keys and arguments are not shown: they may be somebody's data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("arguments", &self.command.args_iter().len())
            .field("slot", &self.slot)
            .field("repeatable", &self.repeatable)
            .field("timed", &self.timed)
            .field("durability", &self.durability)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCRIPT: Script = Script::new("return 1");

    fn wire(request: &Request) -> String {
        String::from_utf8(request.command.get_packed_command()).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_subcommand_comes_before_the_key() {
        let request = Request::command("t", "OBJECT ENCODING", "k").int(-3);
        assert_eq!(wire(&request), "*4 $6 OBJECT $8 ENCODING $1 k $2 -3 ");
    }

    #[test]
    fn a_script_is_called_by_its_hash_with_its_keys() {
        let request = SCRIPT.on("t", &["a{x}", "b{x}"]).arg("v");
        assert!(request.one_slot);
        assert_eq!(request.slot, keys::slot("x"));
        let hash = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(
            wire(&request),
            format!("*6 $7 EVALSHA $40 {hash} $1 2 $4 a{{x}} $4 b{{x}} $1 v ")
        );
        assert!(!SCRIPT.on("t", &["a", "b"]).one_slot);
    }

    #[test]
    fn an_empty_argument_is_an_argument() {
        assert_eq!(wire(&Request::command("t", "SET", "k").arg("")), "*3 $3 SET $1 k $0  ");
    }

    #[test]
    fn debug_shows_no_contents() {
        let shown = format!("{:?}", Request::command("t", "SET", "secret-key").arg("secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
