//! The Redis queue beside bare streams of the same server, and beside itself where it is asked for
//! more.
//!
//! Every contender has a `redis-server` of its own, so that what each costs the server can be told
//! apart. Bare streams keep nothing of what the queue promises: no ids, no run-outs, no delays, no
//! priorities. They show what moving the same bytes costs at least.

mod contender;
mod counts;
mod latency;
mod status;
mod streams;

use standfast_benches::{Bench, RedisServer, Results, Table, current_thread};

use contender::{Asks, Contender, Standing};

/// What contenders measure, for each job.
const COLUMNS: &[&str] = &["Redis CPU us", "client CPU us", "wall us"];
const STREAMS: &str = "bare streams";
const PLAIN: &str = "queue";
/// Into how many turns a round is divided.
const TURNS: usize = 5;

fn main() {
    let mut bench = Bench::from_args("redis queue");
    // says so, once, where there is no server
    if RedisServer::start().is_none() {
        return;
    }
    if bench.wants("counts") {
        counts::counts(&mut bench);
    }
    if bench.wants("memory") {
        counts::memory(&mut bench);
    }
    for batch in [1, 10, 100] {
        if bench.wants(&format!("throughput-{batch}")) {
            throughput(&mut bench, batch);
        }
    }
    if bench.wants("coalescing") {
        counts::coalescing(&mut bench);
    }
    if bench.wants("latency") {
        latency::latency(&mut bench);
    }
    if bench.wants("idle") {
        latency::idle(&mut bench);
    }
    if bench.wants("status") {
        status::steps(&mut bench);
        status::wake(&mut bench);
    }
    bench.finish();
}

fn throughput(bench: &mut Bench, batch: usize) {
    // short turns and many rounds: neighbours that come and go disturb all contenders alike
    let count = bench.count(if batch == 1 { 10_000 } else { 30_000 }) / TURNS;
    let count = count.next_multiple_of(batch);
    let runtime = current_thread();
    let usual = Standing { leased: 50, queued: 1000 };
    let many = Standing { leased: bench.count(10_000), ..usual };
    let backlog = Standing { queued: bench.count(1_000_000), ..many };

    let title = format!("throughput-{batch}: send, receive and ack, batches of {batch}, one task");
    let mut table = Table::new(title, COLUMNS);
    let mut contenders = vec![
        (STREAMS, Contender::streams(&runtime, usual, false)),
        ("bare streams, AOF", Contender::streams(&runtime, usual, true)),
        (PLAIN, Contender::queue(&runtime, usual, false, Asks::Nothing)),
        ("queue, AOF", Contender::queue(&runtime, usual, true, Asks::Nothing)),
    ];
    if batch > 1 {
        contenders.extend([
            ("a dedupe key each", Contender::queue(&runtime, usual, false, Asks::Dedupe)),
            ("four priorities", Contender::queue(&runtime, usual, false, Asks::Priorities)),
            ("1,000 groups", Contender::queue(&runtime, usual, false, Asks::Groups)),
            ("mix", Contender::queue(&runtime, usual, false, Asks::Mix)),
            ("10,000 leased", Contender::queue(&runtime, many, false, Asks::Nothing)),
            ("and 1,000,000 queued", Contender::queue(&runtime, backlog, false, Asks::Nothing)),
            ("the same, AOF", Contender::queue(&runtime, backlog, true, Asks::Nothing)),
        ]);
    }
    for (name, mut contender) in contenders {
        let runtime = &runtime;
        table = table.rows(name, move || contender.measure(runtime, count, batch));
    }
    let results = table.in_turns(TURNS).run(bench);
    if batch > 1 {
        judge(bench, &results, batch);
    }
}

/// The targets of batches of 10 and of 100.
fn judge(bench: &mut Bench, results: &Results, batch: usize) {
    let (plain, dedupe) = if batch == 10 { (2.2, 3.5) } else { (1.5, 2.7) };
    let cpu = |name: &str, other: &str| results.times(name, other, 0);
    let mut at_most = |what: &str, times: f64, most: f64| {
        println!("  {what}: {times:.2} x");
        bench.target(&format!("{what} at batches of {batch}: at most {most} x"), times <= most);
    };
    at_most("Redis CPU of the queue to bare streams", cpu(PLAIN, STREAMS), plain);
    at_most(
        "Redis CPU with dedupe keys to bare streams",
        cpu("a dedupe key each", STREAMS),
        dedupe,
    );
    at_most("Redis CPU of the queue under AOF to itself", cpu("queue, AOF", PLAIN), 1.6);
    let mut at_least = |what: &str, speed: f64, least: f64| {
        println!("  {what}: {speed:.2} x");
        bench.target(&format!("{what} at batches of {batch}: at least {least} x"), speed >= least);
    };
    let rate = |name: &str, other: &str| results.times(other, name, 2);
    at_least("rate with 10,000 leased to itself", rate("10,000 leased", PLAIN), 0.9);
    at_least("rate with 1,000,000 queued as well", rate("and 1,000,000 queued", PLAIN), 0.8);
    if batch == 100 {
        at_least("rate to bare streams", rate(PLAIN, STREAMS), 0.65);
        at_least(
            "rate to bare streams, both with AOF",
            rate("queue, AOF", "bare streams, AOF"),
            1.0,
        );
    } else {
        let micros = results.median(PLAIN);
        bench.target("Redis CPU at most 16 us at batches of 10", micros <= 16.0);
    }
}
