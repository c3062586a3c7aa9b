//! What is wrong from the start is said, and no secret with it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use standfast_core::testkit::RedisServer;
use standfast_core::testkit::redis::{self, RedisServerConfig};
use tempfile::TempDir;

use crate::support::process::{Signal, minds, signal};
use crate::support::{eventually, program};
use crate::wait_for;

fn start(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    command(&home, environment, arguments).output().unwrap()
}

fn command(home: &TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).env("TMPDIR", home.path());
    command.envs(environment.iter().copied());
    command
}

fn refused(code: i32, words: &str, environment: &[(&str, &str)], arguments: &[&str]) {
    let output = start(environment, arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    assert!(told.contains(words), "{arguments:?}: {told}");
    assert!(!told.contains("s3cret"), "{arguments:?}: {told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_cannot_work_together_is_refused_with_what_to_give() {
    let redis = "redis://:s3cret@127.0.0.1:1";
    for (words, arguments) in [
        ("give it --queue redis://", &["serve"][..]),
        ("give it --queue redis://", &["worker", "--blobs", "/tmp", "--queue", "memory:"]),
        ("--status redis://", &["--queue", redis, "--status", "memory:"]),
        ("--sessions redis://", &["--queue", redis, "--sessions", "memory:"]),
        ("--locks redis://", &["--queue", redis, "--locks", "memory:"]),
        ("--locks takes", &["--locks", "postgres://:s3cret@h"]),
        ("give it --queue redis://", &["cron"]),
        ("--business postgres://", &["--queue", redis, "--business", "memory:"]),
        ("--business takes", &["--business", redis]),
        ("--sessions takes", &["--sessions", "mysql://:s3cret@h"]),
        ("--blobs file:///dir", &["serve", "--queue", redis, "--blobs", "memory:"]),
        ("--blobs takes", &["--blobs", "ftp://bucket"]),
        ("--blobs takes", &["--blobs", "file://host/dir"]),
        ("--queue takes", &["--queue", "amqp://:s3cret@h"]),
        ("--queue takes", &["--queue", "h:1:s3cret"]),
        ("--queue: ", &["--queue", "redis://:s3cret@h:port"]),
        ("--status: ", &["--queue", redis, "--status", "redis+sentinel://:s3cret@h"]),
        ("name", &["--queue", redis, "--name", "a b"]),
    ] {
        refused(2, words, &[], arguments);
    }
    refused(2, "--queue: ", &[("STANDFAST_QUEUE", "redis+x://:s3cret@h")], &["worker"]);
}

#[test]
fn a_wrong_password_ends_the_start() {
    let mut config = RedisServerConfig::default();
    config.password = Some("open sesame".to_owned());
    let Some(redis) = wait_for(RedisServer::start(config)) else { return };
    let wrong = format!("redis://:s3cret@{}", redis.address());
    let none = format!("redis://{}", redis.address());
    let right = redis.url();
    for role in ["all", "serve", "worker"] {
        refused(1, "denied", &[("STANDFAST_QUEUE", &wrong)], &[role]);
    }
    refused(1, "denied", &[], &["worker", "--queue", &none]);
    refused(1, "denied", &[("STANDFAST_QUEUE", &right), ("STANDFAST_STATUS", &wrong)], &["serve"]);
}

#[test]
fn the_help_repeats_no_secret() {
    let output = start(&[("STANDFAST_QUEUE", "redis://:s3cret@h")], &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("--queue URL") && !help.contains("s3cret"));
}

#[test]
fn a_worker_serves_nothing_unless_told() {
    let Some(redis) = redis::single() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut worker = command(&home, &[("STANDFAST_QUEUE", &redis.url())], &["worker"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(worker.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "working\n");
    eventually("it minds the signal", || minds(worker.id(), Signal::TERM));
    signal(worker.id(), Signal::TERM);
    told.read_to_string(&mut line).unwrap();
    assert_eq!((worker.wait().unwrap().code(), &*line), (Some(0), "working\n"));
}
