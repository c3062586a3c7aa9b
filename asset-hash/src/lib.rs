#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod cache;
mod digest;
mod file;
mod format;
mod hash;
mod lanes;
mod local;
mod manifest;
mod names;
mod progress;
mod rules;
mod sri;
mod tree;
mod urls;
mod walk;

pub use digest::{AssetId, Digest};
pub use format::Format;
pub use local::LocalSet;
pub use manifest::{AssetFile, Diff, Manifest};
pub use progress::{Progress, Steps};
pub use rules::{Rules, Symlinks};
pub use sri::SriAlgorithm;
pub use tree::{AssetTree, hash_tree};
pub use urls::AssetUrls;

use standfast_core::{Error, ErrorKind};

fn failed(kind: ErrorKind, operation: &'static str, detail: impl Into<String>) -> Error {
    Error::new(kind, "fs", operation).with_detail(detail)
}
