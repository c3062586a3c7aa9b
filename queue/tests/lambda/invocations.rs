//! A function in a process of its own, from the event to what is left in SQS.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use standfast_queue::DeadLetter;

use crate::function::Then;
use crate::platform::{Answer, Platform};
use crate::source::{HIDDEN, Source, message, sorted};
use crate::sqs_support::Service;

const A_MINUTE: Duration = Duration::from_secs(60);

crate::tests![
    an_answer_keeps_what_is_to_be_tried_again,
    a_record_that_cannot_be_read_fails_alone,
    on_a_fifo_queue_nothing_begins_after_a_failure,
    on_a_fifo_queue_the_dead_are_no_failures,
    on_a_fifo_queue_a_delayed_message_holds_its_group,
    what_does_not_end_in_time_is_given_back,
    a_panic_is_a_failure_of_its_job,
    an_event_of_something_else_is_an_error,
    a_function_that_is_killed_loses_nothing,
];

async fn an_answer_keeps_what_is_to_be_tried_again(service: Service) {
    let source = Source::new(&service, "").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send("done", Then::Succeed).await;
    source.send("again", Then::Retry(3)).await;
    source.send("never", Then::Die).await;
    source.send_raw(r#"{"name": "foreign"}"#, ("tenant", "acme")).await;

    let polled = source.poll(4).await;
    let failures = platform.failures(&polled.event(&[]), A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["again"]));
    source.delete(&polled, &failures).await;
    let log = sorted(platform.log.lines());
    assert_eq!(log, ["again 1", "done 1", "foreign for acme", "never 1"]);
    let [letter] = &source.letters().await[..] else { panic!("one dead letter") };
    assert_eq!((&*letter.reason, letter.attempts), ("never", 1));

    // after its delay, not after the time for which the event source hid it
    let began = Instant::now();
    let polled = source.poll(1).await;
    assert!(began.elapsed() < HIDDEN - Duration::from_secs(5), "{:?}", began.elapsed());
    let failures = platform.failures(&polled.event(&[]), A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["again"]));
    assert_eq!(platform.log.lines()[4..], ["again 2"]);
    let stats = source.stats().await;
    assert_eq!((stats.ready, stats.leased, stats.dead), (0, 1, 1));
}

async fn a_record_that_cannot_be_read_fails_alone(service: Service) {
    let source = Source::new(&service, "").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send("one", Then::Succeed).await;
    source.send_raw(r#"{"name": "poison"}"#, ("standfast", "no header")).await;
    source.send("broken", Then::Succeed).await;
    source.send("two", Then::Succeed).await;

    let polled = source.poll(4).await;
    let mut event = polled.event(&["one", "poison", "broken", "two"]);
    event["Records"][2]["body"] = json!({"not": "text"});
    let failures = platform.failures(&event, A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["poison", "broken"]));
    assert_eq!(sorted(platform.log.lines()), ["one 1", "two 1"]);
}

async fn on_a_fifo_queue_nothing_begins_after_a_failure(service: Service) {
    let source = Source::new(&service, ".fifo").await;
    let platform = Platform::start(&service, &source.queues, 1).await;
    source.send_to("a", "a1", Then::Succeed).await;
    source.send_to("a", "a2", Then::Retry(6)).await;
    source.send_to("a", "a3", Then::Succeed).await;
    source.send_to("b", "b1", Then::Succeed).await;
    source.send_to("b", "b2", Then::Succeed).await;

    let polled = source.poll(5).await;
    let order = ["a1", "b1", "a2", "a3", "b2"];
    let failures = platform.failures(&polled.event(&order), A_MINUTE).await;
    assert_eq!(platform.log.lines(), ["a1 1", "b1 1", "a2 1"]);
    assert_eq!(failures, polled.ids(&["a2", "a3", "b2"]));
    source.delete(&polled, &failures).await;

    // what was not begun is given back at once, and its order is kept
    let polled = source.poll(1).await;
    let failures = platform.failures(&polled.event(&[]), A_MINUTE).await;
    assert!(failures.is_empty());
    source.delete(&polled, &failures).await;
    assert_eq!(platform.log.lines()[3..], ["b2 2"]);
    let polled = source.poll(2).await;
    let failures = platform.failures(&polled.event(&["a2", "a3"]), A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["a2", "a3"]));
    assert_eq!(platform.log.lines()[4..], ["a2 2"]);
}

async fn on_a_fifo_queue_the_dead_are_no_failures(service: Service) {
    let source = Source::new(&service, ".fifo").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send_to("a", "a1", Then::Die).await;
    source.send_to("a", "a2", Then::Succeed).await;
    let polled = source.poll(2).await;
    let failures = platform.failures(&polled.event(&["a1", "a2"]), A_MINUTE).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(platform.log.lines(), ["a1 1", "a2 1"]);
    let reasons: Vec<_> = source.letters().await.into_iter().map(reason).collect();
    assert_eq!(reasons, ["never"]);
}

fn reason(letter: DeadLetter) -> String {
    letter.reason
}

