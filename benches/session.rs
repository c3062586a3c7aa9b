//! Sessions in Redis beside what they would cost at least: `PING`, and one value under one key.
//!
//! Every contender has a `redis-server` of its own, so that what each costs the server can be told
//! apart. A whole value keeps nothing of what a session promises: of concurrent requests the last
//! one wins. It shows what moving the same bytes costs.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, cmd};
use standfast_benches::{Bench, RedisServer, Table, current_thread, nanos_per, quantile};
use standfast_core::redis::{Redis, Request};
use standfast_session::{
    Access, CommitOutcome, Key, LoadOutcome, Patch, RedisSessionConfig, RedisSessionHandler,
    RotateOutcome, Rotation, SessionHandler, SessionHandlerExt, SessionInit, SessionToken,
    UpdateOutcome,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const SERVER: &str = "the server is there";
/// Fields of a session, and the bytes of each.
const FIELDS: usize = 10;
const BYTES: usize = 150;
/// Commits in flight at once where throughput is measured.
const TASKS: usize = 64;
const SESSIONS: usize = 200;
/// The experiment: writers and updates of each.
const WRITERS: usize = 8;
const ROUNDS: usize = 300;

fn main() {
    let mut bench = Bench::from_args("sessions in Redis");
    // says so, once, where there is no server
    if RedisServer::start().is_none() {
        return;
    }
    if bench.wants("trips") {
        trips(&mut bench);
    }
    if bench.wants("latency") {
        latency(&mut bench);
    }
    if bench.wants("commits") {
        commits(&mut bench);
    }
    if bench.wants("experiment") {
        experiment(&mut bench);
    }
    bench.finish();
}

fn start() -> RedisServer {
    RedisServer::start().expect("there was one a moment ago")
}

fn value() -> Vec<u8> {
    vec![b'v'; BYTES]
}

fn filled() -> SessionInit {
    let patch =
        (0..FIELDS).fold(Patch::new(), |patch, n| patch.set(&format!("field-{n}"), value()));
    SessionInit::new().with_patch(patch)
}

async fn begin(handler: &RedisSessionHandler) -> (SessionToken, Access) {
    let token = handler.start(&filled()).await.expect(SERVER).token;
    let visitor = Access::bearer(&token);
    (token, visitor)
}

async fn read(handler: &RedisSessionHandler, visitor: &Access) {
    let found = handler.load(visitor).await.expect(SERVER);
    assert!(matches!(found, LoadOutcome::Found(_)));
}

async fn commit(handler: &RedisSessionHandler, visitor: &Access, patch: &Patch) {
    let outcome = handler.commit(visitor, patch).await.expect(SERVER);
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
}

async fn rotate(handler: &RedisSessionHandler, visitor: &Access, to: &Rotation, patch: &Patch) {
    let outcome = handler.rotate(visitor, to, patch).await.expect(SERVER);
    assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
}

/// How often the server read from the socket for each kind of request, and the commands, from clients
/// and in scripts, as `MONITOR` shows them.
fn trips(bench: &mut Bench) {
    let (runtime, server) = (current_thread(), start());
    let handler = RedisSessionHandler::from_url(&server.url()).expect("it is a URL");
    let write = Patch::new().set("field-3", value());
    // connections and scripts are there before
    runtime.block_on(async {
        let (token, visitor) = begin(&handler).await;
        read(&handler, &visitor).await;
        commit(&handler, &visitor, &write).await;
        let new = token.renewed();
        rotate(&handler, &visitor, &Rotation::login(&new, "warm"), &write).await;
        let _ = handler.destroy(&Access::bearer(&new)).await.expect(SERVER);
    });
    println!("\ntrips: what each kind of request asks of the server");
    println!(
        "  {:<34}{:>14}{:>14}{:>14}{:>10}",
        "", "round trips", "commands", "in scripts", "at most"
    );
    for (kind, most) in [
        ("read", 1),
        ("write, nothing read", 1),
        ("read and write", 2),
        ("renewal of the secret and write", 2),
        ("login with write", 3),
        ("logout of somebody", 2),
        ("start", 1),
    ] {
        let owner = SessionInit::new().with_principal("ada");
        let (token, visitor) = runtime.block_on(async {
            match kind {
                "logout of somebody" => {
                    let token = handler.start(&owner).await.expect(SERVER).token;
                    let visitor = Access::bearer(&token);
                    (token, visitor)
                }
                _ => begin(&handler).await,
            }
        });
        let monitor = server.count_commands();
        let before = server.usage().reads;
        runtime.block_on(async {
            if matches!(kind, "read" | "read and write" | "login with write")
                || kind.starts_with("renewal")
            {
                read(&handler, &visitor).await;
            }
            let new = token.renewed();
            match kind {
                "read" => {}
                "start" => {
                    begin(&handler).await;
                }
                "logout of somebody" => {
                    let _ = handler.destroy(&visitor).await.expect(SERVER);
                }
                "login with write" => {
                    rotate(&handler, &visitor, &Rotation::login(&new, "ada"), &write).await;
                }
                kind if kind.starts_with("renewal") => {
                    rotate(&handler, &visitor, &Rotation::renewal(&new), &write).await;
                }
                _ => commit(&handler, &visitor, &write).await,
            }
        });
        // the question itself is one
        let trips = server.usage().reads - before - 1;
        let commands = monitor.end();
        let (calls, inner) = (commands.calls(), commands.inner());
        println!("  {kind:<34}{trips:>14}{calls:>14}{inner:>14}{most:>10}");
        bench.target(&format!("{kind}: {most} round trips"), trips == most);
    }
}

/// The middle of the microseconds that `count` calls took, one after the other.
async fn middle(count: usize, mut call: impl AsyncFnMut()) -> f64 {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        call().await;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    quantile(&mut took, 0.5)
}

const PING: &str = "PING";
const BARE: &str = "PING of the client library";
const READ: &str = "session: read";
const BOTH: &str = "session: read and write";

/// One request after the other on one server; the median of each kind within a turn. The PING that
/// the others are compared with goes over the connection of the sessions.
fn latency(bench: &mut Bench) {
    let (runtime, server) = (current_thread(), start());
    let (runtime, count) = (&runtime, bench.count(2000));
    let redis = Redis::from_url(&server.url()).expect("it is a URL");
    let handler = RedisSessionHandler::from_parts(redis.clone(), RedisSessionConfig::default());
    let handler = handler.expect("the default is valid");
    let raw = runtime.block_on(connect(&server));
    let (_, visitor) = runtime.block_on(begin(&handler));
    let write = Patch::new().set("field-3", value());
    let whole = vec![b'v'; FIELDS * BYTES];
    let (redis, handler, visitor, write, whole) = (&redis, &handler, &visitor, &write, &whole);
    let bare = raw.clone();
    let results = Table::new("latency: p50 of a request, us", &["us"])
        .row(PING, || {
            runtime.block_on(middle(count, async || {
                redis.call(Request::command("bench", "PING", "")).await.expect(SERVER);
            }))
        })
        .row(BARE, || {
            let mut raw = bare.clone();
            runtime.block_on(middle(count, async || {
                cmd("PING").exec_async(&mut raw).await.expect(SERVER);
            }))
        })
        .row("one value: GET", || {
            let mut raw = raw.clone();
            runtime.block_on(middle(count, async || {
                cmd("GET").arg("whole").exec_async(&mut raw).await.expect(SERVER);
            }))
        })
        .row("one value: GET and SET XX EX", || {
            let mut raw = raw.clone();
            runtime.block_on(middle(count, async || {
                cmd("GET").arg("whole").exec_async(&mut raw).await.expect(SERVER);
                let mut set = cmd("SET");
                set.arg("whole").arg(whole).arg("EX").arg(1800);
                set.exec_async(&mut raw).await.expect(SERVER);
            }))
        })
        .row(READ, || runtime.block_on(middle(count, async || read(handler, visitor).await)))
        .row("session: write, nothing read", || {
            runtime.block_on(middle(count, async || commit(handler, visitor, write).await))
        })
        .row(BOTH, || {
            runtime.block_on(middle(count, async || {
                read(handler, visitor).await;
                commit(handler, visitor, write).await;
            }))
        })
        .in_turns(3)
        .run(bench);
    for (name, most) in [(READ, 1.25), (BOTH, 2.5)] {
        let times = results.times(name, PING, 0);
        println!("  {name}: {times:.2} x PING");
        bench.target(&format!("p50 of {name} at most {most} x PING"), times <= most);
    }
}

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = Client::open(server.url()).expect("it is a URL");
    client.get_multiplexed_async_connection().await.expect(SERVER)
}

