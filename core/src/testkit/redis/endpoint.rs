//! What a URL says about where Redis is.

use std::fmt::Write as _;

use super::client::{Answer, Login, ask};

/// Redis as a URL names it: one server, a cluster, or a primary that sentinels know.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    kind: Kind,
    addresses: Vec<String>,
    login: Login,
}

#[derive(Clone, Debug)]
enum Kind {
    Single,
    Cluster,
    Sentinel { primary: String, login: Login },
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Panics
    ///
    /// When it is none that this client understands, which has no TLS.
    pub(super) fn parse(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL of Redis has a scheme");
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
        };
        let (kind, port) = match scheme {
            "redis" => (Kind::Single, 6379),
            "redis+cluster" => (Kind::Cluster, 6379),
            "redis+sentinel" => {
                let (user, password) = (parameter("sentinel_user"), parameter("sentinel_password"));
                let login = Login { user: decoded(user), password: decoded(password) };
                (Kind::Sentinel { primary: path.to_owned(), login }, 26_379)
            }
            _ => panic!("the client of the tests does not speak {scheme}"),
        };
        let with_port = |host: &str| {
            if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
        };
        Self {
            kind,
            addresses: hosts.split(',').map(with_port).collect(),
            login: Login { user: decoded(user), password: decoded(password) },
        }
    }

    /// Sends one command: in a cluster to the owner of the key, wherever it has moved.
    pub(super) async fn ask<S: AsRef<str> + Sync>(&self, command: &[S]) -> Result<Answer, String> {
        match &self.kind {
            Kind::Single => ask(&self.addresses[0], &self.login, command).await,
            Kind::Cluster => {
                let mut address = self.addresses[0].clone();
                let mut others = self.addresses[1..].iter();
                // each owner that is named may have lost the slot meanwhile
                for _ in 0..self.addresses.len() + 5 {
                    let answer = ask(&address, &self.login, command).await;
                    let Err(error) = &answer else { return answer };
                    if let Some(moved) = error.strip_prefix("MOVED ") {
                        let owner = moved.split_once(' ').map(|(_, owner)| owner.to_owned());
                        address = owner.ok_or_else(|| error.clone())?;
                    } else if is_reply(error) {
                        return answer;
                    } else {
                        let Some(next) = others.next() else { return answer };
                        address.clone_from(next);
                    }
                }
                Err("moved again and again".to_owned())
            }
            Kind::Sentinel { primary, login } => {
                let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", primary];
                let mut answer = Err("no sentinel is named".to_owned());
                for address in &self.addresses {
                    answer = ask(address, login, &question).await;
                    if let Ok(Answer::Array(pair)) = &answer {
                        let address = pair.iter().map(Answer::to_string).collect::<Vec<_>>();
                        return ask(&address.join(":"), &self.login, command).await;
                    }
                }
                answer
            }
        }
    }
}

/// Whether an error was said by a server: those begin with a code in capitals.
fn is_reply(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// What a percent-encoded part of a URL means; None for an empty one.
fn decoded(part: &str) -> Option<String> {
    if part.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if let (b'%', [high, low, others @ ..]) = (first, rest) {
            let hex = |digit: &u8| char::from(*digit).to_digit(16);
            let (high, low) = (hex(high), hex(low));
            let value = high.zip(low).expect("percent signs in URLs are followed by two digits");
            bytes.push((value.0 * 16 + value.1) as u8);
            rest = others;
        } else {
            bytes.push(*first);
        }
    }
    Some(String::from_utf8(bytes).expect("URLs of Redis are UTF-8"))
}

/// `user:password@` for a URL, or nothing.
pub(super) fn userinfo(login: &Login) -> String {
    match &login.password {
        Some(password) => {
            let user = login.user.as_deref().unwrap_or_default();
            format!("{}:{}@", encoded(user), encoded(password))
        }
        None => String::new(),
    }
}

fn encoded(part: &str) -> String {
    let mut encoded = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // invariant: a String takes every byte
            write!(encoded, "%{byte:02X}").expect("written to memory");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_it_was_written() {
        let login = Login { user: Some("a b".to_owned()), password: Some("p@:/ß%".to_owned()) };
        let url =
            format!("redis+sentinel://{}one:1,two/main?sentinel_password=x", userinfo(&login));
        let endpoint = Endpoint::parse(&url);
        assert_eq!(endpoint.addresses, ["one:1", "two:26379"]);
        assert_eq!(endpoint.login.user, login.user);
        assert_eq!(endpoint.login.password, login.password);
        let Kind::Sentinel { primary, login } = endpoint.kind else { panic!("{url}") };
        assert_eq!(primary, "main");
        assert_eq!((login.user, login.password), (None, Some("x".to_owned())));
    }
}
