//! The worker and what waits for it, over Redis: with processes that die and a server that goes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use standfast_core::redis::Redis;
use standfast_core::testkit::FaultProxy;
use standfast_core::testkit::redis::{self, Persistence, RedisServer, RedisServerConfig};
use standfast_core::{CancellationToken, JobId};
use standfast_queue::{
    DeadLetter, Envelope, Job, JobContext, JobError, Jobs, Queue as _, ReceiveOptions, RedisQueue,
    RedisQueueConfig, RedisStatusStore, SettleOutcome, Settlement, WaitError, WorkerConfig,
};

const LEASE: Duration = Duration::from_secs(1);
const CRASHES: u32 = 3;

#[derive(Deserialize, Serialize)]
struct Poison;
impl Job for Poison {
    const KIND: &'static str = "poison";
    type Output = ();
}

#[derive(Deserialize, Serialize)]
struct Double(u64);
impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u64;
}

fn jobs(url: &str, name: &str) -> Jobs {
    let redis = Redis::from_url(url).expect("the URL is one");
    let mut config = RedisQueueConfig::default();
    config.max_crashes = CRASHES;
    let queue = RedisQueue::from_parts(redis, name, config).expect("the name is one");
    Jobs::new(queue, RedisStatusStore::from_url(url).expect("the URL is one"))
}

fn worker_config() -> WorkerConfig {
    let mut config = WorkerConfig::default();
    config.lease = LEASE;
    config
}

