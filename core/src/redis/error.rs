//! What the server's errors mean: whether anything happened, what to do next, what to tell.

use redis::ServerError;

use crate::{Error, ErrorKind, Reason};

use super::address::Address;

/// How errors name this backend.
pub(super) const BACKEND: &str = "redis";

/// An error of a configuration or a URL.
pub(super) fn configuration(kind: ErrorKind, detail: impl Into<String>) -> Error {
    Error::new(kind, BACKEND, "redis.open").with_detail(detail)
}

/// An error reply: the command did not run, or had no effect.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another node has the slot.
    Moved(Address),
    /// Another node has the slot for this one request.
    Ask(Address),
    /// The node does not know the script.
    NoScript,
    /// The node is a replica.
    ReadOnly,
    /// Not now, for this reason.
    Later(String),
    /// Not ever.
    Final(Error),
}

/// What `error`, the answer of the node at `asked`, means.
pub(super) fn refusal(operation: &'static str, error: &ServerError, asked: &Address) -> Refusal {
    let detail = error.details().unwrap_or_default();
    let (code, detail) = raised_in_script(error.code(), detail);
    let fail = |kind| Error::new(kind, BACKEND, operation);
    let redirect = || Address::redirect(detail.split_once(' ')?.1, asked);
    let unknown = || {
        let text: String = detail.chars().take(200).collect();
        fail(ErrorKind::Unexpected).with_detail(format!("{code} {text}"))
    };
    match code {
        "MOVED" => redirect().map_or_else(|| Refusal::Final(unknown()), Refusal::Moved),
        "ASK" => redirect().map_or_else(|| Refusal::Final(unknown()), Refusal::Ask),
        "NOSCRIPT" => Refusal::NoScript,
        "READONLY" => Refusal::ReadOnly,
        "LOADING" => Refusal::Later("the server is loading its data".into()),
        "TRYAGAIN" => Refusal::Later("a slot is being moved to another node".into()),
        "MASTERDOWN" => Refusal::Later("a replica that has lost its primary".into()),
        "BUSY" => Refusal::Later("a script keeps the server busy; `SCRIPT KILL` ends it".into()),
        "NOREPLICAS" => {
            Refusal::Later("fewer replicas are there than min-replicas-to-write asks for".into())
        }
        "CLUSTERDOWN" => Refusal::Later(format!(
            "CLUSTERDOWN {detail}; `CLUSTER INFO` and `CLUSTER SHARDS` tell which slots are missing"
        )),
        "ERR" if detail.contains("max number of clients") => {
            Refusal::Later("the server has as many clients as maxclients allows".into())
        }
        "OOM" => Refusal::Final(
            fail(ErrorKind::Unavailable)
                .with_reason(Reason::NoSpace)
                .with_detail("maxmemory reached: give the server more memory or remove data"),
        ),
        "MISCONF" => Refusal::Final(
            fail(ErrorKind::Unavailable)
                .with_reason(Reason::NoSpace)
                .with_detail("the server cannot save to disk (MISCONF): see its log"),
        ),
        "NOPERM" | "NOAUTH" | "WRONGPASS" | "DENIED" => {
            Refusal::Final(fail(ErrorKind::Denied).with_detail(denial(code, detail)))
        }
        // how 7.0 says NOPERM to a script
        "ERR" if detail.starts_with("The user executing the script can't") => {
            Refusal::Final(fail(ErrorKind::Denied).with_detail(denial("NOPERM", detail)))
        }
        "ERR" if detail.contains("AUTH") => {
            Refusal::Final(fail(ErrorKind::Denied).with_detail(
                "the server has no password, or is too old for users; the URL has one",
            ))
        }
        "WRONGTYPE" => Refusal::Final(fail(ErrorKind::Conflict).with_detail(
            "a key of another type at our name: something else writes to keys of this name",
        )),
        "CROSSSLOT" => {
            Refusal::Final(fail(ErrorKind::Invalid).with_detail("the keys are not all in one slot"))
        }
        "STANDFAST" => Refusal::Final(ours(operation, detail)),
        // the server repeats the arguments here, which may be somebody's data
        "ERR"
            if detail.starts_with("unknown command")
                || detail.starts_with("unknown subcommand") =>
        {
            let name = detail.split(',').next().unwrap_or_default();
            Refusal::Final(
                fail(ErrorKind::Unsupported)
                    .with_detail(format!("{name}; is the server at least Redis 6.2?")),
            )
        }
        _ => Refusal::Final(unknown()),
    }
}

/// Redis 6.2 wraps the error of a command in a script: `ERR Error running script (call to f_…):
/// @user_script:3: WRONGTYPE Operation …`; later versions put the place behind it.
fn raised_in_script<'a>(code: &'a str, detail: &'a str) -> (&'a str, &'a str) {
    if code != "ERR" || !detail.starts_with("Error running script") {
        return (code, detail);
    }
    let inner = detail
        .split_once("@user_script")
        .map(|(_, rest)| {
            rest.trim_start_matches(|c: char| c == ':' || c == ' ' || c.is_ascii_digit())
        })
        .map(|rest| rest.trim_start_matches('-'));
    match inner.and_then(|rest| rest.split_once(' ')) {
        Some((code, detail)) if code.bytes().all(|b| b.is_ascii_uppercase()) => (code, detail),
        _ => (code, detail),
    }
}

