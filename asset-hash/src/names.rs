//! Paths as they enter the digest, and which of them cannot stand side by side.

use std::collections::HashMap;
use std::ffi::OsStr;

use standfast_core::{ErrorKind, Reason, Result};
use unicode_normalization::UnicodeNormalization;

use crate::failed;

/// What an object store leaves for the path behind `<id>/`.
pub(crate) const LONGEST: usize = 896 - 41;

/// The most bytes of one name, on most file systems and in an object store.
const LONGEST_NAME: usize = 255;

/// One name of a path, in NFC. Systems differ in how they spell an accented letter.
pub(crate) fn normalize(parent: &str, name: &OsStr) -> Result<String> {
    let refused = |why: &str| {
        let detail = format!("{:?} below {parent:?} {why}", name.to_string_lossy());
        failed(ErrorKind::Invalid, "asset-hash.walk", detail).with_reason(Reason::InvalidName)
    };
    let text = name.to_str().ok_or_else(|| refused("is not UTF-8"))?;
    if text.contains(|c: char| c.is_control() || c == '\\') {
        return Err(refused("has a control character or a backslash"));
    }
    let mut path = String::with_capacity(parent.len() + 1 + text.len());
    if !parent.is_empty() {
        path.push_str(parent);
        path.push('/');
    }
    let before = path.len();
    if text.is_ascii() {
        path.push_str(text);
    } else {
        path.extend(text.nfc());
    }
    if path.len() > LONGEST || path.len() - before > LONGEST_NAME {
        return Err(refused("is too deep or too long to be published"));
    }
    Ok(path)
}

/// Whether this is a path that a walk can have made. One that comes from elsewhere is written to
/// disks and requested from servers.
pub(crate) fn is_path(path: &str) -> bool {
    let mut whole = String::new();
    for name in path.split('/') {
        if matches!(name, "" | "." | "..") {
            return false;
        }
        let Ok(next) = normalize(&whole, name.as_ref()) else { return false };
        whole = next;
    }
    whole == path
}

/// Refuses sets in which two files would be one elsewhere: equal in NFC, equal but for case, or
/// one the directory of the other. Quick where neighbours share their directory.
pub(crate) fn check_collisions<'a>(
    paths: impl IntoIterator<Item = &'a str>,
    allows_case: bool,
) -> Result<()> {
    let all: Vec<&str> = paths.into_iter().collect();
    // most trees have no names that could meet others: then their order finds what a map would
    let is_plain = |path: &&str| path.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    if all.is_sorted_by(|a, b| a < b) && (allows_case || all.iter().all(is_plain)) {
        return check_directories(&all, |directory| {
            all.binary_search(&directory).ok().map(|at| all[at])
        });
    }
    let key = |path: &str| if allows_case { path.to_owned() } else { fold(path) };
    let mut files: HashMap<String, &str> = HashMap::new();
    for path in &all {
        if let Some(other) = files.insert(key(path), path) {
            return Err(collision(other, path));
        }
    }
    check_directories(&all, |directory| files.get(&key(directory)).copied())
}

/// Refuses paths one of whose directories is a file, which `find` looks for.
fn check_directories<'a>(paths: &[&'a str], find: impl Fn(&str) -> Option<&'a str>) -> Result<()> {
    let mut checked = "";
    for path in paths {
        let directory = path.rfind('/').map_or("", |end| &path[..=end]);
        if directory == checked {
            continue;
        }
        checked = directory;
        for (end, _) in directory.match_indices('/') {
            if let Some(file) = find(&path[..end]) {
                return Err(collision(file, path));
            }
        }
    }
    Ok(())
}

/// The path without case, as file systems that ignore it compare: by way of upper case, so that
/// letters which have several lower-case forms meet.
fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    path.to_uppercase().to_lowercase().nfc().collect()
}

fn collision(one: &str, other: &str) -> standfast_core::Error {
    failed(ErrorKind::Invalid, "asset-hash.walk", format!("{one:?} and {other:?} collide"))
        .with_reason(Reason::InvalidName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_meet_elsewhere_collide() {
        for (paths, collides, collides_with_case) in [
            (&["a", "b"][..], false, false),
            (&["a", "a"], true, true),
            (&["a", "A"], false, true),
            (&["dir/a", "DIR/b"], false, false),
            (&["dir/a", "DIR/A"], false, true),
            (&["stra\u{df}e", "STRASSE"], false, true),
            (&["\u{3c3}", "\u{3c2}"], false, true),
            (&["a", "a/b"], true, true),
            (&["a", "a-b", "a/b"], true, true),
            (&["A", "a/b"], false, true),
            (&["ab", "a/b"], false, false),
        ] {
            let check = |allows| check_collisions(paths.iter().copied(), allows).is_err();
            assert_eq!((check(true), check(false)), (collides, collides_with_case), "{paths:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_published_are_refused() {
        let long = "x".repeat(LONGEST_NAME);
        let deep = "y/".repeat(LONGEST / 2);
        let deep = deep.trim_end_matches('/');
        assert_eq!(normalize("a", OsStr::new("e\u{301}")).unwrap(), "a/\u{e9}");
        assert_eq!(normalize("", OsStr::new(&long)).unwrap(), long);
        assert_eq!(normalize(&deep[2..], OsStr::new("y")).unwrap().len(), LONGEST - 2);
        assert!(normalize(deep, OsStr::new("yy")).is_err());
        // in NFC this one is three times as long
        let grows = "\u{1d160}".repeat(LONGEST_NAME / 4);
        for wrong in ["a\nb", "a\\b", "\u{7f}", "\u{85}", &format!("{long}x"), &grows] {
            let error = normalize("", OsStr::new(wrong)).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::InvalidName), "{wrong:?}");
        }
    }
}
