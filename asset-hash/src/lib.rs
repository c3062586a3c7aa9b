#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod digest;
mod file;
mod manifest;
mod names;
mod rules;
mod tree;
mod walk;

pub use digest::{AssetId, Digest};
pub use manifest::{AssetFile, Diff, Manifest};
pub use rules::{Rules, Symlinks};
pub use tree::hash_tree;

use standfast_core::{Error, ErrorKind};

fn failed(kind: ErrorKind, operation: &'static str, detail: impl Into<String>) -> Error {
    Error::new(kind, "fs", operation).with_detail(detail)
}
