use standfast_core::Result;
use standfast_core::redis::KeySpace;

/// The names of everything that one queue keeps.
#[derive(Debug)]
pub(super) struct Keys {
    space: KeySpace,
    /// All of them but the dedupe keys, in the order in which the scripts expect them.
    all: [String; 14],
    /// The parts that a send touches, in the order in which it expects them.
    send: [String; 9],
    pub(super) channel: String,
}

impl Keys {
    pub(super) fn new(name: &str) -> Result<Self> {
        let space = KeySpace::new("queue", name)?;
        let parts = [
            "counters", "r0", "r1", "r2", "r3", "delayed", "leases", "bodies", "errors", "dead",
            "letters", "groups", "busy", "untold",
        ];
        let all = parts.map(|part| space.key(part));
        let send = [7, 1, 2, 3, 4, 0, 5, 11, 12].map(|at: usize| all[at].clone());
        let channel = space.key("wake");
        Ok(Self { space, all, send, channel })
    }

    pub(super) fn name(&self) -> &str {
        self.space.name()
    }

    pub(super) fn all(&self) -> &[String] {
        &self.all
    }

    pub(super) fn plain_send(&self) -> &[String] {
        &self.send[..6]
    }

    /// For a send that remembers these dedupe keys.
    pub(super) fn special_send<'a>(&self, dedupe: impl Iterator<Item = &'a str>) -> Vec<String> {
        let dedupe = dedupe.map(|key| self.space.key(&format!("key:{key}")));
        self.send.iter().cloned().chain(dedupe).collect()
    }

    pub(super) fn counters(&self) -> &[String] {
        &self.all[..1]
    }

    pub(super) fn leases(&self) -> &[String] {
        &self.all[6..7]
    }

    pub(super) fn acks(&self) -> &[String] {
        &self.all[6..8]
    }

    /// For a settle that does more than plain acks.
    pub(super) fn settle(&self) -> Vec<String> {
        self.acks().iter().chain(&self.all).cloned().collect()
    }

    pub(super) fn letters(&self) -> &[String] {
        &self.all[9..11]
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::redis::slot;

    use super::*;

    #[test]
    fn every_key_of_a_queue_is_in_one_slot() {
        let keys = Keys::new("mail").unwrap();
        let mut all = keys.special_send(["acme", "{other}", "}{", "a:b"].into_iter());
        all.extend(keys.settle());
        for part in [keys.all(), keys.plain_send(), keys.counters(), keys.leases(), keys.letters()]
        {
            all.extend_from_slice(part);
        }
        let slots: Vec<u16> = all.iter().map(|key| slot(key)).collect();
        assert!(slots.iter().all(|one| *one == slots[0]), "{all:?} {slots:?}");
        assert_ne!(slots[0], slot(&Keys::new("report").unwrap().all[0]));
    }

    #[test]
    fn a_name_that_could_leave_its_slot_is_refused() {
        for name in ["", "a}b", "{a", "a b", &"x".repeat(81)] {
            assert!(Keys::new(name).is_err(), "{name}");
        }
    }
}