async fn on_a_fifo_queue_a_delayed_message_holds_its_group(service: Service) {
    let source = Source::new(&service, ".fifo").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send_to("a", "a1", Then::Succeed).await;
    let delayed = message("a2", Then::Succeed).group("a").delay(Duration::from_secs(20));
    source.send_message(delayed).await;
    source.send_to("a", "a3", Then::Succeed).await;
    source.send_to("b", "b1", Then::Succeed).await;

    let polled = source.poll(4).await;
    let failures = platform.failures(&polled.event(&["a1", "a2", "a3", "b1"]), A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["a2", "a3"]));
    assert_eq!(sorted(platform.log.lines()), ["a1 1", "b1 1"]);
    source.delete(&polled, &failures).await;

    let polled = source.poll(2).await;
    let failures = platform.failures(&polled.event(&["a2", "a3"]), A_MINUTE).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(platform.log.lines()[2..], ["a2 1", "a3 2"]);
}

async fn what_does_not_end_in_time_is_given_back(service: Service) {
    let source = Source::new(&service, "").await;
    let platform = Platform::start(&service, &source.queues, 3).await;
    source.send("done", Then::Succeed).await;
    source.send("heed", Then::Heed).await;
    source.send("hang", Then::Hang).await;
    source.send("hang too", Then::Hang).await;
    source.send("late", Then::Succeed).await;

    let polled = source.poll(5).await;
    let order = ["done", "heed", "hang", "hang too", "late"];
    let time = Duration::from_secs(8);
    let began = Instant::now();
    // the first is done before the fourth begins, and after that nothing makes room
    let failures = platform.failures(&polled.event(&order), time).await;
    let took = began.elapsed();
    let late = polled.ids(&["heed", "hang", "hang too", "late"]);
    assert_eq!(failures, late, "{:?}", platform.log.lines());
    // a function is started within the first invocation, which on a busy machine takes time
    assert!(took > time / 2 && took < time + Duration::from_secs(5), "{took:?}");
    let log = sorted(platform.log.lines());
    let begun = ["done 1", "hang 1", "hang too 1", "heed 1", "heed heeds Some(Shutdown)"];
    assert_eq!(log, begun);

    // at once, not when the event source's time is over
    source.delete(&polled, &failures).await;
    let began = Instant::now();
    let polled = source.poll(4).await;
    assert!(began.elapsed() < HIDDEN - Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(sorted(polled.ids(&order[1..])), sorted(failures));
}

async fn a_panic_is_a_failure_of_its_job(service: Service) {
    let source = Source::new(&service, "").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send("panic", Then::Panic).await;
    source.send("done", Then::Succeed).await;
    let polled = source.poll(2).await;
    let failures = platform.failures(&polled.event(&[]), A_MINUTE).await;
    assert_eq!(failures, polled.ids(&["panic"]));
    source.delete(&polled, &failures).await;

    source.send("after", Then::Succeed).await;
    let polled = source.poll(2).await;
    assert_eq!(platform.failures(&polled.event(&[]), A_MINUTE).await, polled.ids(&["panic"]));
    assert_eq!(sorted(platform.log.lines()), ["after 1", "done 1", "panic 1", "panic 2"]);
}

async fn an_event_of_something_else_is_an_error(service: Service) {
    let source = Source::new(&service, "").await;
    let platform = Platform::start(&service, &source.queues, 4).await;
    source.send("one", Then::Succeed).await;
    let polled = source.poll(1).await;
    let mut elsewhere = polled.event(&[]);
    elsewhere["Records"][0]["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:1:elsewhere");
    for (event, said) in [
        (json!({"source": "aws.events", "detail": {}}), "`Records`"),
        (json!({"Records": [{"eventSource": "aws:s3"}]}), "\"aws:s3\""),
        (elsewhere, "\"elsewhere\""),
    ] {
        let answer = platform.invoke(&event, A_MINUTE).await;
        let Answer::Error(error) = &answer else { panic!("{event}: {answer:?}") };
        assert_eq!(error["errorType"], "invalid");
        assert!(error["errorMessage"].as_str().unwrap().contains(said), "{error}");
    }
    let answer = platform.invoke("no JSON", A_MINUTE).await;
    assert!(matches!(answer, Answer::Error(_)), "{answer:?}");
    assert!(platform.log.lines().is_empty());

    // and it goes on
    assert!(platform.failures(&polled.event(&[]), A_MINUTE).await.is_empty());
    assert!(platform.failures(&json!({"Records": []}), A_MINUTE).await.is_empty());
    assert_eq!(platform.log.lines(), ["one 1"]);
}

async fn a_function_that_is_killed_loses_nothing(service: Service) {
    let source = Source::new(&service, "").await;
    let mut platform = Platform::start(&service, &source.queues, 4).await;
    source.send("done", Then::Succeed).await;
    source.send("never", Then::Die).await;
    source.send("again", Then::Retry(1)).await;
    source.send("hang", Then::Hang).await;
    let polled = source.poll(4).await;
    let event: Value = polled.event(&[]);
    {
        let invoke = platform.invoke(&event, A_MINUTE);
        let settled = async {
            loop {
                let begun = platform.log.lines().len() == 4;
                if begun && source.stats().await.dead == 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            answer = invoke => panic!("{answer:?}"),
            () = settled => {}
        }
    }
    platform.kill();
    // there was no answer, so nothing is deleted but what is in the redrive queue
    let again = source.poll(3).await;
    let names = ["done", "again", "hang"];
    assert_eq!(sorted(again.ids(&names)), sorted(polled.ids(&names)));
    assert_eq!(source.letters().await.len(), 1);
}
