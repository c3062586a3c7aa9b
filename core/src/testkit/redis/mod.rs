//! Redis for tests: servers of their own for those that break something, shared ones for the rest.
//! Features `testkit` and `redis`; they need `redis-server` 7.0 or later.

mod client;
mod cluster;
mod config;
mod endpoint;
mod process;
mod sentinel;
mod server;
mod shared;

use std::time::Duration;

use tokio::time::Instant;

pub use cluster::RedisCluster;
pub use config::{Persistence, RedisServerConfig};
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
pub use shared::{SharedRedis, cluster, sentinel, single};

/// Whether a server can be started; the test that needs `name` is skipped loudly otherwise.
fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|dir| dir.join("redis-server").is_file());
    if !installed {
        super::service::skip(name, "install redis-server");
    }
    installed
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not within `limit`.
async fn until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
