//! The promises of the protocol, under every order in which requests of several publishers and
//! collectors can happen, with one of them dying at any step and time passing at any moment.
//!
//! The real code runs against a store whose requests wait until the explorer lets one of them
//! happen. Depth first, every choice is taken in every state; a state that was met before (what is
//! stored, and what each actor has been told) is not gone through again. That is exhaustive: for
//! these actors, with one file at a time, and as many deaths and leaps of time as each scenario
//! says; `STANDFAST_SOAK` adds to them. One thing is ruled out, as the contract says: that the grace
//! period passes while a single request that binds a set is on its way.
//!
//! Everything is done twice: with versions that are unlike all others, and with versions that name
//! contents. With those a delete can hit what was written anew, so for an hour publishers stand
//! back, and no delete is on its way for as long as time leaps.
#![cfg(feature = "blobstore")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use standfast_asset_hash::{AssetStore, Depth, LocalSet, Previous};
use standfast_blobstore::{BlobEntry, Blobs, MemoryBlobStore, Version};
use standfast_core::testkit::ManualClock;
use standfast_core::{Clock, ErrorKind, Result};
use support::{Gate, Gated, commit};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than the grace period, shorter than commits are kept.
const LEAP: Duration = Duration::from_secs(8 * 24 * 3600);

/// Time that passes only when the explorer says so; waits between attempts take none of it.
#[derive(Clone, Debug)]
struct Unhurried(ManualClock);

#[async_trait]
impl Clock for Unhurried {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
    fn instant(&self) -> Instant {
        self.0.instant()
    }
    async fn sleep_until(&self, _: Instant) {}
}

/// Where an actor's request waits.
#[derive(Clone, Default)]
struct Turnstile(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    request: Option<(String, String)>,
    is_let_in: bool,
    waker: Option<Waker>,
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turnstile")
    }
}

#[async_trait]
impl Gate for Turnstile {
    async fn before(&self, what: &str, key: &str) -> Result<()> {
        let request = (what.to_owned(), key.to_owned());
        assert!(self.0.lock().unwrap().request.replace(request).is_none(), "one at a time");
        std::future::poll_fn(|context| {
            let mut waiting = self.0.lock().unwrap();
            if std::mem::take(&mut waiting.is_let_in) {
                waiting.request = None;
                return Poll::Ready(());
            }
            waiting.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(())
    }
}

type Begin = Box<dyn Fn(AssetStore) -> Work>;
type End = (&'static str, Vec<&'static LocalSet>);
type Work = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

struct Actor {
    turnstile: Turnstile,
    work: Option<Work>,
    outcome: Option<Result<()>>,
    /// What it has asked and been told, as a hash.
    history: u64,
    is_publisher: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Choice {
    Step(usize),
    Die(usize),
    Leap,
}

/// What is done in a scenario, and what must be true at its end.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    leaps: usize,
    deaths: usize,
    prepare: fn(&World),
    actors: fn(&World) -> Vec<Begin>,
    /// Commits and the sets that they may be bound to at the end.
    ends: fn(&World) -> Vec<End>,
}

struct World {
    clock: ManualClock,
    store: MemoryBlobStore,
    by_content: bool,
    actors: Vec<Actor>,
    leaps: usize,
    deaths: usize,
    /// Whether the last choice may have changed what is stored.
    has_changed: bool,
    /// Versions are random; by which write of its key each was made they can be compared.
    versions: HashMap<Version, u64>,
    writes: HashMap<String, u64>,
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store in memory answers at once"),
    }
}

impl World {
    fn new(scenario: &Scenario, by_content: bool) -> Self {
        let clock = ManualClock::at(DateTime::UNIX_EPOCH + 1000 * DAY);
        let store = MemoryBlobStore::new().with_clock(Arc::new(clock.clone()));
        let mut world = Self {
            clock,
            store,
            by_content,
            actors: Vec::new(),
            leaps: scenario.leaps,
            deaths: scenario.deaths,
            has_changed: true,
            versions: HashMap::new(),
            writes: HashMap::new(),
        };
        (scenario.prepare)(&world);
        world.actors = (scenario.actors)(&world)
            .into_iter()
            .map(|begin| {
                let turnstile = Turnstile::default();
                let gate = Arc::new(turnstile.clone());
                let work = Some(begin(world.assets_behind(gate)));
                Actor { turnstile, work, outcome: None, history: 0, is_publisher: false }
            })
            .collect();
        for at in 0..world.actors.len() {
            world.poll(at);
            let first = world.request(at).unwrap();
            world.actors[at].is_publisher = first.0 == "get" && first.1.starts_with("commits/");
        }
        world
    }

