//! Keys in ascending order, one directory at a time.
//!
//! Below one directory, the bytes of keys and the bytes of names sort alike once every directory's
//! name has its slash, because no name that a key has begins with another directory's. A directory
//! is read whole but only its next few hundred names are kept, so memory stays bounded however
//! many blobs there are; a directory of many more names is read again for the next few hundred.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use chrono::{DateTime, Utc};
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use standfast_core::{Error, Result};

use super::name::Name;
use super::root::Root;
use super::{attr, error};
use crate::key::BlobKey;
use crate::meta::BlobMeta;

/// How many names of a directory are kept.
const KEPT: usize = 2048;

/// A walk through the keys that begin with a prefix.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    root: &'a Root,
    prefix: &'a [u8],
    stack: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    dir: OwnedFd,
    /// What all keys in the directory begin with.
    base: Vec<u8>,
    /// The next names, by the bytes of the keys they stand for.
    ready: std::collections::btree_map::IntoIter<Vec<u8>, Entry>,
    /// Where to read on when they are used up, unless the directory has no more.
    more: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    name: Vec<u8>,
    leaf: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Root, prefix: &'a [u8]) -> io::Result<Self> {
        let dir = root.open_at(b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let first = Frame {
            dir,
            base: Vec::new(),
            ready: BTreeMap::new().into_iter(),
            more: Some(Vec::new()),
        };
        Ok(Self { root, prefix, stack: vec![first] })
    }

    /// The first key not below `lower`, which must not descend from call to call, with its file.
    pub(super) fn next(&mut self, lower: &[u8]) -> Result<Option<(BlobKey, File)>> {
        let failed = |error: io::Error| error::io("blob.list", error);
        while let Some(frame) = self.stack.last_mut() {
            let Some((key, entry)) = frame.ready.next() else {
                match frame.more.take() {
                    Some(from) => {
                        let folded = self.root.folded;
                        frame
                            .read(from.max(lower.to_vec()), self.prefix, folded)
                            .map_err(failed)?;
                    }
                    None => drop(self.stack.pop()),
                }
                continue;
            };
            if !is_wanted(&key, entry.leaf, lower, self.prefix) {
                continue;
            }
            let kind = if entry.leaf { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | kind;
            let opened = match openat(&frame.dir, &entry.name[..], flags, Mode::empty()) {
                // Deleted meanwhile, or nothing that this store made.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => continue,
                opened => opened.map_err(|errno| failed(errno.into()))?,
            };
            if entry.leaf {
                if let Some(key) = String::from_utf8(key).ok().and_then(|k| BlobKey::new(k).ok()) {
                    return Ok(Some((key, File::from(opened))));
                }
                continue;
            }
            self.stack.push(Frame {
                dir: opened,
                base: key,
                ready: BTreeMap::new().into_iter(),
                more: Some(Vec::new()),
            });
        }
        Ok(None)
    }

    /// The first live blob not below `lower`. What has no attributes of ours is no blob: it is
    /// logged and skipped.
    pub(super) fn next_live(
        &mut self,
        lower: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<BlobMeta>> {
        let mut lower = lower.to_vec();
        while let Some((key, file)) = self.next(&lower)? {
            match load(&file, &key) {
                Ok(meta) if meta.is_live(now) => return Ok(Some(meta)),
                Ok(_) => {}
                Err(error) => skipped(&key, &error),
            }
            lower = key.as_str().as_bytes().to_vec();
            lower.push(0);
        }
        Ok(None)
    }
}

/// What is known of the blob under `key` that a walk found.
pub(super) fn load(file: &File, key: &BlobKey) -> Result<BlobMeta> {
    let stat = file.metadata().map_err(|error| error::io("blob.list", error))?;
    attr::load(file, key, stat.len())
}

pub(super) fn skipped(key: &BlobKey, error: &Error) {
    tracing::warn!(%key, %error, "left out of the listing");
}

impl Frame {
    /// Keeps the first names that may hold keys from `from` on.
    fn read(&mut self, from: Vec<u8>, prefix: &[u8], folded: bool) -> io::Result<()> {
        let mut kept = BTreeMap::new();
        let mut dropped = false;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || (self.base.is_empty() && name == RESERVED) {
                continue;
            }
            let (rest, leaf) = match Name::parse(name, folded) {
                Some(Name::Leaf(rest)) => (rest, true),
                Some(Name::Directory(rest) | Name::More(rest)) => (rest, false),
                None => continue,
            };
            let key = [&self.base[..], &rest].concat();
            if !is_wanted(&key, leaf, &from, prefix) {
                continue;
            }
            kept.insert(key, Entry { name: name.to_vec(), leaf });
            if kept.len() > KEPT {
                kept.pop_last();
                dropped = true;
            }
        }
        self.more = kept.last_key_value().filter(|_| dropped).map(|(last, entry)| {
            // Behind a file the next key is the one with one byte more; behind a directory it is
            // the first that does not begin with the directory's name.
            let mut next = last.clone();
            match next.last_mut() {
                Some(byte) if !entry.leaf => *byte += 1,
                _ => next.push(0),
            }
            next
        });
        self.ready = kept.into_iter();
        Ok(())
    }
}

const RESERVED: &[u8] = BlobKey::RESERVED.as_bytes();

/// Whether a file with this key, or a directory whose keys all begin so, has a key from `lower` on
/// that begins with `prefix`.
fn is_wanted(key: &[u8], leaf: bool, lower: &[u8], prefix: &[u8]) -> bool {
    if leaf {
        return key >= lower && key.starts_with(prefix);
    }
    (key >= lower || lower.starts_with(key)) && (key.starts_with(prefix) || prefix.starts_with(key))
}
