//! What version 1 has stored is read by today's code, from a dump that is never written again.
//! `STANDFAST_WRITE_GOLDEN=1` makes one for a new version.
#![cfg(feature = "redis")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use standfast_core::JobId;
use standfast_core::testkit::redis::{self, SharedRedis};
use standfast_queue::{
    DeadLetterFilter, DeadLetters as _, Envelope, OutgoingMessage, Priority, Queue,
    QueueAdmin as _, ReceiveOptions, RedisQueue, SendOutcome, Settlement,
};

const YEARS: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const PARTS: [&str; 14] = [
    "bodies", "r0", "r1", "r2", "r3", "delayed", "leases", "errors", "groups", "busy", "dead",
    "letters", "counters", "key:acme",
];

/// Writes each key as the words of the command that makes it, in hexadecimal.
const DUMP: &str = r"
local function hex(text)
  return (string.gsub(text, '.', function(c) return string.format('%02x', string.byte(c)) end))
end
local kind, words = redis.call('TYPE', KEYS[1])['ok'], {}
if kind == 'hash' then words = redis.call('HGETALL', KEYS[1]) end
if kind == 'list' then words = redis.call('LRANGE', KEYS[1], 0, -1) end
if kind == 'string' then words = { redis.call('GET', KEYS[1]) } end
if kind == 'zset' then words = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') end
for i, word in ipairs(words) do words[i] = hex(word) end
return kind .. ' ' .. table.concat(words, ' ')";

const LOAD: &str = r"
local words = {}
for i = 2, #ARGV do
  words[#words + 1] = string.gsub(ARGV[i], '..', function(cc) return string.char(tonumber(cc, 16)) end)
end
local kind = ARGV[1]
if kind == 'hash' then redis.call('HSET', KEYS[1], unpack(words)) end
if kind == 'list' then redis.call('RPUSH', KEYS[1], unpack(words)) end
if kind == 'string' then redis.call('SET', KEYS[1], words[1]) end
if kind == 'zset' then
  for i = 1, #words, 2 do redis.call('ZADD', KEYS[1], words[i + 1], words[i]) end
end
return 'OK'";

fn key(name: &str, part: &str) -> String {
    format!("standfast:1:queue:{{{name}}}:{part}")
}

fn message(body: &'static str) -> OutgoingMessage {
    let id = JobId::derive("golden", body, chrono::DateTime::UNIX_EPOCH);
    Envelope::new("golden", body).with_id(id).into()
}

/// A queue with a message in every place that the layout has.
async fn fill(queue: &RedisQueue) {
    let batch = [
        message("leased"),
        message("released"),
        message("dead").priority(Priority::Urgent),
        message("dead of a group").group("bücher"),
    ];
    queue.send(&batch).await.expect("sent");
    let short = ReceiveOptions::new(4).lease(Duration::from_millis(300)).worker("worker-7");
    for received in queue.receive(&short).await.expect("received").deliveries {
        let how = match &received.envelope().body[..] {
            b"released" => Settlement::Release {
                delay: Duration::ZERO,
                counted: true,
                error: Some("no disk".to_owned()),
            },
            b"dead" | b"dead of a group" => Settlement::DeadLetter { reason: "no use".to_owned() },
            _ => continue,
        };
        queue.settle(&[(received.receipt, how)]).await.expect("settled");
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    queue.stats().await.expect("what ran out is back");
    let batch = [
        message("urgent").priority(Priority::Urgent),
        message("high").priority(Priority::High),
        message("low").priority(Priority::Low),
        message("delayed").delay(Duration::from_secs(1)),
        message("first of a group").group("g"),
        message("second of a group").group("g"),
        message("dropped late").drop_after(YEARS),
        message("unique").dedupe("acme", YEARS),
    ];
    queue.send(&batch).await.expect("sent");
    let short = ReceiveOptions::new(1).lease(Duration::from_secs(1)).worker("worker-8");
    queue.receive(&short).await.expect("one is leased");
}

async fn write(server: &SharedRedis, file: &Path) {
    let name = JobId::random().to_string();
    fill(&RedisQueue::from_url(&server.url(), &name).expect("valid")).await;
    let mut dump = String::new();
    for part in PARTS {
        let line = server.command(&["EVAL", DUMP, "1", &key(&name, part)]).await;
        dump += &format!("{part} {line}\n");
    }
    std::fs::write(file, dump).expect("the golden file can be written");
    tokio::time::sleep(Duration::from_secs(2)).await; // whoever reads it later finds all of it due
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_1_is_read_and_nothing_is_lost() {
    let Some(server) = redis::single() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/redis-queue-v1");
    if std::env::var_os("STANDFAST_WRITE_GOLDEN").is_some() {
        write(server, &file).await;
    }
    let dump = std::fs::read_to_string(file).expect("the golden file is there");
    let name = JobId::random().to_string();
    let mut parts = 0;
    for line in dump.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (part, rest) = words.split_first().expect("a line names its part");
        let key = key(&name, part);
        let command: Vec<&str> =
            ["EVAL", LOAD, "1", &key].into_iter().chain(rest.iter().copied()).collect();
        assert_eq!(server.command(&command).await, "OK", "{part}");
        parts += 1;
    }
    assert_eq!(parts, PARTS.len());

    let queue = RedisQueue::from_url(&server.url(), &name).expect("valid");
    let letters = queue.list_dead_letters(&DeadLetterFilter::default(), None, 10).await;
    let letters = letters.expect("listed").letters;
    let dead: Vec<_> =
        letters.iter().map(|letter| (&letter.envelope.body[..], &*letter.reason)).collect();
    assert_eq!(dead, [(&b"dead"[..], "no use"), (&b"dead of a group"[..], "no use")]);
    let outcomes = queue.send(&[message("another").dedupe("acme", YEARS)]).await.expect("sent");
    let SendOutcome::Duplicate(original) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(original.id, message("unique").envelope.id, "what the key remembers");

    let mut seen = BTreeMap::new();
    loop {
        let batch = queue.receive(&ReceiveOptions::new(3)).await.expect("received");
        if batch.is_empty() {
            break;
        }
        for received in batch.deliveries {
            let body = String::from_utf8(received.envelope().body.to_vec()).expect("it is text");
            let counts = (received.attempt, received.delivery, received.crashes);
            seen.insert(body, (counts, received.last_error.as_deref().map(str::to_owned)));
            queue.settle(&[(received.receipt, Settlement::Ack)]).await.expect("settled");
        }
    }
    let fresh = ((1, 1, 0), None);
    let expected = BTreeMap::from([
        ("delayed", fresh.clone()),
        ("dropped late", fresh.clone()),
        ("first of a group", fresh.clone()),
        ("high", fresh.clone()),
        ("leased", ((2, 2, 1), None)),
        ("low", fresh.clone()),
        ("released", ((2, 2, 0), Some("no disk".to_owned()))),
        ("second of a group", fresh.clone()),
        ("unique", fresh),
        ("urgent", ((2, 2, 1), None)), // its lease has run out since
    ]);
    let seen: BTreeMap<&str, _> =
        seen.iter().map(|(body, rest)| (body.as_str(), rest.clone())).collect();
    assert_eq!(seen, expected);
    assert_eq!(queue.leased(10).await.expect("listed").len(), 0);
}
