use std::num::NonZero;

use glob::{MatchOptions, Pattern};
use standfast_core::{ErrorKind, Result};
use unicode_normalization::UnicodeNormalization;

use crate::failed;

/// What to do with symbolic links.
///
/// ```
/// use standfast_asset_hash::{Rules, Symlinks, hash_tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(unix)] {
/// let root = tempfile::tempdir()?;
/// std::fs::write(root.path().join("site.css"), "body {}")?;
/// std::os::unix::fs::symlink("site.css", root.path().join("old.css"))?;
/// assert_eq!(hash_tree(root.path(), &Rules::new())?.files().len(), 2);
/// assert!(hash_tree(root.path(), &Rules::new().symlinks(Symlinks::Reject)).is_err());
/// # }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Symlinks {
    /// Hash what they point to, which must lie inside the root and lead to no cycle.
    #[default]
    FollowInside,
    /// Refuse the tree.
    Reject,
}

/// Which files of a tree belong to the set.
///
/// Patterns are globs over the whole relative path: `*` and `?` stay within one name, `**` spans
/// directories, so `**/*.map` means every source map and `*.map` only those at the top. A pattern
/// that matches a directory excludes what is below it. `.gitignore` plays no part; `.git`,
/// `.DS_Store` and `Thumbs.db` are never part of a set.
///
/// ```
/// use standfast_asset_hash::Rules;
///
/// let rules = Rules::new().exclude("**/*.map")?.exclude("drafts")?;
/// assert!(rules.takes("css/site.css"));
/// assert!(!rules.takes("css/site.css.map"));
/// assert!(!rules.takes("drafts/new/page.html"));
/// # Ok::<_, standfast_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    pub(crate) symlinks: Symlinks,
    pub(crate) allows_case_collisions: bool,
    threads: Option<NonZero<usize>>,
}

impl Rules {
    /// Every file, links followed inside the root, as many threads as there are cores.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes only files that match this or another included pattern.
    ///
    /// # Errors
    ///
    /// `Invalid` for what is no pattern.
    pub fn include(mut self, glob: &str) -> Result<Self> {
        self.include.push(pattern(glob)?);
        Ok(self)
    }

    /// Leaves out what matches this pattern, included or not.
    ///
    /// # Errors
    ///
    /// `Invalid` for what is no pattern.
    pub fn exclude(mut self, glob: &str) -> Result<Self> {
        self.exclude.push(pattern(glob)?);
        Ok(self)
    }

    /// What to do with symbolic links.
    #[must_use]
    pub fn symlinks(self, symlinks: Symlinks) -> Self {
        Self { symlinks, ..self }
    }

    /// Takes trees in which two paths differ by case alone, although they cannot be checked out on
    /// every system.
    #[must_use]
    pub fn allow_case_collisions(self) -> Self {
        Self { allows_case_collisions: true, ..self }
    }

    /// How many files are read at the same time.
    #[must_use]
    pub fn threads(self, threads: NonZero<usize>) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Whether a file of this relative path belongs to the set.
    pub fn takes(&self, path: &str) -> bool {
        let ancestors = path.match_indices('/').map(|(end, _)| &path[..end]);
        !ancestors.chain([path]).any(|part| self.excludes(part)) && self.includes(path)
    }

    /// Whether a file or directory is left out, given that the directories above it are not.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        NEVER.contains(&name) || self.exclude.iter().any(|glob| matches(glob, path))
    }

    pub(crate) fn includes(&self, path: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|glob| matches(glob, path))
    }

    /// Whether a pattern chooses files.
    pub(crate) fn is_choosy(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty()
    }

    pub(crate) fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        self.threads.unwrap_or_else(cores).get()
    }
}

fn pattern(glob: &str) -> Result<Pattern> {
    // paths are compared in NFC, so patterns must be too
    let nfc: String = glob.nfc().collect();
    Pattern::new(&nfc).map_err(|error| {
        failed(ErrorKind::Invalid, "rules", format!("pattern {glob:?}")).with_source(error)
    })
}

fn matches(glob: &Pattern, path: &str) -> bool {
    const EXACT: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    glob.matches_with(path, EXACT)
}

const NEVER: [&str; 3] = [".git", ".DS_Store", "Thumbs.db"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (glob, path, is_match) in [
            ("*.map", "a.map", true),
            ("*.map", "js/a.map", false),
            ("**/*.map", "a.map", true),
            ("**/*.map", "js/v1/a.map", true),
            ("js", "js/v1/a.map", true),
            ("js/**", "js/v1/a.map", true),
            ("js/*", "jsx/a.map", false),
            ("j?", "js/a.map", true),
            (".env*", ".env.local", true),
            ("**/.well-known", "a/.well-known/x", true),
            ("e\u{301}.css", "\u{e9}.css", true),
            ("A.css", "a.css", false),
        ] {
            let rules = Rules::new().exclude(glob).unwrap();
            assert_eq!(!rules.takes(path), is_match, "{glob} {path}");
        }
    }

    #[test]
    fn what_is_included_may_still_be_excluded() {
        let rules = Rules::new().include("**/*.js").unwrap().exclude("test/**").unwrap();
        assert!(rules.takes("a.js") && rules.takes("lib/a.js"));
        assert!(!rules.takes("a.css") && !rules.takes("test/a.js"));
        assert!(!Rules::new().takes("sub/.git/config") && !Rules::new().takes("sub/Thumbs.db"));
        assert!(Rules::new().takes(".gitignore"));
    }

    #[test]
    fn a_broken_pattern_is_invalid() {
        assert_eq!(Rules::new().exclude("a[").unwrap_err().kind(), ErrorKind::Invalid);
    }
}
