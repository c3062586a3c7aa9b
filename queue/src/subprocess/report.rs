//! What the shim tells its parent over the control socket: one line each.

use super::exit::ExitStatus;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The shim is one; it waits for the job's standard streams.
    Hello,
    /// The job's program could not be started.
    NotStarted(String),
    /// The job process ended; its descendants may still run.
    Ended(ExitStatus),
    /// No descendant is left.
    Clean,
}

const HELLO: &str = "standfast-shim 1";

impl Report {
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Hello => format!("{HELLO}\n"),
            Self::NotStarted(why) => format!("not-started {}\n", why.replace('\n', " ")),
            Self::Ended(ExitStatus::Code(code)) => format!("code {code}\n"),
            Self::Ended(ExitStatus::Signal(signal)) => format!("signal {signal}\n"),
            Self::Clean => "clean\n".to_owned(),
        }
    }

    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        if line == HELLO {
            return Some(Self::Hello);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "not-started" => Some(Self::NotStarted(rest.to_owned())),
            "code" => Some(Self::Ended(ExitStatus::Code(rest.parse().ok()?))),
            "signal" => Some(Self::Ended(ExitStatus::Signal(rest.parse().ok()?))),
            "clean" => Some(Self::Clean),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_socket() {
        for report in [
            Report::Hello,
            Report::NotStarted("no such file".into()),
            Report::Ended(ExitStatus::Code(3)),
            Report::Ended(ExitStatus::Signal(9)),
            Report::Clean,
        ] {
            let line = report.encode();
            assert_eq!(Report::parse(line.trim_end().as_bytes()), Some(report));
        }
        assert_eq!(Report::parse(b"standfast-shim 2"), None);
        assert_eq!(Report::parse(b"code x"), None);
    }
}