    fn assets(&self) -> AssetStore {
        self.assets_behind(Arc::new(support::Open))
    }

    fn assets_behind(&self, gate: Arc<dyn Gate>) -> AssetStore {
        let gated = Gated { by_content: self.by_content, ..Gated::new(self.store.clone(), gate) };
        AssetStore::new(gated).with_clock(Arc::new(Unhurried(self.clock.clone())))
    }

    fn entries(&self, prefix: &str) -> Vec<BlobEntry> {
        now(Blobs::new(self.store.clone()).list(prefix).try_collect()).unwrap()
    }

    /// What is stored there, without what makes each write of a marker another one.
    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let read = now(async { Blobs::new(self.store.clone()).get_bytes(key).await });
        let bytes = read.ok()?.to_vec();
        if !key.starts_with("sets/") {
            return Some(bytes);
        }
        let mut marker: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert!(marker.as_object_mut().unwrap().remove("write").is_some());
        Some(marker.to_string().into_bytes())
    }

    fn poll(&mut self, actor: usize) {
        let actor = &mut self.actors[actor];
        let Some(work) = &mut actor.work else { return };
        if let Poll::Ready(outcome) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            actor.outcome = Some(outcome);
            actor.work = None;
        }
    }

    /// What is stored below a prefix, with versions that can be compared.
    fn hash_of(&mut self, prefix: &str, hasher: &mut DefaultHasher) {
        for entry in self.entries(prefix) {
            let key = entry.key.as_str().to_owned();
            let writes = self.writes.entry(key.clone()).or_default();
            let version = self.versions.entry(entry.version).or_insert_with(|| {
                *writes += 1;
                *writes
            });
            (&key, version, entry.modified_at).hash(hasher);
            self.bytes(&key).hash(hasher);
        }
    }

    fn request(&self, actor: usize) -> Option<(String, String)> {
        self.actors[actor].work.as_ref()?;
        self.actors[actor].turnstile.0.lock().unwrap().request.clone()
    }

    fn choices(&self) -> Vec<Choice> {
        let alive: Vec<_> =
            (0..self.actors.len()).filter(|&at| self.request(at).is_some()).collect();
        let mut choices: Vec<_> = alive.iter().map(|&at| Choice::Step(at)).collect();
        if self.deaths > 0 {
            choices.extend(alive.iter().map(|&at| Choice::Die(at)));
        }
        let binds = |at: &usize| {
            let (what, key) = self.request(*at).unwrap_or_default();
            let binding = ["commits/", "channels/", "sets/"];
            what == "put" && binding.iter().any(|folder| key.starts_with(folder))
                || what == "delete" && self.by_content
        };
        if self.leaps > 0 && !alive.is_empty() && !alive.iter().any(binds) {
            choices.push(Choice::Leap);
        }
        choices
    }

    fn take(&mut self, choice: Choice) {
        self.has_changed = false;
        match choice {
            Choice::Step(at) => {
                let (what, key) = self.request(at).expect("it waits");
                self.has_changed = matches!(&*what, "put" | "delete" | "copy");
                let mut hasher = DefaultHasher::new();
                // whoever begins again knows nothing of what was
                if !(what == "get" && key.starts_with("commits/") && self.actors[at].is_publisher) {
                    self.actors[at].history.hash(&mut hasher);
                }
                (&what, &key).hash(&mut hasher);
                self.hash_of(&key, &mut hasher);
                {
                    let mut waiting = self.actors[at].turnstile.0.lock().unwrap();
                    waiting.is_let_in = true;
                    let waker = waiting.waker.take();
                    drop(waiting);
                    waker.into_iter().for_each(Waker::wake);
                }
                self.poll(at);
                self.hash_of(&key, &mut hasher);
                self.actors[at].history = hasher.finish();
            }
            Choice::Die(at) => {
                self.deaths -= 1;
                self.actors[at].work = None;
            }
            Choice::Leap => {
                self.leaps -= 1;
                self.clock.advance(LEAP);
            }
        }
    }

    /// What the world is, as far as anybody in it can tell.
    fn state(&mut self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.leaps, self.deaths, self.clock.now()).hash(&mut hasher);
        for actor in &self.actors {
            let is_alive = actor.work.is_some();
            (actor.history, is_alive, actor.outcome.is_some()).hash(&mut hasher);
        }
        self.hash_of("", &mut hasher);
        hasher.finish()
    }

    /// Whoever can read a commit's pointer can read the marker and every file.
    fn check_pointers(&self) {
        for entry in self.entries("commits/") {
            let name = entry.key.as_str();
            let name = name.trim_start_matches("commits/").trim_end_matches(".txt").to_owned();
            if self.by_content && self.is_condemned(name_of(&self.bytes(entry.key.as_str()))) {
                continue;
            }
            let verified =
                now(async { self.assets().verify(commit(&name)).depth(Depth::Contents).await });
            let verified = verified.unwrap_or_else(|error| panic!("commit {name}: {error}"));
            let wrong = |problem: &&standfast_asset_hash::Problem| {
                !matches!(problem, standfast_asset_hash::Problem::Extra(_))
            };
            let problems: Vec<_> = verified.problems.iter().filter(wrong).collect();
            assert!(problems.is_empty(), "commit {name}: {problems:?}");
        }
    }

    fn is_condemned(&self, id: &str) -> bool {
        let marker = self.bytes(&format!("sets/{id}.txt")).unwrap_or_default();
        String::from_utf8(marker).unwrap().contains("\"condemned\"")
    }

    fn check_end(&self, scenario: &Scenario) {
        let mut everybody_lived = self.actors.iter().all(|actor| actor.outcome.is_some());
        for actor in &self.actors {
            if let Some(Err(error)) = &actor.outcome {
                // another set for the same commit; or one that is being deleted
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                let has_stood_back = self.by_content && error.retry_after().is_some();
                assert!(has_stood_back || !error.is_retryable(), "{error}");
                everybody_lived &= !has_stood_back;
            }
        }
        if self.by_content {
            self.clock.advance(DAY / 12);
        }
        for (name, sets) in (scenario.ends)(self) {
            let found = now(async { self.assets().resolve(commit(name)).await });
            match found {
                Ok(found) => {
                    assert!(sets.iter().any(|set| set.manifest().id() == found.id), "{name}");
                }
                Err(error) => assert!(!everybody_lived, "{name} is not bound: {error}"),
            }
            // whatever was left behind, the next publisher gets through, unless another set is bound
            let done: Vec<_> = sets
                .iter()
                .map(|set| now(async { self.assets().publish(set, &commit(name)).await }))
                .collect();
            assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{name}: {done:?}");
            self.check_pointers();
        }
    }
}

