//! One attempt at a time, shared by all who want its result.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

type Landing<T> = watch::Receiver<Option<T>>;

/// The attempt runs as a task of its own: that a caller gives up, or is not polled any more, does
/// not hold up the others.
pub(super) struct Flight<T>(Arc<Mutex<Option<Landing<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// The result of the attempt that runs, or of `attempt` if none does; `None` at the deadline.
    pub(super) async fn join<F>(&self, deadline: Instant, attempt: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        loop {
            let mut landing = self.landing(&attempt);
            match timeout_at(deadline, landing.wait_for(Option::is_some)).await {
                Err(_) => return None,
                Ok(Ok(result)) => return result.clone(),
                // the attempt ended with the runtime that it ran on; start it on ours
                Ok(Err(_)) => {}
            }
        }
    }

    fn landing<F>(&self, attempt: &impl Fn() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = current.as_ref().filter(|landing| landing.has_changed().is_ok()) {
            return landing.clone();
        }
        let (sender, landing) = watch::channel(None);
        *current = Some(landing.clone());
        let (slot, attempt) = (Arc::clone(&self.0), attempt());
        tokio::spawn(async move {
            let result = attempt.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sender.send_replace(Some(result));
        });
        landing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test(start_paused = true)]
    async fn many_share_one_attempt_and_the_next_is_new() {
        let (flight, count) = (Flight::default(), Arc::new(AtomicU32::new(0)));
        let attempt = || {
            let count = Arc::clone(&count);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                count.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        let both =
            tokio::join!(flight.join(in_a_minute(), attempt), flight.join(in_a_minute(), attempt));
        assert_eq!(both, (Some(1), Some(1)));
        assert_eq!(flight.join(in_a_minute(), attempt).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_gives_up_leaves_the_attempt_to_the_others() {
        let flight = Flight::default();
        let attempt = || tokio::time::sleep(Duration::from_secs(5));
        let soon = Instant::now() + Duration::from_secs(1);
        let both = tokio::join!(flight.join(soon, attempt), flight.join(in_a_minute(), attempt));
        assert_eq!(both, (None, Some(())));
    }

    #[test]
    fn an_attempt_that_died_with_its_runtime_is_made_anew() {
        let flight = Flight::default();
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        first.block_on(async {
            let soon = Instant::now() + Duration::from_millis(20);
            assert_eq!(flight.join(soon, std::future::pending::<u8>).await, None);
        });
        drop(first);
        assert_eq!(runtime().block_on(flight.join(in_a_minute(), || async { 7 })), Some(7));
    }
}
