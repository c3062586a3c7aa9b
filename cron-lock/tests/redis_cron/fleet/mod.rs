//! Sixteen processes on one Redis: one winner per tick, whatever becomes of the winners. Their
//! clocks are up to ten minutes off.

mod instance;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use standfast_core::redis::{Redis, Request};
use standfast_core::testkit::RedisServer;
use standfast_core::{Fence, Id128, JobId};
use standfast_cron_lock::{
    CronLock, ExtendOutcome, RecordQuery, RedisCronLock, SettleOutcome, Settlement, TickRecord,
    TickState,
};
use tokio::sync::mpsc;

use self::instance::{RESOLUTION, open, queue, rules};
use crate::ledger::{self, Sent};
use crate::register::{Answer, Call, End, Step, is_linearizable};
use crate::support::{SOON, forgetful, namespace};

const INSTANCES: usize = 16;
const TICKS: u32 = 50;

/// A small deterministic source of chance. What the processes make of it is not.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a process said.
enum Said {
    Ready,
    Won,
    /// How many ticks it claimed and finished, and how many it found that nobody had claimed.
    Report([u64; 3]),
}

struct Instance {
    child: Child,
    /// It stops when this is closed.
    input: Option<ChildStdin>,
    /// When it goes on, if it stands still.
    paused_until: Option<Instant>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        // one that stands still too; and nothing is left of it
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Instance {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

/// The calls of all processes, gone with the value.
struct Calls(PathBuf);

impl Calls {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("standfast-fleet-{}", Id128::random()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Fleet {
    calls: Calls,
    redis: Redis,
    lock: RedisCronLock,
    url: String,
    lease: Duration,
    dice: Dice,
    instances: Vec<Instance>,
    said: mpsc::UnboundedReceiver<(usize, Said)>,
    say: mpsc::UnboundedSender<(usize, Said)>,
    reports: Vec<[u64; 3]>,
    killed: u32,
    paused: u32,
    /// Writes of owners that were overtaken, made here in their name, which were refused.
    haunted: u32,
}

impl Fleet {
    async fn start(server: &RedisServer, lease: Duration, seed: u64) -> Self {
        let redis = Redis::from_url(&server.url()).unwrap();
        let (say, said) = mpsc::unbounded_channel();
        let mut fleet = Self {
            calls: Calls::new(),
            lock: open(redis.clone(), &namespace()),
            redis,
            url: server.url(),
            lease,
            dice: Dice(seed),
            instances: Vec::new(),
            said,
            say,
            reports: Vec::new(),
            killed: 0,
            paused: 0,
            haunted: 0,
        };
        for index in 0..INSTANCES {
            let instance = fleet.launch(index);
            fleet.instances.push(instance);
        }
        let all = async {
            for _ in 0..INSTANCES {
                let (_, said) = fleet.said.recv().await.unwrap();
                assert!(matches!(said, Said::Ready | Said::Won));
            }
        };
        tokio::time::timeout(SOON, all).await.expect("all come up");
        fleet
    }

    fn launch(&mut self, index: usize) -> Instance {
        let skew = i64::try_from(self.dice.roll(1201)).unwrap() - 600;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fleet::instance::process", "--ignored", "--nocapture"])
            .env("REDIS", &self.url)
            .env("NAMESPACE", self.lock.namespace())
            .env("NAME", format!("web-{index}"))
            .env("LEASE", self.lease.as_millis().to_string())
            .env("SKEW", skew.to_string())
            .env("CALLS", &self.calls.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test can be started again");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let say = self.say.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<_> = line.split(' ').collect();
                let said = match words[..] {
                    ["ready"] => Said::Ready,
                    ["won", _] => Said::Won,
                    ["report", ..] => {
                        Said::Report([1, 2, 3].map(|place| words[place].parse().unwrap()))
                    }
                    // a panic, for people
                    _ => {
                        eprintln!("web-{index}: {line}");
                        continue;
                    }
                };
                let _ = say.send((index, said));
            }
        });
        Instance { input: child.stdin.take(), child, paused_until: None }
    }

    /// Goes on until `at`; of ten winners so many are killed or stopped, sooner or later.
    async fn sail(&mut self, at: DateTime<Utc>, blows_in_ten: u64) {
        while self.lock.now().await.unwrap() < at {
            let pause = Duration::from_millis(20);
            if let Ok(Some((index, Said::Won))) =
                tokio::time::timeout(pause, self.said.recv()).await
                && self.dice.roll(10) < blows_in_ten
            {
                tokio::time::sleep(Duration::from_millis(self.dice.roll(26))).await;
                self.strike(index);
            }
            if self.resume(Instant::now()) {
                self.haunt().await;
            }
        }
    }

    /// What owners do that go on without looking at the time: they extend and settle.
    async fn haunt(&mut self) {
        for record in self.records().await.into_iter().rev().take(20) {
            for former in &record.former {
                let outcome = self.lock.extend(record.at, former.fence, self.lease).await.unwrap();
                assert!(matches!(outcome, ExtendOutcome::Fenced { .. }), "{outcome:?}");
                for end in [Settlement::finish([]), Settlement::fail("stale")] {
                    let outcome = self.lock.settle(record.at, former.fence, &end).await.unwrap();
                    assert!(matches!(outcome, SettleOutcome::Fenced { .. }), "{outcome:?}");
                }
                self.haunted += 3;
            }
        }
    }

    fn strike(&mut self, index: usize) {
        if self.instances[index].paused_until.is_some() {
            return;
        }
        if self.dice.roll(2) == 0 {
            self.killed += 1;
            self.instances[index].child.kill().unwrap();
            self.instances[index] = self.launch(index);
        } else {
            self.paused += 1;
            let longer = self.lease + self.lease.mul_f64(self.dice.roll(10) as f64 / 10.0);
            self.instances[index].signal(Signal::STOP);
            self.instances[index].paused_until = Some(Instant::now() + longer);
        }
    }

    /// Lets those go on whose time has come; whether there were any.
    fn resume(&mut self, now: Instant) -> bool {
        let mut any = false;
        for instance in &mut self.instances {
            if instance.paused_until.is_some_and(|until| until <= now) {
                instance.signal(Signal::CONT);
                instance.paused_until = None;
                any = true;
            }
        }
        any
    }

    async fn records(&self) -> Vec<TickRecord> {
        self.lock.records(&RecordQuery::default()).await.unwrap()
    }

    /// Ends all, and takes in what they have to say.
    async fn stop(&mut self) {
        self.resume(Instant::now() + SOON);
        for instance in &mut self.instances {
            instance.input = None;
        }
        let all = async {
            while self.reports.len() < INSTANCES {
                if let (_, Said::Report(report)) = self.said.recv().await.unwrap() {
                    self.reports.push(report);
                }
            }
        };
        tokio::time::timeout(SOON, all).await.expect("all stop in order");
    }

    /// What was sent, by whom.
    async fn sent(&self) -> Sent {
        let range = Request::command("test", "LRANGE", &queue(self.lock.namespace()));
        let all = self.redis.call(range.arg("0").arg("-1")).await.unwrap();
        let mut sent = Sent::default();
        for entry in all.into_array("test").unwrap() {
            let entry = entry.into_text("test").unwrap();
            let (id, fence) = entry.split_once(' ').unwrap();
            sent.send(id.parse().unwrap(), Fence::new(fence.parse().unwrap()));
        }
        sent
    }
}

/// What a fleet did in the ticks that count.
struct Voyage {
    ticks: Vec<DateTime<Utc>>,
    records: Vec<TickRecord>,
    sent: Sent,
    calls: BTreeMap<DateTime<Utc>, Vec<Step>>,
    reports: Vec<[u64; 3]>,
    stale_refused: u32,
}

async fn voyage(title: &str, lease: Duration, blows_in_ten: u64) -> Option<Voyage> {
    let server = forgetful().await?;
    let mut fleet = Fleet::start(&server, lease, 11).await;
    let rules = rules();
    // a tick that all of them can see, and those after it
    let first = rules.tick_at(fleet.lock.now().await.unwrap()) + RESOLUTION * 2;
    let ticks: Vec<_> = (0..TICKS).map(|tick| first + RESOLUTION * tick).collect();
    fleet.sail(first + RESOLUTION * TICKS, blows_in_ten).await;
    // no more blows; what is open is taken over
    let settled = async {
        let is_open =
            |record: &TickRecord| !record.state.is_finished() && ticks.contains(&record.at);
        while fleet.records().await.iter().any(is_open) {
            let soon = fleet.lock.now().await.unwrap() + RESOLUTION;
            fleet.sail(soon, 0).await;
        }
    };
    tokio::time::timeout(SOON, settled).await.expect("every tick ends");
    fleet.stop().await;

    let sent = fleet.sent().await;
    let records: Vec<_> = fleet.records().await;
    let all = records.len();
    let records: Vec<_> = records.into_iter().filter(|it| ticks.contains(&it.at)).collect();
    let calls = recording::read(&fleet.calls.0);
    let answers = || calls.values().flatten().filter_map(|step| step.answered);
    let refused = answers().filter(|(_, it)| matches!(it, Answer::Fenced(_))).count();
    let stale_refused = u32::try_from(refused).unwrap() + fleet.haunted;
    let open = calls.values().flatten().filter(|step| step.answered.is_none()).count();
    ledger::print(
        &format!("{title}: {} killed, {} paused", fleet.killed, fleet.paused),
        &records,
        &sent,
        &format!(
            "{stale_refused} stale writes refused; {} calls, {open} unanswered; {all} ticks in all",
            answers().count() + open
        ),
    );
    ledger::judge(fleet.lock.namespace(), &records, &sent).unwrap();
    check_runs(fleet.lock.namespace(), &ticks, &records, &sent);
    check_ends(&calls);
    check_order(&calls);
    let reports = fleet.reports.clone();
    Some(Voyage { ticks, records, sent, calls, reports, stale_refused })
}

/// Each tick ended once, or is told as missed by the one after it; and each run was dispatched.
fn check_runs(namespace: &str, ticks: &[DateTime<Utc>], records: &[TickRecord], sent: &Sent) {
    for pair in records.windows(2) {
        assert_eq!(pair[1].previous, Some(pair[0].at), "the cursor skips none");
    }
    for at in ticks {
        // the tick that answers for it
        let Some(record) = records.iter().find(|record| record.at >= *at) else {
            panic!("{at} was not answered for")
        };
        let is_there = sent.jobs.contains(&JobId::derive(namespace, "each/each", *at));
        assert!(is_there || record.state == TickState::Exhausted, "the run of {at}");
    }
}

/// No end is accepted from an owner that was overtaken, and each tick ends once.
fn check_ends(calls: &BTreeMap<DateTime<Utc>, Vec<Step>>) {
    for (at, steps) in calls {
        let mut ends = BTreeSet::new();
        for step in steps {
            let (Call::Settle(own, End::Finish | End::Fail), Some((_, Answer::Settled))) =
                (step.call, step.answered)
            else {
                continue;
            };
            ends.insert(own);
            let is_overtaken = steps.iter().any(|other| match other.answered {
                Some((when, Answer::Won { fence, .. })) => {
                    fence.supersedes(own) && when < step.begun
                }
                _ => false,
            });
            assert!(!is_overtaken, "{at}: {step:?}");
        }
        assert!(ends.len() <= 1, "{at} ended by {ends:?}");
    }
}

/// The calls of each tick can have happened one after the other, and fences rise with the ticks.
fn check_order(calls: &BTreeMap<DateTime<Utc>, Vec<Step>>) {
    for (at, steps) in calls {
        let ((tell, told), own) = (std::sync::mpsc::channel(), steps.clone());
        // a history that has no order can take for ever to search
        std::thread::spawn(move || tell.send(is_linearizable(&own)));
        assert_eq!(told.recv_timeout(SOON), Ok(true), "{at}: {steps:#?}");
    }
    let mut grants: Vec<_> = calls
        .values()
        .flatten()
        .filter_map(|step| match step.answered {
            Some((when, Answer::Won { fence, .. })) => Some((step.begun, when, fence)),
            _ => None,
        })
        .collect();
    grants.sort_unstable();
    for (number, (begun, _, fence)) in grants.iter().enumerate() {
        let lower = grants[..number].iter().filter(|(_, when, _)| when < begun);
        assert!(lower.map(|(_, _, fence)| fence).all(|earlier| earlier < fence), "fences rise");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_processes_win_and_dispatch_every_tick_once() {
    let lease = Duration::from_secs(20);
    let Some(voyage) = voyage("calm", lease, 0).await else { return };
    let Voyage { ticks, records, sent, calls, reports, stale_refused } = voyage;
    assert_eq!(records.iter().map(|record| record.at).collect::<Vec<_>>(), ticks);
    assert!(records.iter().all(|record| (record.state, record.attempt) == (TickState::Done, 1)));
    let wins = ticks.iter().flat_map(|at| &calls[at]);
    let wins = wins.filter(|step| matches!(step.answered, Some((_, Answer::Won { .. })))).count();
    assert_eq!(wins, 50);
    let fences: Vec<_> = records.iter().map(|record| record.fence).collect();
    let dispatched = sent.sends.iter().filter(|(_, fence)| fences.contains(fence)).count();
    assert_eq!(dispatched, 2 * 50, "one for the listener and one for the schedule, of each tick");
    assert_eq!(sent.sends.len(), sent.jobs.len(), "nothing was sent twice");
    assert_eq!(stale_refused, 0);
    let [claimed, finished, missed] =
        [0, 1, 2].map(|place| reports.iter().map(|report| report[place]).sum::<u64>());
    assert_eq!((claimed, missed), (finished, 0));
    let most = reports.iter().map(|report| report[0]).max();
    assert!(most.is_some_and(|most| most < 25), "nobody wins all of them: {reports:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winners_that_are_killed_or_stopped_lose_nothing() {
    let lease = Duration::from_millis(1500);
    let Some(voyage) = voyage("storm", lease, 4).await else { return };
    let takeovers: u32 = voyage.records.iter().map(|record| record.attempt - 1).sum();
    assert!(takeovers >= 3, "{takeovers}");
    assert!(voyage.stale_refused >= 9, "{}", voyage.stale_refused);
}