/// The id that a pointer names.
fn name_of(pointer: &Option<Vec<u8>>) -> &str {
    std::str::from_utf8(pointer.as_deref().unwrap()).unwrap().trim_end()
}

/// Goes through all states, with versions of both kinds; how many there were at least.
fn explore(scenario: &Scenario) -> usize {
    explore_with(scenario, false).min(explore_with(scenario, true))
}

fn explore_with(scenario: &Scenario, by_content: bool) -> usize {
    let mut seen = HashSet::new();
    let mut open: Vec<Vec<Choice>> = vec![Vec::new()];
    let mut deepest = 0;
    while let Some(path) = open.pop() {
        let mut world = World::new(scenario, by_content);
        path.iter().for_each(|&choice| world.take(choice));
        let mut path = path;
        // on to the end, leaving the other choices of each state for later
        loop {
            let guard = Told(scenario.name, &path);
            if world.has_changed {
                world.check_pointers();
            }
            if !seen.insert(world.state()) {
                std::mem::forget(guard);
                break;
            }
            let choices = world.choices();
            let Some((&first, others)) = choices.split_first() else {
                world.check_end(scenario);
                std::mem::forget(guard);
                break;
            };
            std::mem::forget(guard);
            for &other in others {
                open.push([&path[..], &[other]].concat());
            }
            world.take(first);
            path.push(first);
            deepest = deepest.max(path.len());
            assert!(path.len() < 500, "{}: no end after {path:?}", scenario.name);
        }
    }
    let versions = if by_content { "of contents" } else { "unlike all others" };
    println!(
        "{}, versions {versions}: {} states, up to {deepest} steps",
        scenario.name,
        seen.len()
    );
    seen.len()
}

