//! Where a key lies below the root.
//!
//! One segment is one name. A directory's name ends in `%`, which no other name does, so that `a`
//! and `a/b` lie side by side. `%` itself is written `%25`; on a file system that folds case or
//! normalises text, upper case and everything outside ASCII is written so too. A name that would
//! reach 240 bytes goes on in a directory whose name ends in `%+`: all names that share those
//! first bytes lie in it, none beside it, which keeps the order of keys within reach of a walk
//! that sorts one directory at a time. The empty rest of such a name is `%=`.

use crate::key::BlobKey;

/// From how many bytes on a name goes on in a directory. One more character, fully escaped, and
/// the ending still fit into the 255 bytes that file systems take.
const SPLIT: usize = 240;

/// The path of a key's file below the root.
#[derive(Debug)]
pub(super) struct Place {
    path: Vec<u8>,
    leaf: usize,
}

impl Place {
    pub(super) fn of(key: &BlobKey, folded: bool) -> Self {
        let mut path = Vec::with_capacity(key.as_str().len() + 8);
        let mut leaf = 0;
        let mut segments = key.segments().peekable();
        while let Some(segment) = segments.next() {
            let mut start = path.len();
            for c in segment.chars() {
                escape(c, folded, &mut path);
                if path.len() - start >= SPLIT {
                    path.extend_from_slice(b"%+/");
                    start = path.len();
                }
            }
            if segments.peek().is_some() {
                path.extend_from_slice(b"%/");
            } else {
                if path.len() == start {
                    path.extend_from_slice(b"%=");
                }
                leaf = start;
            }
        }
        Self { path, leaf }
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of its directory: `.` for the root itself.
    pub(super) fn parent(&self) -> &[u8] {
        if self.leaf == 0 { b"." } else { &self.path[..self.leaf - 1] }
    }

    /// Its name in that directory.
    pub(super) fn leaf(&self) -> &[u8] {
        &self.path[self.leaf..]
    }

    /// The directories between the root and the file, the deepest first: the path of each one's
    /// own parent, and its name.
    pub(super) fn directories(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut path = &self.path[..self.leaf.saturating_sub(1)];
        std::iter::from_fn(move || {
            if path.is_empty() {
                return None;
            }
            let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(at) => (&path[..at], &path[at + 1..]),
                None => (&b""[..], path),
            };
            path = parent;
            Some((if parent.is_empty() { b"." } else { parent }, name))
        })
    }
}

/// What a name in a directory stands for: the bytes of a key that it adds.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Name {
    /// A segment, with the slash behind it.
    Directory(Vec<u8>),
    /// The last bytes of a key.
    Leaf(Vec<u8>),
    /// The first bytes of a long segment.
    More(Vec<u8>),
}

impl Name {
    /// What `name` stands for; `None` for a name that [`Place`] gives to no key.
    pub(super) fn parse(name: &[u8], folded: bool) -> Option<Self> {
        if name == b"%=" {
            return Some(Self::Leaf(Vec::new()));
        }
        if let Some(name) = name.strip_suffix(b"%+") {
            return (name.len() >= SPLIT).then(|| unescape(name, folded))?.map(Self::More);
        }
        let (name, directory) = match name.strip_suffix(b"%") {
            Some(name) => (name, true),
            None => (name, false),
        };
        if name.len() >= SPLIT || (name.is_empty() && !directory) {
            return None;
        }
        let mut bytes = unescape(name, folded)?;
        if directory {
            bytes.push(b'/');
            return Some(Self::Directory(bytes));
        }
        Some(Self::Leaf(bytes))
    }
}

fn escape(c: char, folded: bool, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        if byte == b'%' || (folded && (byte.is_ascii_uppercase() || !byte.is_ascii())) {
            let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
            out.push(b'%');
            out.extend_from_slice(&digits.map(|digit| digit));
        } else {
            out.push(byte);
        }
    }
}

/// The bytes that `name` was written from, if it was written by [`escape`].
fn unescape(name: &[u8], folded: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [*bytes.next()?, *bytes.next()?];
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        // invariant: two hexadecimal digits are one byte
        out.push((high? * 16 + low?) as u8);
    }
    let text = std::str::from_utf8(&out).ok()?;
    let mut again = Vec::with_capacity(name.len());
    text.chars().for_each(|c| escape(c, folded, &mut again));
    (again == name).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str, folded: bool) -> String {
        let place = Place::of(&BlobKey::new(key).unwrap(), folded);
        String::from_utf8(place.path().to_vec()).unwrap()
    }

    /// The key that a path stands for, read name by name as a walk does.
    fn key(path: &str, folded: bool) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        for name in path.split('/') {
            match Name::parse(name.as_bytes(), folded)? {
                Name::Directory(more) | Name::Leaf(more) | Name::More(more) => key.extend(more),
            }
        }
        Some(key)
    }

    #[test]
    fn names_stay_readable_where_they_can() {
        assert_eq!(path("r/7.html", false), "r%/7.html");
        assert_eq!(path("R/é%", false), "R%/é%25");
        assert_eq!(path("R/é%", true), "%52%/%C3%A9%25");
    }

    #[test]
    fn every_key_comes_back_from_its_path_and_no_two_share_one() {
        let long = "x".repeat(239);
        let mut keys: Vec<String> =
            ["a", "a/b", "a%", "a%/b", "%", "%=", "%+", "A", "😀/é"].map(String::from).to_vec();
        for more in ["", "y", "yz", "yzzzzzzzzzzzzzz", "y/z", "yz/z", "é", "😀"] {
            keys.push(format!("{long}{more}"));
            keys.push(format!("a/{long}{more}"));
        }
        keys.push("É".repeat(127));
        for folded in [false, true] {
            let mut paths: Vec<_> = keys.iter().map(|key| path(key, folded)).collect();
            for (text, path) in keys.iter().zip(&paths) {
                assert_eq!(key(path, folded).as_deref(), Some(text.as_bytes()), "{path}");
                assert!(path.split('/').all(|name| name.len() <= 255), "{path}");
            }
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), keys.len());
        }
    }

    #[test]
    fn names_that_no_key_has_are_skipped() {
        for (name, folded) in [
            ("", false),
            ("a%2", false),
            ("a%41", false),
            ("a%2f", false),
            ("A", true),
            ("%+", false),
        ] {
            assert_eq!(Name::parse(name.as_bytes(), folded), None, "{name}");
        }
    }

    #[test]
    fn directories_are_named_from_the_deepest_up() {
        let place = Place::of(&BlobKey::new("a/b/c").unwrap(), false);
        let found: Vec<_> = place.directories().collect();
        assert_eq!(found, [(&b"a%"[..], &b"b%"[..]), (b".", b"a%")]);
        assert_eq!((place.parent(), place.leaf()), (&b"a%/b%"[..], &b"c"[..]));
        assert_eq!(Place::of(&BlobKey::new("a").unwrap(), false).parent(), b".");
    }
}
