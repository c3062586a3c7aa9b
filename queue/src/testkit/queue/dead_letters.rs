//! Dead letters: listing, sending again, deleting.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::ErrorKind;

use super::kit::{
    LONG, again, assert_counts, assert_nothing, bodies, bury, dead, dead_bodies, dead_of, fresh,
    message, put, put_all, put_dead, redrive_all, release, settled, take, take_all,
};
use crate::dead::{DeadLetterFilter, PageToken, RedriveOptions};
use crate::delivery::Settlement;
use crate::envelope::Envelope;
use crate::handle::StatusHandle;
use crate::queue::Queue;
use crate::testkit::harness::{QueueHarness, QueueSetup};

/// Dead letters `a`, `b` and so on, the oldest first, of kinds `odd` and `even` in turn.
async fn graveyard(queue: &dyn Queue, count: u8) {
    for index in 0..count {
        let kind = if index % 2 == 0 { "even" } else { "odd" };
        let body = char::from(b'a' + index).to_string();
        let reason = format!("reason {body}");
        put_dead(queue, Envelope::new(kind, body).into(), &reason).await;
    }
}

fn texts(letters: &[crate::DeadLetter]) -> Vec<String> {
    let body = |letter: &crate::DeadLetter| String::from_utf8_lossy(&letter.envelope.body).into();
    letters.iter().map(body).collect()
}

pub(crate) async fn a_listing_goes_on_where_its_page_ended(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 7).await;
    if !queue.capabilities().lists_dead_letters {
        return assert!(!dead(&queue).await.is_empty(), "a listing is a sample at least");
    }
    for filter in [DeadLetterFilter::default(), DeadLetterFilter::default().kind("even")] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = queue.list_dead_letters(&filter, after.as_ref(), 2).await;
            let page = page.expect("the queue lists its dead letters");
            assert!(page.letters.len() <= 2, "a page is at most as long as asked");
            seen.extend(texts(&page.letters));
            after = page.next;
            if after.is_none() {
                break;
            }
            assert!(seen.len() <= 7, "a listing does not repeat itself: {seen:?}");
        }
        let expected: &[&str] = if filter.kind.is_none() {
            &["a", "b", "c", "d", "e", "f", "g"]
        } else {
            &["a", "c", "e", "g"]
        };
        assert_eq!(seen, expected, "all of them, the oldest first");
    }
    let page = queue.list_dead_letters(&DeadLetterFilter::default(), None, 7).await;
    assert_eq!(page.expect("the queue lists").next, None, "the end is told");
}

pub(crate) async fn a_listing_bears_changes_between_its_pages(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 6).await;
    if !queue.capabilities().lists_dead_letters {
        return assert!(!dead(&queue).await.is_empty(), "a listing is a sample at least");
    }
    let all = DeadLetterFilter::default();
    let first = queue.list_dead_letters(&all, None, 3).await.expect("the queue lists");
    assert_eq!(texts(&first.letters), ["a", "b", "c"], "the first page");
    let gone = all.clone().id(first.letters[1].envelope.id);
    assert_eq!(queue.purge_dead_letters(&gone).await.expect("the queue deletes"), 1);
    let rest = queue.list_dead_letters(&all, first.next.as_ref(), 10).await;
    let rest = rest.expect("the queue lists");
    assert_eq!(texts(&rest.letters), ["d", "e", "f"], "nothing is skipped or repeated");
}

pub(crate) async fn a_filter_means_what_it_says(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 2).await;
    h.pass_time(2 * h.unit()).await;
    put(&queue, Envelope::new("odd", "c").into()).await;
    let failed = take(&queue, LONG).await;
    let fail = Settlement::Release {
        delay: Duration::ZERO,
        counted: true,
        error: Some("no disk left".to_owned()),
    };
    settled(&queue, &failed, fail).await;
    bury(&queue, &take(&queue, LONG).await, "reason c").await;
    let letters = dead(&queue).await;
    assert_eq!(texts(&letters), ["a", "b", "c"], "all of them");
    let any = DeadLetterFilter::default;
    let mut since = any();
    since.since = Some(letters[2].died_at);
    let mut until = any();
    until.until = Some(letters[2].died_at);
    let mut nobody = any();
    nobody.ids = Some(Vec::new());
    let remembers = queue.capabilities().counts_crashes;
    let cases: [(&str, DeadLetterFilter, &[&str]); 9] = [
        ("kind", any().kind("odd"), &["b", "c"]),
        ("reason", any().containing("son b"), &["b"]),
        ("last error", any().containing("disk"), if remembers { &["c"] } else { &[] }),
        ("id", any().id(letters[0].envelope.id), &["a"]),
        ("ids", any().id(letters[0].envelope.id).id(letters[2].envelope.id), &["a", "c"]),
        ("no id", nobody, &[]),
        ("since, inclusive", since, &["c"]),
        ("until, exclusive", until, &["a", "b"]),
        ("all at once", any().kind("odd").containing("reason").id(letters[1].envelope.id), &["b"]),
    ];
    for (what, filter, expected) in cases {
        assert_eq!(texts(&dead_of(&queue, &filter).await), expected, "by {what}");
    }
}

