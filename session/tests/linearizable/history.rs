//! What the processes did, as lines and as a history that can be checked.

use std::collections::{BTreeMap, BTreeSet};

use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};

use crate::spec::{Answer, Call, Change, Content, FIELDS, Session};

/// A call that begins, or ends. One that nobody answered never ends.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Invoked(u64, Call),
    Returned(u64, Answer),
    /// An error: nobody knows whether it was carried out.
    Failed(u64),
}

fn content(now: &Content) -> String {
    let (revision, value) = now;
    format!("{}:{value}", revision.map(|it| it.to_string()).unwrap_or_default())
}

fn read_content(text: &str) -> Content {
    let (revision, value) = text.split_once(':').unwrap();
    (revision.parse().ok(), value.to_owned())
}

impl Event {
    /// One line, without its end. No value has a blank, a comma, a colon or `=` in it.
    pub(crate) fn line(&self) -> String {
        let list = |parts: Vec<String>| parts.join(",");
        match self {
            Self::Failed(thread) => format!("{thread} failed"),
            Self::Invoked(thread, Call::Load) => format!("{thread} load"),
            Self::Invoked(thread, Call::Destroy) => format!("{thread} destroy"),
            Self::Invoked(thread, Call::Commit(patch)) => {
                let parts = patch.iter().map(|(field, change)| match change {
                    Change::Set(value) => format!("{field}=set:{value}"),
                    Change::Remove => format!("{field}=remove:"),
                    Change::Add(by) => format!("{field}=add:{by}"),
                    Change::Compare(seen, value) => {
                        format!("{field}=compare:{}", content(&(*seen, value.clone())))
                    }
                });
                format!("{thread} commit {}", list(parts.collect()))
            }
            Self::Returned(thread, Answer::Found { version, fields }) => {
                let parts = fields.iter().map(|(name, now)| format!("{name}={}", content(now)));
                format!("{thread} found {version} {}", list(parts.collect()))
            }
            Self::Returned(thread, Answer::Committed { version }) => {
                format!("{thread} committed {version}")
            }
            Self::Returned(thread, Answer::Conflict { field, now }) => {
                let now = now.as_ref().map(content).unwrap_or_default();
                format!("{thread} conflict {field}={now}")
            }
            Self::Returned(thread, Answer::Destroyed) => format!("{thread} destroyed"),
            Self::Returned(thread, Answer::Gone) => format!("{thread} gone"),
        }
    }

    pub(crate) fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let thread = word().parse().unwrap();
        let pairs = |text: &str| -> Vec<(String, String)> {
            let parts = text.split(',').filter(|part| !part.is_empty());
            let pair = |part: &str| {
                let (name, rest) = part.split_once('=').unwrap();
                (name.to_owned(), rest.to_owned())
            };
            parts.map(pair).collect()
        };
        match word() {
            "load" => Self::Invoked(thread, Call::Load),
            "destroy" => Self::Invoked(thread, Call::Destroy),
            "commit" => {
                let change = |(field, text): (String, String)| {
                    let (what, rest) = text.split_once(':').unwrap();
                    let change = match what {
                        "set" => Change::Set(rest.to_owned()),
                        "remove" => Change::Remove,
                        "add" => Change::Add(rest.parse().unwrap()),
                        _ => {
                            let (seen, value) = read_content(rest);
                            Change::Compare(seen, value)
                        }
                    };
                    (field, change)
                };
                Self::Invoked(thread, Call::Commit(pairs(word()).into_iter().map(change).collect()))
            }
            "found" => {
                let version = word().parse().unwrap();
                let now = |(name, text): (String, String)| (name, read_content(&text));
                let fields = pairs(word()).into_iter().map(now).collect();
                Self::Returned(thread, Answer::Found { version, fields })
            }
            "committed" => {
                Self::Returned(thread, Answer::Committed { version: word().parse().unwrap() })
            }
            "conflict" => {
                let (field, now) = word().split_once('=').unwrap();
                let now = (!now.is_empty()).then(|| read_content(now));
                Self::Returned(thread, Answer::Conflict { field: field.to_owned(), now })
            }
            "destroyed" => Self::Returned(thread, Answer::Destroyed),
            "gone" => Self::Returned(thread, Answer::Gone),
            "failed" => Self::Failed(thread),
            other => panic!("no event: {other}"),
        }
    }
}

