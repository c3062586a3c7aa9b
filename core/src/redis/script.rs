use std::fmt;
use std::sync::OnceLock;

use super::Request;
use super::keys::{hash_tag, slot};

/// A Lua script: a `static` beside the file that it includes.
///
/// Scripts are called by their hash; a server that does not know one is taught it, and asked
/// again.
///
/// ```
/// use standfast_core::redis::{Request, Script};
///
/// // usually `Script::new(include_str!("claim.lua"))`
/// static CLAIM: Script = Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'NX')");
///
/// let request: Request = CLAIM.on("lock.claim", &["lock:{7}"]).arg("me");
/// assert!(CLAIM.source().starts_with("return"));
/// ```
pub struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// A script of this source.
    pub const fn new(source: &'static str) -> Self {
        Self { source, hash: OnceLock::new() }
    }

    /// The source.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// A call of the script on `keys`, which must be all in one slot; arguments follow with
    /// [`Request::arg`]. `operation` names it in errors, such as `queue.send`.
    pub fn on(&'static self, operation: &'static str, keys: &[impl AsRef<str>]) -> Request {
        let first = keys.first().map_or("", AsRef::as_ref);
        let tag = hash_tag(first);
        let together = keys.iter().skip(1).all(|key| hash_tag(key.as_ref()) == tag);
        let mut request = Request::empty(operation, slot(first));
        request.push("EVALSHA").push(self.hash());
        request.push_int(i64::try_from(keys.len()).expect("fewer than 2^63 keys"));
        for key in keys {
            request.push(key.as_ref());
        }
        request.script = Some(self);
        request.one_slot = together || keys.iter().all(|key| slot(key.as_ref()) == request.slot);
        request
    }

    /// The SHA-1 of the source in hexadecimal, by which servers know it.
    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.hash()).finish()
    }
}
