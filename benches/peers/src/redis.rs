//! Queues in one Redis server, beside one another: jobs go in, then they come out and are handled
//! by nothing.
//!
//! Every job is made inside the measured loop and goes through JSON, but for the row of plain
//! lists, which keeps nothing of what a queue promises and shows what the server and its protocol
//! allow. Everything runs on two threads and is measured by the clock. The rows in JavaScript are
//! processes of their own: `npm install` in `node/` gets them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::{TaskSink, WorkerBuilder, WorkerBuilderExt as _, WorkerContext};
use apalis_redis::{Config, RedisStorage};
use omniqueue::backends::{RedisBackend, RedisConfig};
use redis::{Client, cmd, pipe};
use serde::{Deserialize, Serialize};
use standfast_benches::{Bench, RedisServer, Table, nanos_per, two_threads};
use standfast_queue::wrap::Coalescing;
use standfast_queue::{
    Envelope, Job, JobError, Jobs, MemoryStatusStore, OutgoingMessage, Queue, ReceiveOptions,
    RedisQueue, Settlement,
};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const COLUMNS: &[&str] = &["us/job", "in", "out", "Redis CPU us"];
const THERE: &str = "the server is there";
/// apalis does not survive a backlog of 12,000.
const MOST: usize = 5000;
const APALIS: &str = "apalis, push_bulk(100), 100 at once";
const BULLMQ: &str = "BullMQ, addBulk(100), 100 at once";
const BEE: &str = "bee-queue, saveAll(1000), 100 at once";
const TEN: &str = "standfast, queue, 10 at a time";
const HUNDRED: &str = "standfast, queue, 100 at a time";
/// Tasks that share the work where a peer does one thing at a time.
const TASKS: usize = 8;

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Work {
    id: u64,
    sent_at: u64,
    pad: String,
}

impl Work {
    fn new(id: u64) -> Self {
        Self { id, sent_at: 1_700_000_000_000 + id, pad: "x".repeat(100) }
    }

    fn json(id: u64) -> Vec<u8> {
        serde_json::to_vec(&Self::new(id)).expect("work is JSON")
    }
}

impl Job for Work {
    const KIND: &'static str = "work";
    type Output = ();
}

fn main() {
    let mut bench = Bench::from_args("peers in Redis");
    let Some(server) = RedisServer::start() else { return };
    let runtime = two_threads();
    let count = bench.count(MOST) / 100 * 100;
    let rows = rows(&server);

    println!("\ncommands for each job");
    println!("  {:<46}{:>14}{:>14}", "", "from clients", "from scripts");
    let few = count.min(1000);
    for (name, run) in &rows {
        // connections and scripts are there before
        run(&runtime, few);
        server.clear();
        let monitor = server.count_commands();
        run(&runtime, few);
        let commands = monitor.end();
        let per_job = |number: usize| number as f64 / few as f64;
        let (clients, scripts) = (per_job(commands.calls()), per_job(commands.inner()));
        println!("  {name:<46}{clients:>14.3}{scripts:>14.3}");
    }

    let mut table = Table::new(format!("{count} jobs in, then out: two threads"), COLUMNS);
    for (name, run) in &rows {
        let (server, runtime) = (&server, &runtime);
        table = table.rows(*name, move || {
            server.clear();
            let before = server.usage();
            let Took { sent, handled } = run(runtime, count);
            let redis = server.usage().micros_per(&before, count);
            vec![sent + handled, sent, handled, redis]
        });
    }
    let results = table.run(&bench);
    let mut at_least = |own: &str, peer: &str, least: f64| {
        if rows.iter().any(|(name, _)| *name == peer) {
            let speed = results.speed(own, peer);
            println!("  {own}: {speed:.1} x {peer}");
            bench.target(&format!("{own}: {least} x {peer}"), speed >= least);
        }
    };
    for peer in [APALIS, BEE] {
        at_least(HUNDRED, peer, 3.0);
        at_least(TEN, peer, 2.0);
    }
    at_least(HUNDRED, BULLMQ, 7.0);
    bench.finish();
}

/// Microseconds for each job.
struct Took {
    sent: f64,
    handled: f64,
}

type Run<'a> = Box<dyn Fn(&Runtime, usize) -> Took + 'a>;

