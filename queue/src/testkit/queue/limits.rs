//! Q14 and Q19: what a message may be, and how many there may be.

use std::time::Duration;

use standfast_core::{ErrorKind, Reason};

use super::kit::{
    LONG, ack, again, assert_counts, bury, fresh, message, put, put_all, refused, release, send,
    settled, take, take_all,
};
use crate::delivery::ExtendOutcome;
use crate::envelope::Envelope;
use crate::message::SendOutcome;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// The largest limit worth filling.
const FILLED: usize = 2 * 1024 * 1024;

pub(crate) async fn a_body_is_any_bytes(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let every: Vec<u8> = (0..=255).collect();
    let bodies: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\n",
        b"\r\n\r\n",
        b"\xff\xfe\xc3\x28",
        b"{\"v\":1}\n",
        "\u{feff}\u{1F600} ünï\u{301}".as_bytes(),
        &every,
        &vec![0xa5; 100_000],
    ];
    for body in bodies {
        put(&queue, Envelope::new("case", body.to_vec()).into()).await;
        let received = take(&queue, LONG).await;
        let came = &received.envelope().body;
        assert!(came == body, "{} bytes come as they went, not {}", body.len(), came.len());
        ack(&queue, &received).await;
    }
}

pub(crate) async fn a_body_at_the_limit_is_taken_and_one_over_it_is_not(h: &dyn QueueHarness) {
    let setup = QueueSetup { max_body: Some(1_000), ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    let limit = queue.capabilities().max_body;
    let body = |len: usize| Envelope::new("case", vec![b'x'; len]).into();
    put(&queue, body(limit.min(FILLED))).await;
    assert_eq!(take(&queue, LONG).await.envelope().body.len(), limit.min(FILLED), "all of it");
    if limit < 100 * FILLED {
        let outcome = send(&queue, body(limit + 1)).await;
        if let SendOutcome::Failed(error) = &outcome {
            assert_eq!(error.reason(), Some(Reason::BodyTooLarge), "the body alone is too large");
        }
        refused(outcome, ErrorKind::TooLarge);
        assert_counts(&queue, [0, 1, 0, 0]).await;
    }
}

pub(crate) async fn a_name_is_1_to_256_bytes_without_nul(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let capabilities = queue.capabilities();
    let names = [("", false), ("a\0b", false), (&"n".repeat(257), false), (&"n".repeat(256), true)];
    for (name, is_valid) in names {
        for (message, has) in [
            (message("a").group(name), capabilities.groups),
            (message("a").dedupe(name, LONG), capabilities.dedupe),
        ] {
            match (is_valid, has) {
                (true, true) => drop(put(&queue, message).await),
                (true, false) => refused(send(&queue, message).await, ErrorKind::Unsupported),
                (false, _) => refused(send(&queue, message).await, ErrorKind::Invalid),
            }
        }
    }
}

pub(crate) async fn a_full_queue_says_so(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_len: 3, ..QueueSetup::default() }).await;
    let batch = [message("a"), message("b").delay(LONG), message("c"), message("d")];
    let outcomes = super::kit::send_all(&queue, &batch).await;
    if !queue.capabilities().bounded {
        let all = outcomes.iter().all(SendOutcome::is_sent);
        return assert!(all, "no bound is promised, so all are sent: {outcomes:?}");
    }
    let [SendOutcome::Sent, SendOutcome::Sent, SendOutcome::Sent, SendOutcome::Full] = outcomes[..]
    else {
        panic!("three fit, the fourth does not, but it is {outcomes:?}");
    };
    put(&queue, again(&batch[0])).await; // it is in the queue, so there is no need for room
    let received = take(&queue, LONG).await;
    let full = |outcome| assert!(matches!(outcome, SendOutcome::Full), "full, not {outcome:?}");
    full(send(&queue, message("e")).await); // what is out takes its room
    settled(&queue, &received, release(Duration::ZERO, true)).await;
    full(send(&queue, message("e")).await); // and needs it when it comes back
    ack(&queue, &take(&queue, LONG).await).await;
    put(&queue, message("e")).await;
    full(send(&queue, message("f")).await);
    bury(&queue, &take(&queue, LONG).await, "no use").await;
    put(&queue, message("f")).await; // the dead do not count
    assert_counts(&queue, [2, 0, 1, 1]).await;
}

pub(crate) async fn a_purged_queue_has_room(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_len: 2, ..QueueSetup::default() }).await;
    for _ in 0..2 {
        put_all(&queue, &["a", "b"].map(message)).await;
        take(&queue, LONG).await;
        queue.purge().await.expect("the queue purges");
    }
    put_all(&queue, &["a", "b"].map(message)).await;
    take_all(&queue, 2, LONG).await;
}

pub(crate) async fn a_lease_over_the_cap_is_shortened_to_it(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let capabilities = queue.capabilities();
    put(&queue, message("a")).await;
    let received = take(&queue, Duration::MAX).await;
    if let Some(latest) = h.now().checked_add(capabilities.max_lease) {
        assert!(received.lease_until <= latest, "the lease ends within the cap");
    }
    if let Some(total) = capabilities.max_lease_total.filter(|total| h.can_pass(*total)) {
        h.pass_time(total / 2).await;
        let outcome = super::kit::extend(&queue, &received, total).await;
        assert!(matches!(outcome, ExtendOutcome::LeaseCap), "over the cap, not {outcome:?}");
    }
    let outcome = super::kit::extend(&queue, &received, Duration::MAX).await;
    let fits = matches!(outcome, ExtendOutcome::Extended | ExtendOutcome::LeaseCap);
    assert!(fits, "it is extended as far as it can be, not {outcome:?}");
    ack(&queue, &received).await;
}
