//! A private file, a link to it that ends, and the service that honours the link.
//!
//! ```sh
//! cargo run -p standfast-examples --example blob
//! ```

use std::time::Duration;

use axum::Router;
use standfast_blobstore::{BlobRoutes, Blobs, MemoryBlobStore, PutOutcome, SigningKey, UrlSigner};
use standfast_core::BoxError;

const HOUR: Duration = Duration::from_secs(3600);

/// The application that serves the links, and a link.
pub(crate) async fn publish(base: &str, works_for: Duration) -> Result<(Router, String), BoxError> {
    let signer = UrlSigner::new(format!("{base}/files"), SigningKey::random());
    let store = MemoryBlobStore::new().with_signer(signer.clone());
    let blobs = Blobs::new(store.clone());

    let report = blobs.put("r/7.html", "<h1>Report 7</h1>").content_type("text/html");
    report.expires_in(24 * HOUR).await?;
    let late = blobs.put("r/7.html", "late").if_absent().await?;
    assert!(matches!(late, PutOutcome::Exists), "the first one counts");

    let link = blobs.signed_url("r/7.html", works_for).inline().await?;
    let app = Router::new().nest_service("/files", BlobRoutes::new(store, signer));
    Ok((app, link.as_str().to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8091").await?;
    let (app, link) = publish("http://127.0.0.1:8091", HOUR).await?;
    println!("{link}");
    axum::serve(listener, app).await?;
    Ok(())
}
