//! To and from the stores of the crate `object_store`.

mod as_store;
mod convert;
mod delete;
mod inward;
mod read;
mod upload;

pub use as_store::AsObjectStore;
pub use inward::FromObjectStore;
