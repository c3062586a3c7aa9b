//! Listeners and locks that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use standfast_core::{HealthCheck, JobId, Verdict};
use standfast_cron_lock::{CatchUp, Span, TickState, every};

use crate::stand::{Fault, Log, Running, Stand};

#[tokio::test]
async fn a_listener_that_fails_is_called_again_and_those_that_are_done_are_not() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut cron = stand.cron();
    let done = log.clone();
    cron.on_tick(move |_tick| {
        done.push("done");
        async {}
    });
    let (failing, times) = (log.clone(), Arc::new(AtomicU32::new(0)));
    cron.on_tick(move |_tick| {
        failing.push("failing");
        let time = times.fetch_add(1, Ordering::Relaxed);
        async move { if time < 2 { Err("the queue is away") } else { Ok(()) } }
    });
    let running = Running::start(cron);
    stand.pass(61.seconds()).await;
    let health = running.health.health().await;
    assert_eq!(
        health.verdict,
        Verdict::Degraded("tick 2026-03-01 11:01:00 UTC: listener 2: the queue is away".into())
    );
    stand.pass(20.seconds()).await;
    assert_eq!(running.health.health().await.verdict, Verdict::Healthy);
    let report = running.stop().await;
    assert_eq!(log.take(), ["done", "failing", "failing", "failing"]);
    assert_eq!((report.finished, report.errors), (1, 2));
    assert_eq!(stand.records().await[0].attempt, 1);
}

#[tokio::test]
async fn a_panic_and_a_listener_that_takes_too_long_are_errors() {
    let stand = Stand::new();
    let mut cron = stand.cron_with(|config| config.retry_for = 0.seconds());
    cron.on_tick(|tick| async move {
        if tick.every(1.minutes()) {
            panic!("on purpose");
        }
    });
    cron.on_tick(|_tick| std::future::pending::<()>());
    cron.on_tick(|_tick| -> std::future::Ready<()> { panic!("before the first await") });
    let running = Running::start(cron);
    stand.pass(90.seconds()).await;
    let report = running.stop().await;
    assert_eq!((report.failed, report.errors), (1, 3));
    let record = stand.records().await.remove(0);
    assert_eq!(record.state, TickState::Failed);
    assert_eq!(
        record.error.unwrap(),
        "listener 1: panicked: on purpose; listener 2: not done within 10s; \
         listener 3: panicked: before the first await"
    );
}

#[tokio::test]
async fn a_tick_is_held_while_its_listener_is_tried_and_fails_in_the_end() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut cron = stand.cron_with(|config| config.retry_for = 3.minutes());
    cron.schedule(every(10.minutes()).id("ten"), |_tick| async { Err::<(), _>("no") }).unwrap();
    let note = log.clone();
    cron.on_tick(move |tick| {
        note.push(tick.at.format("%H:%M").to_string());
        async {}
    });
    let running = Running::start(cron);
    stand.pass(15.minutes() + 1.seconds()).await;
    let report = running.stop().await;
    // the ticks after it were not held up, and it was not taken over, though held for six leases
    assert_eq!(log.take().len(), 15);
    assert_eq!((report.failed, report.finished, report.takeovers), (1, 14, 0));
    assert!(report.errors > 5, "{report:?}");
    let record = &stand.records().await[9];
    assert_eq!((record.state, record.error.as_deref()), (TickState::Failed, Some("ten: no")));
    assert!(record.finished_at.unwrap() - record.claimed_at > chrono::TimeDelta::minutes(2));
}

#[tokio::test]
async fn many_runs_that_together_outlast_the_lease_keep_the_tick() {
    let (stand, log) = (Stand::new(), Log::default());
    let all = CatchUp::All { max: 20, window: 1.hours() };
    let start = |slow: bool| {
        let mut cron = stand.cron();
        let (log, clock) = (log.clone(), stand.clock.clone());
        let job = move |tick: standfast_core::Tick| {
            let (log, clock) = (log.clone(), clock.clone());
            async move {
                if slow {
                    let until = standfast_core::Clock::instant(&clock) + 5.seconds();
                    standfast_core::Clock::sleep_until(&clock, until).await;
                }
                log.push(tick.due().format("%H:%M").to_string());
            }
        };
        cron.schedule(every(1.minutes()).id("each").catch_up(all), job).unwrap();
        Running::start(cron)
    };
    let before = start(false);
    stand.pass(61.seconds()).await;
    before.stop().await;
    stand.clock.advance(15.minutes());
    log.take();
    let after = start(true);
    stand.pass(3.minutes()).await;
    after.begin_stop();
    stand.pass(10.seconds()).await;
    let report = after.stop().await;
    let runs = log.take();
    let first: Vec<_> = runs.iter().filter(|run| run.as_str() <= "11:17").collect();
    assert_eq!(first.len(), 16, "{runs:?}");
    assert!(first.is_sorted());
    assert_eq!((report.takeovers, report.lost), (0, 0));
    assert!(stand.lock.calls("extend") >= 3);
}

