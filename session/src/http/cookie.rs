//! The cookie: what comes in, and what goes out.

use http::{HeaderMap, HeaderValue, header};
use standfast_core::{Error, ErrorKind, Result};

use super::config::{SameSite, SessionLayerConfig};
use crate::token::SessionToken;

/// A cookie value of ours has exactly so many bytes; nothing longer is even looked at.
const LENGTH: usize = 65;

/// What the cookies of a request say.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) token: Option<SessionToken>,
    /// Values under our name that are none of ours.
    pub(super) malformed: usize,
    /// Well-formed values under our name: more than one is somebody's doing.
    pub(super) candidates: usize,
}

#[derive(Debug)]
pub(super) struct Cookie {
    name: String,
    attributes: String,
}

impl Cookie {
    /// The cookie of an application that browsers see under `public_url`.
    pub(super) fn new(public_url: &str, config: &SessionLayerConfig) -> Result<(Self, bool)> {
        let is_secure = match public_url.split_once("://") {
            Some(("https", host)) if !host.is_empty() => true,
            Some(("http", host)) if !host.is_empty() => false,
            _ => {
                return Err(Error::new(ErrorKind::Invalid, "session", "layer")
                    .with_detail("a public URL begins with https:// or http://"));
            }
        };
        config.validate(is_secure)?;
        let prefix = if is_secure { "__Host-" } else { "" };
        let same_site = match config.same_site {
            SameSite::Lax => "Lax",
            SameSite::None => "None",
            SameSite::Strict => "Strict",
        };
        let secure = if is_secure { "; Secure" } else { "" };
        let attributes = format!("; Path=/; HttpOnly; SameSite={same_site}{secure}");
        Ok((Self { name: format!("{prefix}{}", config.cookie), attributes }, is_secure))
    }

    /// Whether anything is under our name, before anything is parsed.
    pub(super) fn read(&self, headers: &HeaderMap) -> Presented {
        let mut presented = Presented { token: None, malformed: 0, candidates: 0 };
        // bytes, not text: somebody else's cookie may be anything
        for header in headers.get_all(header::COOKIE) {
            for pair in header.as_bytes().split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                let Some(value) = pair
                    .strip_prefix(self.name.as_bytes())
                    .and_then(|rest| rest.strip_prefix(b"="))
                else {
                    continue;
                };
                let token = Some(value)
                    .filter(|value| value.len() == LENGTH)
                    .and_then(|value| std::str::from_utf8(value).ok())
                    .and_then(|value| value.parse().ok());
                match token {
                    None => presented.malformed += 1,
                    Some(token) => {
                        presented.candidates += 1;
                        presented.token.get_or_insert(token);
                    }
                }
            }
        }
        presented
    }

    /// The header that hands out the secret of `token`, for `seconds` or as long as the browser
    /// runs. It is marked as sensitive, which keeps it out of logs.
    pub(super) fn set(&self, token: &SessionToken, seconds: Option<u64>) -> HeaderValue {
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        self.header(&format!("{}={}{}{age}", self.name, token.expose(), self.attributes))
    }

    /// The header that takes the cookie away.
    pub(super) fn remove(&self) -> HeaderValue {
        self.header(&format!("{}={}; Max-Age=0", self.name, self.attributes))
    }

    fn header(&self, value: &str) -> HeaderValue {
        // invariant: names are checked, tokens are hexadecimal, the rest is written here
        let mut value = HeaderValue::from_str(value).expect("a cookie of plain characters");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Noise, rounds};

    fn cookie(url: &str) -> Cookie {
        Cookie::new(url, &SessionLayerConfig::default()).unwrap().0
    }

    fn read(cookie: &Cookie, value: &[u8]) -> Presented {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_bytes(value).unwrap());
        cookie.read(&headers)
    }

    #[test]
    fn the_public_url_decides() {
        let token = SessionToken::random();
        let value = |url| cookie(url).set(&token, None).to_str().unwrap().to_owned();
        let secret = token.expose();
        assert_eq!(
            value("https://a.example"),
            format!("__Host-id={secret}; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
        assert_eq!(
            value("http://a.example"),
            format!("id={secret}; Path=/; HttpOnly; SameSite=Lax")
        );
        for wrong in ["", "a.example", "ftp://a", "https://", "HTTPS://a"] {
            assert!(Cookie::new(wrong, &SessionLayerConfig::default()).is_err(), "{wrong}");
        }
        let config = SessionLayerConfig { same_site: SameSite::None, ..Default::default() };
        assert!(Cookie::new("http://a", &config).is_err());
        assert!(Cookie::new("https://a", &config).is_ok());
        let config = SessionLayerConfig { cookie: "a;b".into(), ..Default::default() };
        assert!(Cookie::new("https://a", &config).is_err());
    }

    #[test]
    fn ours_is_found_among_others_and_others_are_not_ours() {
        let (cookie, token) = (cookie("http://a"), SessionToken::random());
        let secret = token.expose();
        for value in [
            format!("id={secret}"),
            format!("a=b; id={secret};c=d"),
            format!("a=\u{e9}; id={secret}"),
            format!(" id={secret} "),
        ] {
            let presented = read(&cookie, value.as_bytes());
            assert_eq!(presented.token.unwrap().session(), token.session(), "{value}");
        }
        for (value, malformed) in [
            ("".to_owned(), 0),
            (format!("xid={secret}; ID={secret}; id"), 0),
            (format!("id={}", &secret[1..]), 1),
            (format!("id={secret}0"), 1),
            (format!("id={}", "a".repeat(100_000)), 1),
            (format!("id={}", "é".repeat(32) + "x"), 1),
            (format!("id={}", secret.replace('.', "-")), 1),
            (format!("id=\"{secret}\""), 1),
            ("id=".to_owned(), 1),
        ] {
            let presented = read(&cookie, value.as_bytes());
            assert!(presented.token.is_none());
            assert_eq!(presented.malformed, malformed, "{value}");
        }
        let two = format!("id={secret}; id={}", SessionToken::random().expose());
        let presented = read(&cookie, two.as_bytes());
        assert_eq!((presented.candidates, presented.token.unwrap().expose()), (2, secret));
    }

    #[test]
    fn whatever_bytes_come_reading_them_ends() {
        let cookie = cookie("http://a");
        let mut noise = Noise::new(3);
        let mut noise = move |most| noise.below(most);
        let good = format!("id={}", SessionToken::random().expose()).into_bytes();
        let (mut found, mut not) = (0, 0);
        for _ in rounds(100_000) {
            let mut value = good.clone();
            for _ in 0..noise(4) {
                let at = noise(value.len() as u64) as usize;
                match noise(4) {
                    0 => value[at] = noise(256) as u8,
                    1 => drop(value.remove(at)),
                    2 => value.insert(at, b"; =id.0f"[noise(8) as usize]),
                    // so much is left that the other changes cannot empty it
                    _ => value.truncate(at.max(4)),
                }
            }
            let Ok(header) = HeaderValue::from_bytes(&value) else { continue };
            let headers = HeaderMap::from_iter([(header::COOKIE, header)]);
            match cookie.read(&headers).token {
                Some(token) => {
                    // nothing is taken that is not written in it
                    let secret = token.expose().into_bytes();
                    assert!(value.windows(LENGTH).any(|part| part == secret));
                    found += 1;
                }
                None => not += 1,
            }
        }
        let all: u64 = found + not;
        println!("{all} headers, {found} of them with a cookie of ours");
        assert!(found > all / 10 && not > all / 10, "both happen: {found} and {not}");
    }
}
