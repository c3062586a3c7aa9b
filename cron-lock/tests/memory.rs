//! The suite against the memory backend, on a clock that stands still and on real time.

mod support;

standfast_cron_lock::cron_lock_conformance!(manual_time, support::manual());
standfast_cron_lock::cron_lock_conformance!(real_time, support::real());
