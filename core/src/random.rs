//! Random bits from the operating system, drawn in blocks.

use std::cell::RefCell;

const BLOCK: usize = 1024;

struct Pool {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; BLOCK], used: BLOCK }) };
}

/// `N` unpredictable bytes, at most 1,024. One system call serves many callers of a thread.
///
/// # Panics
///
/// When the operating system has no randomness to give; nothing safe can be done without it.
pub fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= BLOCK) };
    POOL.with_borrow_mut(|pool| {
        if BLOCK - pool.used < N {
            // invariant: on the supported systems this fails only before the kernel is seeded
            getrandom::fill(&mut pool.bytes).expect("the operating system gives random bytes");
            pool.used = 0;
        }
        let mut out = [0; N];
        out.copy_from_slice(&pool.bytes[pool.used..pool.used + N]);
        pool.bytes[pool.used..pool.used + N].fill(0);
        pool.used += N;
        out
    })
}

/// A number from 0 up to, not including, 1.
pub fn unit() -> f64 {
    let bits = u64::from_le_bytes(bytes()) >> 11;
    bits as f64 / (1u64 << 53) as f64
}
