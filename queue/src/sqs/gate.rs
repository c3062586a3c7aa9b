//! How many receives wait at the service at a time: one while there is nothing to do, more while
//! every one of them brings as much as it asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(super) struct Gate {
    turns: Semaphore,
    open: AtomicUsize,
    most: usize,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        Self { turns: Semaphore::new(1), open: AtomicUsize::new(1), most }
    }

    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        // invariant: the semaphore is never closed
        self.turns.acquire().await.expect("the gate stays")
    }

    /// There may be more than one receive brings: another one may ask as well.
    pub(super) fn widen(&self) {
        let wider = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < self.most).then_some(open + 1)
        });
        if wider.is_ok() {
            self.turns.add_permits(1);
        }
    }

    /// There is too little for so many: this turn is the last one of its place.
    pub(super) fn narrow(&self, turn: SemaphorePermit<'_>) {
        let narrower = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open > 1).then_some(open - 1)
        });
        if narrower.is_ok() {
            turn.forget();
        }
    }

    /// How many may ask.
    #[cfg(test)]
    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_under_load_and_falls_back_to_one() {
        let gate = Gate::new(3);
        for _ in 0..5 {
            gate.widen();
        }
        assert_eq!((gate.open(), gate.turns.available_permits()), (3, 3));
        for _ in 0..5 {
            let turn = gate.turn().await;
            gate.narrow(turn);
        }
        assert_eq!((gate.open(), gate.turns.available_permits()), (1, 1));
    }
}
