use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName};
use standfast_core::{Id128, JobId, SessionRef};

use crate::handle::StatusHandle;

/// The header that carries a key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key.
const MAX_KEY: usize = 255;

/// A name that a client gives to a request, so that it may send it again without doing twice what
/// it asks for: the header
/// [`Idempotency-Key`](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
///
/// It is 1 to 255 visible ASCII characters, written as a structured string (`"8e03…"`, with `\"`
/// and `\\` for a quote and a backslash) or bare (`8e03…`, without quotes, backslashes, commas and
/// semicolons). Both forms of a key are the same key. `Debug` does not show it.
///
/// The same key gives the same [`ids`](Self::ids), so that a request that comes again meets the
/// status of the first one:
///
/// ```
/// use std::time::Duration;
/// use standfast_core::SessionRef;
/// use standfast_queue::http::{Accepted, IdempotencyKey};
/// use standfast_queue::{Advance, JobState, MemoryStatusStore, StatusStore, StatusUpdate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (store, secret, owner) = (MemoryStatusStore::new(), b"of the server", None);
/// # let request = http::Request::post("/").header("idempotency-key", "\"8e03978e\"").body(())?;
/// let key = IdempotencyKey::from_headers(request.headers())?.ok_or("a key is required")?;
/// let (id, handle) = key.ids(secret, owner);
///
/// let queued = StatusUpdate::new("report", JobState::Queued).owner(owner);
/// store.advance(&handle, &queued, Duration::from_secs(3600)).await?;
/// // send the message as `id`: one that is in the queue already is not sent twice
/// let response = Accepted::new(handle, "/is_ready").into_response();
///
/// // the same request again
/// assert_eq!(key.ids(secret, owner), (id, handle));
/// let again = store.advance(&handle, &queued, Duration::from_secs(3600)).await?;
/// assert!(matches!(again, Advance::Refused(first) if first.state == JobState::Queued));
/// # Ok(()) }
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(String);

/// Why a request has no usable [`IdempotencyKey`]: answer it with 400.
///
/// ```
/// use standfast_queue::http::{IdempotencyKey, InvalidIdempotencyKey};
///
/// assert_eq!("".parse::<IdempotencyKey>(), Err(InvalidIdempotencyKey::Malformed));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIdempotencyKey {
    /// Empty, or neither a quoted nor a bare string of visible ASCII characters.
    #[error("the idempotency key is malformed")]
    Malformed,
    /// There is none, and one is needed.
    #[error("the request has no idempotency key")]
    Missing,
    /// The header occurs more than once.
    #[error("the idempotency key is repeated")]
    Repeated,
    /// More than 255 characters.
    #[error("the idempotency key is longer than 255 characters")]
    TooLong,
}

impl IdempotencyKey {
    /// The key of a request; `None` when it has none.
    ///
    /// # Errors
    ///
    /// When there is a header and it is no key.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidIdempotencyKey> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(InvalidIdempotencyKey::Repeated);
        }
        let value = value.to_str().map_err(|_| InvalidIdempotencyKey::Malformed)?;
        value.trim_matches([' ', '\t']).parse().map(Some)
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ids of the job that `owner`'s request with this key leads to: the same each time.
    ///
    /// As unguessable as `secret`, which whoever makes up keys must not know, and which stays the
    /// same for as long as clients may repeat a request. Keys of one owner do not meet another's;
    /// those of requests without an owner share one space, where a key that others can guess or
    /// see leads them to the handle. A client that uses one key for two kinds of request gets one
    /// job; give each kind a secret of its own where that may happen.
    pub fn ids(&self, secret: &[u8], owner: Option<SessionRef>) -> (JobId, StatusHandle) {
        let owner = owner.map(|owner| Id128::from(owner).to_bytes());
        // the tag fixes the length of what follows it, so that no two pairs meet
        let (tag, owner): (u8, &[u8]) = owner.as_ref().map_or((0, &[]), |owner| (1, owner));
        let key = [b"idempotency-key:1\0", &[tag][..], owner, self.0.as_bytes()].concat();
        let id = Id128::derive("standfast:job:idempotency:1", &[secret, &key]);
        (id.into(), StatusHandle::derive(secret, &key))
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let key = match text.strip_prefix('"') {
            Some(rest) => unquote(rest),
            None => Some(text)
                .filter(|text| !text.contains(['"', '\\', ',', ';']))
                .map(ToOwned::to_owned),
        };
        match key {
            Some(key) if key.len() > MAX_KEY => Err(InvalidIdempotencyKey::TooLong),
            Some(key) if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(key))
            }
            _ => Err(InvalidIdempotencyKey::Malformed),
        }
    }
}