pub(crate) async fn a_page_of_nowhere_is_invalid(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 1).await;
    let token = PageToken::new("from another world");
    let page = queue.list_dead_letters(&DeadLetterFilter::default(), Some(&token), 10).await;
    let error = page.expect_err("a token that the queue did not give is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

pub(crate) async fn a_redriven_message_begins_a_new_run(h: &dyn QueueHarness) {
    let setup = QueueSetup { max_crashes: 2, ..QueueSetup::default() };
    let queue = h.fresh_queue(&setup).await;
    let envelope = Envelope::new("case", "a").with_handle(StatusHandle::random());
    put(&queue, envelope.clone().into()).await;
    for run in 1..=3 {
        for attempt in 1..=2 {
            let received = take(&queue, LONG).await;
            assert_eq!((received.attempt, received.delivery), (attempt, attempt), "from 1 again");
            assert_eq!(received.crashes, 0, "no crash of the run before counts");
            let now = received.envelope();
            assert_eq!(now.run, run, "which run it is");
            assert_eq!((now.id, now.handle), (envelope.id, envelope.handle), "as it was sent");
            assert_eq!((&now.body, &now.kind), (&envelope.body, &envelope.kind), "as it was sent");
            if attempt == 1 {
                assert_eq!(received.last_error, None, "the error was of the run before");
                let error = Some("no disk".to_owned());
                let fail = Settlement::Release { delay: Duration::ZERO, counted: true, error };
                settled(&queue, &received, fail).await;
            } else {
                bury(&queue, &received, "no use").await;
            }
        }
        assert_eq!(dead(&queue).await[0].envelope.run, run, "which run died");
        assert_eq!(redrive_all(&queue).await, (1, 0), "it is sent again");
        assert!(dead(&queue).await.is_empty(), "it is not dead any more");
        assert_counts(&queue, [1, 0, 0, 0]).await;
    }
}

pub(crate) async fn a_redrive_takes_only_what_is_meant(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 6).await;
    let odd = DeadLetterFilter::default().kind("odd");
    let two = RedriveOptions::default().limit(2);
    let redriven = queue.redrive(&odd, &two).await.expect("the queue redrives");
    assert_eq!((redriven.sent, redriven.kept), (2, 0), "as many as asked for");
    let mut seen = bodies(&take_all(&queue, 2, LONG).await);
    seen.sort();
    assert_eq!(seen, ["b", "d"], "the oldest of the kind");
    assert_nothing(&queue).await;
    assert_eq!(dead_bodies(&queue).await, ["a", "c", "e", "f"], "the rest stays");
    let none = DeadLetterFilter::default().kind("no such kind");
    let redriven = queue.redrive(&none, &two).await.expect("the queue redrives");
    assert_eq!((redriven.sent, redriven.kept), (0, 0), "nothing is meant");
}

pub(crate) async fn a_redrive_keeps_its_pace(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 3).await;
    let began = h.now();
    let task = tokio::spawn({
        let queue = Arc::clone(&queue);
        let pace = RedriveOptions::default().rate(1.0 / (2 * h.unit()).as_secs_f64());
        async move { queue.redrive(&DeadLetterFilter::default(), &pace).await }
    });
    tokio::time::sleep(h.idle()).await;
    h.pass_time(h.unit() / 2).await;
    assert!(!task.is_finished(), "two of three are still to come");
    for _ in 0..3 {
        h.pass_time(2 * h.unit()).await;
        tokio::time::sleep(h.idle()).await;
    }
    let redriven = tokio::time::timeout(h.wake_bound(), task).await.expect("it ends");
    let redriven = redriven.expect("it does not panic").expect("the queue redrives");
    assert_eq!((redriven.sent, redriven.kept), (3, 0), "all of them");
    assert!(h.now() - began >= 4 * h.unit(), "two pauses lie between three messages");
    take_all(&queue, 3, LONG).await;
}

