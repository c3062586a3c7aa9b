//! One of the processes that share a session.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use standfast_session::{
    Access, CommitOutcome, DestroyOutcome, Field, FieldValue, LoadOutcome, Patch,
    PostgresSessionHandler, RedisSessionHandler, SessionHandler, SessionToken,
};

use crate::broken::{Broken, Fault};
use crate::history::Event;
use crate::spec::{Answer, Call, Change, Content};

/// Tasks of each process.
const TASKS: u64 = 2;
/// Calls of each task in a round.
const CALLS: u64 = 5;

pub(crate) async fn open(url: &str, is_broken: bool) -> Arc<dyn SessionHandler> {
    let inner: Arc<dyn SessionHandler> = match url.starts_with("redis") {
        true => Arc::new(RedisSessionHandler::from_url(url).unwrap()),
        false => {
            let handler = PostgresSessionHandler::from_url(url).unwrap();
            handler.migrate().await.unwrap();
            Arc::new(handler)
        }
    };
    match is_broken {
        true => Arc::new(Broken { inner, fault: Fault::WholeSnapshots }),
        false => inner,
    }
}

fn text(value: &FieldValue) -> String {
    match value {
        FieldValue::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        FieldValue::Counter(count) => count.to_string(),
        other => panic!("{other:?}"),
    }
}

fn content(field: &Field) -> Content {
    (Some(field.revision), text(&field.value))
}

fn patch(changes: &BTreeMap<String, Change>) -> Patch {
    changes.iter().fold(Patch::new(), |patch, (field, change)| match change {
        Change::Set(value) => patch.set(field, value.clone()),
        Change::Remove => patch.remove(field),
        Change::Add(by) => patch.increment(field, *by),
        Change::Compare(seen, value) => {
            patch.compare_and_set(field, *seen, Some(value.clone().into()))
        }
    })
}

/// What the store says to a call; nothing, where nobody knows.
async fn ask(handler: &dyn SessionHandler, visitor: &Access, call: &Call) -> Option<Answer> {
    Some(match call {
        Call::Load => match handler.load(visitor).await.ok()? {
            LoadOutcome::Found(found) => {
                let fields = found.fields.iter();
                let fields = fields.map(|(name, it)| (name.to_string(), content(it))).collect();
                Answer::Found { version: found.version, fields }
            }
            LoadOutcome::Absent => Answer::Gone,
            other => panic!("{other:?}"),
        },
        Call::Commit(changes) => match handler.commit(visitor, &patch(changes)).await.ok()? {
            CommitOutcome::Committed { version, .. } => Answer::Committed { version },
            CommitOutcome::Conflict(now) => {
                let is = now.revision.zip(now.value.as_ref());
                let is = is.map(|(revision, value)| (Some(revision), text(value)));
                Answer::Conflict { field: now.field.to_string(), now: is }
            }
            CommitOutcome::Gone => Answer::Gone,
            other => panic!("{other:?}"),
        },
        Call::Destroy => match handler.destroy(visitor).await.ok()? {
            DestroyOutcome::Destroyed => Answer::Destroyed,
            DestroyOutcome::Gone => Answer::Gone,
            other => panic!("{other:?}"),
        },
    })
}

/// A small generator.
struct Noise(u64);

impl Noise {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// A call by somebody who last saw `seen` of the compared field.
    fn call(&mut self, value: String, seen: Option<u64>) -> Call {
        let set = ("register", Change::Set(value.clone()));
        let add = ("counter", Change::Add(self.below(9) as i64 - 3));
        let compare = ("compared", Change::Compare(seen, value));
        let changes = match self.below(48) {
            0..16 => return Call::Load,
            16..22 => vec![set],
            22..28 => vec![add],
            28..36 => vec![compare],
            36..40 => vec![set, add],
            40..44 => vec![compare, add],
            44..47 => vec![("register", Change::Remove)],
            _ => return Call::Destroy,
        };
        Call::Commit(changes.into_iter().map(|(name, it)| (name.to_owned(), it)).collect())
    }
}

/// Calls of one task in one round.
async fn task(handler: Arc<dyn SessionHandler>, visitor: Access, mut log: File, thread: u64) {
    let mut noise = Noise(thread);
    let mut seen = None;
    for step in 0..CALLS {
        tokio::time::sleep(Duration::from_micros(noise.below(1500))).await;
        let call = noise.call(format!("{thread}-{step}"), seen);
        // a line is written at once, so those of processes do not mix
        let mut note = |event: Event| log.write_all((event.line() + "\n").as_bytes()).unwrap();
        note(Event::Invoked(thread, call.clone()));
        let Some(answer) = ask(&*handler, &visitor, &call).await else {
            note(Event::Failed(thread));
            continue;
        };
        match (&call, &answer) {
            (_, Answer::Found { fields, .. }) => {
                seen = fields.get("compared").and_then(|(revision, _)| *revision);
            }
            (Call::Commit(changes), Answer::Committed { version })
                if changes.contains_key("compared") =>
            {
                seen = Some(*version);
            }
            (_, Answer::Conflict { now, .. }) => {
                seen = now.as_ref().and_then(|(revision, _)| *revision);
            }
            _ => {}
        }
        note(Event::Returned(thread, answer));
    }
}

/// Not a test: a process that another test starts. Each line it reads is a round: its first thread,
/// the file to write to and the session. It says `done` when it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that the tests start"]
async fn one_of_many() {
    let url = std::env::var("STANDFAST_TEST_URL").expect("it is started by a test");
    let handler = open(&url, std::env::var_os("STANDFAST_TEST_BROKEN").is_some()).await;
    println!("\ndone");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let first: u64 = words[0].parse().unwrap();
        let token: SessionToken = words[2].parse().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..TASKS {
            let log = File::options().append(true).open(words[1]).unwrap();
            let visitor = Access::bearer(&token);
            tasks.spawn(task(Arc::clone(&handler), visitor, log, first + number));
        }
        tasks.join_all().await;
        println!("\ndone");
    }
}