/// What stands before the closing quote, if nothing stands behind it.
fn unquote(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(key),
            '\\' => key.push(chars.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_quoted_and_bare_and_nothing_else_is_one() {
        use InvalidIdempotencyKey::{Malformed, TooLong};
        let (longest, longer) = ("k".repeat(255), "k".repeat(256));
        let quoted = format!("\"{longest}\"");
        for (text, key) in [
            ("abc", Ok("abc")),
            ("\"abc\"", Ok("abc")),
            (r#""a\"b\\c,;""#, Ok(r#"a"b\c,;"#)),
            ("~!:/=", Ok("~!:/=")),
            (&longest, Ok(&*longest)),
            (&quoted, Ok(&*longest)),
            (&longer, Err(TooLong)),
            ("", Err(Malformed)),
            ("\"\"", Err(Malformed)),
            ("\"", Err(Malformed)),
            ("\"abc", Err(Malformed)),
            ("abc\"", Err(Malformed)),
            ("\"abc\"x", Err(Malformed)),
            ("\"abc\";a=1", Err(Malformed)),
            ("\"abc\", \"def\"", Err(Malformed)),
            ("abc,def", Err(Malformed)),
            (r#""a\bc""#, Err(Malformed)),
            (r#""abc\"#, Err(Malformed)),
            ("a c", Err(Malformed)),
            ("\"a c\"", Err(Malformed)),
            ("é", Err(Malformed)),
            ("a\0", Err(Malformed)),
        ] {
            let read = text.parse::<IdempotencyKey>();
            assert_eq!(read.as_ref().map(IdempotencyKey::as_str), key.as_ref().copied(), "{text}");
        }
    }

    #[test]
    fn a_header_occurs_once_or_not_at_all() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::from_headers(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, " \"abc\"\t".parse().unwrap());
        let key = IdempotencyKey::from_headers(&headers).unwrap().unwrap();
        assert_eq!(key.as_str(), "abc");
        assert!(!format!("{key:?}").contains("abc"));
        headers.append(IDEMPOTENCY_KEY, "abc".parse().unwrap());
        let repeated = Err(InvalidIdempotencyKey::Repeated);
        assert_eq!(IdempotencyKey::from_headers(&headers), repeated);
    }

    #[test]
    fn ids_differ_with_key_owner_and_secret() {
        let [a, b]: [IdempotencyKey; 2] = ["a", "b"].map(|key| key.parse().unwrap());
        let (one, two) = (Some(SessionRef::random()), Some(SessionRef::random()));
        let all = [
            a.ids(b"s", None),
            b.ids(b"s", None),
            a.ids(b"s", one),
            b.ids(b"s", one),
            a.ids(b"s", two),
            a.ids(b"t", None),
            a.ids(b"t", one),
        ];
        let bits = |(id, handle): (JobId, StatusHandle)| [Id128::from(id), Id128::from(handle)];
        let distinct: std::collections::HashSet<_> = all.into_iter().flat_map(bits).collect();
        assert_eq!(distinct.len(), 2 * all.len());
        assert_eq!(a.ids(b"s", one), a.ids(b"s", one));
    }

    #[test]
    fn derived_ids_are_fixed_for_ever() {
        let key: IdempotencyKey = "8e03978e-40d5-43ef-bc93-6894a57f9324".parse().unwrap();
        let owner = Id128::from_bytes([7; 16]).into();
        let (id, handle) = key.ids(b"secret", Some(owner));
        assert_eq!(id.to_string(), "2683ad755647af86c4777f34b5eaf8f0");
        assert_eq!(handle.to_string(), "04efe6cfb90c6cae9065d6b111ef11d9");
    }
}
