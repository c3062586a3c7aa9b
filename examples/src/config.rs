//! What the command line and the environment say.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
standfast-report: turns a CSV file into a report, and shows how the parts of standfast fit together

usage: standfast-report [options]

options:
  --listen ADDRESS   where to serve (default 127.0.0.1:8080; 0 as port takes a free one)
                     environment: STANDFAST_LISTEN
  --public-url URL   how browsers reach the server, for links in answers (default: the address)
  --blobs WHERE      where files are kept: a directory, or `memory`
                     (default: a directory of its own under the system's temporary one)
  --jobs N           how many reports are made at once (default 2)
  --time-limit SECS  how long making one may take (default 600)
  -h, --help         this text
";

/// What to do.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "whoever parses it does all of it")]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Be the process of one job.
    Job,
    /// Serve, work and everything else in one process.
    Run(Config),
}

/// How the application runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// How browsers reach the server, if not at the address it listens on.
    pub public_url: Option<String>,
    /// Where files are kept.
    pub blobs: BlobsAt,
    /// How many reports are made at once.
    pub jobs: usize,
    /// How long making one may take, in seconds.
    pub time_limit: u64,
}

/// Where files are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BlobsAt {
    /// In a directory.
    Directory(PathBuf),
    /// In memory.
    Memory,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            blobs: BlobsAt::Directory(std::env::temp_dir().join("standfast-report")),
            jobs: 2,
            time_limit: 600,
        }
    }
}

impl Command {
    /// Reads the arguments, without the program's name, and `STANDFAST_LISTEN`.
    ///
    /// # Errors
    ///
    /// In words, when they make no sense.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        listen: Option<OsString>,
    ) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;
        let mut config = Config::default();
        if let Some(listen) = listen {
            config.listen = listen.parse_with(|text| text.parse::<SocketAddr>())?;
        }
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => config.listen = parser.value()?.parse()?,
                Long("public-url") => {
                    let url = parser.value()?.string()?;
                    config.public_url = Some(url.trim_end_matches('/').to_owned());
                }
                Long("blobs") => {
                    let place = parser.value()?;
                    config.blobs = match place == "memory" {
                        true => BlobsAt::Memory,
                        false => BlobsAt::Directory(place.into()),
                    };
                }
                Long("jobs") => config.jobs = parser.value()?.parse()?,
                Long("time-limit") => config.time_limit = parser.value()?.parse()?,
                Short('h') | Long("help") => return Ok(Self::Help),
                Value(word) if word == "job" => return Ok(Self::Job),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Self::Run(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, listen: Option<&str>) -> Result<Command, lexopt::Error> {
        Command::parse(line.split_whitespace().map(Into::into), listen.map(Into::into))
    }

    #[test]
    fn a_flag_counts_more_than_the_environment() {
        let Command::Run(config) = parse("--listen 127.0.0.1:0", Some("0.0.0.0:80")).unwrap()
        else {
            panic!("it is a run");
        };
        assert_eq!(config.listen.port(), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse("--listen here", None).is_err());
        assert!(parse("", Some("here")).is_err());
        assert!(parse("--jobs many", None).is_err());
        assert!(parse("--unknown", None).is_err());
        assert!(parse("word", None).is_err());
    }
}