pub(crate) async fn a_pace_that_is_none_is_invalid(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 1).await;
    for rate in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        let options = RedriveOptions::default().rate(rate);
        let error = queue.redrive(&DeadLetterFilter::default(), &options).await;
        let error = error.expect_err("a rate must be positive");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{rate}: {error}");
    }
    assert_counts(&queue, [0, 0, 0, 1]).await;
}

pub(crate) async fn a_redrive_can_go_to_another_queue(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let other = fresh(h).await;
    graveyard(&queue, 3).await;
    let options = RedriveOptions::default().to(Arc::clone(&other)).limit(2);
    let redriven = queue.redrive(&DeadLetterFilter::default(), &options).await;
    let redriven = redriven.expect("the queue redrives");
    assert_eq!((redriven.sent, redriven.kept), (2, 0), "as many as asked for");
    assert_counts(&queue, [0, 0, 0, 1]).await;
    assert_counts(&other, [2, 0, 0, 0]).await;
    for received in take_all(&other, 2, LONG).await {
        assert_eq!((received.envelope().run, received.attempt), (2, 1), "the next run");
    }
}

pub(crate) async fn what_the_target_does_not_take_stays_dead(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    let sent = message("a");
    put_dead(&queue, again(&sent), "no use").await;
    put_dead(&queue, message("b"), "no use").await;
    let full = h.fresh_queue(&QueueSetup { max_len: 1, ..QueueSetup::default() }).await;
    if !full.capabilities().bounded {
        return assert_eq!(redrive_all(&queue).await, (2, 0), "no bound is promised");
    }
    put(&full, message("in the way")).await;
    let to = RedriveOptions::default().to(Arc::clone(&full));
    let redriven = queue.redrive(&DeadLetterFilter::default(), &to).await;
    let redriven = redriven.expect("the queue redrives");
    assert_eq!((redriven.sent, redriven.kept), (0, 2), "the target is full");
    assert_eq!(dead_bodies(&queue).await, ["a", "b"], "nothing is lost");
    assert_counts(&full, [1, 0, 0, 0]).await;
}

pub(crate) async fn a_redrive_into_its_own_full_queue_keeps_the_rest(h: &dyn QueueHarness) {
    let queue = h.fresh_queue(&QueueSetup { max_len: 2, ..QueueSetup::default() }).await;
    graveyard(&queue, 3).await;
    if !queue.capabilities().bounded {
        return assert_eq!(redrive_all(&queue).await, (3, 0), "no bound is promised");
    }
    assert_eq!(redrive_all(&queue).await, (2, 1), "two fit");
    assert_eq!(dead_bodies(&queue).await, ["c"], "the rest stays");
    assert_counts(&queue, [2, 0, 0, 1]).await;
}

pub(crate) async fn two_redrives_at_once_send_each_message_once(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 20).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { redrive_all(&queue).await.0 })
        })
        .collect();
    let mut sent = 0;
    for task in tasks {
        sent += task.await.expect("a redrive does not panic");
    }
    assert_eq!(sent, 20, "each is sent by one of them");
    let ids: HashSet<_> =
        take_all(&queue, 20, LONG).await.iter().map(|received| received.receipt.id()).collect();
    assert_eq!(ids.len(), 20, "each is there");
    assert_counts(&queue, [0, 20, 0, 0]).await;
}

pub(crate) async fn what_is_deleted_is_gone(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    graveyard(&queue, 5).await;
    put_all(&queue, &[message("ready")]).await;
    let even = DeadLetterFilter::default().kind("even");
    assert_eq!(queue.purge_dead_letters(&even).await.expect("the queue deletes"), 3);
    assert_eq!(dead_bodies(&queue).await, ["b", "d"], "the rest stays");
    let all = DeadLetterFilter::default();
    assert_eq!(queue.purge_dead_letters(&all).await.expect("the queue deletes"), 2);
    assert_eq!(queue.purge_dead_letters(&all).await.expect("the queue deletes"), 0);
    assert_counts(&queue, [1, 0, 0, 0]).await;
    assert_eq!(redrive_all(&queue).await, (0, 0), "what is deleted is not sent again");
}

pub(crate) async fn a_redriven_message_is_delivered_without_its_old_delay(h: &dyn QueueHarness) {
    let queue = fresh(h).await;
    put(&queue, message("a").delay(2 * h.unit())).await;
    h.pass_time(4 * h.unit()).await;
    let first = take(&queue, LONG).await;
    settled(&queue, &first, release(Duration::ZERO, true)).await;
    bury(&queue, &take(&queue, LONG).await, "no use").await;
    assert_eq!(redrive_all(&queue).await, (1, 0), "it is sent again");
    let second = take(&queue, LONG).await;
    assert!(second.due_at > first.due_at, "the new run is due when it is sent");
}
