//! What the command line asks for. Messages never repeat a URL: there may be a password in it.

use std::ffi::OsString;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lexopt::{Arg, Parser, ValueExt};
use standfast_core::JobId;
use standfast_queue::wrap::ReplayFilter;

pub(crate) const HELP: &str = "\
standfast-replay: look into an archive of messages and send them again

  standfast-replay list    --store URL [which] [--limit N] [--json]
  standfast-replay inspect --store URL ID [--body | --json]
  standfast-replay replay  --store URL --name NAME [which] --dry-run [--json]
  standfast-replay replay  --store URL --name NAME [which] --queue URL [--rate N] [--json]

list     one line for each record, the oldest first: what was sent, received and settled
inspect  everything about one message; with --body just the bytes of its body
replay   send each message that matches once more: its last run + 1, the same id. Interrupted or
         failed, it goes on when it is run again with the same name and the same [which]; a name
         that is finished sends nothing more

Where:
  --store URL     the archive: file:///dir (STANDFAST_ARCHIVE)
  --prefix TEXT   where its keys begin (default: archive)
  --queue URL     the queue: redis://host:port/name, also rediss://, redis+cluster:// and
                  redis+sentinel://; the last part of the path is its name (STANDFAST_QUEUE)
  --claims TEXT   the queue keeps large bodies in the same store, under this prefix
  --keep-for SPAN how long records of what is sent are kept (default: 90d)
  URLs may have passwords in them; in the variables they stay out of process lists.

Which; all that is given must hold:
  --since TIME, --until TIME   when it was archived: 2026-03-01T02:30:00Z, or how long ago: 90s,
                               30m, 2h, 7d. --until defaults to now; a narrower range can miss
                               later runs, and then jobs that have ended are not run again
  --kind KIND
  --id ID                      may be repeated: any of them
  --header NAME=VALUE          may be repeated: all of them

How:
  --rate N     at most N messages a second
  --limit N    at most N records (default: all)
  --dry-run    count only
  --json       one JSON object for each line

Exit codes: 0 all is done; 1 it failed, and can be run again; 2 wrong usage; 3 done, but something
was refused or could not be read.
";

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    List { limit: usize },
    Inspect { body: bool },
    Replay { queue: Option<String>, name: String, rate: Option<f64>, is_dry: bool },
}

#[derive(PartialEq)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) store: String,
    pub(crate) prefix: String,
    pub(crate) claims: Option<String>,
    pub(crate) keep_for: Option<Duration>,
    pub(crate) filter: ReplayFilter,
    pub(crate) is_json: bool,
}

