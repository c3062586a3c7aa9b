use std::time::Duration;

/// Which way through a [`FaultProxy`](super::FaultProxy).
///
/// ```
/// use std::time::Duration;
/// use standfast_core::testkit::{Direction, FaultProxy};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let proxy = FaultProxy::start("127.0.0.1:9").await;
/// proxy.delay(Direction::ToClient, Duration::from_millis(50));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Direction {
    /// Requests.
    ToServer = 0,
    /// Replies.
    ToClient = 1,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Mode {
    #[default]
    Pass,
    Freeze,
    BlackHole,
}

/// What is switched on. Connections compare the numbers with those at their start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) mode: Mode,
    /// By [`Direction`], as is the next.
    pub(super) delays: [Duration; 2],
    pub(super) half_closes: [u64; 2],
    pub(super) cuts: u64,
}

impl Faults {
    pub(super) fn become_mode(&mut self, mode: Mode) {
        if self.mode == Mode::BlackHole && mode != Mode::BlackHole {
            self.cuts += 1;
        }
        self.mode = mode;
    }
}

/// The replies that are still to be lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) left: u64,
    /// None: whatever reply comes next.
    pub(super) marker: Option<Vec<u8>>,
}

impl Losses {
    /// Whether the reply to a request that ends in `chunk` is to be lost. `tail` is what came just
    /// before on that connection, and then what came last.
    pub(super) fn marks(&mut self, tail: &mut Vec<u8>, chunk: &[u8]) -> bool {
        let Some(marker) = self.marker.as_ref().filter(|_| self.left > 0) else {
            tail.clear();
            return false;
        };
        tail.extend_from_slice(chunk);
        let found = tail.windows(marker.len()).any(|window| window == marker);
        // too short to hold a whole marker: each is found once
        tail.drain(..tail.len().saturating_sub(marker.len() - 1));
        self.left -= u64::from(found);
        found
    }

    /// Whether a reply that nothing marked is to be lost.
    pub(super) fn take_any(&mut self) -> bool {
        let lost = self.marker.is_none() && self.left > 0;
        self.left -= u64::from(lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_across_chunks_and_once() {
        let mut losses = Losses { left: 2, marker: Some(b"abc".to_vec()) };
        let mut tail = Vec::new();
        let found = ["xa", "b", "cxx", "ab", "x", "abcab", "c"]
            .map(|chunk| losses.marks(&mut tail, chunk.as_bytes()));
        assert_eq!(found, [false, false, true, false, false, true, false]);
        assert_eq!(losses.left, 0);
    }
}
