//! Hashes of the tree as it lies there, as other tools compute them: to check one against another.

mod git;
mod lines;
mod raw;

use standfast_core::{ErrorKind, Result};

use crate::failed;
use crate::tree::AssetTree;

/// A hash that another tool computes of the same directory.
///
/// These follow the rules of their own tool on the tree as it lies there: names byte for byte, no
/// file left out that the tool takes. None of them names a set in a store; the id does.
///
/// ```
/// use standfast_asset_hash::{AssetTree, Format};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("a"), "")?;
/// let tree = AssetTree::new(root.path());
/// assert_eq!(tree.format(Format::GitTree)?, "496d6428b9cf92981dc9495211e6e1120fb6f2ba");
/// assert!(tree.format(Format::H1)?.starts_with("h1:"));
/// assert!(tree.format(Format::Sha256Sum)?.ends_with("  a\n"));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// What `git add --all --force && git write-tree` gives in a new repository with
    /// `core.fileMode=false`, where no attribute converts line ends: links are entries of their
    /// own, `.git` is left out, empty directories do not count.
    GitTree,
    /// Go's `dirhash.HashDir(dir, "", dirhash.Hash1)`, as in `go.sum`: all files, `.git` too; links
    /// count as the files they point to.
    H1,
    /// A list that `sha256sum --check` accepts, run in the root; one line for each file that the
    /// rules take, ascending by the bytes of its name. Links count as the files they point to.
    Sha256Sum,
}

impl AssetTree {
    /// The hash of the raw tree as another tool computes it. Blocks.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read), but names need not be UTF-8 and may collide; `Invalid` for what
    /// the tool refuses, and for rules that choose files where the tool knows none.
    pub fn format(&self, format: Format) -> Result<String> {
        if format != Format::Sha256Sum && self.rules.is_choosy() {
            let detail = "the other tool hashes every file; patterns do not apply";
            return Err(failed(ErrorKind::Invalid, "asset-hash.format", detail));
        }
        let tree = raw::Tree { root: &self.root, rules: &self.rules, progress: &self.progress };
        match format {
            Format::GitTree => git::write_tree(&tree),
            Format::H1 => lines::h1(&tree),
            Format::Sha256Sum => lines::sha256sum(&tree),
        }
    }
}