/// `None` asks for help.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Arguments>, String> {
    let mut parser = Parser::from_args(arguments);
    let mut words: Vec<String> = Vec::new();
    let (mut store, mut queue) = (environment("STANDFAST_ARCHIVE"), environment("STANDFAST_QUEUE"));
    let (mut prefix, mut name, mut claims) = ("archive".to_owned(), None, None);
    let (mut rate, mut limit, mut keep_for) = (None, None, None);
    let (mut is_dry, mut is_json, mut body) = (false, false, false);
    let mut filter = ReplayFilter::default();
    let now = Utc::now();
    // what was met is not repeated: it may be a secret in a wrong place
    while let Some(argument) = parser.next().map_err(|_| "an option has a value it cannot have")? {
        let option = match argument {
            Arg::Value(word) => {
                words.push(word.string().map_err(|_| "an argument is no text")?);
                continue;
            }
            Arg::Short('h') => return Ok(None),
            Arg::Short(_) => return Err("an unknown option".to_owned()),
            Arg::Long(option) => option.to_owned(),
        };
        match option.as_str() {
            "help" => return Ok(None),
            "dry-run" => is_dry = true,
            "json" => is_json = true,
            "body" => body = true,
            _ => {
                let value = parser.value().map_err(|_| format!("--{option} needs a value"));
                let value = value.and_then(|value| {
                    value.string().map_err(|_| format!("the value of --{option} is no text"))
                });
                let wrong = |what: &str| format!("--{option}: {what}");
                match option.as_str() {
                    "store" => store = Some(value?),
                    "queue" => queue = Some(value?),
                    "prefix" => prefix = value?,
                    "claims" => claims = Some(value?),
                    "name" => name = Some(value?),
                    "kind" => filter = filter.kind(value?),
                    "since" => filter = filter.since(time(&value?, now).ok_or(wrong(TIMES))?),
                    "until" => filter = filter.until(time(&value?, now).ok_or(wrong(TIMES))?),
                    "id" => filter = filter.id(id(&value?).ok_or(wrong(IDS))?),
                    "header" => {
                        let header = value?;
                        let (name, value) =
                            header.split_once('=').ok_or(wrong("not NAME=VALUE"))?;
                        filter = filter.header(name, value);
                    }
                    "rate" => {
                        let positive = value?
                            .parse()
                            .ok()
                            .filter(|rate: &f64| *rate > 0.0 && rate.is_finite());
                        rate = Some(positive.ok_or(wrong("not a positive number"))?);
                    }
                    "limit" => {
                        limit = Some(value?.parse().map_err(|_| wrong("not a number"))?);
                    }
                    "keep-for" => {
                        let kept = span(&value?).filter(|span| !span.is_zero());
                        keep_for = Some(kept.ok_or(wrong(SPANS))?);
                    }
                    _ => return Err(format!("an unknown option: --{}", option.escape_debug())),
                }
            }
        }
    }
    let mut words = words.into_iter();
    let Some(word) = words.next() else {
        return Err("what to do: list, inspect or replay".to_owned());
    };
    let command = match word.as_str() {
        "list" => Command::List { limit: limit.unwrap_or(usize::MAX) },
        "inspect" => {
            let named = words.next().ok_or("inspect needs the id of a message")?;
            filter = filter.id(id(&named).ok_or(IDS)?);
            Command::Inspect { body }
        }
        "replay" => {
            let name =
                name.clone().ok_or("replay needs a --name, to go on when it is interrupted")?;
            if queue.is_none() && !is_dry {
                return Err("replay needs a --queue, or --dry-run".to_owned());
            }
            Command::Replay { queue, name, rate, is_dry }
        }
        _ => return Err("what to do: list, inspect or replay".to_owned()),
    };
    if words.next().is_some() {
        return Err("one argument too many".to_owned());
    }
    let misplaced = match &command {
        Command::List { .. } => body || is_dry || rate.is_some() || name.is_some(),
        Command::Inspect { body } => {
            is_dry || rate.is_some() || name.is_some() || limit.is_some() || (*body && is_json)
        }
        Command::Replay { .. } => body || limit.is_some(),
    };
    if misplaced {
        return Err(format!("{word} does not take one of the options"));
    }
    let store = store.ok_or("where the archive is: --store or STANDFAST_ARCHIVE")?;
    Ok(Some(Arguments { command, store, prefix, claims, keep_for, filter, is_json }))
}

const TIMES: &str = "not a time like 2026-03-01T02:30:00Z, and no span like 90s, 30m, 2h, 7d";
const SPANS: &str = "no span like 90s, 30m, 2h, 7d";
const IDS: &str = "an id is 32 hexadecimal digits";

fn id(text: &str) -> Option<JobId> {
    text.parse().ok()
}

fn time(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Some(span) = span(text) {
        return now.checked_sub_signed(chrono::TimeDelta::from_std(span).ok()?);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn span(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Arguments>, String> {
        parse(line.split_whitespace().map(OsString::from), |_| None)
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let arguments = parsed(
            "replay --store file:///a --name x --queue redis://h/q --kind mail --rate 2.5 \
             --header tenant=a=b --since 2026-03-01T02:30:00+02:00 --json",
        );
        let arguments = arguments.unwrap().unwrap();
        assert_eq!(arguments.filter.headers["tenant"], "a=b");
        assert_eq!(arguments.filter.since, Some("2026-03-01T00:30:00Z".parse().unwrap()));
        let queue = Some("redis://h/q".to_owned());
        let name = "x".to_owned();
        let expected = Command::Replay { queue, name, rate: Some(2.5), is_dry: false };
        assert!(arguments.command == expected && arguments.is_json);
        assert!(parsed("list --help").unwrap().is_none());
        let ago = time("2h", "2026-03-01T02:30:00Z".parse().unwrap());
        assert_eq!(ago, Some("2026-03-01T00:30:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_told_without_repeating_it() {
        for line in [
            "",
            "lost",
            "list",
            "list --store file:///a --rate 3",
            "list --store file:///a more",
            "inspect --store file:///a",
            "inspect --store file:///a hunter2",
            "replay --store file:///a --queue redis://u:hunter2@h/q",
            "replay --store file:///a --name x",
            "replay --store file:///a --name x --dry-run --rate 0",
            "replay --store file:///a --name x --dry-run --since hunter2",
            "replay --store file:///a --name x --dry-run --limit 3",
            "list --store",
            "list --json=hunter2 --store file:///a",
            "list -x --store file:///a",
            "list --store file:///a --keep-for 0s",
        ] {
            let words = parsed(line).err().unwrap_or_else(|| panic!("{line:?} is wrong"));
            assert!(!words.contains("hunter2"), "{line:?}: {words}");
        }
    }
}
