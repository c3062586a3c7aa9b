//! What the command line and the environment say.

mod place;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use place::Place;

/// What `--help` prints.
pub const HELP: &str = "\
standfast-report: turns a CSV file into a report, and shows how the parts of standfast fit together

usage: standfast-report [all | serve | worker | cron | migrate] [options]

  all      all of the following in one process (the default)
  serve    serves; what it accepts is made by workers
  worker   makes reports
  cron     ticks, and asks for the reports that are due; of all that do, one wins each tick
  migrate  makes the tables of PostgreSQL, or brings them up to date, and ends; once for each
           deploy, before its processes start

Without options everything is in one process. With --queue there may be any number of each, started
and stopped at any time, as long as they are given the same --queue, --status, --sessions,
--locks, --business, --blobs, --tick, --every and --name:

  standfast-report serve --queue redis://127.0.0.1:6379
  standfast-report worker --queue redis://127.0.0.1:6379

options:
  --queue URL        where reports wait to be made (default memory:): as --status, or, in a
                     program built with the feature `sqs`, sqs://name?region=…&endpoint=… with
                     credentials from the environment; then --status, --sessions and --locks too
  --status URL       where it is kept how they stand (default: the same place)
                     memory: or, in a program built with the feature `redis`,
                       redis://[user:password@]host[:port][/database]
                       redis+cluster://host,host,…
                       redis+sentinel://host,host,…/master
                     each also as rediss…, for TLS, with the feature `redis-tls`
  --sessions URL     where it is kept who asked for what (default: the same place as --queue)
                     as --status, or postgres://user[:password]@host/database with the feature
                     `postgres`
  --locks URL        where it is kept who won which tick (default: the same place as --queue)
                     as --status
  --business URL     where it is recorded, for ever, what was asked for and what became of it:
                     memory: or postgres://… (default memory:; with a --queue that processes share,
                     nowhere)
  --blobs WHERE      where files are kept: a directory (/dir or file:///dir), memory:, or, with the
                     feature `s3`, s3://bucket/prefix?endpoint=…&region=…&path_style=true&features=…
                     with credentials from the environment, as for other tools of AWS
                     (default: `standfast-report` in the system's temporary directory)
  --links SECS       how long a link to a report works (default 3600)
  --uploads SECS     how long browsers have for sending a file straight to a bucket (default 3600)
  --assets BASE      how browsers reach the assets of the page: a URL or a path with {id} in it, such
                     as https://cdn.example/{id}/ (default /assets/{id}/, where a server has what
                     is compiled in)
  --asset-store WHERE and --commit NAME
                     the set of this commit, instead of what is compiled in, from where
                     standfast-asset-hash has published it: as --blobs; to be served at
                     --assets by whatever serves that
  --asset-wait SECS  how long a start waits for whoever still publishes them (default 60)
  --replicas N       a report is accepted, and its end counts, once this many replicas of Redis have
                     it, so that a failover loses nothing (default 0: a failover may)
  --name NAME        keeps applications on the same servers apart (default standfast-report)

  --listen ADDRESS   where to serve (default 127.0.0.1:8080; 0 as port takes a free one);
                     worker and cron answer /live, /ready and /health there, and nowhere unless told
  --public-url URL   how browsers reach the server, for links in answers (default: the address)
  --patience SECS    how long a request for a report waits for a queue that is away before it is
                     refused (default 10)
  --notice SECS      how long a server that stops goes on serving after /ready has begun to say so,
                     for load balancers to notice (default 0)

  --jobs N           how many reports are made at once (default 2)
  --time-limit SECS  how long making one may take (default 600)
  --lease SECS       how soon a report is made again after its worker died, and a tick is taken
                     over after its winner died (default 30)
  --grace SECS       how long a worker that stops goes on with what it has begun; then it gives it
                     back (default 20)
  --tick SECS        from one tick to the next (default 60)
  --every SECS       how often a report about the sample is made by itself, a multiple of --tick
                     (default 300)
  -h, --help         this text

The environment can say the same: STANDFAST_QUEUE, STANDFAST_STATUS, STANDFAST_SESSIONS,
STANDFAST_LOCKS, STANDFAST_BUSINESS, STANDFAST_BLOBS, STANDFAST_NAME, STANDFAST_LISTEN. Passwords belong there: other users of a machine can see its
command lines.
";

/// What to do.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "whoever parses it does all of it")]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Be the process of one job.
    Job,
    /// Make the tables that the application needs.
    Migrate(Box<Config>),
    /// Be the application, or a part of it.
    Run(Box<Config>),
}