fn rows(server: &RedisServer) -> Vec<(&'static str, Run<'_>)> {
    let url = server.url();
    let mut rows: Vec<(&'static str, Run<'_>)> = Vec::new();
    for (name, batch) in
        [("LPUSH and RPOP in pipelines of 100", 100), ("LPUSH and RPOP in pipelines of 10", 10)]
    {
        let url = url.clone();
        rows.push((name, Box::new(move |on, count| task(on, lists(url.clone(), count, batch)))));
    }
    for (name, bulk, at_once) in [("apalis, push, 10 at once", 1, 10), (APALIS, 100, 100)] {
        let url = url.clone();
        rows.push((
            name,
            Box::new(move |on, count| task(on, apalis(url.clone(), count, bulk, at_once))),
        ));
    }
    for (name, batch) in [
        ("omniqueue, 8 tasks, one at a time", 1),
        ("omniqueue, 8 tasks, receive_all(10)", 10),
        ("omniqueue, 8 tasks, receive_all(100)", 100),
    ] {
        let url = url.clone();
        rows.push((
            name,
            Box::new(move |on, count| task(on, omniqueue(url.clone(), count, batch))),
        ));
    }
    for (name, peer) in [(BULLMQ, "bullmq"), (BEE, "bee")] {
        if let Some(node) = Node::start(peer, server.port()) {
            rows.push((name, Box::new(move |_, count| node.run(count))));
        }
    }
    for (name, batch) in [("standfast, queue, one at a time", 1), (TEN, 10), (HUNDRED, 100)] {
        let url = url.clone();
        rows.push((name, Box::new(move |on, count| task(on, queue(url.clone(), count, batch)))));
    }
    rows.push((
        "standfast, worker, 100 at once, sends gathered",
        Box::new(move |on, count| task(on, worker(url.clone(), count, 100))),
    ));
    rows
}

/// Runs in a task, as it would in an application, not in the thread that waits.
fn task(runtime: &Runtime, work: impl Future<Output = Took> + Send + 'static) -> Took {
    runtime.block_on(async { tokio::spawn(work).await.expect("no panic") })
}

/// When a contender began, and when everything was sent.
struct Times(Instant, f64);

impl Times {
    fn start() -> Self {
        Self(Instant::now(), f64::NAN)
    }

    fn sent(&mut self, count: usize) {
        self.1 = nanos_per(self.0, count) / 1e3;
    }

    fn end(self, count: usize) -> Took {
        Took { sent: self.1, handled: nanos_per(self.0, count) / 1e3 - self.1 }
    }
}

/// A name that no run had before.
fn fresh() -> String {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    format!("bench-{}", RUNS.fetch_add(1, Ordering::Relaxed))
}

async fn lists(url: String, count: usize, batch: usize) -> Took {
    let client = Client::open(url).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect(THERE);
    let list = fresh();
    let mut times = Times::start();
    for first in (0..count).step_by(batch) {
        let mut push = pipe();
        for id in first..first + batch {
            push.cmd("LPUSH").arg(&list).arg(Work::json(id as u64)).ignore();
        }
        push.exec_async(&mut connection).await.expect(THERE);
    }
    times.sent(count);
    for _ in 0..count / batch {
        let mut pop = pipe();
        for _ in 0..batch {
            pop.cmd("RPOP").arg(&list);
        }
        let popped: Vec<Vec<u8>> = pop.query_async(&mut connection).await.expect(THERE);
        for body in popped {
            let work: Work = serde_json::from_slice(&body).expect("it was sent as JSON");
            std::hint::black_box(work);
        }
    }
    times.end(count)
}

async fn apalis(url: String, count: usize, bulk: usize, at_once: usize) -> Took {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    async fn handle(work: Work, worker: WorkerContext) {
        std::hint::black_box(work.id);
        if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
            worker.stop().expect("it runs");
        }
    }
    LEFT.store(count, Ordering::Release);
    let connection = apalis_redis::connect(url).await.expect(THERE);
    let config = Config::default().queue(fresh()).batch_size(at_once);
    let mut storage = RedisStorage::new(connection).with_config(config);
    let mut times = Times::start();
    for first in (0..count).step_by(bulk) {
        if bulk == 1 {
            storage.push(Work::new(first as u64)).await.expect(THERE);
        } else {
            let works = (first..first + bulk).map(|id| Work::new(id as u64)).collect();
            storage.push_bulk(works).await.expect(THERE);
        }
    }
    times.sent(count);
    let worker = WorkerBuilder::new("peer").backend(storage).concurrency(at_once).build(handle);
    worker.run().await.expect(THERE);
    times.end(count)
}

