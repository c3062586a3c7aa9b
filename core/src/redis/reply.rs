use redis::{ServerError, Value};

use crate::{Error, ErrorKind, Result};

use super::error::BACKEND;

/// What the server answered.
///
/// The `into_…` methods say what was expected; anything else is `Corrupt`, because a reply of
/// another shape means that something at our keys is not ours. Messages tell shapes, never
/// contents.
///
/// ```
/// use standfast_core::ErrorKind;
/// use standfast_core::redis::Reply;
///
/// let reply = Reply::Array(vec![Reply::Int(7), Reply::Bytes(b"seven".to_vec())]);
/// let [n, text] = reply.into_fields("demo.read").unwrap();
/// assert_eq!(n.into_int("demo.read").unwrap(), 7);
/// assert_eq!(text.into_text("demo.read").unwrap(), "seven");
///
/// let error = Reply::Nil.into_int("demo.read").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(error.detail(), "expected an integer, met nil");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "the protocol has no other shapes")]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// An integer.
    Int(i64),
    /// Bytes; a status such as `OK` too.
    Bytes(Vec<u8>),
    /// Several replies, nested at will.
    Array(Vec<Self>),
}

impl Reply {
    /// Whether it is [`Reply::Nil`].
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// `None` for [`Reply::Nil`], which often means that nothing is there.
    pub fn into_option(self) -> Option<Self> {
        (!self.is_nil()).then_some(self)
    }

    /// The bytes.
    ///
    /// # Errors
    ///
    /// `Corrupt`, in the name of `operation`, for any other shape.
    pub fn into_bytes(self, operation: &'static str) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.unexpected(operation, "bytes")),
        }
    }

    /// The bytes as text.
    ///
    /// # Errors
    ///
    /// `Corrupt`, in the name of `operation`, for any other shape and for what is not UTF-8.
    pub fn into_text(self, operation: &'static str) -> Result<String> {
        String::from_utf8(self.into_bytes(operation)?).map_err(|_| {
            Error::new(ErrorKind::Corrupt, BACKEND, operation)
                .with_detail("expected text, met bytes that are not UTF-8")
        })
    }

    /// The integer. Decimal digits do as well: scripts answer so above 2^53, because numbers of
    /// Lua would round.
    ///
    /// # Errors
    ///
    /// `Corrupt`, in the name of `operation`, for anything else.
    pub fn into_int(self, operation: &'static str) -> Result<i64> {
        match &self {
            Self::Int(n) => return Ok(*n),
            Self::Bytes(bytes) => {
                if let Some(n) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
                {
                    return Ok(n);
                }
            }
            _ => {}
        }
        Err(self.unexpected(operation, "an integer"))
    }

    /// The replies of an array.
    ///
    /// # Errors
    ///
    /// `Corrupt`, in the name of `operation`, for any other shape.
    pub fn into_array(self, operation: &'static str) -> Result<Vec<Self>> {
        match self {
            Self::Array(replies) => Ok(replies),
            other => Err(other.unexpected(operation, "an array")),
        }
    }

    /// The replies of an array of exactly `N`.
    ///
    /// # Errors
    ///
    /// `Corrupt`, in the name of `operation`, for any other shape or length.
    pub fn into_fields<const N: usize>(self, operation: &'static str) -> Result<[Self; N]> {
        let replies = self.into_array(operation)?;
        <[Self; N]>::try_from(replies).map_err(|replies| {
            Self::Array(replies).unexpected(operation, &format!("an array of {N}"))
        })
    }

    /// The answer to `TIME`, in microseconds since 1970.
    pub(super) fn into_time(self, operation: &'static str) -> Result<i64> {
        let [seconds, micros] = self.into_fields(operation)?;
        let seconds = seconds.into_int(operation)?.saturating_mul(1_000_000);
        Ok(seconds.saturating_add(micros.into_int(operation)?))
    }

    fn unexpected(&self, operation: &'static str, expected: &str) -> Error {
        let met = match self {
            Self::Nil => "nil".into(),
            Self::Int(_) => "an integer".into(),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Array(replies) => format!("an array of {}", replies.len()),
        };
        Error::new(ErrorKind::Corrupt, BACKEND, operation)
            .with_detail(format!("expected {expected}, met {met}"))
    }

    /// From the type of the client library; an error anywhere in it is the error of all.
    pub(super) fn from_value(value: Value) -> Result<Self, Refused> {
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Int(n) => Self::Int(n),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::SimpleString(text) => Self::Bytes(text.into_bytes()),
            Value::Okay => Self::Bytes(b"OK".to_vec()),
            Value::Array(values) => {
                Self::Array(values.into_iter().map(Self::from_value).collect::<Result<_, _>>()?)
            }
            Value::ServerError(error) => return Err(Refused::Server(error)),
            // RESP3 alone has the others, and is not spoken here
            _ => return Err(Refused::Alien),
        })
    }
}

/// Why a value is no reply.
#[derive(Debug)]
pub(super) enum Refused {
    Alien,
    Server(ServerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_integers_come_as_digits() {
        let reply = Reply::Bytes(b"9007199254740993".to_vec());
        assert_eq!(reply.into_int("t").unwrap(), 9_007_199_254_740_993);
        assert!(Reply::Bytes(b"1.5".to_vec()).into_int("t").is_err());
    }

    #[test]
    fn an_error_inside_an_array_is_the_error_of_all() {
        let value = redis::parse_redis_value(b"*2\r\n:1\r\n-OOM no\r\n").unwrap();
        let Err(Refused::Server(error)) = Reply::from_value(value) else { panic!("an error") };
        assert_eq!(error.code(), "OOM");
    }

    #[test]
    fn messages_do_not_show_contents() {
        let error = Reply::Bytes(b"hunter2".to_vec()).into_array("t").unwrap_err();
        assert_eq!(error.detail(), "expected an array, met 7 bytes");
    }
}
