//! How records and counts are written. Control characters of messages do not reach a terminal.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use standfast_queue::wrap::{ArchiveRecord, Replayed};

/// One line for `record`, without headers and body.
pub(crate) fn line(to: &mut impl Write, record: &ArchiveRecord, is_json: bool) -> io::Result<()> {
    if is_json {
        return writeln!(to, "{}", json(record, false));
    }
    let (at, event, id, run) = (date(record.at), record.event.as_str(), record.id, record.run);
    write!(to, "{at}  {event:<13} {id}  {}  run {run}", record.kind.escape_debug())?;
    if let Some(attempt) = record.attempt {
        write!(to, "  attempt {attempt}")?;
    }
    if let Some(envelope) = &record.envelope {
        write!(to, "  {} bytes", envelope.body.len())?;
    }
    if let Some(detail) = &record.detail {
        write!(to, "  {}", detail.escape_debug())?;
    }
    writeln!(to)
}

/// A line for `record`, and lines for its headers.
pub(crate) fn whole(to: &mut impl Write, record: &ArchiveRecord, is_json: bool) -> io::Result<()> {
    if is_json {
        return writeln!(to, "{}", json(record, true));
    }
    line(to, record, false)?;
    if let Some(group) = &record.group {
        writeln!(to, "    group: {}", group.escape_debug())?;
    }
    let Some(envelope) = &record.envelope else { return Ok(()) };
    writeln!(to, "    version: {}", envelope.version)?;
    writeln!(to, "    sent_at: {}", date(envelope.sent_at))?;
    let context = &envelope.context;
    let known = [("request_id", &context.request_id), ("traceparent", &context.traceparent)];
    for (name, value) in known {
        if let Some(value) = value {
            writeln!(to, "    {name}: {}", value.escape_debug())?;
        }
    }
    for (name, value) in &context.headers {
        writeln!(to, "    {}: {}", name.escape_debug(), value.escape_debug())?;
    }
    for (name, value) in &envelope.headers {
        // JSON escapes what a terminal would obey, but for what is beyond ASCII
        writeln!(to, "    {}: {}", name.escape_debug(), value.to_string().escape_debug())?;
    }
    Ok(())
}

fn json(record: &ArchiveRecord, headers: bool) -> Value {
    let mut line = json!({
        "at": date(record.at),
        "event": record.event.as_str(),
        "id": record.id,
        "run": record.run,
        "kind": record.kind,
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            line[name] = value;
        }
    };
    set("attempt", record.attempt.map(Value::from));
    set("detail", record.detail.clone().map(Value::from));
    set("group", record.group.as_deref().map(Value::from));
    set("priority", record.priority.map(|priority| (priority as u8).into()));
    if let Some(envelope) = &record.envelope {
        set("bytes", Some(envelope.body.len().into()));
        if headers {
            set("version", Some(envelope.version.into()));
            set("sent_at", Some(date(envelope.sent_at).into()));
            set("headers", Some(json!(envelope.headers)));
            set("context", Some(json!(envelope.context)));
        }
    }
    line
}

/// What a replay did, or would do.
pub(crate) fn replayed(
    to: &mut impl Write,
    name: &str,
    is_dry: bool,
    done: &Replayed,
    is_json: bool,
) -> io::Result<()> {
    if is_json {
        let mut line = json!(done);
        line["name"] = name.into();
        line["dry_run"] = is_dry.into();
        return writeln!(to, "{line}");
    }
    let Replayed { scanned, matched, sent, .. } = done;
    match is_dry {
        true => writeln!(to, "{matched} messages would be sent ({scanned} records read)")?,
        false => writeln!(to, "{sent} of {matched} messages sent ({scanned} records read)")?,
    }
    for (count, what) in [
        (done.duplicates, "were in the queue already"),
        (done.refused, "were refused; see the log above"),
        (done.damaged, "records could not be read"),
        (done.truncated, "segments could not be read to their end"),
    ] {
        if count > 0 {
            writeln!(to, "{count} {what}")?;
        }
    }
    Ok(())
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