/// What is to be seen of an event where one field is looked at; nothing, where it says nothing.
fn of_field(event: &Event, field: &str) -> Option<Event> {
    let only = |fields: &BTreeMap<String, Content>| -> BTreeMap<String, Content> {
        fields
            .iter()
            .filter(|(name, _)| *name == field)
            .map(|(n, c)| (n.clone(), c.clone()))
            .collect()
    };
    Some(match event {
        Event::Invoked(thread, Call::Commit(patch)) => {
            let change = patch.get(field)?.clone();
            Event::Invoked(*thread, Call::Commit(BTreeMap::from([(field.to_owned(), change)])))
        }
        Event::Returned(thread, Answer::Found { version, fields }) => {
            Event::Returned(*thread, Answer::Found { version: *version, fields: only(fields) })
        }
        other => other.clone(),
    })
}

/// The calls of a session, each with what became of it.
pub(crate) struct History(Vec<Event>);

impl History {
    pub(crate) fn new(events: Vec<Event>) -> Self {
        Self(events)
    }

    /// The part of it about one field. A commit that was refused for another field is none of this
    /// one's.
    pub(crate) fn of_field(&self, field: &str) -> Self {
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut events: Vec<Option<Event>> = Vec::new();
        for event in &self.0 {
            let (Event::Invoked(thread, _) | Event::Returned(thread, _) | Event::Failed(thread)) =
                event;
            if let Event::Invoked(..) = event {
                let seen = of_field(event, field);
                if seen.is_some() {
                    open.insert(*thread, events.len());
                }
                events.push(seen);
                continue;
            }
            let Some(invoked) = open.remove(thread) else { continue };
            if matches!(event, Event::Returned(_, Answer::Conflict { field: at, .. }) if at != field)
            {
                events[invoked] = None;
                continue;
            }
            events.push(of_field(event, field));
        }
        Self(events.into_iter().flatten().collect())
    }

    /// Whether calls overlapped.
    pub(crate) fn overlaps(&self) -> bool {
        let mut open = BTreeSet::new();
        self.0.iter().any(|event| {
            match event {
                Event::Invoked(thread, _) => open.insert(*thread),
                Event::Returned(thread, _) | Event::Failed(thread) => open.remove(thread),
            };
            open.len() > 1
        })
    }

    /// How many calls nobody answered.
    pub(crate) fn unanswered(&self) -> usize {
        let count = |is: fn(&Event) -> bool| self.0.iter().filter(|event| is(event)).count();
        count(|event| matches!(event, Event::Invoked(..)))
            - count(|event| matches!(event, Event::Returned(..)))
    }

    /// Whether calls one after the other, each somewhere between its beginning and its end, explain
    /// every answer.
    pub(crate) fn is_linearizable(&self, is_whole: bool) -> bool {
        // what was never answered is a thread of its own, tried after all others
        let mut last: BTreeMap<u64, usize> = BTreeMap::new();
        let mut answered = BTreeSet::new();
        for (at, event) in self.0.iter().enumerate() {
            match event {
                Event::Invoked(thread, _) => {
                    last.insert(*thread, at);
                }
                Event::Returned(thread, _) => answered.extend(last.remove(thread)),
                Event::Failed(thread) => {
                    last.remove(thread);
                }
            }
        }
        let versions = self.0.iter().filter_map(|event| match event {
            Event::Returned(_, answer) => answer.version(),
            _ => None,
        });
        let mut tester = LinearizabilityTester::new(Session::new(is_whole, versions.collect()));
        for (at, event) in self.0.iter().enumerate() {
            match event {
                Event::Invoked(thread, call) => {
                    let is_answered = answered.contains(&at);
                    let thread = if is_answered { *thread } else { u64::MAX / 2 + at as u64 };
                    tester.on_invoke(thread, call.clone()).unwrap();
                }
                Event::Returned(thread, answer) => {
                    tester.on_return(*thread, answer.clone()).unwrap();
                }
                Event::Failed(_) => {}
            }
        }
        tester.is_consistent()
    }

    /// How many of the fields are explained, each by itself.
    pub(crate) fn fields_explained(&self) -> usize {
        FIELDS.iter().filter(|field| self.of_field(field).is_linearizable(false)).count()
    }

    /// Whether the session as a whole is explained. Only of fields that are: to find that no order
    /// of many calls will do, all of them are tried.
    pub(crate) fn is_explained(&self) -> bool {
        self.is_linearizable(true)
    }
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|event| writeln!(f, "{}", event.line()))
    }
}
