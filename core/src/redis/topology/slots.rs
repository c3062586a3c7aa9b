//! Who has which slot, as a node tells it.

use std::collections::HashSet;
use std::sync::Arc;

use redis::Value;

use super::super::address::Address;
use super::super::node::Node;

/// The slots of a Cluster.
pub(super) const COUNT: usize = 16384;
/// Of a slot that nobody has.
const NOBODY: u16 = u16::MAX;

/// Who has which slot.
pub(super) struct Slots {
    owners: Box<[u16; COUNT]>,
    nodes: Vec<Arc<Node>>,
    /// Replicas too.
    pub(super) members: HashSet<Address>,
}

impl Default for Slots {
    fn default() -> Self {
        let owners = Box::new([NOBODY; COUNT]);
        Self { owners, nodes: Vec::new(), members: HashSet::new() }
    }
}

impl Slots {
    pub(super) fn new(ranges: Vec<Range>, node: impl Fn(&Address) -> Arc<Node>) -> Self {
        let mut slots = Self::default();
        for range in ranges {
            let owner = slots.index(&node(&range.primary));
            slots.owners[range.first..=range.last].fill(owner);
            slots.members.insert(range.primary);
            slots.members.extend(range.replicas);
        }
        slots
    }

    fn index(&mut self, node: &Arc<Node>) -> u16 {
        let known = self.nodes.iter().position(|known| known.address == node.address);
        let index = known.unwrap_or_else(|| {
            self.nodes.push(Arc::clone(node));
            self.nodes.len() - 1
        });
        u16::try_from(index).expect("a Cluster has at most 16,384 primaries")
    }

    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.nodes.get(usize::from(self.owners[usize::from(slot)])).cloned()
    }

    pub(super) fn give(&mut self, slot: u16, node: &Arc<Node>) {
        self.owners[usize::from(slot)] = self.index(node);
        self.members.insert(node.address.clone());
    }

    pub(super) fn primaries(&self) -> &[Arc<Node>] {
        &self.nodes
    }
}

/// Consecutive slots with one owner.
#[derive(Debug, PartialEq)]
pub(super) struct Range {
    first: usize,
    last: usize,
    primary: Address,
    replicas: Vec<Address>,
}

/// The answer of the node at `asked` to `CLUSTER SLOTS`; `None` if it is no such answer, or knows
/// no slots, as a node does that has not joined.
pub(super) fn parse(answer: Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else { return None };
    let ranges: Vec<Range> =
        ranges.into_iter().map(|range| parse_range(range, asked)).collect::<Option<_>>()?;
    (!ranges.is_empty()).then_some(ranges)
}

fn parse_range(range: Value, asked: &Address) -> Option<Range> {
    let Value::Array(fields) = range else { return None };
    let mut fields = fields.into_iter();
    let (Value::Int(first), Value::Int(last)) = (fields.next()?, fields.next()?) else {
        return None;
    };
    let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
    let mut nodes = fields.map(|node| parse_node(node, asked));
    let primary = nodes.next()??;
    let replicas = nodes.flatten().collect();
    (first <= last && last < COUNT).then_some(Range { first, last, primary, replicas })
}

fn parse_node(node: Value, asked: &Address) -> Option<Address> {
    let Value::Array(fields) = node else { return None };
    let mut fields = fields.into_iter();
    let (host, Value::Int(port)) = (fields.next()?, fields.next()?) else { return None };
    let host = match host {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        // a node that does not know its own address is reached where it was asked
        _ => String::new(),
    };
    let host = if matches!(host.as_str(), "" | "?") { asked.host.clone() } else { host };
    Some(Address::new(host, u16::try_from(port).ok().filter(|&port| port != 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(wire: &str) -> Option<Vec<Range>> {
        let value = redis::parse_redis_value(wire.replace('|', "\r\n").as_bytes()).unwrap();
        parse(value, &Address::new("asked", 1))
    }

    #[test]
    fn ranges_have_a_primary_and_replicas() {
        let ranges = parsed(
            "*2|*4|:0|:5|*3|$1|a|:7|$2|id|*4|$1|b|:8|$2|id|*0|*3|:6|:16383|*3|$0||:9|$2|id|",
        );
        let expected = [
            Range {
                first: 0,
                last: 5,
                primary: Address::new("a", 7),
                replicas: vec![Address::new("b", 8)],
            },
            Range { first: 6, last: 16383, primary: Address::new("asked", 9), replicas: vec![] },
        ];
        assert_eq!(ranges.unwrap(), expected);
    }

    #[test]
    fn an_unknown_host_is_the_one_that_was_asked() {
        for host in ["$-1", "$1|?", "$0|"] {
            let ranges = parsed(&format!("*1|*3|:0|:1|*2|{host}|:9|")).unwrap();
            assert_eq!(ranges[0].primary, Address::new("asked", 9), "{host}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for wire in [":1|", "*0|", "*1|:1|", "*1|*2|:0|:1|", "*1|*3|:0|:16384|*2|$1|a|:7|"] {
            assert_eq!(parsed(wire), None, "{wire}");
        }
    }
}