/// Does `each` of `TASKS` tasks over and over; microseconds by the clock and of the server.
fn measure<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    server: &RedisServer,
    count: usize,
    each: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Vec<f64> {
    let before = server.usage();
    let began = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let each = each.clone();
            tasks.spawn(async move {
                for number in 0..count / TASKS {
                    each(task + number * TASKS).await;
                }
            });
        }
        tasks.join_all().await;
    });
    let count = count / TASKS * TASKS;
    let wall = nanos_per(began, count) / 1e3;
    vec![server.usage().micros_per(&before, count), wall]
}

/// What a commit costs the server when it has enough to do.
fn commits(bench: &mut Bench) {
    let runtime = current_thread();
    let count = bench.count(100_000) / 5;
    let title = "commits: 64 at once on 200 sessions";
    let servers = [(); 2].map(|()| start());
    let raw = runtime.block_on(connect(&servers[0]));
    let handler = RedisSessionHandler::from_url(&servers[1].url()).expect("it is a URL");
    let visitors: std::sync::Arc<[Access]> = runtime.block_on(async {
        let mut visitors = Vec::new();
        for _ in 0..SESSIONS {
            visitors.push(begin(&handler).await.1);
        }
        visitors.into()
    });
    let (runtime, servers) = (&runtime, &servers);
    let mut table = Table::new(title, &["Redis CPU us", "wall us"]);
    table = table.rows("one value: SET XX EX", move || {
        let raw = raw.clone();
        measure(runtime, &servers[0], count, move |number| {
            let mut raw = raw.clone();
            async move {
                let mut set = cmd("SET");
                set.arg(format!("whole-{}", number % SESSIONS));
                set.arg(vec![b'v'; FIELDS * BYTES]).arg("EX").arg(1800);
                set.exec_async(&mut raw).await.expect(SERVER);
            }
        })
    });
    for (name, patch) in [
        ("commit, a field set", Patch::new().set("field-3", value())),
        ("commit, an increment", Patch::new().increment("n", 1)),
        (
            "commit, five fields set",
            (0..5).fold(Patch::new(), |patch, n| patch.set(&format!("field-{n}"), value())),
        ),
    ] {
        let (handler, visitors) = (handler.clone(), std::sync::Arc::clone(&visitors));
        table = table.rows(name, move || {
            let (handler, visitors, patch) =
                (handler.clone(), std::sync::Arc::clone(&visitors), patch.clone());
            measure(runtime, &servers[1], count, move |number| {
                let (handler, patch) = (handler.clone(), patch.clone());
                let visitor = visitors[number % SESSIONS].clone();
                async move { commit(&handler, &visitor, &patch).await }
            })
        });
    }
    let results = table.in_turns(3).run(bench);
    let micros = results.median("commit, a field set");
    println!("  {:.0} commits in a second of the server's processor", 1e6 / micros);
    bench.target("80,000 commits in a second of the server's processor", micros <= 12.5);
}

