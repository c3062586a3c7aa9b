//! Who listens to what, and what the server has yet to be told about it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Command;
use super::mailbox::Mailbox;

/// Channels in one command.
const BATCH: usize = 1000;

#[derive(Default)]
pub(super) struct Channels {
    all: HashMap<Arc<str>, Channel>,
    /// Names that may have to be subscribed or unsubscribed; the channel's record decides.
    changed: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct Channel {
    readers: Vec<Arc<Mailbox>>,
    state: State,
    /// Those who wait in `subscribe`.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether somebody reads who was not subscribed all the time.
    missed: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Absent,
    Asked,
    Present,
}

/// What to tell the server next.
#[derive(Clone)]
pub(super) enum Batch {
    Subscribe(Vec<Arc<str>>),
    Unsubscribe(Vec<Arc<str>>),
}

impl Channels {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// `connected` is whether a connection is there or on its first way.
    pub(super) fn apply(&mut self, command: Command, connected: bool) {
        match command {
            Command::Join { channel, mailbox, settled } => {
                let record = self.all.entry(Arc::clone(&channel)).or_default();
                record.readers.push(mailbox);
                match record.state {
                    // answered by dropping it
                    State::Present => {}
                    _ if connected => record.waiting.extend(settled),
                    _ => record.missed = true,
                }
                if record.state == State::Absent {
                    self.changed.push_back(channel);
                }
            }
            Command::Leave { channel, mailbox } => {
                if let Some(record) = self.all.get_mut(&channel) {
                    record.readers.retain(|reader| !Arc::ptr_eq(reader, &mailbox));
                    if record.readers.is_empty() {
                        self.changed.push_back(channel);
                    }
                }
            }
        }
    }

    /// What the server should hear next; one batch at a time, so that their order is ours.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let (mut subscribe, mut unsubscribe) = (Vec::new(), Vec::new());
        while subscribe.len() < BATCH && unsubscribe.len() < BATCH {
            let Some(name) = self.changed.pop_front() else { break };
            let Some(record) = self.all.get_mut(&name) else { continue };
            match (record.readers.is_empty(), record.state) {
                (true, State::Absent) => {
                    self.all.remove(&name);
                }
                (true, _) if subscribe.is_empty() => {
                    self.all.remove(&name);
                    unsubscribe.push(name);
                }
                (false, State::Absent) if unsubscribe.is_empty() => {
                    record.state = State::Asked;
                    subscribe.push(name);
                }
                (false, State::Asked | State::Present) => {}
                // of the other sort: the next batch
                _ => {
                    self.changed.push_front(name);
                    break;
                }
            }
        }
        if !subscribe.is_empty() {
            return Some(Batch::Subscribe(subscribe));
        }
        (!unsubscribe.is_empty()).then_some(Batch::Unsubscribe(unsubscribe))
    }

    /// The server has confirmed `batch`.
    pub(super) fn confirmed(&mut self, batch: &Batch) {
        let Batch::Subscribe(names) = batch else { return };
        for name in names {
            if let Some(record) = self.all.get_mut(name) {
                record.state = State::Present;
                record.waiting.clear();
                if std::mem::take(&mut record.missed) {
                    record.doubt();
                }
            }
        }
    }

    pub(super) fn deliver(&self, name: &str, body: &[u8]) {
        if let Some(record) = self.all.get(name) {
            for reader in &record.readers {
                reader.message(body);
            }
        }
    }

    /// There is no connection any more: nobody waits for a confirmation, all are in doubt.
    pub(super) fn lost(&mut self) {
        self.changed.clear();
        self.all.retain(|_, record| !record.readers.is_empty());
        for (name, record) in &mut self.all {
            record.state = State::Absent;
            record.waiting.clear();
            record.missed = true;
            record.doubt();
            self.changed.push_back(Arc::clone(name));
        }
    }

    pub(super) fn doubt(&self) {
        for record in self.all.values() {
            record.doubt();
        }
    }
}

impl Channel {
    fn doubt(&self) {
        for reader in &self.readers {
            reader.doubt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(channels: &mut Channels, name: &str) -> Arc<Mailbox> {
        let (channel, mailbox) = (Arc::from(name), Arc::default());
        let command = Command::Join { channel, mailbox: Arc::clone(&mailbox), settled: None };
        channels.apply(command, true);
        mailbox
    }

    fn leave(channels: &mut Channels, name: &str, mailbox: Arc<Mailbox>) {
        channels.apply(Command::Leave { channel: Arc::from(name), mailbox }, true);
    }

    /// What the server is told, in words.
    fn told(channels: &mut Channels) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(batch) = channels.next_batch() {
            all.push(match &batch {
                Batch::Subscribe(names) => format!("+{}", names.join(",")),
                Batch::Unsubscribe(names) => format!("-{}", names.join(",")),
            });
            channels.confirmed(&batch);
        }
        all
    }

    #[test]
    fn what_came_and_went_meanwhile_is_not_told() {
        let mut channels = Channels::default();
        let (a, b) = (join(&mut channels, "a"), join(&mut channels, "b"));
        leave(&mut channels, "b", b);
        assert_eq!(told(&mut channels), ["+a"]);
        leave(&mut channels, "a", a);
        let again = join(&mut channels, "a");
        assert!(told(&mut channels).is_empty());
        leave(&mut channels, "a", again);
        assert_eq!(told(&mut channels), ["-a"]);
        assert!(channels.is_empty());
    }

    #[test]
    fn a_channel_that_ends_is_unsubscribed_before_it_is_subscribed_anew() {
        let mut channels = Channels::default();
        let a = join(&mut channels, "a");
        assert_eq!(told(&mut channels), ["+a"]);
        leave(&mut channels, "a", a);
        // taken, and not confirmed yet
        assert!(matches!(channels.next_batch(), Some(Batch::Unsubscribe(_))));
        let _again = join(&mut channels, "a");
        let _other = join(&mut channels, "b");
        assert_eq!(told(&mut channels), ["+a,b"]);
    }

    #[test]
    fn after_a_loss_everything_that_is_read_is_subscribed_again() {
        let mut channels = Channels::default();
        let (_a, b) = (join(&mut channels, "a"), join(&mut channels, "b"));
        assert_eq!(told(&mut channels).len(), 1);
        leave(&mut channels, "b", b);
        channels.lost();
        assert_eq!(told(&mut channels), ["+a"]);
    }

    #[test]
    fn many_go_in_batches() {
        let mut channels = Channels::default();
        let _all: Vec<_> = (0..BATCH + 1).map(|n| join(&mut channels, &n.to_string())).collect();
        assert_eq!(told(&mut channels).len(), 2);
    }
}
