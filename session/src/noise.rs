//! What random tests share.

use std::time::{Duration, Instant};

/// A small generator. What it makes is the same in every run, but not in a soak, which says its
/// seed.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        let Some(_) = soak() else { return Self(seed) };
        let bytes = standfast_core::Id128::random().to_bytes();
        let seed = bytes.into_iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(byte));
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// For how long a soak runs, where this is one.
fn soak() -> Option<Duration> {
    let seconds = std::env::var("STANDFAST_SOAK").ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// As many rounds, or as many as fit into the `STANDFAST_SOAK` seconds.
pub(crate) fn rounds(usual: u64) -> impl Iterator<Item = u64> {
    let began = Instant::now();
    let soak = soak();
    (0..).take_while(move |round| match soak {
        None => *round < usual,
        Some(time) => !round.is_multiple_of(1024) || began.elapsed() < time,
    })
}