/// 8 writers of one session, 300 updates each: how many are there afterwards.
fn experiment(bench: &mut Bench) {
    const OWN: [&str; WRITERS] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"];
    const COUNT: Key<i64> = Key::counter("count");
    const SHARED: Key<u64> = Key::cas("shared");
    let (runtime, server) = (current_thread(), start());
    let handler = RedisSessionHandler::from_url(&server.url()).expect("it is a URL");
    let (_, visitor) = runtime.block_on(begin(&handler));
    let all = WRITERS * ROUNDS;
    println!("\nexperiment: {WRITERS} writers, {ROUNDS} updates each: kept of {all}");
    for kind in ["own keys", "same key, counter", "same key, compared"] {
        runtime.block_on(async {
            let mut writers = JoinSet::new();
            for own in OWN {
                let (handler, visitor) = (handler.clone(), visitor.clone());
                writers.spawn(async move {
                    for _ in 0..ROUNDS {
                        match kind {
                            "own keys" => {
                                let key = Key::<u64>::lww(own);
                                let seen = handler.load(&visitor).await.expect(SERVER).found();
                                let seen = key.read(&seen.expect("it is there")).expect("a number");
                                tokio::time::sleep(Duration::from_micros(200)).await;
                                let json = (seen.unwrap_or_default() + 1).to_string();
                                commit(&handler, &visitor, &Patch::new().set(own, json)).await;
                            }
                            "same key, counter" => {
                                commit(&handler, &visitor, &COUNT.add(Patch::new(), 1)).await;
                            }
                            _ => loop {
                                match handler.update(&visitor, &SHARED, |n| *n += 1).await {
                                    Ok(UpdateOutcome::Updated { .. }) => break,
                                    Err(error) if error.is_retryable() => {}
                                    other => panic!("{other:?}"),
                                }
                            },
                        }
                    }
                });
            }
            writers.join_all().await;
        });
        let found = runtime.block_on(handler.load(&visitor)).expect(SERVER).found();
        let found = found.expect("it is there");
        let kept = match kind {
            "own keys" => {
                let one = |own| Key::<u64>::lww(own).read(&found).expect("a number");
                OWN.into_iter().filter_map(one).sum::<u64>()
            }
            "same key, counter" => found.counter("count").unsigned_abs(),
            _ => SHARED.read(&found).expect("a number").unwrap_or_default(),
        };
        println!("  {kind:<34}{kept:>14}");
        bench.target(&format!("{kind}: {all} of {all}"), kept == all as u64);
    }
}
