//! Stopping, and being part of an application that stops.

use std::process::ExitCode;

use standfast_core::{CancellationToken, Clock as _, HealthCheck, Lifecycle};
use standfast_cron_lock::{CronReport, Span, TickState};

use crate::stand::{Log, Running, Stand, settle_down};

#[tokio::test]
async fn a_stop_lets_what_is_being_dispatched_end() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut cron = stand.cron();
    let (note, clock) = (log.clone(), stand.clock.clone());
    cron.on_tick(move |_tick| {
        let (note, clock) = (note.clone(), clock.clone());
        async move {
            clock.sleep_until(clock.instant() + 8.seconds()).await;
            note.push("sent");
        }
    });
    let running = Running::start(cron);
    stand.pass(62.seconds()).await;
    running.begin_stop();
    stand.pass(2.seconds()).await;
    assert!(!running.is_over());
    stand.pass(10.seconds()).await;
    assert!(running.is_over());
    let health = running.health.clone();
    let report = running.stop().await;
    assert_eq!((report.finished, report.abandoned), (1, 0));
    assert_eq!(log.take(), ["sent"]);
    assert!(!health.health().await.is_usable());
    // and nothing was claimed any more
    stand.pass(3.minutes()).await;
    assert_eq!(stand.records().await.len(), 1);
}

#[tokio::test]
async fn a_stop_hands_a_tick_whose_listeners_fail_to_another_instance() {
    let stand = Stand::new();
    let mut cron = stand.cron();
    cron.on_tick(|_tick| async { Err::<(), _>("no") });
    let first = Running::start(cron);
    stand.pass(70.seconds()).await;
    let mut cron = stand.cron();
    cron.on_tick(|_tick| async {});
    let second = Running::start(cron);
    settle_down().await;
    let report = first.stop().await;
    assert_eq!((report.abandoned, report.lost), (1, 0));
    stand.pass(1.minutes()).await;
    // the second wins the next tick, finds the one that was let go, and has it before its lease
    // ends
    let report = second.stop().await;
    assert_eq!((report.claimed, report.takeovers), (2, 1));
    let records = stand.records().await;
    assert!(records.iter().all(|record| record.state == TickState::Done));
    assert_eq!(records[0].crashes, 0);
}

#[tokio::test]
async fn after_the_grace_and_on_release_everything_is_let_go() {
    for by_token in [false, true] {
        let stand = Stand::new();
        let token = CancellationToken::new();
        let mut cron = stand.cron_with(|config| {
            config.lease = 5.minutes();
            config.deadline = 2.minutes();
        });
        cron.release_on(token.clone());
        cron.on_tick(|_tick| std::future::pending::<()>());
        let running = Running::start(cron);
        stand.pass(62.seconds()).await;
        running.begin_stop();
        if by_token {
            settle_down().await;
            token.cancel();
            settle_down().await;
        } else {
            stand.pass(19.seconds()).await;
            assert!(!running.is_over());
            stand.pass(2.seconds()).await;
        }
        assert!(running.is_over());
        let report = running.stop().await;
        assert_eq!((report.abandoned, report.lost), (1, 0));
        assert_eq!(stand.records().await[0].state, TickState::Abandoned);
    }
}

#[tokio::test]
async fn a_lock_that_is_away_does_not_hold_a_stop_up() {
    let stand = Stand::new();
    let mut cron = stand.cron();
    cron.on_tick(|_tick| async {});
    stand.lock.fail("settle", vec![crate::stand::Fault::Lost; 1_000]);
    let running = Running::start(cron);
    stand.pass(62.seconds()).await;
    running.begin_stop();
    stand.pass(23.seconds()).await;
    assert!(running.is_over());
    assert_eq!(running.stop().await.lost, 1);
}

#[tokio::test]
async fn dropping_the_run_leaves_the_tick_to_its_lease() {
    let stand = Stand::new();
    let mut cron = stand.cron();
    cron.on_tick(|_tick| std::future::pending::<()>());
    let mut first = Running::start(cron);
    stand.pass(62.seconds()).await;
    first.kill().await;
    assert_eq!(stand.records().await[0].state, TickState::Claimed);
    let mut cron = stand.cron();
    cron.on_tick(|_tick| async {});
    let second = Running::start(cron);
    stand.pass(27.seconds()).await;
    assert_eq!(stand.records().await[0].attempt, 1);
    stand.pass(4.seconds()).await;
    let record = stand.records().await.remove(0);
    assert_eq!((record.state, record.attempt), (TickState::Done, 2));
    let report: CronReport = second.stop().await;
    assert_eq!(report.takeovers, 1);
}

#[tokio::test]
async fn it_is_a_part_of_a_lifecycle() {
    let lifecycle = Lifecycle::new();
    let stand = Stand::new();
    let cron = stand.cron();
    let health = cron.health();
    cron.spawn(&lifecycle);
    settle_down().await;
    assert!(health.health().await.is_usable());
    lifecycle.stop();
    assert_eq!(lifecycle.run().await, ExitCode::SUCCESS);
    assert!(!health.health().await.is_usable());
}
