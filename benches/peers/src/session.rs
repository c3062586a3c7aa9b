//! Sessions in one Redis server, beside one another: 8 writers of one session, 300 updates each.
//!
//! Every request reads the session, thinks for a fifth of a millisecond, writes, and takes no lock.
//! The shape of actix-session 0.11 is its two commands, `GET` and `SET XX EX` of the whole map, on a
//! bare connection: its store cannot be called without a server of actix.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, cmd};
use serde_json::{Value, json};
use standfast_benches::{Bench, RedisServer, nanos_per, two_threads};
use standfast_session::tower_sessions::v0_14::TowerSessionStore;
use standfast_session::{
    Access, Key, Patch, RedisSessionHandler, SessionHandler, SessionHandlerExt, SessionInit,
    UpdateOutcome,
};
use tokio::task::JoinSet;
use tower_sessions_core::session::Id;
use tower_sessions_core::{Session, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

const THERE: &str = "the server is there";
const WRITERS: usize = 8;
const FIELDS: usize = 10;
const THINK: Duration = Duration::from_micros(200);
const COUNT: Key<i64> = Key::counter("shared");
const SHARED: Key<u64> = Key::cas("shared");

/// One update of `key` in the session that all writers share.
trait Updates: Clone + Send + 'static {
    fn update(&self, key: String) -> impl Future<Output = ()> + Send;
    fn kept(&self, keys: Vec<String>) -> impl Future<Output = u64> + Send;
}

/// The data that every session has besides.
fn ballast() -> impl Iterator<Item = (String, Value)> {
    (0..FIELDS).map(|n| (format!("field-{n}"), json!("v".repeat(150))))
}

/// A session of tower-sessions in any store of it.
#[derive(Clone, Debug)]
struct Tower<S: Clone>(Arc<S>, Id);

impl<S: SessionStore + Clone> Tower<S> {
    async fn begin(store: S) -> Self {
        let store = Arc::new(store);
        let session = Session::new(None, Arc::clone(&store), None);
        for (name, value) in ballast() {
            session.insert(&name, value).await.expect(THERE);
        }
        session.save().await.expect(THERE);
        Self(store, session.id().expect("it was saved"))
    }

    fn session(&self) -> Session {
        Session::new(Some(self.1), Arc::clone(&self.0), None)
    }
}

impl<S: SessionStore + Clone> Updates for Tower<S> {
    async fn update(&self, key: String) {
        let session = self.session();
        let seen: u64 = session.get(&key).await.expect(THERE).unwrap_or_default();
        tokio::time::sleep(THINK).await;
        session.insert(&key, seen + 1).await.expect(THERE);
        session.save().await.expect(THERE);
    }

    async fn kept(&self, keys: Vec<String>) -> u64 {
        let (session, mut kept) = (self.session(), 0);
        for key in keys {
            kept += session.get::<u64>(&key).await.expect(THERE).unwrap_or_default();
        }
        kept
    }
}

/// The two commands of actix-session.
#[derive(Clone)]
struct Whole(MultiplexedConnection);

impl Whole {
    async fn begin(connection: MultiplexedConnection) -> Self {
        let whole = Self(connection);
        let map: HashMap<String, Value> = ballast().collect();
        let mut set = cmd("SET");
        set.arg("whole").arg(serde_json::to_vec(&map).expect("JSON"));
        set.exec_async(&mut whole.0.clone()).await.expect(THERE);
        whole
    }

