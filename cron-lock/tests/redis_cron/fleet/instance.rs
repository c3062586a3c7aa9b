//! One instance: a process of its own, which is this very test started again.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::redis::{Redis, Request};
use standfast_core::{CancellationToken, Clock, Result, SystemClock, Tick};
use standfast_cron_lock::testkit::async_trait;
use standfast_cron_lock::{
    CatchUp, Cron, CronConfig, CronLockConfig, Owner, RedisCronConfig, RedisCronLock, Span, every,
};

use super::recording::Recording;

/// The distance between ticks.
pub(super) const RESOLUTION: Duration = Duration::from_millis(400);

pub(super) fn rules() -> CronLockConfig {
    let mut rules = CronLockConfig::default();
    rules.resolution = RESOLUTION;
    rules.retention = Duration::from_secs(3 * 60 * 60);
    rules
}

pub(super) fn open(redis: Redis, namespace: &str) -> RedisCronLock {
    let mut config = RedisCronConfig::default();
    config.rules = rules();
    RedisCronLock::from_parts(redis, namespace, config).unwrap()
}

/// Where jobs are sent: a list of ids and fences.
pub(super) fn queue(namespace: &str) -> String {
    format!("sent:{{{namespace}}}")
}

/// A clock whose time of day is off.
#[derive(Debug)]
struct Skewed(TimeDelta);

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.0
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    async fn sleep_until(&self, deadline: Instant) {
        SystemClock.sleep_until(deadline).await;
    }
}

/// What the listeners of an instance share.
#[derive(Clone)]
struct Desk {
    redis: Redis,
    queue: String,
}

impl Desk {
    async fn send(&self, tick: &Tick, name: &str) -> Result<()> {
        let entry = format!("{} {}", tick.job_id(name), tick.fence);
        let push = Request::command("test.send", "RPUSH", &self.queue).arg(entry);
        self.redis.call(push).await.map(drop)
    }
}

/// Not a test: an instance, which runs until its input ends, or until it is killed.
#[tokio::test]
#[ignore = "the process that the fleets start"]
async fn process() {
    let read = |name: &str| std::env::var(name).expect("it is started by a fleet");
    let (namespace, name) = (read("NAMESPACE"), read("NAME"));
    let number = |name: &str| -> u64 { read(name).parse().unwrap() };
    let lease = Duration::from_millis(number("LEASE"));
    let skew = TimeDelta::seconds(read("SKEW").parse().unwrap());
    let redis = Redis::from_url(&read("REDIS")).unwrap();
    let lock = Recording::new(open(redis.clone(), &namespace), Path::new(&read("CALLS")));

    let mut config = CronConfig::default();
    config.owner = Owner::new(name);
    config.lease = lease;
    (config.deadline, config.call_timeout) = (lease / 3, lease / 3);
    config.spread = RESOLUTION / 4;
    let mut cron = Cron::with_config(lock, config).unwrap();
    cron.clock(Arc::new(Skewed(skew)));
    let desk = Desk { redis, queue: queue(&namespace) };
    let own = desk.clone();
    cron.on_tick(move |tick| {
        let desk = own.clone();
        async move {
            // whoever started this may kill or stop it from here on
            eprintln!("won {}", tick.at.timestamp_micros());
            tokio::time::sleep(Duration::from_millis(10)).await;
            desk.send(&tick, "on-tick").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, standfast_core::Error>(())
        }
    });
    let catch_up = CatchUp::All { max: 100, window: 1.hours() };
    let job = move |tick: Tick| {
        let desk = desk.clone();
        async move { desk.send(&tick, "each").await }
    };
    cron.schedule(every(RESOLUTION).id("each").catch_up(catch_up), job).unwrap();

    let stop = CancellationToken::new();
    let stopping = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.cancel();
    });
    eprintln!("ready");
    let report = cron.run_until(stop.cancelled_owned()).await;
    eprintln!("report {} {} {}", report.claimed, report.finished, report.missed_ticks);
}