#[tokio::test]
async fn a_lock_that_is_away_is_tried_for_ever_and_health_says_so() {
    let (stand, log) = (Stand::new(), Log::default());
    stand.lock.is_down.store(true, Ordering::Relaxed);
    let mut cron = stand.cron();
    let note = log.clone();
    cron.on_tick(move |tick| {
        note.push(tick.at.format("%H:%M").to_string());
        async {}
    });
    let running = Running::start(cron);
    stand.pass(10.seconds()).await;
    assert!(matches!(running.health.health().await.verdict, Verdict::Degraded(_)));
    stand.pass(3.hours()).await;
    assert!(!running.is_over());
    assert!(!running.health.health().await.is_usable());
    // with pauses: not every second, and not given up
    let calls = stand.lock.calls("now");
    assert!((300..1_500).contains(&calls), "{calls}");
    stand.lock.is_down.store(false, Ordering::Relaxed);
    stand.pass(2.minutes()).await;
    assert_eq!(running.health.health().await.verdict, Verdict::Healthy);
    let wins = log.take().len();
    assert!((1..=2).contains(&wins), "{wins}");
    // away again, in the middle
    stand.lock.is_down.store(true, Ordering::Relaxed);
    stand.pass(10.minutes()).await;
    assert!(!running.health.health().await.is_usable());
    stand.lock.is_down.store(false, Ordering::Relaxed);
    stand.pass(2.minutes()).await;
    assert_eq!(running.health.health().await.verdict, Verdict::Healthy);
    assert!((2..=3).contains(&log.take().len()));
    running.stop().await;
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_claimed_again_at_once() {
    for fault in [Fault::Unanswered, Fault::NotReplicated, Fault::Lost, Fault::Hangs] {
        let (stand, log) = (Stand::new(), Log::default());
        let mut cron = stand.cron();
        let note = log.clone();
        cron.on_tick(move |tick| {
            note.push(format!("{} attempt {}", tick.at.format("%H:%M"), tick.attempt));
            async {}
        });
        stand.lock.fail("claim", [fault]);
        let running = Running::start(cron);
        // less than the lease after the tick
        stand.pass(60.seconds() + 10.seconds()).await;
        let is_done = [Fault::Unanswered, Fault::NotReplicated].contains(&fault);
        let attempt = if is_done { 2 } else { 1 };
        assert_eq!(log.take(), [format!("11:01 attempt {attempt}")], "{fault:?}");
        let report = running.stop().await;
        assert_eq!(report.finished, 1);
        // giving it back was no crash
        assert_eq!(stand.records().await[0].crashes, 0);
    }
}

#[tokio::test]
async fn the_end_of_a_tick_is_recorded_in_spite_of_the_lock() {
    for faults in [
        vec![Fault::Unanswered],
        vec![Fault::NotReplicated; 3],
        vec![Fault::Lost; 8],
        vec![Fault::Hangs, Fault::Hangs],
    ] {
        let stand = Stand::new();
        let mut cron = stand.cron();
        let id = JobId::random();
        cron.on_tick(move |_tick| async move { Ok::<_, std::io::Error>(id) });
        stand.lock.fail("settle", faults.clone());
        let running = Running::start(cron);
        stand.pass(119.seconds()).await;
        let record = stand.records().await.remove(0);
        assert_eq!((record.state, record.attempt), (TickState::Done, 1), "{faults:?}");
        assert_eq!(record.jobs, [id]);
        assert_eq!(running.stop().await.finished, 1);
    }
}

#[tokio::test]
async fn extensions_that_fail_lose_the_tick_only_when_the_lease_is_over() {
    for (faults, lost) in [(2, 0), (60, 1)] {
        let stand = Stand::new();
        let mut cron = stand.cron();
        let times = Arc::new(AtomicU32::new(0));
        cron.schedule(every(1.hours()).id("hourly"), move |_tick| {
            let time = times.fetch_add(1, Ordering::Relaxed);
            async move { if time < 8 { Err("not yet") } else { Ok(()) } }
        })
        .unwrap();
        stand.pass(59.minutes()).await;
        stand.lock.fail("extend", vec![Fault::Lost; faults]);
        let running = Running::start(cron);
        stand.pass(5.minutes()).await;
        let report = running.stop().await;
        assert_eq!(report.lost, lost, "{report:?}");
        // it took its own tick over, when the lease had run out
        assert_eq!(report.takeovers, lost);
        assert!(stand.lock.wrong().is_empty());
    }
}

#[tokio::test]
async fn a_run_is_skipped_while_the_one_before_still_runs() {
    let (stand, log) = (Stand::new(), Log::default());
    let mut cron = stand.cron();
    let question = log.clone();
    let schedule = every(1.minutes()).id("each").skip_if(move |tick| {
        let question = question.clone();
        async move {
            question.push(format!("? {}", tick.due().format("%H:%M")));
            match tick.due().format("%M").to_string().as_str() {
                "01" => Err("the status store is away"),
                minute => Ok(minute == "02"),
            }
        }
    });
    let note = log.clone();
    cron.schedule(schedule, move |tick| {
        note.push(tick.due().format("%H:%M").to_string());
        async {}
    })
    .unwrap();
    let ledger = cron.ledger();
    let running = Running::start(cron);
    stand.pass(62.seconds()).await;
    assert_eq!(log.take()[0], "? 11:01");
    stand.pass(2.minutes()).await;
    let asked = log.take();
    // asked again after the error; the second is skipped, the third runs
    assert!(asked.iter().filter(|entry| *entry == "? 11:01").count() >= 1, "{asked:?}");
    assert!(!asked.contains(&"11:01".to_owned()) && !asked.contains(&"11:02".to_owned()));
    assert!(asked.contains(&"11:03".to_owned()));
    let fate = ledger.explain("each", "2026-03-01T11:02:00Z".parse().unwrap()).await.unwrap().fate;
    assert_eq!(fate, standfast_cron_lock::Fate::Overlapping);
    let report = running.stop().await;
    assert_eq!(report.overlapping_runs, 1);
}
