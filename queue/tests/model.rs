//! Random operations on a memory queue, checked step by step against a model so simple that it can
//! be seen to be right: one list of messages, searched from the front.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::JobId;
use standfast_core::testkit::ManualClock;
use standfast_queue::testkit::Dice;
use standfast_queue::{
    DeadLetterFilter, DeadLetters, Envelope, ExtendOutcome, MemoryQueue, MemoryQueueConfig,
    OutgoingMessage, Queue, QueueAdmin, ReceiveOptions, Received, RedriveOptions, SendOutcome,
    SettleOutcome, Settlement,
};

const MAX_LEN: usize = 12;
const MAX_CRASHES: u32 = 2;
const GROUPS: [Option<&str>; 4] = [None, None, Some("g"), Some("h")];

#[derive(Clone, Debug)]
struct Message {
    id: JobId,
    run: u32,
    group: Option<&'static str>,
    /// From when it can be delivered, in seconds.
    due: u64,
    drop_at: u64,
    /// Which delivery is out, and until when.
    out: Option<(usize, u64)>,
    failures: u32,
    crashes: u32,
    uncounted: u32,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    queue: Vec<Message>,
    dead: Vec<Message>,
    untold: Vec<JobId>,
    keys: HashMap<&'static str, (JobId, u64)>,
    dropped: u64,
    paused: bool,
}

