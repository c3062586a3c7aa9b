//! Sixteen instances on one store: one winner per tick, whatever becomes of the winners.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use standfast_core::testkit::ManualClock;
use standfast_core::{Fence, JobId, Tick};
use standfast_cron_lock::{
    CatchUp, Cron, CronConfig, CronLock, CronReport, MemoryCronLock, Owner, RecordQuery, Span,
    TickRecord, every,
};
use tokio::sync::mpsc;

use crate::broken::{Broken, Fault};
use crate::ledger::{self, Sent};
use crate::stand::{Gate, OwnClock, Running, START, Stand, Wire, pass, settle_down, time};

const INSTANCES: usize = 16;
const TICKS: usize = 50;

/// A small deterministic source of chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What befell the process of a listener.
enum Blow {
    Killed(usize),
    Paused(usize),
}

/// What the listeners of all instances share.
#[derive(Clone)]
struct World {
    queue: Arc<Mutex<Sent>>,
    dice: Arc<Mutex<Dice>>,
    /// Of ten calls of listeners, so many bring a blow.
    blows_in_ten: Arc<AtomicU64>,
    blow: mpsc::UnboundedSender<Blow>,
}

struct Instance {
    gate: Gate,
    clock: OwnClock,
    running: Running,
    /// When it is started again or goes on, if it was killed or paused.
    back_at: Option<u64>,
}

struct Fleet {
    clock: ManualClock,
    wire: Wire,
    world: World,
    blows: mpsc::UnboundedReceiver<Blow>,
    instances: Vec<Instance>,
    second: u64,
    killed: u64,
    paused: u64,
}

impl World {
    fn roll(&self, sides: u64) -> u64 {
        self.dice.lock().unwrap().roll(sides)
    }

    fn send(&self, id: JobId, fence: Fence) {
        self.queue.lock().unwrap().send(id, fence);
    }

    /// Sends its job, and may be struck before or after.
    async fn on_tick(self, tick: Tick, index: usize, gate: Gate) {
        gate.passed().await;
        let is_struck = self.roll(10) < self.blows_in_ten.load(Ordering::Relaxed);
        let (is_kill, is_before) = (self.roll(2) == 0, self.roll(2) == 0);
        if is_struck && is_before {
            self.strike(is_kill, index, &gate).await;
            gate.passed().await;
        }
        self.send(tick.job_id("on-tick"), tick.fence);
        if is_struck && !is_before {
            // when the others are done, so that a paused process stands still on its way to record
            // the end of the tick
            settle_down().await;
            self.strike(is_kill, index, &gate).await;
        }
    }

    async fn strike(&self, is_kill: bool, index: usize, gate: &Gate) {
        gate.set(false);
        if is_kill {
            self.blow.send(Blow::Killed(index)).unwrap();
            std::future::pending::<()>().await;
        }
        self.blow.send(Blow::Paused(index)).unwrap();
    }
}

impl Fleet {
    fn new(stand: Stand, seed: u64, blows_in_ten: u64) -> Self {
        let (blow, blows) = mpsc::unbounded_channel();
        let world = World {
            queue: Arc::default(),
            dice: Arc::new(Mutex::new(Dice(seed))),
            blows_in_ten: Arc::new(AtomicU64::new(blows_in_ten)),
            blow,
        };
        let (clock, wire) = (stand.clock, stand.lock);
        let instances = (0..INSTANCES).map(|index| start(&clock, &wire, &world, index)).collect();
        Self { clock, wire, world, blows, instances, second: 0, killed: 0, paused: 0 }
    }

    /// Lets a second pass, and does what the blows of it amount to.
    async fn step(&mut self) {
        pass(&self.clock, 1.seconds()).await;
        self.second += 1;
        while let Ok(blow) = self.blows.try_recv() {
            let back_at = Some(self.second + 1 + self.world.roll(100));
            let (Blow::Killed(index) | Blow::Paused(index)) = blow;
            let instance = &mut self.instances[index];
            if matches!(blow, Blow::Killed(_)) && !instance.running.is_over() {
                instance.running.kill().await;
                self.killed += 1;
                instance.back_at = back_at;
            } else if instance.back_at.is_none() {
                self.paused += 1;
                instance.back_at = back_at;
            }
        }
        for index in 0..INSTANCES {
            if self.instances[index].back_at.is_none_or(|at| at > self.second) {
                continue;
            }
            if self.instances[index].running.is_over() {
                self.instances[index] = start(&self.clock, &self.wire, &self.world, index);
                continue;
            }
            let instance = &mut self.instances[index];
            instance.back_at = None;
            // and while it stood still somebody set its clock
            instance.clock.set_skew(ten_minutes_or_less(&self.world));
            instance.gate.set(true);
        }
        settle_down().await;
    }

    async fn records(&self) -> Vec<TickRecord> {
        let mut records = self.wire.records(&RecordQuery::default()).await.unwrap();
        records.truncate(TICKS);
        records
    }

    async fn stop(mut self) -> Vec<CronReport> {
        while self.instances.iter().any(|instance| instance.back_at.is_some()) {
            self.step().await;
        }
        let mut reports = Vec::new();
        for instance in self.instances {
            instance.running.begin_stop();
            while !instance.running.is_over() {
                pass(&self.clock, 1.seconds()).await;
            }
            reports.push(instance.running.stop().await);
        }
        reports
    }
}

fn ten_minutes_or_less(world: &World) -> TimeDelta {
    TimeDelta::minutes(i64::try_from(world.roll(21)).unwrap() - 10)
}

