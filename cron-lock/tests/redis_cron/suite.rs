//! The suite, wherever Redis runs.

use standfast_core::testkit::redis;

use crate::support::RedisHarness;

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