/// Which parts of the application a process is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "whoever starts the parts starts all of them")]
pub enum Role {
    /// All of it.
    All,
    /// What serves.
    Serve,
    /// What makes reports.
    Worker,
    /// What ticks.
    Cron,
}

impl Role {
    /// Whether reports are asked for here.
    pub fn serves(self) -> bool {
        matches!(self, Self::All | Self::Serve)
    }

    /// Whether reports are made here.
    pub fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    /// Whether it takes part in ticking.
    pub fn ticks(self) -> bool {
        matches!(self, Self::All | Self::Cron)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Serve => "serve",
            Self::Worker => "worker",
            Self::Cron => "cron",
        })
    }
}

/// How the application runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which parts of it.
    pub role: Role,
    /// What keeps it apart from others on the same servers.
    pub name: String,
    /// Where reports wait.
    pub queue: Place,
    /// Where it is kept how they stand; where they wait, unless told.
    pub status: Option<Place>,
    /// Where sessions are kept; where reports wait, unless told.
    pub sessions: Option<Place>,
    /// Where it is kept who won which tick; where reports wait, unless told.
    pub locks: Option<Place>,
    /// Where it is recorded what was asked for and what became of it.
    pub business: Option<Place>,
    /// Below which address the assets are, with `{id}` in it.
    pub assets: Option<String>,
    /// Where sets of assets are published, if another one than the compiled one is wanted.
    pub asset_store: Option<Place>,
    /// Which of them: the one of this commit.
    pub commit: Option<String>,
    /// How long to wait for it.
    pub asset_wait: Duration,
    /// How many replicas must have what counts as stored.
    pub replicas: u32,
    /// Where files are kept; in a temporary directory, unless told.
    pub blobs: Option<Place>,
    /// Where to serve, if that was said.
    pub listen: Option<SocketAddr>,
    /// How browsers reach the server, if not at the address it listens on.
    pub public_url: Option<String>,
    /// How long a link to a report works.
    pub links: Duration,
    /// How long a form for an upload works.
    pub uploads: Duration,
    /// How long a request waits for the queue.
    pub patience: Duration,
    /// How long a server that stops goes on serving.
    pub notice: Duration,
    /// How many reports are made at once.
    pub jobs: usize,
    /// How long making one may take.
    pub time_limit: Duration,
    /// How long a worker has a report without saying that it lives.
    pub lease: Duration,
    /// How long a worker that stops goes on with what it has.
    pub grace: Duration,
    /// From one tick to the next.
    pub tick: Duration,
    /// How often a report is made by itself.
    pub every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::All,
            name: "standfast-report".to_owned(),
            queue: Place::memory(),
            status: None,
            sessions: None,
            locks: None,
            business: None,
            assets: None,
            asset_store: None,
            commit: None,
            asset_wait: Duration::from_secs(60),
            replicas: 0,
            blobs: None,
            listen: None,
            public_url: None,
            links: Duration::from_secs(60 * 60),
            uploads: Duration::from_secs(60 * 60),
            patience: Duration::from_secs(10),
            notice: Duration::ZERO,
            jobs: 2,
            time_limit: Duration::from_secs(600),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(20),
            tick: Duration::from_secs(60),
            every: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// Where to listen, if anywhere.
    pub fn listen_on(&self) -> Option<SocketAddr> {
        let usual = || self.role.serves().then_some(SocketAddr::from(([127, 0, 0, 1], 8080)));
        self.listen.or_else(usual)
    }
}

