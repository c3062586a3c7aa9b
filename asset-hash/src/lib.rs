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
#[cfg(any(feature = "blobstore", feature = "tower"))]
mod media;
mod names;
mod progress;
#[cfg(feature = "tower")]
mod routes;
mod rules;
mod sri;
#[cfg(feature = "blobstore")]
mod store;
mod tree;
mod urls;
mod walk;

pub use digest::{AssetId, Digest};
pub use format::Format;
pub use local::LocalSet;
pub use manifest::{AssetFile, Diff, Manifest};
pub use progress::{Progress, Steps};
#[cfg(feature = "tower")]
pub use routes::{AssetBody, AssetRoutes};
pub use rules::{Rules, Symlinks};
pub use sri::SriAlgorithm;
#[cfg(feature = "blobstore")]
pub use store::{
    AssetStore, Channel, Collected, Commit, Depth, Gc, Inventory, Previous, Problem, Profile,
    Publish, Published, Release, Resolve, Resolved, SetEntry, SetName, SetState, Verified, Verify,
};
pub use tree::{AssetTree, hash_tree};
pub use urls::AssetUrls;

use standfast_core::{Error, ErrorKind};

fn failed(kind: ErrorKind, operation: &'static str, detail: impl Into<String>) -> Error {
    Error::new(kind, "fs", operation).with_detail(detail)
}