/// Not a test: a worker process with a handler that takes the process down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that another test starts, and that its job kills"]
async fn poisoned_process() {
    let read = |name: &str| std::env::var(name).expect("it is started by a test");
    let poison = async |_: Poison, _: ()| -> Result<(), JobError> { std::process::abort() };
    let worker = jobs(&read("URL"), &read("QUEUE")).worker(()).on(poison).config(worker_config());
    worker.run_until(tokio::time::sleep(Duration::from_secs(30))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_every_worker_ends_as_failed_and_its_waiter_is_told() {
    let Some(server) = redis::single() else { return };
    let name = JobId::random().to_string();
    let handle = jobs(&server.url(), &name).send(Poison).await.expect("sent");
    let began = Instant::now();
    // somebody starts a worker anew whenever it has died, as a supervisor does
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let supervisor = tokio::task::spawn_blocking({
        let (url, over) = (server.url(), Arc::clone(&over));
        move || {
            let mut starts = 0;
            while !over.load(Ordering::Relaxed) {
                let mut child = Command::new(std::env::current_exe().expect("it has a file"))
                    .args(["--exact", "runtime::poisoned_process", "--ignored"])
                    .envs([("URL", &url), ("QUEUE", &name)])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("this test can be started again");
                starts += 1;
                while child.try_wait().expect("it can be asked").is_none() {
                    if over.load(Ordering::Relaxed) {
                        child.kill().expect("it can be killed");
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            starts
        }
    });
    let ended = handle.wait(Duration::from_secs(60)).await;
    let (took, bound) = (began.elapsed(), CRASHES * (LEASE + Duration::from_secs(1)));
    over.store(true, Ordering::Relaxed);
    let starts = supervisor.await.expect("the supervisor ends");
    println!("failed after {took:?}, with {starts} worker processes");
    let Err(WaitError::Failed(failure)) = ended else { panic!("it fails, not {ended:?}") };
    assert_eq!(failure.message, DeadLetter::CRASHED);
    assert!(took <= bound, "told after {took:?}, at most {bound:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_outlives_every_outage() {
    let mut config = RedisServerConfig::default();
    config.persistence = Persistence::Always;
    let Some(server) = RedisServer::start(config).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let jobs = jobs(&server.url_by(proxy.port()), "outages");
    let stop = CancellationToken::new();
    let runs = Arc::new(AtomicU32::new(0));
    let double = async |job: Double, runs: Arc<AtomicU32>, _: JobContext| {
        runs.fetch_add(1, Ordering::Relaxed);
        Ok::<_, JobError>(2 * job.0)
    };
    let worker = jobs.worker(Arc::clone(&runs)).on(double).config(worker_config());
    let worker = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    let outages: [(&str, Duration); 4] = [
        ("cut", Duration::from_millis(200)),
        ("paused", Duration::from_secs(7)), // longer than any call may take
        ("killed", Duration::from_secs(1)),
        ("refused", Duration::from_secs(1)),
    ];
    for (number, (what, span)) in (1..).zip(outages) {
        match what {
            "cut" => proxy.cut(),
            "paused" => server.pause(),
            "killed" => server.kill(),
            _ => {
                proxy.refuse();
                proxy.cut();
            }
        }
        tokio::time::sleep(span).await;
        match what {
            "paused" => server.resume(),
            "killed" => server.restart().await,
            "refused" => proxy.accept(),
            _ => {}
        }
        let healed = Instant::now();
        let handle = loop {
            match jobs.send(Double(number)).await {
                Ok(handle) => break handle,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let doubled = handle.wait(Duration::from_secs(20)).await.expect("it is done");
        println!("{what}: a job is done {:?} after it is over", healed.elapsed());
        assert_eq!(doubled, 2 * number);
        assert!(healed.elapsed() < Duration::from_secs(10), "{what}: {:?}", healed.elapsed());
        assert!(!worker.is_finished(), "no loop of a worker ends by itself");
    }
    let began = Instant::now();
    stop.cancel();
    worker.await.expect("it does not panic");
    assert!(began.elapsed() < Duration::from_secs(3), "it stops soon: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_orderly_stop_gives_back_is_taken_within_a_second() {
    let Some(server) = redis::single() else { return };
    let jobs = jobs(&server.url(), &JobId::random().to_string());
    let handle = jobs.send(Double(4)).await.expect("sent");
    let (stop, hangs) = (CancellationToken::new(), Arc::new(tokio::sync::Notify::new()));
    let mut config = worker_config();
    (config.lease, config.grace) = (Duration::from_secs(60), Duration::ZERO);
    config.cancel_grace = Duration::ZERO;
    let began = Arc::clone(&hangs);
    let hang = async |_: Double, began: Arc<tokio::sync::Notify>| -> Result<u64, JobError> {
        began.notify_one();
        std::future::pending().await
    };
    let first = jobs.worker(began).on(hang).config(config);
    let first = tokio::spawn(first.run_until(stop.clone().cancelled_owned()));
    hangs.notified().await;
    let double = async |job: Double, _: ()| Ok::<_, JobError>(2 * job.0);
    let second = jobs.worker(()).on(double);
    tokio::spawn(second.run_until(std::future::pending()));
    let stopped = Instant::now();
    stop.cancel();
    assert_eq!(handle.wait(Duration::from_secs(20)).await.expect("it is done"), 8);
    println!("taken over and done {:?} after the stop", stopped.elapsed());
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    first.await.expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_workers_ask_less_than_once_a_second() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let double = async |job: Double, _: ()| Ok::<_, JobError>(2 * job.0);
    for _ in 0..3 {
        let worker = jobs(&server.url(), "idle").worker(()).on(double);
        tokio::spawn(worker.run_until(std::future::pending()));
    }
    tokio::time::sleep(Duration::from_secs(2)).await; // until they wait
    let processed = async || -> u64 {
        let info = server.command(&["INFO", "stats"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.expect("it is told").trim().parse().expect("it is a number")
    };
    let (span, before) = (8, processed().await);
    tokio::time::sleep(Duration::from_secs(span)).await;
    let commands = processed().await - before - 1;
    println!("{commands} commands of 3 idle workers in {span} s");
    assert!(commands < 3 * span, "less than one a second each");
    assert!(2 * commands <= 3 * span, "at most one in two seconds each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_repeated_after_a_lost_reply_leaves_the_next_delivery_alone() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let far = RedisQueue::from_url(&server.url_by(proxy.port()), "release").expect("valid");
    let near = RedisQueue::from_url(&server.url(), "release").expect("valid");
    // the server knows the scripts by now: what is lost is the reply of one that ran
    near.send(&[Envelope::new("mail", "").into()]).await.expect("sent");
    let other = near.receive(&ReceiveOptions::new(1)).await.expect("received").deliveries.remove(0);
    near.settle(&[(other.receipt, Settlement::Ack)]).await.expect("acked");

    near.send(&[Envelope::new("mail", "").into()]).await.expect("sent");
    let first = far.receive(&ReceiveOptions::new(1)).await.expect("received").deliveries.remove(0);
    let release = [(first.receipt, Settlement::release())];
    proxy.lose_replies(1);
    far.settle(&release).await.expect_err("nobody knows what became of it");
    let second =
        near.receive(&ReceiveOptions::new(1)).await.expect("received").deliveries.remove(0);
    let repeated = far.settle(&release).await.expect("it answers");
    assert!(matches!(repeated[0], SettleOutcome::Stale), "{repeated:?}");
    let acked = near.settle(&[(second.receipt, Settlement::Ack)]).await.expect("it answers");
    assert!(matches!(acked[0], SettleOutcome::Settled), "{acked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_whose_report_was_lost_is_reported_again() {
    let Some(server) = RedisServer::start(RedisServerConfig::default()).await else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let open = |url: &str| {
        let mut config = RedisQueueConfig::default();
        config.max_crashes = 1;
        let redis = Redis::from_url(url).expect("the URL is one");
        RedisQueue::from_parts(redis, "deaths", config).expect("the name is one")
    };
    let (far, near) = (open(&server.url_by(proxy.port())), open(&server.url()));
    near.send(&[Envelope::new("poison", "").into()]).await.expect("sent");
    let brief = ReceiveOptions::new(1).lease(Duration::from_millis(100));
    assert_eq!(near.receive(&brief).await.expect("received").deliveries.len(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.lose_replies_to(1, "EVALSHA");
    far.receive(&brief).await.expect_err("it was told, and has not heard it");

    let began = Instant::now();
    let patient = ReceiveOptions::new(1).wait(Duration::from_secs(1));
    let dead = loop {
        let batch = near.receive(&patient).await.expect("it answers");
        if !batch.dead.is_empty() {
            break batch.dead;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "nobody is told");
    };
    println!("reported again after {:?}", began.elapsed());
    assert_eq!(dead[0].reason, DeadLetter::CRASHED);
    near.receive(&brief).await.expect("this confirms it");
    let left = server.command(&["EXISTS", "standfast:1:queue:{deaths}:untold"]).await;
    assert_eq!(left, "0", "nobody has to be told any more");
}
