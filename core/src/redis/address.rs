use std::fmt;

/// Where a server listens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    pub(super) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Of `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(named) {
            return None;
        }
        let port = match port {
            None => default_port,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (port != 0).then(|| Self::new(host, port))
    }

    /// Of a redirect: `host:port`, where a bare `host` part may be empty (then it is the host that
    /// answered) or an IPv6 address without brackets.
    pub(super) fn redirect(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if matches!(host, "" | "?") { &asked.host } else { host };
        Some(Self::new(host, port.parse().ok()?))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_alike() {
        for (text, shown) in [
            ("a", "a:6379"),
            ("a.b:1", "a.b:1"),
            ("[::1]", "[::1]:6379"),
            ("[fe80::1]:7", "[fe80::1]:7"),
        ] {
            assert_eq!(Address::parse(text, 6379).unwrap().to_string(), shown);
        }
        for bad in
            ["", ":1", "a:", "a:0", "a:70000", "a:+1", "a b", "::1", "[a]:1", "[::1]1", "a/b"]
        {
            assert_eq!(Address::parse(bad, 6379), None, "{bad}");
        }
    }

    #[test]
    fn a_redirect_without_a_host_means_the_host_that_was_asked() {
        let asked = Address::new("asked", 1);
        assert_eq!(Address::redirect(":7", &asked).unwrap(), Address::new("asked", 7));
        assert_eq!(Address::redirect("::1:7", &asked).unwrap(), Address::new("::1", 7));
        assert_eq!(Address::redirect("b:7", &asked).unwrap(), Address::new("b", 7));
    }
}