/// Says how it came to a failure.
struct Told<'a>(&'static str, &'a [Choice]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("{}: after {:?}", self.0, self.1);
    }
}

fn sets() -> &'static [LocalSet; 3] {
    static SETS: std::sync::OnceLock<[LocalSet; 3]> = std::sync::OnceLock::new();
    SETS.get_or_init(|| {
        [
            LocalSet::embedded(&[("a", b"1"), ("b", b"2")]).unwrap(),
            LocalSet::embedded(&[("a", b"1"), ("b", b"3")]).unwrap(),
            LocalSet::embedded(&[("a", b"1")]).unwrap(),
        ]
    })
}

fn publisher(set: usize, name: &'static str) -> Begin {
    Box::new(move |assets| {
        Box::pin(async move {
            let name = commit(name);
            let publish = assets.publish(&sets()[set], &name).concurrency(1);
            publish.previous(Previous::None).await.map(drop)
        })
    })
}

fn collector() -> Begin {
    Box::new(|assets| Box::pin(async move { assets.gc().concurrency(1).await.map(drop) }))
}

/// With a leap and with a death; in a soak, with two leaps and a death together.
fn explore_in_time(scenario: Scenario) {
    let depths: &[_] = if is_soak() { &[(2, 1)] } else { &[(1, 0), (0, 1)] };
    for &(leaps, deaths) in depths {
        let states = explore(&Scenario { leaps, deaths, ..scenario });
        assert!(states > 100, "{states}");
    }
}

fn is_soak() -> bool {
    std::env::var_os("STANDFAST_SOAK").is_some()
}

/// One collection after the other.
fn collectors() -> Begin {
    Box::new(|assets| {
        Box::pin(async move {
            assets.gc().concurrency(1).await?;
            assets.gc().concurrency(1).await.map(drop)
        })
    })
}

fn nothing(_: &World) {}

/// A set that was published long ago and is a tombstone whose grace period is over.
fn old_tombstone(world: &World) {
    bury(world, &sets()[0]);
}

/// The same of a set with one file, where there are three actors.
fn small_tombstone(world: &World) {
    bury(world, &sets()[2]);
}

fn bury(world: &World, set: &LocalSet) {
    now(async {
        world.assets().publish(set, &commit("old")).await.unwrap();
        world.clock.advance(31 * DAY);
        assert_eq!(world.assets().gc().await.unwrap().tombstoned.len(), 1);
        world.clock.advance(8 * DAY);
    });
}

