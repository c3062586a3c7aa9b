use std::fmt::Write as _;

use http::header::{HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};

use super::StatusBody;
use super::respond::{json_bytes, with};
use crate::handle::StatusHandle;

/// The answer of whoever has sent a job: 202, and where to ask how it stands.
///
/// ```
/// use standfast_queue::StatusHandle;
/// use standfast_queue::http::Accepted;
///
/// let handle = StatusHandle::random();
/// let accepted = Accepted::new(handle, "/is_ready");
/// assert_eq!(accepted.poll(), format!("/is_ready?handle={handle}"));
/// let response = accepted.into_response();
/// assert_eq!(response.status(), http::StatusCode::ACCEPTED);
/// assert_eq!(response.headers()["location"], format!("/is_ready?handle={handle}"));
/// ```
#[derive(Clone, Debug)]
pub struct Accepted {
    handle: StatusHandle,
    path: String,
}

impl Accepted {
    /// Points at `path`, with or without a query of its own, as the place to ask about `handle`.
    ///
    /// What cannot stand in a header, such as a space, is percent-encoded.
    pub fn new(handle: StatusHandle, path: &str) -> Self {
        let mut encoded = String::with_capacity(path.len());
        for byte in path.bytes() {
            match byte {
                b'!'..=b'~' => encoded.push(char::from(byte)),
                // writing to a string cannot fail
                _ => _ = write!(encoded, "%{byte:02X}"),
            }
        }
        Self { handle, path: encoded }
    }

    /// Where to ask.
    pub fn poll(&self) -> String {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{separator}handle={}", self.path, self.handle)
    }

    /// 202 with `Location`, `Retry-After` and `{"poll":"…"}`.
    pub fn into_response(self) -> Response<StatusBody> {
        let poll = self.poll();
        let json = serde_json::json!({ "poll": poll }).to_string();
        // invariant: visible ASCII
        let location = HeaderValue::try_from(poll).expect("an encoded path is a header value");
        let response = json_bytes(StatusCode::ACCEPTED, json.into());
        with(with(response, LOCATION, location), RETRY_AFTER, HeaderValue::from_static("1"))
    }
}

impl From<Accepted> for Response<StatusBody> {
    fn from(accepted: Accepted) -> Self {
        accepted.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_can_stand_in_the_header() {
        let handle = StatusHandle::derive(b"s", b"k");
        for (path, encoded) in [
            ("/is_ready", format!("/is_ready?handle={handle}")),
            ("/is_ready?v=2", format!("/is_ready?v=2&handle={handle}")),
            ("/a b\r\nSet-Cookie: x=y", format!("/a%20b%0D%0ASet-Cookie:%20x=y?handle={handle}")),
            ("/é", format!("/%C3%A9?handle={handle}")),
            ("", format!("?handle={handle}")),
        ] {
            let response = Accepted::new(handle, path).into_response();
            assert_eq!(response.headers()[LOCATION], encoded);
        }
    }
}
