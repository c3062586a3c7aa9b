//! Claims of ticks in Redis beside a `PING` of the same connection, and what contenders that lose
//! cost the server.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use standfast_benches::{Bench, RedisServer, Table, current_thread, quantile};
use standfast_core::Id128;
use standfast_core::redis::{Redis, Request, Script};
use standfast_cron_lock::{
    Claim, ClaimOptions, CronLock, CronLockConfig, Owner, RedisCronConfig, RedisCronLock,
    Settlement,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const SERVER: &str = "the server is there";
const PING: &str = "PING";
const EMPTY: &str = "a script that does nothing";
const WON: &str = "claim that wins";
const HELD: &str = "claim of a held tick";
const FINISHED: &str = "claim of a finished tick";

/// What any script with these keys and arguments costs.
static NOTHING: Script = Script::new("return 1");

/// Longer than a run.
const LEASE: Duration = Duration::from_secs(600);

/// Instances, and how often they claim in a second, all together.
const INSTANCES: u32 = 16;
const RATE: u32 = 1000;

fn main() {
    let mut bench = Bench::from_args("cron");
    // says so, once, where there is no server
    let Some(server) = RedisServer::start() else { return };
    if bench.wants("claim") {
        claims(&mut bench, &server);
    }
    if bench.wants("contention") {
        contention(&mut bench, &server);
    }
    if bench.wants("memory") {
        memory(&bench, &server);
    }
    bench.finish();
}

/// Ticks of a millisecond, so that there are enough of them to win.
fn rules() -> CronLockConfig {
    let mut rules = CronLockConfig::default();
    rules.resolution = Duration::from_millis(1);
    rules.max_lease = LEASE;
    rules.max_late = Duration::from_secs(300);
    rules.retention = Duration::from_secs(950);
    rules
}

fn open(redis: &Redis, namespace: &str) -> RedisCronLock {
    let mut config = RedisCronConfig::default();
    config.rules = rules();
    RedisCronLock::from_parts(redis.clone(), namespace, config).expect("it can work")
}

/// Twenty schedules, as an application has them.
fn options() -> ClaimOptions {
    let schedules = (0..20).map(|number| format!("schedule-{number:02}"));
    ClaimOptions::new(LEASE).with_schedules(schedules)
}

/// One instance on one connection.
struct Stand {
    redis: Redis,
    lock: RedisCronLock,
    owner: Owner,
    options: ClaimOptions,
    /// The next tick to be won.
    next: DateTime<Utc>,
}

impl Stand {
    async fn open(server: &RedisServer, namespace: &str) -> Self {
        let redis = Redis::from_url(&server.url()).expect("it is a URL");
        let lock = open(&redis, namespace);
        let now = lock.now().await.expect(SERVER);
        let next = lock.capabilities().config.tick_at(now) - Duration::from_secs(200);
        Self { redis, lock, owner: Owner::new("bench"), options: options(), next }
    }

    async fn claim(&self, at: DateTime<Utc>) -> Claim {
        self.lock.claim(at, &self.owner, &self.options).await.expect(SERVER)
    }

    async fn win(&mut self) -> DateTime<Utc> {
        let at = self.next;
        self.next += rules().resolution;
        assert!(matches!(self.claim(at).await, Claim::Claimed(_)), "nobody else claims");
        at
    }

    async fn finished(&mut self) -> DateTime<Utc> {
        let at = self.next;
        self.next += rules().resolution;
        let Claim::Claimed(won) = self.claim(at).await else { panic!("nobody else claims") };
        let settlement = Settlement::finish([]);
        let _ = self.lock.settle(at, won.tick.fence, &settlement).await.expect(SERVER);
        at
    }
}

/// Calls a script that does nothing with what a claim sends.
async fn nothing(redis: &Redis, options: &ClaimOptions) {
    let keys = ["records", "order", "cursor"].map(|part| format!("standfast:1:cron:{{b}}:{part}"));
    let schedules: Vec<_> = options.schedules.iter().map(String::as_str).collect();
    let request = NOTHING.on("bench.nothing", &keys).arg("1700000000000000");
    let request = request.args(["950000000", "100000000", "100000000"]);
    let request = request.args([Id128::random().to_bytes(), Id128::random().to_bytes()]);
    let request = request.arg("bench").arg(schedules.join(",")).args(["800000000", "3"]);
    redis.call(request).await.expect(SERVER);
}

async fn ping(redis: &Redis) {
    let ping = Request::command("bench.ping", "PING", "pong");
    redis.call(ping).await.expect(SERVER);
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

/// One claim after the other, each beside a `PING`: medians of the same moments.
fn claims(bench: &mut Bench, server: &RedisServer) {
    let runtime = current_thread();
    let count = bench.count(2000);
    let mut stand = runtime.block_on(Stand::open(server, "claims"));
    let (held, finished) = runtime.block_on(async {
        let finished = stand.finished().await;
        (stand.win().await, finished)
    });
    let stand = std::cell::RefCell::new(stand);
    let measure = |what: &'static str| {
        let mut stand = stand.borrow_mut();
        runtime.block_on(async {
            let mut took = Vec::with_capacity(count);
            for _ in 0..count {
                let began = Instant::now();
                match what {
                    PING => ping(&stand.redis).await,
                    EMPTY => nothing(&stand.redis, &stand.options).await,
                    WON => drop(stand.win().await),
                    HELD => assert!(matches!(stand.claim(held).await, Claim::Held(_))),
                    _ => assert!(matches!(stand.claim(finished).await, Claim::Finished(_))),
                }
                took.push(micros(began));
            }
            vec![quantile(&mut took, 0.5), quantile(&mut took, 0.99)]
        })
    };
    let mut table = Table::new("claim: one after the other", &["p50 us", "p99 us"]);
    for what in [PING, EMPTY, WON, HELD, FINISHED] {
        table = table.rows(what, move || measure(what));
    }
    let results = table.in_turns(5).run(bench);
    for what in [WON, HELD, FINISHED] {
        let times = results.times(what, PING, 0);
        let least = results.times(what, EMPTY, 0);
        println!("  p50 of a {what} to PING: {times:.2} x; to {EMPTY}: {least:.2} x");
        bench.target(&format!("p50 of a {what} at most 1.2 x PING"), times <= 1.2);
    }
}

/// Sixteen instances, each on its own connection, claim what one of them has: all at once, and a
/// thousand times a second.
fn contention(bench: &mut Bench, server: &RedisServer) {
    let runtime = current_thread();
    let stands = runtime.block_on(async {
        let mut stands = Vec::new();
        for _ in 0..INSTANCES {
            stands.push(Stand::open(server, "contention").await);
        }
        stands
    });
    let mut stands = stands;
    let (held, finished) = runtime.block_on(async {
        let finished = stands[0].finished().await;
        (stands[0].win().await, finished)
    });
    let each = bench.count(1000);
    let (stands, runtime) = (&stands, &runtime);
    let flood = |what: What| {
        let before = server.usage();
        let began = Instant::now();
        runtime.block_on(lose(stands, what, each, Duration::ZERO));
        let (all, wall) = (each * INSTANCES as usize, micros(began));
        vec![server.usage().micros_per(&before, all), wall / all as f64]
    };
    Table::new(
        "contention: sixteen connections, as fast as they can",
        &["Redis CPU us", "wall us"],
    )
    .rows(PING, || flood(What::Ping))
    .rows(EMPTY, || flood(What::Nothing))
    .rows(HELD, || flood(What::Claim(held)))
    .rows(FINISHED, || flood(What::Claim(finished)))
    .run(bench);

    let pause = Duration::from_secs(1) * INSTANCES / RATE;
    let seconds = bench.count(3000) as f64 / 1000.0;
    let rounds = (seconds / pause.as_secs_f64()).ceil() as usize;
    let paced = |what: What| {
        let before = server.usage();
        let began = Instant::now();
        runtime.block_on(lose(stands, what, rounds, pause));
        let cpu = server.usage().micros_per(&before, 1);
        // percent of a core
        vec![cpu / micros(began) * 100.0]
    };
    let results = Table::new("contention: 1,000 a second", &["% of a core"])
        .rows(PING, || paced(What::Ping))
        .rows(EMPTY, || paced(What::Nothing))
        .rows(HELD, || paced(What::Claim(held)))
        .rows(FINISHED, || paced(What::Claim(finished)))
        .run(bench);
    for what in [HELD, FINISHED] {
        let share = results.median(what);
        bench.target(&format!("1,000 a second, each a {what}: below 5 % of a core"), share < 5.0);
    }
}

/// What everybody does.
#[derive(Clone, Copy)]
enum What {
    Ping,
    Nothing,
    /// A claim of this tick, which loses.
    Claim(DateTime<Utc>),
}

/// Everybody does the same, `each` times, with a pause after each.
async fn lose(stands: &[Stand], what: What, each: usize, pause: Duration) {
    let mut losing = JoinSet::new();
    for (number, stand) in stands.iter().enumerate() {
        let (redis, lock) = (stand.redis.clone(), stand.lock.clone());
        let options = stand.options.clone();
        let owner = Owner::new(format!("loser-{number}"));
        // not all at the same moment
        let first = pause * u32::try_from(number).expect("few") / INSTANCES;
        losing.spawn(async move {
            tokio::time::sleep(first).await;
            let mut next = tokio::time::Instant::now();
            for _ in 0..each {
                match what {
                    What::Ping => ping(&redis).await,
                    What::Nothing => nothing(&redis, &options).await,
                    What::Claim(at) => {
                        let claim = lock.claim(at, &owner, &options).await.expect(SERVER);
                        assert!(matches!(claim, Claim::Held(_) | Claim::Finished(_)), "{claim:?}");
                    }
                }
                next += pause;
                if !pause.is_zero() {
                    tokio::time::sleep_until(next).await;
                }
            }
        });
    }
    losing.join_all().await;
}

/// What a record takes of the server's memory.
fn memory(bench: &Bench, server: &RedisServer) {
    let runtime: Runtime = current_thread();
    let count = bench.count(10_000);
    println!("\nmemory of {count} finished ticks, about a week of minutes");
    for schedules in [0, 5, 20] {
        server.clear();
        let mut stand = runtime.block_on(Stand::open(server, "memory"));
        let ids: Vec<_> = stand.options.schedules.iter().take(schedules).cloned().collect();
        stand.options = ClaimOptions::new(LEASE).with_schedules(ids);
        // the scripts are there before
        runtime.block_on(stand.finished());
        let before = server.usage().memory;
        runtime.block_on(async {
            for _ in 0..count {
                stand.finished().await;
            }
        });
        let bytes = (server.usage().memory - before) as f64 / count as f64;
        println!("  {schedules:>2} schedules of 11 bytes: {bytes:.0} bytes each");
    }
}