/// A set whose collector died in the middle of its work.
fn half_deleted(world: &World) {
    old_tombstone(world);
    let turnstile = Turnstile::default();
    let gate = Arc::new(turnstile.clone());
    let assets = world.assets_behind(gate);
    let mut gc: Work = Box::pin(async move { assets.gc().concurrency(1).await.map(drop) });
    let mut context = Context::from_waker(Waker::noop());
    loop {
        assert!(gc.as_mut().poll(&mut context).is_pending());
        let mut waiting = turnstile.0.lock().unwrap();
        if waiting.request.as_ref().is_some_and(|(_, key)| key.ends_with("/b")) {
            world.clock.advance(DAY);
            return;
        }
        waiting.is_let_in = true;
        let waker = waiting.waker.take();
        drop(waiting);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A file of a set that somebody began to publish long ago.
fn unfinished(world: &World) {
    let key = format!("{}/a", sets()[0].manifest().id());
    now(async { Blobs::new(world.store.clone()).put(key, "1").await }).unwrap();
    world.clock.advance(31 * DAY);
}

/// All files of a set whose publisher died before it could write the marker.
fn unmarked(world: &World) {
    unfinished(world);
    let key = format!("{}/b", sets()[0].manifest().id());
    now(async { Blobs::new(world.store.clone()).put(key, "2").await }).unwrap();
    world.clock.advance(31 * DAY);
}

fn ends(pairs: &[(&'static str, &[usize])]) -> Vec<End> {
    let of = |numbers: &[usize]| numbers.iter().map(|&number| &sets()[number]).collect();
    pairs.iter().map(|(name, numbers)| (*name, of(numbers))).collect()
}

#[test]
fn two_publishers_of_one_set_and_commit() {
    let states = explore(&Scenario {
        name: "two publishers, one set, one commit",
        leaps: 0,
        deaths: 1,
        prepare: nothing,
        actors: |_| vec![publisher(0, "v1"), publisher(0, "v1")],
        ends: |_| ends(&[("v1", &[0])]),
    });
    assert!(states > 100, "{states}");
}

#[test]
fn two_publishers_of_two_sets_and_one_commit() {
    let states = explore(&Scenario {
        name: "two publishers, two sets, one commit",
        leaps: 0,
        deaths: 1,
        prepare: nothing,
        actors: |_| vec![publisher(0, "v1"), publisher(1, "v1")],
        ends: |_| ends(&[("v1", &[0, 1])]),
    });
    assert!(states > 100, "{states}");
}

#[test]
fn a_publisher_and_a_collector_of_an_old_set() {
    explore_in_time(Scenario {
        name: "a publisher and a collector, a tombstone whose time has come",
        leaps: 0,
        deaths: 0,
        prepare: old_tombstone,
        actors: |_| vec![publisher(0, "v1"), collector()],
        ends: |_| ends(&[("v1", &[0])]),
    });
}

#[test]
fn a_publisher_of_the_old_commit_and_a_collector() {
    explore_in_time(Scenario {
        name: "a publisher of the old commit and a collector",
        leaps: 0,
        deaths: 0,
        prepare: old_tombstone,
        actors: |_| vec![publisher(0, "old"), collector()],
        ends: |_| ends(&[("old", &[0])]),
    });
}

#[test]
fn a_publisher_and_a_collector_of_a_half_deleted_set() {
    explore_in_time(Scenario {
        name: "a publisher and a collector, a set half deleted",
        leaps: 0,
        deaths: 0,
        prepare: half_deleted,
        actors: |_| vec![publisher(0, "v1"), collector()],
        ends: |_| ends(&[("v1", &[0])]),
    });
}

#[test]
fn a_publisher_and_a_collector_of_unfinished_files() {
    explore_in_time(Scenario {
        name: "a publisher and a collector, files that nobody finished",
        leaps: 0,
        deaths: 0,
        prepare: unfinished,
        actors: |_| vec![publisher(0, "v1"), collector()],
        ends: |_| ends(&[("v1", &[0])]),
    });
}

#[test]
fn a_publisher_and_two_collections_of_unmarked_files() {
    explore_in_time(Scenario {
        name: "a publisher and two collections, all files but no marker",
        leaps: 0,
        deaths: 0,
        prepare: unmarked,
        actors: |_| vec![publisher(0, "v1"), collectors()],
        ends: |_| ends(&[("v1", &[0])]),
    });
}

#[test]
fn a_publisher_and_two_collectors_of_an_old_set() {
    if !is_soak() {
        let _ = writeln!(std::io::stderr(), "skipped: two collectors take minutes; STANDFAST_SOAK");
        return;
    }
    explore(&Scenario {
        name: "a publisher and two collectors, a small tombstone",
        leaps: 0,
        deaths: 0,
        prepare: small_tombstone,
        actors: |_| vec![publisher(2, "v1"), collector(), collector()],
        ends: |_| ends(&[("v1", &[2])]),
    });
}

#[test]
fn two_publishers_and_a_collector_of_unfinished_files() {
    explore(&Scenario {
        name: "two publishers and a collector, files that nobody finished",
        leaps: 0,
        deaths: usize::from(is_soak()),
        prepare: unfinished,
        actors: |_| vec![publisher(0, "v1"), publisher(0, "v2"), collector()],
        ends: |_| ends(&[("v1", &[0]), ("v2", &[0])]),
    });
}

#[test]
fn two_publishers_and_a_collector_of_an_old_set() {
    explore(&Scenario {
        name: "two publishers and a collector, a small tombstone",
        leaps: 0,
        deaths: usize::from(is_soak()),
        prepare: small_tombstone,
        actors: |_| vec![publisher(2, "v1"), publisher(2, "v1"), collector()],
        ends: |_| ends(&[("v1", &[2])]),
    });
}
