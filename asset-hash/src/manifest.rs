use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::{Error, ErrorKind, Reason, Result};

use crate::digest::{AssetId, Digest};
use crate::{failed, names};

/// One file of a set.
///
/// ```
/// use standfast_asset_hash::{Digest, Rules, hash_tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("site.css"), "body {}")?;
/// let manifest = hash_tree(root.path(), &Rules::new())?;
/// let file = manifest.file("site.css").unwrap();
/// assert_eq!((file.size, file.sha256), (7, Digest::of(b"body {}")));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AssetFile {
    /// Relative, `/` between names, NFC.
    pub path: String,
    /// How many bytes it has.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Digest,
}

/// A set of assets: what is in it, and the digest and id that follow from that.
///
/// ```
/// use standfast_asset_hash::{Manifest, Rules, hash_tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("a.js"), "1")?;
/// let manifest = hash_tree(root.path(), &Rules::new())?;
/// let stored = manifest.to_json();
/// assert_eq!(Manifest::from_json(stored.as_bytes())?, manifest);
/// // what was tampered with is refused
/// assert!(Manifest::from_json(stored.replace("a.js", "b.js").as_bytes()).is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    files: Vec<AssetFile>,
    digest: Digest,
}

/// The stored form. Fields are written in this order, without white space.
#[derive(Deserialize, Serialize)]
struct Stored {
    v: u32,
    algorithm: String,
    digest: Digest,
    files: Vec<AssetFile>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Manifest {
    pub(crate) fn of_sorted(files: Vec<AssetFile>) -> Self {
        let digest = Digest::of_set(&files);
        Self { files, digest }
    }

    /// The files, in the order of their paths' bytes.
    pub fn files(&self) -> &[AssetFile] {
        &self.files
    }

    /// The digest of the whole set.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What names the set in URLs and object names.
    pub fn id(&self) -> AssetId {
        self.digest.id()
    }

    /// How many bytes all files have together.
    pub fn total_size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The file of this path.
    pub fn file(&self, path: &str) -> Option<&AssetFile> {
        self.files.get(self.index(path)?)
    }

    /// Where in the list the file of this path is.
    pub(crate) fn index(&self, path: &str) -> Option<usize> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()
    }

    /// The manifest as JSON in its one canonical form: the same set is the same bytes.
    pub fn to_json(&self) -> String {
        let stored = Stored {
            v: VERSION,
            algorithm: ALGORITHM.to_owned(),
            digest: self.digest,
            files: self.files.clone(),
        };
        // invariant: strings and numbers always encode
        serde_json::to_string(&stored).expect("a manifest is JSON")
    }

    /// Reads a manifest and computes its digest anew.
    ///
    /// # Errors
    ///
    /// `Corrupt` for what is no manifest, `Checksum` when the digest is not that of the files,
    /// `Unsupported` with [`Reason::NewerVersion`] for what a newer release wrote.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let corrupt = |error: serde_json::Error| refused("no manifest").with_source(error);
        let Version { v } = serde_json::from_slice(json).map_err(corrupt)?;
        if v > VERSION {
            let detail = format!("manifest of version {v}, at most {VERSION}");
            return Err(
                failed(ErrorKind::Unsupported, READ, detail).with_reason(Reason::NewerVersion)
            );
        }
        let stored: Stored = serde_json::from_slice(json).map_err(corrupt)?;
        if v != VERSION || stored.algorithm != ALGORITHM {
            return Err(refused("no manifest of this algorithm"));
        }
        if !stored.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(refused("the paths are not in order, or not unique"));
        }
        if let Some(file) = stored.files.iter().find(|file| !names::is_path(&file.path)) {
            return Err(refused(format!("path {:?}", file.path)));
        }
        let manifest = Self::of_sorted(stored.files);
        if manifest.digest != stored.digest {
            return Err(failed(ErrorKind::Checksum, READ, "the digest is not that of the files"));
        }
        Ok(manifest)
    }

    /// What another set has that this one has not, and the other way round.
    ///
    /// ```
    /// use standfast_asset_hash::{Rules, hash_tree};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let root = tempfile::tempdir()?;
    /// let before = hash_tree(root.path(), &Rules::new())?;
    /// std::fs::write(root.path().join("a.js"), "1")?;
    /// let after = hash_tree(root.path(), &Rules::new())?;
    /// assert_eq!(before.diff(&after).added, ["a.js"]);
    /// # Ok(()) }
    /// ```
    pub fn diff(&self, newer: &Self) -> Diff {
        let digests = |manifest: &Self| -> BTreeMap<String, Digest> {
            manifest.files.iter().map(|file| (file.path.clone(), file.sha256)).collect()
        };
        let (mut old, mut diff) = (digests(self), Diff::default());
        for (path, digest) in digests(newer) {
            match old.remove(&path) {
                None => diff.added.push(path),
                Some(before) if before != digest => diff.changed.push(path),
                Some(_) => {}
            }
        }
        diff.removed = old.into_keys().collect();
        diff
    }
}

/// How two sets differ, by path.
///
/// ```
/// use standfast_asset_hash::{Rules, hash_tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("a.js"), "1")?;
/// let before = hash_tree(root.path(), &Rules::new())?;
/// std::fs::write(root.path().join("a.js"), "2")?;
/// let diff = before.diff(&hash_tree(root.path(), &Rules::new())?);
/// assert_eq!(diff.changed, ["a.js"]);
/// assert!(diff.added.is_empty() && diff.removed.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// Only in the newer one.
    pub added: Vec<String>,
    /// In both, with other contents.
    pub changed: Vec<String>,
    /// Only in the older one.
    pub removed: Vec<String>,
}

impl Diff {
    /// Whether the sets are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

fn refused(detail: impl Into<String>) -> Error {
    failed(ErrorKind::Corrupt, READ, detail)
}

const VERSION: u32 = 1;
const ALGORITHM: &str = "ah1";
const READ: &str = "manifest.read";

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(paths: &[&str]) -> String {
        let file =
            |path: &&str| AssetFile { path: (*path).to_owned(), size: 0, sha256: Digest::of(b"") };
        Manifest::of_sorted(paths.iter().map(file).collect()).to_json()
    }

    #[test]
    fn what_no_walk_can_have_made_is_corrupt() {
        assert!(Manifest::from_json(stored(&["a", "a/b", "b"]).as_bytes()).is_ok());
        for paths in [
            &["b", "a"][..],
            &["a", "a"],
            &["../a"],
            &["/a"],
            &["a//b"],
            &["a/./b"],
            &["a\\b"],
            &[""],
            &["e\u{301}"],
        ] {
            let error = Manifest::from_json(stored(paths).as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{paths:?}");
        }
        assert_eq!(Manifest::from_json(b"{}").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_newer_manifest_is_told_from_a_broken_one() {
        let error = Manifest::from_json(br#"{"v":2,"anything":true}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.reason(), Some(Reason::NewerVersion));
    }

    #[test]
    fn a_digest_of_other_files_is_a_checksum_error() {
        let json = stored(&["a"]).replace("\"size\":0", "\"size\":1");
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap_err().kind(), ErrorKind::Checksum);
    }
}
