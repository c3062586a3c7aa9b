use std::time::Instant;

use standfast_core::{Health, Verdict};

/// The health of what needs both a queue and a store.
pub(super) fn worse(queue: Health, store: Health, began: Instant) -> Health {
    let asked = format!("{} and {}", queue.asked, store.asked);
    let verdict = match (queue.verdict, store.verdict) {
        (Verdict::Failing(why), _) | (_, Verdict::Failing(why)) => Verdict::Failing(why),
        (Verdict::Degraded(why), _) | (_, Verdict::Degraded(why)) => Verdict::Degraded(why),
        (verdict, _) => verdict,
    };
    Health::since(asked, began, verdict)
}
