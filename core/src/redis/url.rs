//! The URLs of Redis. Parsed here, because lists of hosts are no part of what URL parsers take.

use std::time::Duration;

use crate::{ErrorKind, Result};

use super::config::{RedisConfig, Servers, Tls};
use super::error::configuration;

const FORMS: &str = "allowed are redis://[user][:password@]host[:port][/database], \
    redis+cluster://…@host,host,… and redis+sentinel://…@host,host,…/master[/database]; \
    rediss for TLS";

pub(super) fn parse(url: &str) -> Result<RedisConfig> {
    parts(url).map_err(|why| configuration(ErrorKind::Invalid, format!("{why}; {FORMS}")))
}

/// Messages are fixed texts: what was met may be a secret in a wrong place.
fn parts(url: &str) -> Result<RedisConfig, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
    let (family, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
    let tls = match family {
        "redis" => false,
        "rediss" => true,
        _ => return Err("an unknown scheme"),
    };
    if rest.contains('#') {
        return Err("a `#` in it (in a password it is written %23)");
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user_info, hosts) = match authority.rsplit_once('@') {
        Some((user_info, hosts)) => (Some(user_info), hosts),
        None => (None, authority),
    };
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    let path: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (servers, database) = match (kind, path.as_slice()) {
        ("", [] | [_]) => {
            let [host] = <[String; 1]>::try_from(hosts)
                .map_err(|_| "several hosts, which redis+cluster or redis+sentinel have")?;
            (Servers::Single(host), path.first())
        }
        ("cluster", [] | [_]) => (Servers::Cluster(hosts), path.first()),
        ("sentinel", [master] | [master, _]) => {
            let master = decode(master).ok_or("a name with a wrong % in it")?;
            let (username, password) = (None, None);
            (Servers::Sentinel { sentinels: hosts, master, username, password }, path.get(1))
        }
        ("sentinel", []) => return Err("no name of a master"),
        ("" | "cluster" | "sentinel", _) => return Err("too many parts in the path"),
        _ => return Err("an unknown scheme"),
    };
    let mut config = RedisConfig::new(servers);
    config.tls = tls.then(Tls::default);
    if let Some(database) = database {
        config.database = number(database).ok_or("a database that is not a number")?;
    }
    if let Some(user_info) = user_info {
        let (user, password) =
            user_info.split_once(':').ok_or("a user without a password (or `:` before it)")?;
        let wrong = "credentials with a wrong % in them";
        config.username = Some(decode(user).ok_or(wrong)?).filter(|user| !user.is_empty());
        config.password = Some(decode(password).ok_or(wrong)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("a parameter without a value")?;
        parameter(&mut config, name, &decode(value).ok_or("a parameter with a wrong % in it")?)?;
    }
    // the same checks as for a configuration in parts
    config.addresses().map_err(|_| "an address, user or database that cannot be")?;
    Ok(config)
}

fn parameter(config: &mut RedisConfig, name: &str, value: &str) -> Result<(), &'static str> {
    let millis = || {
        let n = number::<u64>(value).filter(|&n| n > 0);
        n.map(Duration::from_millis).ok_or("a timeout that is not a number of milliseconds")
    };
    match (name, &mut config.servers) {
        ("timeout_ms", _) => config.timeout = millis()?,
        ("connect_timeout_ms", _) => config.connect_timeout = millis()?,
        ("sentinel_user", Servers::Sentinel { username, .. }) => *username = Some(value.into()),
        ("sentinel_password", Servers::Sentinel { password, .. }) => *password = Some(value.into()),
        _ => {
            return Err("an unknown parameter: there are timeout_ms, connect_timeout_ms, and for \
                sentinels sentinel_user, sentinel_password");
        }
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Percent-decoding; `None` for a `%` without two hexadecimal digits and for what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_taken_apart() {
        let one = parse("redis://h").unwrap();
        assert_eq!(one.servers, Servers::Single("h".into()));
        assert_eq!((one.username, one.password, one.database), (None, None, 0));
        assert!(one.tls.is_none());

        let full = parse("rediss://us%65r:p%40ss:w@[::1]:7/3?timeout_ms=250").unwrap();
        assert_eq!(full.servers, Servers::Single("[::1]:7".into()));
        assert_eq!(full.username.as_deref(), Some("user"));
        assert_eq!(full.password.as_deref(), Some("p@ss:w"));
        assert_eq!((full.database, full.timeout), (3, Duration::from_millis(250)));
        assert!(full.tls.is_some());

        let cluster = parse("redis+cluster://:pw@a:1,b,c:3/0?connect_timeout_ms=9").unwrap();
        assert_eq!(cluster.servers, Servers::Cluster(vec!["a:1".into(), "b".into(), "c:3".into()]));
        assert_eq!(cluster.connect_timeout, Duration::from_millis(9));

        let sentinel =
            parse("redis+sentinel://a,b/my%2Dmaster/2?sentinel_user=s&sentinel_password=p+q")
                .unwrap();
        assert_eq!(sentinel.database, 2);
        let Servers::Sentinel { sentinels, master, username, password } = sentinel.servers else {
            panic!("sentinels");
        };
        assert_eq!((sentinels, master), (vec!["a".into(), "b".into()], "my-master".into()));
        assert_eq!((username.as_deref(), password.as_deref()), (Some("s"), Some("p+q")));
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for bad in [
            "hunter2",
            "http://hunter2",
            "redis+other://hunter2",
            "redis://",
            "redis://hunter2@h",
            "redis://user:hunter2@",
            "redis://:hunter2@a,b",
            "redis://:hunter2@h:port",
            "redis://:hunter2@h/one",
            "redis://:hunter2@h/1/2",
            "redis://:hunter2%4@h",
            "redis://:hunter2@h#1",
            "redis://:hunter2@h?password=hunter2",
            "redis://:hunter2@h?timeout_ms=0",
            "redis://:hunter2@h?sentinel_user=hunter2",
            "redis+cluster://:hunter2@a,,b",
            "redis+cluster://:hunter2@a/1",
            "redis+sentinel://:hunter2@a",
            "redis+sentinel://:hunter2@a/m?sentinel_user=u",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
            assert!(error.detail().contains("allowed are redis://"), "{error}");
        }
    }
}
