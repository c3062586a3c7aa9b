//! What the suites of the other crates share. Feature `testkit`.

mod clock;
mod port;
mod proxy;
#[cfg(feature = "redis")]
pub mod redis;
mod service;

pub use clock::ManualClock;
pub use proxy::{Direction, FaultProxy, Traffic};
#[cfg(feature = "redis")]
pub use redis::{RedisCluster, RedisSentinel, RedisServer};
pub use service::service;
