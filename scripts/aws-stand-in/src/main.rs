//! `aws-stand-in PORT [STATE]`: Amazon SQS on a loopback port, in memory, or with its state in a
//! file so that it can be killed and started again. Prints where it listens.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::{Extension, Router};
use fakecloud_core::dispatch::{DispatchConfig, dispatch};
use fakecloud_core::multi_account::MultiRegionState;
use fakecloud_core::registry::ServiceRegistry;
use fakecloud_persistence::{DiskSnapshotStore, SnapshotStore};
use fakecloud_sqs::{SharedSqsState, SqsService, parse_sqs_snapshot};
use parking_lot::RwLock;

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("usage: aws-stand-in PORT [STATE]")?.parse()?;
    let file = args.next().map(PathBuf::from);

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let sqs = match file {
        None => SqsService::new(empty(&endpoint)),
        Some(file) => {
            let store = Arc::new(DiskSnapshotStore::new(file));
            SqsService::new(stored(&*store, &endpoint)?).with_snapshot_store(store)
        }
    };
    let mut registry = ServiceRegistry::new();
    registry.register(Arc::new(sqs.with_region(REGION)));
    let app = Router::new()
        .fallback(dispatch)
        .layer(Extension(Arc::new(registry)))
        .layer(Extension(Arc::new(DispatchConfig::new(REGION, ACCOUNT))));

    println!("{endpoint}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
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