async fn omniqueue(url: String, count: usize, batch: usize) -> Took {
    let queue = fresh();
    let client = Client::open(url.as_str()).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect(THERE);
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(&queue).arg("workers").arg("$").arg("MKSTREAM");
    create.exec_async(&mut connection).await.expect(THERE);
    let backend = |consumer: usize| {
        RedisBackend::builder(RedisConfig {
            dsn: url.clone(),
            max_connections: TASKS as u16,
            reinsert_on_nack: false,
            queue_key: queue.clone(),
            delayed_queue_key: format!("{queue}-delayed"),
            delayed_lock_key: format!("{queue}-lock"),
            consumer_group: "workers".to_owned(),
            consumer_name: format!("worker-{consumer}"),
            payload_key: "payload".to_owned(),
            ack_deadline_ms: 60_000,
            dlq_config: None,
            sentinel_config: None,
        })
    };
    let producer = Arc::new(backend(0).build_producer().await.expect(THERE));
    let mut consumers = Vec::new();
    for task in 0..TASKS {
        consumers.push(backend(task).build_consumer().await.expect(THERE));
    }
    let mut times = Times::start();
    let mut sending = JoinSet::new();
    for task in 0..TASKS {
        let producer = Arc::clone(&producer);
        sending.spawn(async move {
            for id in (task..count).step_by(TASKS) {
                producer.send_serde_json(&Work::new(id as u64)).await.expect(THERE);
            }
        });
    }
    sending.join_all().await;
    times.sent(count);
    let left = Arc::new(AtomicUsize::new(count));
    let mut receiving = JoinSet::new();
    for mut consumer in consumers {
        let left = Arc::clone(&left);
        receiving.spawn(async move {
            while left.load(Ordering::Acquire) > 0 {
                let deadline = Duration::from_millis(1);
                let deliveries = consumer.receive_all(batch, deadline).await.expect(THERE);
                for delivery in deliveries {
                    let work: Option<Work> =
                        delivery.payload_serde_json().expect("it was sent as JSON");
                    std::hint::black_box(work);
                    delivery.ack().await.map_err(|(error, _)| error).expect(THERE);
                    left.fetch_sub(1, Ordering::AcqRel);
                }
            }
        });
    }
    receiving.join_all().await;
    times.end(count)
}

async fn queue(url: String, count: usize, batch: usize) -> Took {
    let queue = RedisQueue::from_url(&url, &fresh()).expect("it is a URL");
    // the others have connected as well
    queue.stats().await.expect(THERE);
    let mut times = Times::start();
    for first in (0..count).step_by(batch) {
        let message = |id| OutgoingMessage::new(Envelope::new("work", Work::json(id as u64)));
        let messages: Vec<_> = (first..first + batch).map(message).collect();
        queue.send(&messages).await.expect(THERE);
    }
    times.sent(count);
    let options = ReceiveOptions::new(batch);
    let mut left = count;
    while left > 0 {
        let received = queue.receive(&options).await.expect(THERE).deliveries;
        left -= received.len();
        let mut acks = Vec::with_capacity(received.len());
        for delivery in received {
            let work = serde_json::from_slice::<Work>(&delivery.envelope().body);
            std::hint::black_box(work.expect("it was sent as JSON"));
            acks.push((delivery.receipt, Settlement::Ack));
        }
        queue.settle(&acks).await.expect(THERE);
    }
    times.end(count)
}

/// How many are left, and that none is.
#[derive(Clone)]
struct Done(Arc<(AtomicUsize, Notify)>);

async fn handle(work: Work, done: Done) -> Result<(), JobError> {
    std::hint::black_box(work.id);
    if done.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
        done.0.1.notify_one();
    }
    Ok(())
}

async fn worker(url: String, count: usize, at_once: usize) -> Took {
    let queue = Coalescing::new(RedisQueue::from_url(&url, &fresh()).expect("it is a URL"));
    queue.stats().await.expect(THERE);
    let jobs = Jobs::new(queue, MemoryStatusStore::new());
    let done = Done(Arc::new((AtomicUsize::new(count), Notify::new())));
    let mut times = Times::start();
    let mut sending = JoinSet::new();
    for task in 0..at_once {
        let jobs = jobs.clone();
        sending.spawn(async move {
            for id in (task..count).step_by(at_once) {
                jobs.send(Work::new(id as u64)).detached().await.expect(THERE);
            }
        });
    }
    sending.join_all().await;
    times.sent(count);
    let worker = jobs.worker(done.clone()).on(handle).concurrency(at_once);
    worker.run_until(async move { done.0.1.notified().await }).await;
    times.end(count)
}

/// A peer in JavaScript, in a process that lives for all rounds.
struct Node(std::sync::Mutex<Pipes>);

struct Pipes {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// `None`, and a line that says so, where it is not installed.
    fn start(peer: &str, port: u16) -> Option<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
        if !directory.join("node_modules").is_dir() {
            println!("skipped: {peer}; `npm install` in node/ gets it");
            return None;
        }
        let process = Command::new("node")
            .args(["peers.js", peer, &port.to_string()])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process =
            process.inspect_err(|error| println!("skipped: {peer} ({error})")).ok()?;
        let ask = process.stdin.take().expect("it was piped");
        let answers = BufReader::new(process.stdout.take().expect("it was piped"));
        Some(Self(std::sync::Mutex::new(Pipes { process, ask, answers })))
    }

    fn run(&self, count: usize) -> Took {
        let mut pipes = self.0.lock().expect("no panic");
        writeln!(pipes.ask, "{count}").expect("node runs");
        let mut line = String::new();
        pipes.answers.read_line(&mut line).expect("node runs");
        let mut millis = line
            .split_whitespace()
            .map(|number| number.parse::<f64>().expect("a number") * 1e3 / count as f64);
        let mut next = || millis.next().unwrap_or_else(|| panic!("node answered `{line}`"));
        Took { sent: next(), handled: next() }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
