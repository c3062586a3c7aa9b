//! Finding the files of a tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use standfast_core::{Error, ErrorKind, Result};

use crate::rules::{Rules, Symlinks};
use crate::{failed, names};

/// A file that belongs to the set, not yet read.
#[derive(Debug)]
pub(crate) struct Found {
    /// Relative, `/` between names, NFC.
    pub(crate) path: String,
    /// Where it is.
    pub(crate) file: PathBuf,
    /// How large it was when it was found; decides only who reads what first.
    pub(crate) size: u64,
}

/// The directories on the way from the root, without links, so that a cycle is noticed.
struct Way {
    real: PathBuf,
    from: Option<Rc<Self>>,
}

impl Way {
    fn passes(&self, real: &Path) -> bool {
        self.real == real || self.from.as_ref().is_some_and(|from| from.passes(real))
    }
}

/// All files of the tree that the rules take, in the order of their paths.
pub(crate) fn walk(root: &Path, rules: &Rules) -> Result<Vec<Found>> {
    let real_root = root.canonicalize().map_err(|error| io_error(root, error))?;
    if !real_root.is_dir() {
        return Err(invalid(root, "is no directory"));
    }
    let start = Way { real: real_root.clone(), from: None };
    let mut open = vec![(String::new(), Rc::new(start))];
    let mut found = Vec::new();
    while let Some((parent, way)) = open.pop() {
        for entry in fs::read_dir(&way.real).map_err(|error| io_error(&way.real, error))? {
            let entry = entry.map_err(|error| io_error(&way.real, error))?;
            // left out before it is looked at: an excluded name may be anything
            let lossy = entry.file_name();
            if let Some(name) = lossy.to_str()
                && names::normalize(&parent, name.as_ref()).is_ok_and(|path| rules.excludes(&path))
            {
                continue;
            }
            let path = names::normalize(&parent, &lossy)?;
            let mut file = entry.path();
            let mut kind = entry.file_type().map_err(|error| io_error(&file, error))?;
            if kind.is_symlink() {
                file = resolve(&file, &real_root, rules)?;
                kind = fs::metadata(&file).map_err(|error| io_error(&file, error))?.file_type();
            }
            if kind.is_dir() {
                if way.passes(&file) {
                    return Err(invalid(&entry.path(), "is a link in a cycle"));
                }
                let below = Way { real: file, from: Some(Rc::clone(&way)) };
                open.push((path, Rc::new(below)));
            } else if !kind.is_file() {
                return Err(invalid(&file, "is neither a file nor a directory"));
            } else if rules.includes(&path) {
                let size = fs::metadata(&file).map_err(|error| io_error(&file, error))?.len();
                found.push(Found { path, file, size });
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    names::check_collisions(found.iter().map(|f| &*f.path), rules.allows_case_collisions)?;
    Ok(found)
}

fn resolve(link: &Path, real_root: &Path, rules: &Rules) -> Result<PathBuf> {
    if rules.symlinks == Symlinks::Reject {
        return Err(invalid(link, "is a symbolic link"));
    }
    let real = link.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => io_error(link, error),
        _ => invalid(link, "is a link that leads nowhere").with_source(error),
    })?;
    if !real.starts_with(real_root) {
        return Err(invalid(link, "is a link out of the root"));
    }
    Ok(real)
}

fn invalid(path: &Path, why: &str) -> Error {
    failed(ErrorKind::Invalid, "asset-hash.walk", format!("{} {why}", path.display()))
}

pub(crate) fn io_error(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    failed(kind, "asset-hash.read", format!("{}: {error}", path.display())).with_source(error)
}
