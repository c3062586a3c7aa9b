#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod blob;
mod blobs;
mod body;
mod checksum;
mod download;
mod file;
mod forward;
#[cfg(feature = "fs")]
mod fs;
mod key;
mod list;
mod memory;
mod meta;
#[cfg(feature = "object-store")]
mod object_store;
mod options;
mod outcome;
mod range;
#[cfg(feature = "tower")]
mod routes;
mod rules;
#[cfg(feature = "s3")]
mod s3;
mod sign;
mod store;
#[cfg(feature = "testkit")]
pub mod testkit;

#[cfg(feature = "object-store")]
pub use self::object_store::{AsObjectStore, FromObjectStore};
pub use blob::{Blob, BlobStream};
pub use blobs::{Always, Blobs, Get, GetBytes, GetToFile, Put, SignGet, SignPut, When};
pub use body::{Body, FileBody, Pieces, StreamBody, UploadStream};
pub use checksum::{Checksums, Crc64, Sha256Digest};
#[cfg(feature = "fs")]
pub use fs::FsBlobStore;
pub use key::{BlobKey, IntoKey};
pub use list::{BlobEntry, ListOptions, Page, PageToken};
pub use memory::MemoryBlobStore;
pub use meta::{Attributes, BlobMeta, Version, Visibility};
pub use options::{
    CopyOptions, DeleteOptions, Expiry, ExpiryChange, GetOptions, Precondition, PutOptions,
};
pub use outcome::{CopyOutcome, DeleteOutcome, GetOutcome, PutOutcome, Swept};
pub use range::ByteRange;
#[cfg(feature = "tower")]
pub use routes::{BlobRoutes, Cors, RouteBody};
#[cfg(feature = "s3")]
pub use s3::{LifecyclePlan, S3BlobStore, S3Config, S3Features, S3Lifecycle};
pub use sign::{LenBound, SignRequest, SignedMethod, SignedUrl, SigningKey, UrlSigner};
pub use standfast_core::{Error, ErrorKind, Reason, Result};
pub use store::{BlobCapabilities, BlobStore};
