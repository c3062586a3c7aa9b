//! What `CLUSTER NODES` says.

use std::ops::RangeInclusive;

/// How one node sees the cluster.
#[derive(Debug)]
pub(super) struct View(pub(super) Vec<Member>);

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Member {
    pub(super) id: String,
    flags: Vec<String>,
    /// The id of its primary, `-` for a primary.
    pub(super) primary: String,
    pub(super) epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl View {
    pub(super) fn parse(nodes: &str) -> Self {
        Self(nodes.lines().filter_map(Member::parse).collect())
    }

    /// Whether the members in `ids`, and no others, serve all slots, and none is in doubt.
    pub(super) fn is_served_by(&self, ids: &[&str]) -> bool {
        let served: usize = self
            .0
            .iter()
            .filter(|member| ids.contains(&&*member.id) && member.has("master"))
            .flat_map(|member| &member.slots)
            .map(ExactSizeIterator::len)
            .sum();
        let doubtful = |member: &Member| {
            ["fail?", "fail", "handshake", "noaddr"].iter().any(|flag| member.has(flag))
        };
        served == 16_384
            && ids
                .iter()
                .all(|id| self.0.iter().any(|member| member.id == *id && !doubtful(member)))
    }
}

impl Member {
    // id address flags primary ping-sent pong-received epoch link slot…
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [id, _, flags, primary, _, _, epoch, _, slots @ ..] = &words[..] else { return None };
        Some(Self {
            id: (*id).to_owned(),
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (*primary).to_owned(),
            epoch: epoch.parse().ok()?,
            // slots on the move, in brackets, are still their owner's
            slots: slots.iter().filter_map(|slots| range(slots)).collect(),
        })
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    pub(super) fn serves(&self, slot: u16) -> bool {
        self.has("master") && self.slots.iter().any(|range| range.contains(&slot))
    }
}

fn range(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aa 127.0.0.1:1@10001 myself,master - 0 0 1 connected 0-8000 8002 [93-<-bb]
bb 127.0.0.1:2@10002,host master - 0 5 2 connected 8001 8003-16383
cc 127.0.0.1:3@10003 slave aa 0 5 1 connected
";

    #[test]
    fn owners_and_doubts_are_read() {
        let view = View::parse(NODES);
        assert!(view.0[0].has("myself") && !view.0[1].has("myself"));
        let served = [8000, 8001, 8002, 8003].map(|slot| view.0[0].serves(slot));
        assert_eq!(served, [true, false, true, false]);
        assert_eq!(view.0[2].primary, "aa");
        assert!(view.is_served_by(&["aa", "bb", "cc"]));
        assert!(!view.is_served_by(&["aa", "cc"]));
        assert!(!view.is_served_by(&["aa", "bb", "dd"]));
        assert!(
            !View::parse(&NODES.replace("slave aa", "slave,fail? aa"))
                .is_served_by(&["aa", "bb", "cc"])
        );
    }
}
