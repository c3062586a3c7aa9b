//! The suite against the memory backend, on a clock that stands still and on real time.

mod support;

standfast_cron_lock::cron_lock_conformance!(manual_time, support::manual());
standfast_cron_lock::cron_lock_conformance!(real_time, support::real());

#[test]
fn pointers_to_a_lock_are_locks() {
    fn is_lock<L: standfast_cron_lock::CronLock>() {}
    is_lock::<std::sync::Arc<dyn standfast_cron_lock::CronLock>>();
    is_lock::<Box<standfast_cron_lock::MemoryCronLock>>();
}
