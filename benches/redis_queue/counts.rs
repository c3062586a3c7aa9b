use std::time::Instant;

use standfast_benches::{Bench, Table, current_thread, nanos_per, two_threads};
use standfast_queue::wrap::Coalescing;
use standfast_queue::{Queue, RedisQueue};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::contender::{Asks, BODY, Contender, SERVER, Standing, messages, server};
use crate::streams::Streams;

/// Commands for each job, which no load changes.
pub(crate) fn counts(bench: &mut Bench) {
    let runtime = current_thread();
    let usual = Standing { leased: 50, queued: 1000 };
    println!("\ncounts: for each job, sent, received and acked");
    println!("  {:<34}{:>14}{:>14}{:>14}", "", "round trips", "in scripts", "socket reads");
    for batch in [1, 10, 100] {
        let asks = [
            ("queue", Asks::Nothing),
            ("a dedupe key each", Asks::Dedupe),
            ("four priorities", Asks::Priorities),
            ("1,000 groups", Asks::Groups),
            ("mix", Asks::Mix),
        ];
        for (name, asks) in asks {
            let mut contender = Contender::queue(&runtime, usual, false, asks);
            let count = 20 * batch;
            // the first calls load the scripts
            contender.work(&runtime, count, batch);
            let before = contender.server.usage();
            contender.work(&runtime, count, batch);
            // the question itself is a read too
            let reads = contender.server.usage().reads - before.reads - 1;
            let monitor = contender.server.count_commands();
            contender.work(&runtime, count, batch);
            let commands = monitor.end();
            let per_job = |number: usize| number as f64 / count as f64;
            let (trips, inner) = (per_job(commands.calls()), per_job(commands.inner()));
            let reads = per_job(usize::try_from(reads).expect("few"));
            let title = format!("{name}, batches of {batch}");
            println!("  {title:<34}{trips:>14.3}{inner:>14.3}{reads:>14.3}");
            if name == "queue" && batch > 1 {
                let most = 3.0 / batch as f64;
                bench.target(&format!("{most} round trips for each job"), trips <= most + 1e-9);
            }
        }
    }
}

/// What a message that waits takes of the server's memory.
pub(crate) fn memory(bench: &mut Bench) {
    let runtime = current_thread();
    println!("\nmemory for each message, a body of {} bytes", BODY.len());
    println!("  {:<34}{:>14}{:>16}", "", "bytes in all", "beyond the body");
    for count in [bench.count(100_000), bench.count(1_000_000)] {
        let row = |name: &str, bytes: f64| {
            let beyond = bytes - BODY.len() as f64;
            println!("  {:<34}{bytes:>14.0}{beyond:>16.0}", format!("{name}, {count}"));
            beyond
        };
        let streams = server(false);
        row(
            "bare stream",
            runtime.block_on(async {
                let mut bare = Streams::open(&streams.url()).await;
                let empty = streams.usage().memory;
                for _ in 0..count / 100 {
                    bare.send(100).await;
                }
                per(empty, streams.usage().memory, count)
            }),
        );
        drop(streams);

        let queues = server(false);
        let queue = RedisQueue::from_url(&queues.url(), "bench").expect("it is a URL");
        // scripts and connections are there before
        runtime.block_on(async {
            queue.send(&messages(1)).await.expect(SERVER);
            crate::contender::receive(&queue, 1).await;
        });
        let empty = queues.usage().memory;
        runtime.block_on(async {
            for _ in 0..count / 100 {
                queue.send(&messages(100)).await.expect(SERVER);
            }
        });
        let beyond = row("queue, ready", per(empty, queues.usage().memory, count));
        bench.target(&format!("350 bytes beyond the body, {count} queued"), beyond <= 350.0);
        runtime.block_on(async {
            for _ in 0..count / 100 {
                crate::contender::receive(&queue, 100).await;
            }
        });
        row("queue, leased", per(empty, queues.usage().memory, count));
    }
}

fn per(before: u64, after: u64, count: usize) -> f64 {
    (after - before) as f64 / count as f64
}

/// Tasks that each send one message at a time, with and without something that gathers them.
pub(crate) fn coalescing(bench: &mut Bench) {
    const TASKS: usize = 64;
    let each = bench.count(64_000) / TASKS;
    for (name, runtime) in [("one thread", current_thread()), ("two threads", two_threads())] {
        let servers = [server(false), server(false)];
        let queues = servers
            .each_ref()
            .map(|server| RedisQueue::from_url(&server.url(), "bench").expect("it is a URL"));
        let plain = queues[0].clone();
        let gathered = Coalescing::new(queues[1].clone());
        // connections and scripts are there before
        runtime.block_on(async {
            plain.send(&messages(1)).await.expect(SERVER);
            gathered.send(&messages(1)).await.expect(SERVER);
        });

        let monitor = servers[1].count_commands();
        send_all(&runtime, &gathered, TASKS, each.min(100));
        let sent = TASKS * each.min(100);
        let trips = monitor.end().calls() as f64 / sent as f64;
        println!("\ncoalescing: {TASKS} tasks, {trips:.3} round trips for each send, {name}");
        bench.target(&format!("0.2 round trips for each send, {name}"), trips <= 0.2);

        let (runtime, count) = (&runtime, TASKS * each);
        let title = format!("coalescing: {TASKS} tasks send one message at a time, {name}");
        let measure = |server: &standfast_benches::RedisServer, work: &dyn Fn()| {
            server.clear();
            let before = server.usage();
            let start = Instant::now();
            work();
            let wall = nanos_per(start, count) / 1e3;
            vec![wall, server.usage().micros_per(&before, count)]
        };
        Table::new(title, &["wall us/send", "Redis CPU us"])
            .rows("queue", || measure(&servers[0], &|| send_all(runtime, &plain, TASKS, each)))
            .rows("coalesced", || {
                measure(&servers[1], &|| send_all(runtime, &gathered, TASKS, each))
            })
            .run(bench);
    }
}

fn send_all<Q: Queue + Clone>(runtime: &Runtime, queue: &Q, tasks: usize, each: usize) {
    runtime.block_on(async {
        let mut sending = JoinSet::new();
        for _ in 0..tasks {
            let queue = queue.clone();
            sending.spawn(async move {
                for _ in 0..each {
                    let sent = queue.send(&messages(1)).await.expect(SERVER);
                    assert!(sent[0].is_sent());
                }
            });
        }
        sending.join_all().await;
    });
}
