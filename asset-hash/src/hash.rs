//! Hashing many files on all cores.

use std::cmp::Reverse;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use standfast_core::{Error, Result};

use crate::digest::Digest;
use crate::file::Reading;
use crate::lanes::{Lane, hash, hash_both};
use crate::progress::Progress;
use crate::walk::Found;

/// The digests of the files that `wanted` names by index, in its order.
///
/// Threads take the largest files first, so that none is left with a large one at the end, and
/// each hashes two at a time. In memory are two buffers a thread.
pub(crate) fn hash_all(
    found: &[Found],
    wanted: &[usize],
    threads: usize,
    progress: &Progress,
) -> Result<Vec<Digest>> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_unstable_by_key(|&at| (Reverse(found[wanted[at]].stamp.size), at));
    let files = Files { found, wanted, order, next: AtomicUsize::new(0), progress };
    let mut digests = vec![None; wanted.len()];
    on_threads(
        threads.min(wanted.len()),
        |stop| files.hash_some(stop),
        |done| {
            for (at, digest) in done {
                digests[at] = Some(digest);
            }
        },
    )?;
    // invariant: without an error every file was taken by one thread and hashed
    Ok(digests.into_iter().map(|digest| digest.expect("every file was hashed")).collect())
}

/// Runs `work` on as many threads, this one among them, and hands what each made to `gather`.
/// `work` gets a flag that says that another one failed.
pub(crate) fn on_threads<T: Send>(
    threads: usize,
    work: impl Fn(&AtomicBool) -> Result<T> + Sync,
    mut gather: impl FnMut(T),
) -> Result<()> {
    let (stop, failure) = (AtomicBool::new(false), Mutex::new(None));
    let run = || {
        let made = work(&stop);
        made.map_err(|error| note(&failure, &stop, error)).ok()
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        run().into_iter().for_each(&mut gather);
        for helper in helpers {
            // invariant: nothing in `work` panics; if it does, so does the caller
            let made = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            made.into_iter().for_each(&mut gather);
        }
    });
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

fn note(failure: &Mutex<Option<Error>>, stop: &AtomicBool, error: Error) {
    stop.store(true, Ordering::Relaxed);
    failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
}

struct Files<'a> {
    found: &'a [Found],
    wanted: &'a [usize],
    order: Vec<usize>,
    next: AtomicUsize,
    progress: &'a Progress,
}

/// A lane and the file it is at.
struct Slot<'a> {
    lane: Lane,
    job: Option<Job<'a>>,
}

struct Job<'a> {
    at: usize,
    found: &'a Found,
    reading: Reading,
    is_padded: bool,
}

impl<'a> Files<'a> {
    fn hash_some(&self, stop: &AtomicBool) -> Result<Vec<(usize, Digest)>> {
        let slot = || Slot { lane: Lane::new(), job: None };
        let (mut one, mut other, mut done) = (slot(), slot(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let both = (self.refill(&mut one, &mut done)?, self.refill(&mut other, &mut done)?);
            match both {
                (true, true) => hash_both(&mut one.lane, &mut other.lane),
                (true, false) => hash(&mut one.lane),
                (false, true) => hash(&mut other.lane),
                (false, false) => break,
            }
        }
        Ok(done)
    }

    /// Reads until the slot has a block to hash; false when there are no more files.
    fn refill(&self, slot: &mut Slot<'a>, done: &mut Vec<(usize, Digest)>) -> Result<bool> {
        while slot.lane.blocks() == 0 {
            let Some(job) = &mut slot.job else {
                let Some(&at) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                    return Ok(false);
                };
                self.progress.check()?;
                let found = &self.found[self.wanted[at]];
                let reading = Reading::open(&found.file, found.stamp)?;
                slot.lane.start();
                slot.job = Some(Job { at, found, reading, is_padded: false });
                continue;
            };
            if job.is_padded {
                done.push((job.at, slot.lane.digest()));
                self.progress.add(1, 0);
                slot.job = None;
                continue;
            }
            let read = job.reading.read(&job.found.file, slot.lane.space())?;
            slot.lane.filled(read);
            self.progress.add(0, read as u64);
            if job.reading.is_at_end() {
                // the last blocks go with the others, so that short files keep both lanes busy
                job.reading.read(&job.found.file, &mut [])?;
                slot.lane.pad();
                job.is_padded = true;
            } else {
                self.progress.check()?;
            }
        }
        Ok(true)
    }
}