impl Model {
    fn send(&mut self, message: Message, key: Option<(&'static str, u64)>) -> &'static str {
        if self.queue.iter().any(|other| other.id == message.id) {
            return "sent";
        }
        if let Some((key, window)) = key {
            match self.keys.get(key) {
                Some((first, until)) if *until > self.now => {
                    return if *first == message.id { "sent" } else { "duplicate" };
                }
                _ if self.queue.len() >= MAX_LEN => return "full",
                _ => drop(self.keys.insert(key, (message.id, self.now + window))),
            }
        }
        if self.queue.len() >= MAX_LEN {
            return "full";
        }
        self.queue.push(message);
        "sent"
    }

    /// Takes back what ran out, and buries what did so too often.
    fn settle_time(&mut self) {
        for mut message in std::mem::take(&mut self.queue) {
            if message.out.is_some_and(|(_, until)| until <= self.now) {
                message.out = None;
                message.crashes += 1;
            }
            if message.crashes >= MAX_CRASHES {
                self.untold.push(message.id);
                self.dead.push(message);
            } else {
                self.queue.push(message);
            }
        }
    }

    /// Whether the message may be delivered now: it is due, not out, and the head of its group.
    fn may_go(&self, message: &Message) -> bool {
        let head = self.queue.iter().find(|other| other.group == message.group);
        let is_head = message.group.is_none() || head.is_some_and(|head| head.id == message.id);
        is_head && message.out.is_none() && message.due <= self.now
    }

    fn holder(&mut self, delivery: usize) -> Option<usize> {
        self.settle_time();
        let holds = |message: &Message| message.out.is_some_and(|(own, _)| own == delivery);
        self.queue.iter().position(holds)
    }

    fn counts(&mut self) -> [usize; 4] {
        self.settle_time();
        let leased = self.queue.iter().filter(|message| message.out.is_some()).count();
        let is_head = |message: &Message| {
            let head = self.queue.iter().find(|other| other.group == message.group);
            message.group.is_none() || head.is_some_and(|head| head.id == message.id)
        };
        let waits = |message: &&Message| message.due > self.now && message.out.is_none();
        let delayed = self.queue.iter().filter(waits).filter(|message| is_head(message)).count();
        [self.queue.len() - leased - delayed, leased, delayed, self.dead.len()]
    }
}

struct Pair {
    queue: MemoryQueue,
    clock: ManualClock,
    model: Model,
    deliveries: Vec<Received>,
    known: Vec<(JobId, Option<&'static str>)>,
}

impl Pair {
    fn new() -> Self {
        let clock = ManualClock::new();
        let mut config = MemoryQueueConfig::default();
        config.clock = Arc::new(clock.clone());
        (config.max_len, config.max_crashes) = (MAX_LEN, MAX_CRASHES);
        let queue = MemoryQueue::with_config(config);
        Self { queue, clock, model: Model::default(), deliveries: vec![], known: vec![] }
    }

    async fn send(&mut self, dice: &mut Dice) {
        let (id, group) = if !self.known.is_empty() && dice.one_in(5) {
            *dice.pick(&self.known)
        } else {
            (JobId::random(), *dice.pick(&GROUPS))
        };
        self.known.push((id, group));
        let delay = *dice.pick(&[0, 0, 0, 3]);
        let drop_after = dice.one_in(6).then_some(4);
        let key = dice.one_in(4).then(|| (*dice.pick(&["k", "l"]), 5));
        let seconds = Duration::from_secs;
        let mut message =
            OutgoingMessage::new(Envelope::new("model", "").with_id(id)).delay(seconds(delay));
        message.group = group.map(Into::into);
        message.drop_after = drop_after.map(seconds);
        if let Some((key, window)) = key {
            message = message.dedupe(key, seconds(window));
        }
        let sent = self.queue.send(&[message]).await.unwrap().remove(0);
        let found = match sent {
            SendOutcome::Sent => "sent",
            SendOutcome::Full => "full",
            SendOutcome::Duplicate(_) => "duplicate",
            other => panic!("{other:?}"),
        };
        self.model.settle_time();
        let now = self.model.now;
        let drop_at = drop_after.map_or(u64::MAX, |span| now + span);
        let due = now + delay;
        let message = Message {
            id,
            run: 1,
            group,
            due,
            drop_at,
            out: None,
            failures: 0,
            crashes: 0,
            uncounted: 0,
        };
        assert_eq!(found, self.model.send(message, key), "what became of a send");
    }

    async fn receive(&mut self, dice: &mut Dice) {
        let lease = 1 + dice.below(4) as u64;
        let max = 1 + dice.below(3);
        let options = ReceiveOptions::new(max).lease(Duration::from_secs(lease));
        let batch = self.queue.receive(&options).await.unwrap();
        self.model.settle_time();
        let mut untold = std::mem::take(&mut self.model.untold);
        let mut told: Vec<_> = batch.dead.iter().map(|letter| letter.envelope.id).collect();
        untold.sort();
        told.sort();
        assert_eq!(told, untold, "which deaths are told");
        for envelope in &batch.dropped {
            let index = self.model.queue.iter().position(|message| message.id == envelope.id);
            let message = self.model.queue[index.expect("it was queued")].clone();
            assert!(self.model.may_go(&message), "only what could be delivered is dropped");
            assert!(message.drop_at <= self.model.now, "it was not in time any more");
            self.model.queue.remove(index.unwrap());
            self.model.dropped += 1;
        }
        let before = self.model.queue.clone();
        let count = batch.deliveries.len();
        for received in batch.deliveries {
            let index = self.model.queue.iter().position(|it| it.id == received.receipt.id());
            let index = index.expect("what is delivered is queued");
            let message = self.model.queue[index].clone();
            assert!(self.model.may_go(&message), "it may be delivered: {message:?}");
            assert!(message.drop_at > self.model.now, "it is in time: {message:?}");
            let attempt = 1 + message.failures + message.crashes;
            let found = (received.attempt, received.delivery, received.crashes);
            let expected = (attempt, attempt + message.uncounted, message.crashes);
            assert_eq!(found, expected, "attempt, delivery and crashes");
            assert_eq!(received.envelope().run, message.run, "the run");
            self.model.queue[index].out = Some((self.deliveries.len(), self.model.now + lease));
            self.deliveries.push(received);
        }
        let could = before.iter().filter(|message| self.model_could(&before, message)).count();
        let expected = if self.model.paused { 0 } else { could.min(max) };
        assert_eq!(count, expected, "as many as there are, at most {max}");
    }

    fn model_could(&self, before: &[Message], message: &Message) -> bool {
        let head = before.iter().find(|other| other.group == message.group);
        let is_head = message.group.is_none() || head.is_some_and(|head| head.id == message.id);
        let in_time = message.drop_at > self.model.now;
        is_head && in_time && message.out.is_none() && message.due <= self.model.now
    }

    async fn settle(&mut self, dice: &mut Dice) {
        if self.deliveries.is_empty() {
            return;
        }
        let last = self.deliveries.len().min(6);
        let number = self.deliveries.len() - 1 - dice.below(last);
        let receipt = self.deliveries[number].receipt.clone();
        let holder = self.model.holder(number);
        let delay = *dice.pick(&[0, 2]);
        let counted = dice.one_in(2);
        let way = dice.below(5);
        if way == 4 {
            let lease = 1 + dice.below(5) as u64;
            let outcome = self.queue.extend(&[receipt], Duration::from_secs(lease)).await.unwrap();
            let extended = matches!(outcome[0], ExtendOutcome::Extended);
            assert_eq!(extended, holder.is_some(), "who holds it may extend it");
            if let Some(index) = holder {
                self.model.queue[index].out = Some((number, self.model.now + lease));
            }
            return;
        }
        let how = match way {
            0 => Settlement::DeadLetter { reason: "model".to_owned() },
            1 => Settlement::Release { delay: Duration::from_secs(delay), counted, error: None },
            _ => Settlement::Ack,
        };
        let outcome = self.queue.settle(&[(receipt, how)]).await.unwrap();
        let settled = matches!(outcome[0], SettleOutcome::Settled);
        assert_eq!(settled, holder.is_some(), "who holds it may settle it");
        let Some(index) = holder else { return };
        match way {
            0 => {
                let mut message = self.model.queue.remove(index);
                message.out = None;
                self.model.dead.push(message);
            }
            1 => {
                let message = &mut self.model.queue[index];
                message.out = None;
                message.due = self.model.now + delay;
                *(if counted { &mut message.failures } else { &mut message.uncounted }) += 1;
            }
            _ => drop(self.model.queue.remove(index)),
        }
    }

    async fn redrive(&mut self) {
        // the order of deaths within one step of time is the queue's own
        let all = DeadLetterFilter::default();
        let listed = self.queue.list_dead_letters(&all, None, usize::MAX).await.unwrap().letters;
        let place = |letter: &Message| {
            let same = (letter.id, letter.run);
            listed.iter().position(|it| (it.envelope.id, it.envelope.run) == same)
        };
        assert!(self.model.dead.iter().all(|letter| place(letter).is_some()), "who is dead");
        self.model.dead.sort_by_key(place);
        let redriven = self.queue.redrive(&all, &RedriveOptions::default()).await;
        let (mut sent, mut kept) = (0, Vec::new());
        for letter in std::mem::take(&mut self.model.dead) {
            let taken = self.model.queue.iter().any(|message| message.id == letter.id);
            if taken || self.model.queue.len() >= MAX_LEN {
                kept.push(letter);
                continue;
            }
            sent += 1;
            let (run, due) = (letter.run + 1, self.model.now);
            let (failures, crashes, uncounted, drop_at) = (0, 0, 0, u64::MAX);
            self.model.queue.push(Message {
                run,
                due,
                failures,
                crashes,
                uncounted,
                drop_at,
                out: None,
                ..letter
            });
        }
        let redriven = redriven.unwrap();
        assert_eq!((redriven.sent, redriven.kept), (sent, kept.len() as u64), "a redrive");
        self.model.dead = kept;
    }

    async fn check(&mut self) {
        let stats = self.queue.stats().await.unwrap();
        let found = [stats.ready, stats.leased, stats.delayed, stats.dead];
        let expected = self.model.counts().map(|count| count as u64);
        assert_eq!(found, expected, "ready, leased, delayed and dead");
        assert_eq!(stats.dropped, self.model.dropped, "how many were dropped");
    }
}

async fn run(seed: u64) {
    let mut dice = Dice::from_seed(seed);
    let mut pair = Pair::new();
    for _ in 0..400 {
        match dice.below(20) {
            0..=5 => pair.send(&mut dice).await,
            6..=10 => pair.receive(&mut dice).await,
            11..=14 => pair.settle(&mut dice).await,
            15..=17 => {
                let seconds = 1 + dice.below(2) as u64;
                pair.clock.advance(Duration::from_secs(seconds));
                pair.model.now += seconds;
            }
            18 if dice.one_in(3) => pair.redrive().await,
            19 if dice.one_in(3) => {
                pair.model.paused = !pair.model.paused;
                if pair.model.paused {
                    pair.queue.pause().await.unwrap();
                } else {
                    pair.queue.resume().await.unwrap();
                }
            }
            18 if dice.one_in(20) => {
                pair.model.settle_time();
                pair.check().await;
                pair.queue.purge().await.unwrap();
                pair.model.queue.clear();
            }
            _ => {}
        }
        pair.check().await;
    }
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    let mut dice = Dice::new();
    for _ in 0..150 {
        let seed = dice.next_u64();
        println!("sequence {seed}"); // the last one printed is the one that failed
        run(seed).await;
    }
}
