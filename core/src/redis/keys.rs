use std::fmt;

use crate::{Error, ErrorKind, Reason, Result};

use super::error::BACKEND;

/// The longest name of a logical object.
const MAX_NAME: usize = 80;

/// The names of all keys of one logical object: `standfast:1:<area>:{<name>}:<part>`.
///
/// The braces are a hash tag, so that all parts live in one slot and a script may touch them
/// together, on Cluster too. The `1` is the version of the layout.
///
/// ```
/// use standfast_core::redis::{KeySpace, slot};
///
/// let keys = KeySpace::new("queue", "mail").unwrap();
/// assert_eq!(keys.key("ready"), "standfast:1:queue:{mail}:ready");
/// assert_eq!(slot(&keys.key("ready")), slot(&keys.key("leased")));
/// assert!(KeySpace::new("queue", "two words").is_err());
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct KeySpace {
    prefix: String,
    name: std::ops::Range<usize>,
}

impl KeySpace {
    /// The keys of `name` in `area`.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`] unless `name` is 1 to 80 of `A-Z a-z 0-9 . _ -`.
    pub fn new(area: &'static str, name: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::Invalid, BACKEND, area)
                .with_reason(Reason::InvalidName)
                .with_detail(format!("a name is 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -")));
        }
        let mut prefix = format!("standfast:1:{area}:{{");
        let start = prefix.len();
        prefix.push_str(name);
        prefix.push_str("}:");
        Ok(Self { prefix, name: start..start + name.len() })
    }

    /// The key of `part`.
    pub fn key(&self, part: &str) -> String {
        let mut key = String::with_capacity(self.prefix.len() + part.len());
        key.push_str(&self.prefix);
        key.push_str(part);
        key
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        &self.prefix[self.name.clone()]
    }
}

impl fmt::Debug for KeySpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySpace").field(&self.prefix).finish()
    }
}

/// The Cluster slot of `key`: CRC16 of its hash tag, or of all of it, modulo 16,384.
///
/// ```
/// use standfast_core::redis::slot;
///
/// assert_eq!(slot("foo"), 12182);   // as `CLUSTER KEYSLOT foo` says
/// assert_eq!(slot("{user}:a"), slot("{user}:b"));
/// ```
pub fn slot(key: &str) -> u16 {
    crc16(hash_tag(key).as_bytes()) % 16384
}

/// What is hashed: the text between the first `{` and the next `}`, unless that is empty.
pub(super) fn hash_tag(key: &str) -> &str {
    key.split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// CRC16/XMODEM, polynomial 0x1021.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn only_a_first_tag_that_is_not_empty_counts() {
        assert_eq!(hash_tag("a{b}c{d}"), "b");
        assert_eq!(hash_tag("foo{}{bar}"), "foo{}{bar}");
        assert_eq!(hash_tag("foo{{bar}}zap"), "{bar");
        assert_eq!(hash_tag("open{end"), "open{end");
    }

    #[test]
    fn names_have_bounds() {
        for bad in ["", "a b", "ä", "a{b}", "a:b", &"x".repeat(MAX_NAME + 1)] {
            let error = KeySpace::new("queue", bad).unwrap_err();
            assert_eq!(
                (error.kind(), error.reason()),
                (ErrorKind::Invalid, Some(Reason::InvalidName))
            );
        }
        let longest = "x".repeat(MAX_NAME);
        assert_eq!(KeySpace::new("queue", &longest).unwrap().name(), longest);
    }
}