fn start(true_time: &ManualClock, wire: &Wire, world: &World, index: usize) -> Instance {
    let gate = Gate::open();
    let clock = OwnClock::new(true_time, gate.clone());
    clock.set_skew(ten_minutes_or_less(world));
    let mut config = CronConfig::default();
    config.owner = Owner::new(format!("web-{index}"));
    let mut cron = Cron::with_config(wire.behind(gate.clone()), config).unwrap();
    cron.clock(Arc::new(clock.clone()));
    let (shared, own_gate) = (world.clone(), gate.clone());
    cron.on_tick(move |tick| shared.clone().on_tick(tick, index, own_gate.clone()));
    for (id, period) in [("each", 1.minutes()), ("fifth", 5.minutes())] {
        let schedule = every(period).id(id).catch_up(CatchUp::All { max: 100, window: 1.hours() });
        let (world, gate) = (world.clone(), gate.clone());
        let job = move |tick: Tick| {
            let (world, gate) = (world.clone(), gate.clone());
            async move {
                gate.passed().await;
                world.send(tick.job_id(id), tick.fence);
            }
        };
        cron.schedule(schedule, job).unwrap();
    }
    Instance { gate, clock, running: Running::start(cron), back_at: None }
}

/// What every fleet has to have done, whatever happened; says what it has not.
fn judge(records: &[TickRecord], sent: &Sent, wire: &Wire, ticks: usize) -> Result<(), String> {
    let wrong = wire.wrong();
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let first = time(START) + TimeDelta::minutes(1);
    let wanted: Vec<_> =
        (0..ticks).map(|tick| first + TimeDelta::minutes(i64::try_from(tick).unwrap())).collect();
    let ats: Vec<_> = records.iter().map(|record| record.at).collect();
    if ats != wanted {
        return Err(format!("{} ticks of {ticks} have a record", ats.len()));
    }
    ledger::judge("stand", records, sent)
}

fn print_ledger(title: &str, fleet: &Fleet, records: &[TickRecord], sent: &Sent) {
    let (refused, claims) = (fleet.wire.stale_refused(), fleet.wire.calls("claim"));
    let title = format!("{title}: {} killed, {} paused", fleet.killed, fleet.paused);
    ledger::print(
        &title,
        records,
        sent,
        &format!("{refused} stale writes refused; {claims} claims"),
    );
}

/// What a fleet did.
struct Voyage {
    reports: Vec<CronReport>,
    takeovers: u32,
    stale_refused: u64,
}

async fn voyage<L: CronLock>(
    wrap: impl FnOnce(MemoryCronLock) -> L,
    seed: u64,
    blows_in_ten: u64,
) -> Result<Voyage, String> {
    let mut fleet = Fleet::new(Stand::with(wrap), seed, blows_in_ten);
    settle_down().await;
    for _ in 0..TICKS * 60 + 1 {
        fleet.step().await;
    }
    // no more blows; what is open is taken over
    fleet.world.blows_in_ten.store(0, Ordering::Relaxed);
    for _ in 0..600 {
        if fleet.records().await.iter().all(|record| record.state.is_finished()) {
            break;
        }
        fleet.step().await;
    }
    let records = fleet.records().await;
    let world = fleet.world.clone();
    let wire = fleet.wire.clone();
    {
        let queue = world.queue.lock().unwrap();
        print_ledger(&format!("seed {seed}"), &fleet, &records, &queue);
        judge(&records, &queue, &wire, TICKS)?;
    }
    let takeovers = records.iter().map(|record| record.attempt - 1).sum();
    let reports = fleet.stop().await;
    let stale_refused = wire.stale_refused();
    Ok(Voyage { reports, takeovers, stale_refused })
}

#[tokio::test]
async fn sixteen_instances_win_and_dispatch_every_tick_once() {
    let voyage = voyage(|lock| lock, 1, 0).await.unwrap();
    let sum = |count: fn(&CronReport) -> u64| voyage.reports.iter().map(count).sum::<u64>();
    let wins = sum(|report| report.claimed);
    assert_eq!(wins, TICKS as u64);
    assert_eq!(sum(|report| report.finished), wins);
    assert_eq!(sum(|report| report.takeovers + report.missed_ticks), 0);
    assert_eq!(sum(|report| report.runs), wins + 10);
    assert_eq!(sum(|report| report.errors + report.lost), 0);
    // nobody wins all of them
    assert!(voyage.reports.iter().all(|report| report.claimed < TICKS as u64 / 2));
}

#[tokio::test]
async fn winners_that_are_killed_or_paused_lose_nothing() {
    let (mut takeovers, mut stale_refused) = (0, 0);
    for seed in 1..=6 {
        let voyage = voyage(|lock| lock, seed, 4).await.unwrap();
        takeovers += voyage.takeovers;
        stale_refused += voyage.stale_refused;
    }
    assert!(takeovers > 20, "{takeovers}");
    assert!(stale_refused > 10, "{stale_refused}");
}

/// A store that breaks a rule, and a fleet that has to notice.
macro_rules! noticed {
    ($($name:ident: $fault:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            for seed in 1..=5 {
                let wrap = |lock| Broken {
                    inner: Arc::new(lock),
                    clock: Arc::new(ManualClock::at(time(START))),
                    fault: Fault::$fault,
                };
                if voyage(wrap, seed, 4).await.is_err() {
                    return;
                }
            }
            panic!("no fleet notices");
        }
    )*};
}

noticed! {
    a_stale_settlement_is_noticed: AcceptsStaleSettlement
    a_tick_that_is_won_again_is_noticed: ForgetsFinishedTicks
    a_repeated_fence_is_noticed: GivesTheSameFence
    two_winners_are_noticed: WinsTwice
}