/// Messages of the server about users and passwords name the user at most.
fn denial(code: &str, detail: &str) -> String {
    match code {
        "WRONGPASS" => "wrong user or password, or the user is disabled (WRONGPASS)".into(),
        "NOAUTH" => "the server wants a password (NOAUTH), and the URL has none".into(),
        "DENIED" => "the server is in protected mode and takes local clients only".into(),
        _ => {
            let text: String = detail.chars().take(200).collect();
            format!("the user may not do that (NOPERM): {text}")
        }
    }
}

/// `redis.error_reply('STANDFAST <KIND> text')` of our own scripts.
fn ours(operation: &'static str, detail: &str) -> Error {
    let (kind, text) = detail.split_once(' ').unwrap_or((detail, ""));
    let kind = match kind {
        "INVALID" => ErrorKind::Invalid,
        "CORRUPT" => ErrorKind::Corrupt,
        "CONFLICT" => ErrorKind::Conflict,
        "UNSUPPORTED" => ErrorKind::Unsupported,
        _ => ErrorKind::Unexpected,
    };
    // 7.0 appends where it was raised, when it was raised and not returned
    let text = text.split(" script: ").next().unwrap_or_default();
    Error::new(kind, BACKEND, operation).with_detail(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Refusal {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let redis::Value::ServerError(error) = value else { panic!("an error") };
        refusal("t", &error, &Address::new("asked", 1))
    }

    fn error_of(line: &str) -> Error {
        match of(line) {
            Refusal::Final(error) => error,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn redirects_name_the_node() {
        assert!(matches!(of("MOVED 3999 h:7"), Refusal::Moved(a) if a == Address::new("h", 7)));
        assert!(matches!(of("ASK 3999 :7"), Refusal::Ask(a) if a == Address::new("asked", 7)));
        assert_eq!(error_of("MOVED").kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn what_passes_is_waited_for() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN Hash slot not served",
            "MASTERDOWN Link with MASTER is down",
            "BUSY Redis is busy running a script.",
            "NOREPLICAS Not enough good replicas to write.",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(of(line), Refusal::Later(_)), "{line}");
        }
        assert!(matches!(of("NOSCRIPT No matching script."), Refusal::NoScript));
        assert!(matches!(of("READONLY You can't write."), Refusal::ReadOnly));
    }

    #[test]
    fn errors_have_kinds_and_reasons() {
        for (line, kind) in [
            ("WRONGPASS invalid username-password pair", ErrorKind::Denied),
            ("NOAUTH Authentication required.", ErrorKind::Denied),
            ("NOPERM this user has no permissions to run the 'get' command", ErrorKind::Denied),
            ("ERR The user executing the script can't run this command", ErrorKind::Denied),
            ("ERR AUTH <password> called without any password", ErrorKind::Denied),
            ("WRONGTYPE Operation against a key", ErrorKind::Conflict),
            ("CROSSSLOT Keys in request", ErrorKind::Invalid),
            ("ERR unknown command 'NOPE', with args beginning with: 'x' ", ErrorKind::Unsupported),
            ("ERR value is not an integer or out of range", ErrorKind::Unexpected),
            ("STANDFAST INVALID too many", ErrorKind::Invalid),
            ("STANDFAST CORRUPT no lease", ErrorKind::Corrupt),
            ("STANDFAST CONFLICT changed", ErrorKind::Conflict),
            ("STANDFAST UNSUPPORTED newer", ErrorKind::Unsupported),
        ] {
            assert_eq!(error_of(line).kind(), kind, "{line}");
        }
        for line in ["OOM command not allowed", "MISCONF Redis is configured to save RDB snapshots"]
        {
            let error = error_of(line);
            assert_eq!(
                (error.kind(), error.reason()),
                (ErrorKind::Unavailable, Some(Reason::NoSpace))
            );
        }
        assert_eq!(error_of("STANDFAST INVALID too many").detail(), "too many");
    }

    #[test]
    fn arguments_are_not_repeated() {
        let error = error_of("ERR unknown command 'NOPE', with args beginning with: 'hunter2' ");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn errors_in_scripts_of_older_servers_are_unwrapped() {
        let line = "ERR Error running script (call to f_e0e1): @user_script:1: \
            WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(error_of(line).kind(), ErrorKind::Conflict);
        let line = "ERR Error running script (call to f_e0e1): @user_script: 7: \
            -OOM command not allowed when used memory > 'maxmemory'.";
        assert_eq!(error_of(line).reason(), Some(Reason::NoSpace));
        let line = "ERR Error running script (call to f_e0e1): @user_script:1: \
            user_script:1: attempt to index a nil value";
        assert_eq!(error_of(line).kind(), ErrorKind::Unexpected);
    }
}
