//! What the command line says.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use standfast_asset_hash::{AssetId, Channel, Commit, SetName};

/// Fingerprints asset trees, publishes each once, and finds them by commit.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub(super) struct Cli {
    /// Print the result as one line of JSON
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Print neither progress nor what is done
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the input or the configuration is wrong, or something cannot be read
  2  the command line is wrong
  3  there is no such commit, set, channel, directory or store
  4  verification failed: bytes, a marker or two sets are not the same
  5  conflict: the commit is bound to another set
  6  temporary: a file changed meanwhile, or the store does not answer; try again";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the id of a directory
    ///
    /// The id depends on the names and contents of the files alone. With --format, prints what
    /// another tool makes of the same directory instead.
    Hash(Hash),
    /// Upload a directory as the set of a commit, unless it is there
    ///
    /// Files first, then the marker of the set, then the commit. Interrupted at any point, the
    /// same command goes on where it stopped.
    Publish(Publish),
    /// Print the id, or the base URL, of the set of a commit or channel
    Resolve(Resolve),
    /// Compare a set in the store with its manifest, with a directory, or with what a CDN serves
    Verify(Verify),
    /// List sets and what names them
    List {
        #[command(flatten)]
        store: Store,
    },
    /// Delete sets that nothing keeps; without --apply, only tell which
    ///
    /// A set is kept by channels, their last releases, young commits, pins and --keep. One that
    /// nothing keeps becomes a tombstone, and after the grace period is deleted, if still nothing
    /// does.
    Gc(Gc),
    /// Make an earlier release of a channel live again
    Rollback {
        #[command(flatten)]
        store: Store,
        /// Of which channel
        #[arg(long)]
        channel: Channel,
        /// To this set, instead of the release before
        #[arg(long, value_name = "ID")]
        to: Option<AssetId>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Keep a set from being collected
    Pin {
        #[command(flatten)]
        store: Store,
        /// The set
        id: AssetId,
        /// Why, for people to read
        #[arg(long, default_value = "")]
        reason: String,
        /// Take the pin away
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Print how two sets differ: directories, manifests (.json), ids, commit:NAME or channel:NAME
    Diff {
        /// The older one
        old: String,
        /// The newer one
        new: String,
        /// Where ids, commits and channels are looked up
        #[arg(long, value_name = "URL", env = "ASSET_STORE")]
        store: Option<String>,
        #[command(flatten)]
        rules: Rules,
    },
    /// Print the integrity attributes of files
    Sri {
        /// Files, or directories of which all files are taken
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Which digest
        #[arg(long, value_enum, default_value_t)]
        algorithm: Algorithm,
    },
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
pub(super) struct Store {
    /// Where the sets are: file:///directory, or s3://bucket/prefix?endpoint=…&region=…
    #[arg(long = "store", value_name = "URL", env = "ASSET_STORE")]
    pub(super) url: String,
}

#[derive(Args, Debug)]
pub(super) struct DryRun {
    /// Change nothing, and tell what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Which files of a directory belong to the set.
#[derive(Args, Debug, Default)]
pub(super) struct Rules {
    /// Take only files that match; * stays within one name, ** spans directories
    #[arg(long, value_name = "GLOB")]
    pub(super) include: Vec<String>,
    /// Leave out what matches
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,
    /// Refuse symbolic links instead of following them inside the directory
    #[arg(long)]
    pub(super) no_links: bool,
    /// Take trees in which two names differ by case alone
    #[arg(long)]
    pub(super) allow_case_collisions: bool,
    /// How many threads read files [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZero<usize>>,
    /// Remember digests in this file, and read only what has changed since
    #[arg(long, value_name = "FILE")]
    pub(super) cache: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Hash {
    /// The directory
    pub(super) dir: PathBuf,
    /// Whose rules to follow
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// Write the manifest to this file, too
    #[arg(long, value_name = "FILE")]
    pub(super) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(super) rules: Rules,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// The id of the set
    #[default]
    Ah1,
    /// Go's dirhash, as in go.sum
    H1,
    /// What `git write-tree` gives
    GitTree,
    /// Lines that `sha256sum --check` accepts
    Sha256sum,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Algorithm {
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Args, Debug)]
pub(super) struct Publish {
    /// The directory
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) store: Store,
    /// What the files were built of
    #[arg(long, env = "ASSET_COMMIT")]
    pub(super) commit: Commit,
    /// Make the set live in this channel
    #[arg(long)]
    pub(super) channel: Option<Channel>,
    /// Copy equal files from this set [default: the one that was published last]
    #[arg(long, value_name = "ID", conflicts_with = "no_copy")]
    pub(super) previous: Option<AssetId>,
    /// Copy nothing inside the store
    #[arg(long)]
    pub(super) no_copy: bool,
    /// Bind the commit although it is bound to another set
    #[arg(long)]
    pub(super) rebind: bool,
    /// Give the files of a set that is there these headers
    #[arg(long)]
    pub(super) reprofile: bool,
    /// Let only those read the files whom the store knows; of a bucket, its policy says who may
    #[arg(long)]
    pub(super) private: bool,
    /// How long caches may keep the files [default: for a year, immutable]
    #[arg(long, value_name = "HEADER")]
    pub(super) cache_control: Option<String>,
    /// The media type of files with this ending
    #[arg(long = "type", value_name = "ENDING=TYPE", value_parser = pair)]
    pub(super) types: Vec<(String, String)>,
    /// How many files are uploaded at the same time
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(super) concurrency: usize,
    #[command(flatten)]
    pub(super) dry: DryRun,
    #[command(flatten)]
    pub(super) rules: Rules,
}

/// Which set.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// That of this commit
    #[arg(long, env = "ASSET_COMMIT")]
    commit: Option<Commit>,
    /// The live one of this channel
    #[arg(long)]
    channel: Option<Channel>,
    /// This one
    #[arg(long)]
    id: Option<AssetId>,
}

impl Which {
    pub(super) fn name(&self) -> SetName {
        let id = self.id.map(SetName::from);
        let channel = || self.channel.clone().map(SetName::from);
        let commit = || self.commit.clone().map(SetName::from);
        // invariant: the group makes one of them required
        id.or_else(channel).or_else(commit).expect("one of the group is given")
    }
}

#[derive(Args, Debug)]
pub(super) struct Resolve {
    #[command(flatten)]
    pub(super) store: Store,
    #[command(flatten)]
    pub(super) which: Which,
    /// Keep asking for so long while it is not there
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "0s")]
    pub(super) wait: Duration,
    /// Print this with the id in the place of {id}
    #[arg(long, value_name = "URL")]
    pub(super) base_url: Option<String>,
    /// Fetch so many files from the base URL, and compare them
    #[arg(long, value_name = "N", requires = "base_url")]
    pub(super) sample: Option<usize>,
    /// Remember the answer in this file, for when the store is away
    #[arg(long, value_name = "FILE")]
    pub(super) cache: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) store: Store,
    #[command(flatten)]
    pub(super) which: Which,
    /// Compare the manifest with this directory, not with the files in the store
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// Compare what this base URL serves, with the id in the place of {id}
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    pub(super) via: Option<String>,
    /// Only so many of the files
    #[arg(long, value_name = "N", requires = "via")]
    pub(super) sample: Option<usize>,
    /// How closely to look at the files in the store
    #[arg(long, value_enum, default_value_t)]
    pub(super) depth: Depth,
    #[command(flatten)]
    pub(super) rules: Rules,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Depth {
    /// Names and sizes
    Listing,
    /// The digests that the store compared
    #[default]
    Checksums,
    /// Every byte
    Contents,
}

#[derive(Args, Debug)]
pub(super) struct Gc {
    #[command(flatten)]
    pub(super) store: Store,
    /// Do it
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) apply: bool,
    /// Only tell what would be done, which is the default
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How long a set that nothing keeps can be taken back
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "7d")]
    pub(super) grace: Duration,
    /// How long a commit keeps its set
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "30d")]
    pub(super) keep_commits: Duration,
    /// How many releases before the live one a channel keeps
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) keep_releases: usize,
    /// Keep this set
    #[arg(long, value_name = "ID")]
    pub(super) keep: Vec<AssetId>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (ending, media) = text.split_once('=').ok_or("not ENDING=TYPE")?;
    Ok((ending.to_owned(), media.to_owned()))
}

/// A number and one of s, m, h, d.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "not a span such as 90s, 15m, 12h or 7d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(span("0s"), Ok(Duration::ZERO));
        for wrong in
            ["", "7", "d", "-1s", "1w", "é", "99999999999999999999s", "999999999999999999d"]
        {
            assert!(span(wrong).is_err(), "{wrong:?}");
        }
    }
}