    async fn read(&self) -> HashMap<String, Value> {
        let bytes: Vec<u8> =
            cmd("GET").arg("whole").query_async(&mut self.0.clone()).await.expect(THERE);
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

impl Updates for Whole {
    async fn update(&self, key: String) {
        let mut map = self.read().await;
        tokio::time::sleep(THINK).await;
        let seen = map.get(&key).and_then(Value::as_u64).unwrap_or_default();
        map.insert(key, json!(seen + 1));
        let mut set = cmd("SET");
        set.arg("whole").arg(serde_json::to_vec(&map).expect("JSON")).arg("XX").arg("EX").arg(1800);
        set.exec_async(&mut self.0.clone()).await.expect(THERE);
    }

    async fn kept(&self, keys: Vec<String>) -> u64 {
        let map = self.read().await;
        keys.iter().filter_map(|key| map.get(key)?.as_u64()).sum()
    }
}

#[derive(Clone, Copy)]
enum Ours {
    Set,
    Counter,
    Compare,
}

/// A session of ours; what a shared key is, it declares.
#[derive(Clone)]
struct Standfast(RedisSessionHandler, Access, Ours);

impl Standfast {
    async fn begin(handler: RedisSessionHandler, ours: Ours) -> Self {
        let patch = ballast()
            .fold(Patch::new(), |patch, (name, value)| patch.set(&name, value.to_string()));
        let init = SessionInit::new().with_patch(patch);
        let token = handler.start(&init).await.expect(THERE).token;
        Self(handler, Access::bearer(&token), ours)
    }
}

impl Updates for Standfast {
    async fn update(&self, key: String) {
        let Self(handler, visitor, ours) = self;
        match ours {
            Ours::Compare => loop {
                match handler.update(visitor, &SHARED, |n| *n += 1).await {
                    Ok(UpdateOutcome::Updated { .. }) => break,
                    Err(error) if error.is_retryable() => {}
                    other => panic!("{other:?}"),
                }
            },
            Ours::Counter | Ours::Set => {
                let found = handler.load(visitor).await.expect(THERE).found().expect("it is there");
                tokio::time::sleep(THINK).await;
                let patch = if matches!(ours, Ours::Counter) {
                    COUNT.add(Patch::new(), 1)
                } else {
                    let seen = found.bytes(&key).and_then(|json| serde_json::from_slice(json).ok());
                    Patch::new().set(&key, (seen.unwrap_or(0_u64) + 1).to_string())
                };
                let _ = handler.commit(visitor, &patch).await.expect(THERE);
            }
        }
    }

    async fn kept(&self, keys: Vec<String>) -> u64 {
        let found = self.0.load(&self.1).await.expect(THERE).found().expect("it is there");
        if matches!(self.2, Ours::Counter) {
            return found.counter(COUNT.name()).unsigned_abs();
        }
        let one = |key: &String| serde_json::from_slice::<u64>(found.bytes(key)?).ok();
        keys.iter().filter_map(one).sum()
    }
}

/// Every writer's updates; how many are there afterwards, the microseconds of each by the clock, and
/// those of the server.
async fn run(
    server: &RedisServer,
    rounds: usize,
    own_keys: bool,
    session: impl Updates,
) -> (u64, f64, f64) {
    let key = move |writer: usize| match own_keys {
        true => format!("w{writer}"),
        false => "shared".to_owned(),
    };
    let before = server.usage();
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let session = session.clone();
        writers.spawn(async move {
            for _ in 0..rounds {
                session.update(key(writer)).await;
            }
        });
    }
    writers.join_all().await;
    let count = WRITERS * rounds;
    let wall = nanos_per(began, count) / 1e3;
    let redis = server.usage().micros_per(&before, count);
    let keys = if own_keys { (0..WRITERS).map(key).collect() } else { vec![key(0)] };
    (session.kept(keys).await, wall, redis)
}

fn main() {
    let mut bench = Bench::from_args("peers of sessions in Redis");
    let Some(server) = RedisServer::start() else { return };
    let rounds = bench.count(300);
    let all = (WRITERS * rounds) as u64;
    let runtime = two_threads();
    println!("\n{WRITERS} writers of one session, {rounds} updates each, two threads");
    println!("  {:<58}{:>12}{:>12}{:>14}", "", "kept", "wall us", "Redis CPU us");
    let mut row = |name: &str, (kept, wall, redis): (u64, f64, f64), keeps: bool| {
        println!("  {name:<58}{:>12}{wall:>12.0}{redis:>14.1}", format!("{kept}/{all}"));
        if keeps {
            bench.target(&format!("{name}: {all} of {all}"), kept == all);
        }
    };
    runtime.block_on(async {
        let handler = RedisSessionHandler::from_url(&server.url()).expect("it is a URL");
        let config = Config::from_url(&server.url()).expect("it is a URL");
        let pool = Pool::new(config, None, None, None, WRITERS).expect("a pool");
        pool.connect();
        pool.wait_for_connect().await.expect(THERE);
        let client = Client::open(server.url()).expect("it is a URL");
        let raw = client.get_multiplexed_async_connection().await.expect(THERE);
        for own in [true, false] {
            let keys = if own { "own keys" } else { "same key" };
            let tower = Tower::begin(RedisStore::new(pool.clone())).await;
            let took = run(&server, rounds, own, tower).await;
            row(&format!("{keys}: tower-sessions, its Redis store"), took, false);
            let took = run(&server, rounds, own, Whole::begin(raw.clone()).await).await;
            row(&format!("{keys}: the commands of actix-session"), took, false);
            let tower = Tower::begin(TowerSessionStore::new(handler.clone())).await;
            let took = run(&server, rounds, own, tower).await;
            // tower-sessions has no words for how values of one key merge
            row(&format!("{keys}: standfast under tower-sessions"), took, own);
            let kinds = match own {
                true => vec![("set", Ours::Set)],
                false => vec![("counter", Ours::Counter), ("compared", Ours::Compare)],
            };
            for (name, ours) in kinds {
                let session = Standfast::begin(handler.clone(), ours).await;
                let took = run(&server, rounds, own, session).await;
                row(&format!("{keys}: standfast, {name}"), took, true);
            }
        }
    });
    bench.finish();
}
