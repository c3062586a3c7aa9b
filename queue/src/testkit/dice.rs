use standfast_core::random;

/// Numbers that look random and can be had again: the seed is printed, and
/// `STANDFAST_TEST_SEED` sets it.
///
/// ```
/// use standfast_queue::testkit::Dice;
///
/// let (mut one, mut other) = (Dice::from_seed(7), Dice::from_seed(7));
/// assert_eq!(one.below(100), other.below(100));
/// ```
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice with a seed of their own, printed for whoever must repeat a failure.
    pub fn new() -> Self {
        let seed = std::env::var("STANDFAST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from_le_bytes(random::bytes()));
        println!("STANDFAST_TEST_SEED={seed}");
        Self::from_seed(seed)
    }

    /// Dice that fall as they did with this seed before.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits: SplitMix64, whose state is a plain counter.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number under `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }

    /// Whether one in `of` came up.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of `values`.
    pub fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
