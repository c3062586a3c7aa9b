//! Cutting a body into parts without copying it, within the memory that uploads may take.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use standfast_core::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::Pieces;
use crate::checksum::{Checksums, Crc64};

/// The unit in which the memory of uploads is counted.
pub(super) const UNIT: usize = 64 << 10;

/// What a body may hold without being counted, so that small streams never wait for large ones.
const FREE: usize = 256 << 10;

/// Pieces below this are put together: each one alone would cost more than the copy.
const SMALL: usize = 32 << 10;

/// A part of a body in memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) chunks: Vec<Bytes>,
    pub(super) crc64: Crc64,
    pub(super) len: u64,
    /// Whether the body ends with it.
    pub(super) last: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Takes pieces from a body and makes parts of them.
#[derive(Debug)]
pub(super) struct Filler {
    budget: Arc<Semaphore>,
    pieces: Pieces,
    /// What was taken and belongs to the next part.
    rest: Bytes,
    /// Whether the bytes are the caller's, so that holding them takes no memory of ours.
    in_memory: bool,
    /// Of everything so far.
    pub(super) sums: Checksums,
}

impl Filler {
    pub(super) fn new(
        budget: &Arc<Semaphore>,
        pieces: Pieces,
        in_memory: bool,
        with_sha256: bool,
    ) -> Self {
        let sums = Checksums::new(with_sha256);
        Self { budget: Arc::clone(budget), pieces, rest: Bytes::new(), in_memory, sums }
    }

    /// The next part, of `size` bytes unless it is the last one.
    ///
    /// A part waits for its memory before it grows beyond what is free, and holds nothing while it
    /// waits that another one needs: each upload fills one part at a time and frees the others when
    /// they have arrived.
    pub(super) async fn part(&mut self, size: usize) -> Result<Part> {
        let mut permit = None;
        let (mut chunks, mut small) = (Vec::new(), BytesMut::new());
        let mut part = Checksums::new(false);
        let last = loop {
            if self.rest.is_empty() {
                match self.pieces.next().await? {
                    Some(piece) => self.rest = piece,
                    None => break true,
                }
            }
            let left = size - part.len() as usize;
            if left == 0 {
                break false;
            }
            let piece = self.rest.split_to(left.min(self.rest.len()));
            let needed = part.len() as usize + piece.len();
            let whole = self.in_memory && needed < size;
            if permit.is_none() && needed > FREE && !whole {
                permit = Some(memory(Arc::clone(&self.budget), size).await);
            }
            part.update(&piece);
            self.sums.update(&piece);
            if piece.len() >= SMALL {
                if !small.is_empty() {
                    chunks.push(small.split().freeze());
                }
                chunks.push(piece);
            } else {
                small.extend_from_slice(&piece);
                if small.len() >= UNIT {
                    chunks.push(small.split().freeze());
                }
            }
        };
        if !small.is_empty() {
            chunks.push(small.freeze());
        }
        Ok(Part { chunks, crc64: part.crc64(), len: part.len(), last, _permit: permit })
    }
}

async fn memory(budget: Arc<Semaphore>, size: usize) -> OwnedSemaphorePermit {
    // invariant: a configuration has at most a TiB, which is 2^24 units
    let units = u32::try_from(size / UNIT).expect("a part is no larger than all of it");
    // invariant: nobody closes the semaphore
    budget.acquire_many_owned(units.max(1)).await.expect("the semaphore is never closed")
}
