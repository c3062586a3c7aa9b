//! Queues.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::{Extension, Router};
use fakecloud_core::dispatch::{DispatchConfig, dispatch};
use fakecloud_core::multi_account::MultiRegionState;
use fakecloud_core::registry::ServiceRegistry;
use fakecloud_persistence::{DiskSnapshotStore, SnapshotStore};
use fakecloud_sqs::{SharedSqsState, SqsService, parse_sqs_snapshot};
use parking_lot::RwLock;

use crate::{ACCOUNT, REGION};

pub fn app(endpoint: &str, file: Option<PathBuf>) -> io::Result<Router> {
    let sqs = match file {
        None => SqsService::new(empty(endpoint)),
        Some(file) => {
            let store = Arc::new(DiskSnapshotStore::new(file));
            SqsService::new(stored(&*store, endpoint)?).with_snapshot_store(store)
        }
    };
    let mut registry = ServiceRegistry::new();
    registry.register(Arc::new(sqs.with_region(REGION)));
    let app = Router::new()
        .fallback(dispatch)
        .layer(Extension(Arc::new(registry)))
        .layer(Extension(Arc::new(DispatchConfig::new(REGION, ACCOUNT))));
    Ok(app)
}

fn empty(endpoint: &str) -> SharedSqsState {
    Arc::new(RwLock::new(MultiRegionState::new(ACCOUNT, REGION, endpoint)))
}

/// What was stored before this process began, if anything was.
fn stored(store: &DiskSnapshotStore, endpoint: &str) -> io::Result<SharedSqsState> {
    let Some(bytes) = store.load()? else { return Ok(empty(endpoint)) };
    match parse_sqs_snapshot(&bytes)?.accounts {
        Some(accounts) => Ok(Arc::new(RwLock::new(accounts))),
        None => Err(io::Error::other("the state is of another version")),
    }
}