impl Command {
    /// Reads the arguments, without the program's name, and what of the `environment` counts.
    ///
    /// # Errors
    ///
    /// In words that repeat nothing which may be a secret, when they make no sense.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;
        let mut config = Config::default();
        if let Some(queue) = environment("STANDFAST_QUEUE") {
            config.queue = queue.into();
        }
        config.status = environment("STANDFAST_STATUS").map(Place::from);
        config.sessions = environment("STANDFAST_SESSIONS").map(Place::from);
        config.locks = environment("STANDFAST_LOCKS").map(Place::from);
        config.business = environment("STANDFAST_BUSINESS").map(Place::from);
        config.blobs = environment("STANDFAST_BLOBS").map(Place::from);
        if let Some(name) = environment("STANDFAST_NAME") {
            config.name = name.string()?;
        }
        if let Some(listen) = environment("STANDFAST_LISTEN") {
            config.listen = Some(listen.parse()?);
        }
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut role, mut migrates) = (None, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("queue") => config.queue = parser.value()?.into(),
                Long("status") => config.status = Some(parser.value()?.into()),
                Long("sessions") => config.sessions = Some(parser.value()?.into()),
                Long("locks") => config.locks = Some(parser.value()?.into()),
                Long("business") => config.business = Some(parser.value()?.into()),
                Long("blobs") => config.blobs = Some(parser.value()?.into()),
                Long("assets") => config.assets = Some(parser.value()?.string()?),
                Long("asset-store") => config.asset_store = Some(parser.value()?.into()),
                Long("commit") => config.commit = Some(parser.value()?.string()?),
                Long("asset-wait") => {
                    config.asset_wait = Duration::from_secs(parser.value()?.parse()?);
                }
                Long("replicas") => config.replicas = parser.value()?.parse()?,
                Long("name") => config.name = parser.value()?.string()?,
                Long("listen") => config.listen = Some(parser.value()?.parse()?),
                Long("public-url") => {
                    let url = parser.value()?.string()?;
                    config.public_url = Some(url.trim_end_matches('/').to_owned());
                }
                Long("links") => config.links = seconds(&mut parser)?,
                Long("uploads") => config.uploads = seconds(&mut parser)?,
                Long("patience") => config.patience = seconds(&mut parser)?,
                Long("notice") => config.notice = Duration::from_secs(parser.value()?.parse()?),
                Long("jobs") => config.jobs = parser.value()?.parse()?,
                Long("time-limit") => config.time_limit = seconds(&mut parser)?,
                Long("lease") => config.lease = seconds(&mut parser)?,
                Long("grace") => config.grace = seconds(&mut parser)?,
                Long("tick") => config.tick = seconds(&mut parser)?,
                Long("every") => config.every = seconds(&mut parser)?,
                Short('h') | Long("help") => return Ok(Self::Help),
                Value(word) if role.is_none() => {
                    role = Some(match word.to_str() {
                        Some("job") => return Ok(Self::Job),
                        Some("migrate") => {
                            migrates = true;
                            Role::All
                        }
                        Some("all") => Role::All,
                        Some("serve") => Role::Serve,
                        Some("worker") => Role::Worker,
                        Some("cron") => Role::Cron,
                        // not repeated: it may be a URL with a password
                        _ => {
                            return Err("the roles are all, serve, worker, cron and migrate".into());
                        }
                    });
                }
                Value(_) => return Err("an argument that belongs to no option".into()),
                _ => return Err(argument.unexpected()),
            }
        }
        config.role = role.unwrap_or(config.role);
        let config = Box::new(config);
        Ok(if migrates { Self::Migrate(config) } else { Self::Run(config) })
    }
}

/// A span of at least a second.
fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    use lexopt::ValueExt as _;
    match parser.value()?.parse()? {
        0 => Err("a span of no seconds".into()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, environment: &[(&str, &str)]) -> Result<Command, lexopt::Error> {
        let said = |name: &str| {
            let (_, value) = environment.iter().find(|(known, _)| *known == name)?;
            Some((*value).into())
        };
        Command::parse(line.split_whitespace().map(Into::into), said)
    }

    fn run(line: &str, environment: &[(&str, &str)]) -> Config {
        match parse(line, environment) {
            Ok(Command::Run(config)) => *config,
            other => panic!("it is a run: {other:?}"),
        }
    }

    #[test]
    fn a_flag_counts_more_than_the_environment() {
        let environment = [("STANDFAST_LISTEN", "0.0.0.0:80"), ("STANDFAST_QUEUE", "redis://a")];
        let config = run("worker --listen 127.0.0.1:0 --queue redis://b", &environment);
        assert_eq!(config.role, Role::Worker);
        assert_eq!(config.listen.map(|address| address.port()), Some(0));
        assert_eq!(config.queue, Place::from("redis://b"));
        let config = run("", &environment);
        assert_eq!((config.role, config.queue), (Role::All, Place::from("redis://a")));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--listen here",
            "--jobs many",
            "--lease 0",
            "--unknown",
            "word",
            "serve worker",
            "--queue",
        ] {
            assert!(parse(line, &[]).is_err(), "{line}");
        }
        assert!(parse("", &[("STANDFAST_LISTEN", "here")]).is_err());
    }

    #[test]
    fn no_secret_is_repeated() {
        let url = "redis://:s3cret@h";
        for line in [url.to_owned(), format!("serve {url}"), format!("--quue={url}")] {
            let error = parse(&line, &[]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
        let config = run(&format!("--status {url}"), &[("STANDFAST_QUEUE", url)]);
        assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    }
}
