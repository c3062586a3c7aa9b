use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use standfast_core::{ErrorKind, Reason, Result};

use crate::digest::Digest;
use crate::manifest::{AssetFile, Manifest};
use crate::walk::io_error;
use crate::{failed, names};

/// A set of assets that is here: its manifest, and where the bytes of its files are.
///
/// It is what [`AssetTree::read`](crate::AssetTree::read) gives, or is embedded in the program:
///
/// ```
/// use standfast_asset_hash::LocalSet;
///
/// // in an application: ("site.css", include_bytes!("../assets/site.css"))
/// let set = LocalSet::embedded(&[("site.css", b"body {}"), ("js/app.js", b"run()")])?;
/// assert_eq!(set.manifest().files().len(), 2);
/// assert_eq!(set.bytes("js/app.js")?, b"run()");
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct LocalSet {
    manifest: Manifest,
    sources: Sources,
}

#[derive(Clone)]
enum Sources {
    Embedded(Vec<&'static [u8]>),
    Files(Vec<PathBuf>),
}

/// Where the bytes of a file are.
#[cfg(any(feature = "blobstore", feature = "tower"))]
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Embedded(&'static [u8]),
    File(PathBuf),
}

impl LocalSet {
    pub(crate) fn of_files(manifest: Manifest, files: Vec<PathBuf>) -> Self {
        Self { manifest, sources: Sources::Files(files) }
    }

    /// The set of these paths and contents. The order does not matter.
    ///
    /// # Errors
    ///
    /// `Invalid` with [`Reason::InvalidName`] for what a directory could not have either: paths that
    /// are not relative or not in NFC, control characters, two of one name.
    pub fn embedded(files: &[(&str, &'static [u8])]) -> Result<Self> {
        let mut files = files.to_vec();
        files.sort_unstable_by_key(|(path, _)| *path);
        if let Some((path, _)) = files.iter().find(|(path, _)| !names::is_path(path)) {
            let detail = format!("{path:?} is no path of a set");
            return Err(failed(ErrorKind::Invalid, "asset-hash.embed", detail)
                .with_reason(Reason::InvalidName));
        }
        names::check_collisions(files.iter().map(|(path, _)| *path), false)?;
        let entry = |(path, bytes): &(&str, &[u8])| AssetFile {
            path: (*path).to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
        };
        let manifest = Manifest::of_sorted(files.iter().map(entry).collect());
        let sources = Sources::Embedded(files.into_iter().map(|(_, bytes)| bytes).collect());
        Ok(Self { manifest, sources })
    }

    /// What is in the set.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is in the set, without where it is.
    pub fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// The bytes of the file of this path, as they are now. Blocks where they are in a file.
    ///
    /// # Errors
    ///
    /// `NotFound` for a path that is not in the set; what reading the file met.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let missing = || failed(ErrorKind::NotFound, "asset-hash.read", format!("{path:?}"));
        let at = self.manifest.index(path).ok_or_else(missing)?;
        match &self.sources {
            Sources::Embedded(all) => Ok(all[at].to_vec()),
            Sources::Files(all) => fs::read(&all[at]).map_err(|error| io_error(&all[at], error)),
        }
    }

    /// Where the file of this path is, unless it is embedded.
    pub fn file(&self, path: &str) -> Option<&Path> {
        let at = self.manifest.index(path)?;
        match &self.sources {
            Sources::Embedded(_) => None,
            Sources::Files(all) => Some(&all[at]),
        }
    }

    #[cfg(any(feature = "blobstore", feature = "tower"))]
    pub(crate) fn source(&self, path: &str) -> Option<Source> {
        let at = self.manifest.index(path)?;
        Some(match &self.sources {
            Sources::Embedded(all) => Source::Embedded(all[at]),
            Sources::Files(all) => Source::File(all[at].clone()),
        })
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet")
            .field("id", &self.manifest.id())
            .field("files", &self.manifest.files().len())
            .finish_non_exhaustive()
    }
}
