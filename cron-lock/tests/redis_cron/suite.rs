//! The suite, wherever Redis runs.

use standfast_core::testkit::redis;

use crate::fuzz::counted;
use crate::support::{RedisHarness, lock_in, namespace};

standfast_cron_lock::cron_lock_conformance!(
    single,
    RedisHarness::at(redis::single().map(|it| it.url()))
);
standfast_cron_lock::cron_lock_conformance!(
    cluster,
    RedisHarness::at(redis::cluster().map(|it| it.url()))
);
standfast_cron_lock::cron_lock_conformance!(
    sentinel,
    RedisHarness::at(redis::sentinel().map(|it| it.url()))
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shedlock_counts_in_its_fuzz_test_is_exact() {
    let Some(server) = redis::single() else { return };
    let locks = [(); 2].map(|()| lock_in(&server.url(), &namespace()));
    assert_eq!(counted(locks).await, [400, 310]);
}
