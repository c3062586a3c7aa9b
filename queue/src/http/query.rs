use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, IF_NONE_MATCH};

use crate::handle::StatusHandle;

/// The longest query that is read.
const MAX_QUERY: usize = 2048;

/// Why a query does not ask for a status. `Display` never repeats what was sent.
///
/// ```
/// use standfast_queue::http::InvalidQuery;
///
/// assert_eq!(InvalidQuery::HandleMissing.to_string(), "the query names no handle");
/// assert_eq!(InvalidQuery::HandleMissing.status(), http::StatusCode::BAD_REQUEST);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// What follows `handle=` is no handle.
    #[error("the handle is malformed")]
    HandleMalformed,
    /// There is no `handle=`.
    #[error("the query names no handle")]
    HandleMissing,
    /// A parameter occurs more than once.
    #[error("a parameter is repeated")]
    Repeated,
    /// What follows `seen=` is no version.
    #[error("`seen` is not a version")]
    SeenMalformed,
    /// Longer than any query that could be meant.
    #[error("the query is too long")]
    TooLong,
    /// What follows `wait=` is no number of seconds.
    #[error("`wait` is not a number of seconds such as `20s`")]
    WaitMalformed,
}

impl InvalidQuery {
    /// The status code of the answer: 414 for [`TooLong`](Self::TooLong), else 400.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What a query asks for. Parameters that mean nothing here are left to others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StatusQuery {
    pub(super) handle: StatusHandle,
    pub(super) wait: Option<Duration>,
    pub(super) seen: Option<u64>,
}

impl StatusQuery {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, InvalidQuery> {
        let handle = Self::handle(query)?;
        let wait = parameter(query, "wait", seconds, InvalidQuery::WaitMalformed)?;
        let seen = parameter(query, "seen", version, InvalidQuery::SeenMalformed)?;
        Ok(Self { handle, wait, seen })
    }

    /// The handle alone.
    pub(super) fn handle(query: Option<&str>) -> Result<StatusHandle, InvalidQuery> {
        let read = |value: &str| value.parse().ok();
        parameter(query, "handle", read, InvalidQuery::HandleMalformed)?
            .ok_or(InvalidQuery::HandleMissing)
    }
}

/// The one value of `name`. Nothing is decoded: no character of a valid value needs an escape.
fn parameter<T>(
    query: Option<&str>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
    malformed: InvalidQuery,
) -> Result<Option<T>, InvalidQuery> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(InvalidQuery::TooLong);
    }
    let mut values = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter_map(|(key, value)| (key == name).then_some(value));
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(InvalidQuery::Repeated);
    }
    read(value).map(Some).ok_or(malformed)
}

/// A version as [`JobStatus`](crate::JobStatus) counts them: digits, without a sign.
pub(super) fn version(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `20` or `20s`, in at most nine digits.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    if digits.len() > 9 {
        return None;
    }
    version(digits).map(Duration::from_secs)
}

/// Whether events are wanted rather than JSON: whichever of the two is named first.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .find_map(|kind| {
            let is = |name: &str| kind.eq_ignore_ascii_case(name);
            (is("text/event-stream") || is("application/json")).then(|| is("text/event-stream"))
        })
        .unwrap_or(false)
}

/// Whether `If-None-Match` names `etag`.
pub(super) fn has_seen(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_query_is_read_in_any_order_and_what_is_unknown_is_left_alone() {
        let query = format!("seen=7&_=1&wait=20s&&handle={HANDLE}&utm");
        let query = StatusQuery::parse(Some(&query)).unwrap();
        assert_eq!(query.handle.to_string(), HANDLE);
        assert_eq!((query.wait, query.seen), (Some(Duration::from_secs(20)), Some(7)));
    }

    #[test]
    fn every_malformed_query_has_its_own_words() {
        use InvalidQuery as E;
        let long = "x".repeat(MAX_QUERY + 1);
        let (upper, twice) = (HANDLE.to_uppercase(), format!("{HANDLE}&handle={HANDLE}"));
        let with = |rest: &str| format!("handle={HANDLE}&{rest}");
        for (query, error) in [
            (String::new(), E::HandleMissing),
            ("handle".into(), E::HandleMalformed),
            ("handle=".into(), E::HandleMalformed),
            ("handle=%00".into(), E::HandleMalformed),
            (format!("handle={upper}"), E::HandleMalformed),
            (format!("handle={HANDLE}0"), E::HandleMalformed),
            (format!("handle={}", "é".repeat(16)), E::HandleMalformed),
            (format!("handle={twice}"), E::Repeated),
            (with("wait="), E::WaitMalformed),
            (with("wait=s"), E::WaitMalformed),
            (with("wait=-1"), E::WaitMalformed),
            (with("wait=+1"), E::WaitMalformed),
            (with("wait=1ss"), E::WaitMalformed),
            (with("wait=1m"), E::WaitMalformed),
            (with("wait=1.5"), E::WaitMalformed),
            (with("wait=1e3"), E::WaitMalformed),
            (with("wait=9999999999"), E::WaitMalformed),
            (with("wait=1&wait=1"), E::Repeated),
            (with("seen=x"), E::SeenMalformed),
            (with("seen=18446744073709551616"), E::SeenMalformed),
            (long, E::TooLong),
        ] {
            assert_eq!(StatusQuery::parse(Some(&query)), Err(error), "{query}");
        }
        assert_eq!(StatusQuery::parse(None), Err(E::HandleMissing));
    }

    #[test]
    fn events_are_sent_to_those_who_ask_for_them_first() {
        for (accept, events) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; q=1, */*", true),
            ("text/event-stream, application/json", true),
            ("application/json, text/event-stream", false),
            ("*/*", false),
            (",;,", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(wants_events(&headers), events, "{accept}");
        }
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list() {
        for (tags, seen) in [
            ("\"3\"", true),
            ("W/\"3\"", true),
            ("\"1\", \"3\"", true),
            ("*", true),
            ("\"33\"", false),
            ("3", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, tags.parse().unwrap())]);
            assert_eq!(has_seen(&headers, "\"3\""), seen, "{tags}");
        }
    }
}
