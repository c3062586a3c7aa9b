use std::ffi::{OsStr, OsString};
use std::fmt;

/// Where something is kept, as it was given: a URL or a path. There may be a password in it, so
/// `Debug` shows its scheme alone and nothing displays it.
#[derive(Clone, Eq, PartialEq)]
pub struct Place(OsString);

impl Place {
    /// In this process.
    pub fn memory() -> Self {
        Self("memory:".into())
    }

    /// What stands before the first `:`, if that can be a scheme; the word `memory` is one, too.
    pub fn scheme(&self) -> Option<&str> {
        let text = self.text()?;
        if text == "memory" {
            return Some(text);
        }
        let (scheme, _) = text.split_once(':')?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        scheme.bytes().all(allowed).then_some(scheme)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// All of it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl<T: Into<OsString>> From<T> for Place {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}…)", self.scheme().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_tells_urls_from_paths() {
        for (text, scheme) in [
            ("memory", Some("memory")),
            ("memory:", Some("memory")),
            ("redis+cluster://a,b", Some("redis+cluster")),
            ("file:///srv", Some("file")),
            ("/srv/a:b", None),
            ("./memory", None),
            ("srv", None),
        ] {
            assert_eq!(Place::from(text).scheme(), scheme, "{text}");
        }
    }
}
