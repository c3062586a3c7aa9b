use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use standfast_core::{JobId, random};

/// What is known of messages, by their ids.
pub(super) type ById<V> = HashMap<JobId, V, IdHashing>;

/// Hashes ids by multiplying their halves with secret random numbers, which is strongly universal:
/// whatever ids somebody chooses without knowing the numbers, two of them meet no more often than
/// random ones do. The general hasher of the standard library costs several times as much.
#[derive(Clone)]
pub(super) struct IdHashing([u128; 3]);

impl Default for IdHashing {
    fn default() -> Self {
        let number = || u128::from_le_bytes(random::bytes());
        Self([number(), number(), number()])
    }
}

impl BuildHasher for IdHashing {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        let Self([first, second, sum]) = *self;
        IdHasher { first, second, sum }
    }
}

pub(super) struct IdHasher {
    first: u128,
    second: u128,
    sum: u128,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Ok(id) = bytes.try_into() {
            return self.write_u128(u128::from_le_bytes(id));
        }
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, id: u128) {
        let (low, high) = (u128::from(id as u64), id >> 64);
        let products = self.first.wrapping_mul(low).wrapping_add(self.second.wrapping_mul(high));
        self.sum = self.sum.wrapping_add(products);
    }

    /// Lengths tell nothing: all ids are of one length.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        (self.sum >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_core::Id128;

    #[test]
    fn ids_that_differ_in_one_bit_spread() {
        let hashing = IdHashing::default();
        let hashes = (0..128).map(|bit| {
            let id = JobId::from(Id128::from_bytes((1_u128 << bit).to_le_bytes()));
            hashing.hash_one(id)
        });
        let buckets: std::collections::HashSet<u64> = hashes.map(|hash| hash % 4096).collect();
        assert!(buckets.len() > 96, "{}", buckets.len());
    }
}
