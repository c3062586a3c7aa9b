//! Hashing a tree beside what else hashes trees: `find | sort | xargs -P2 sha256sum`, `git add`
//! into a new repository, and a naive walk that reads and hashes one file after the other.
//!
//! The page cache is warm: the first round is not counted. What needs a tool that is not here is
//! left out, and says so. The clock needs a machine that does nothing else; the time that the
//! processes ran does not, as long as only ratios are looked at.
//!
//! `publish` writes a tree into the bucket that `STANDFAST_TEST_S3` names, beside s5cmd, rclone and
//! the AWS command line, each as a process of its own. They bring no order into what they write, no
//! marker and no condition.

use std::fs;
use std::io::Read as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use standfast_asset_hash::{AssetTree, Rules, hash_tree};
use standfast_benches::{Bench, Table};

fn main() {
    let mut bench = Bench::from_args("assets");
    let dir = std::env::temp_dir().join(format!("standfast-bench-{}", std::process::id()));
    for (name, files, size, directories) in [
        ("large", 20_000, 53_687, 200),
        ("medium", 20_000, 16_384, 200),
        ("kernel", 80_000, 15_000, 5_000),
    ] {
        if bench.wants(name) {
            let files = bench.count(files);
            let root = dir.join(name);
            plant(&root, files, size, directories);
            measure(&mut bench, name, &root, files, size);
            fs::remove_dir_all(&dir).expect("it was made here");
        }
    }
    if bench.wants("limit") {
        limit(&mut bench);
    }
    if bench.wants("publish") {
        publish(&mut bench);
    }
    bench.finish();
}

/// A tree of files that are all different.
fn plant(root: &Path, files: usize, size: usize, directories: usize) {
    let mut bytes: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
    for number in 0..files {
        let directory = number % directories;
        let dir = root.join(format!("part-{:02}/section-{directory:04}", directory % 20));
        fs::create_dir_all(&dir).expect("a directory");
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        fs::write(dir.join(format!("asset-{number:05}.js")), &bytes).expect("a file");
    }
}

fn measure(bench: &mut Bench, name: &str, root: &Path, files: usize, size: usize) {
    let gigabytes = (files * size) as f64 / 1e9;
    let title = format!("{name}: {files} files of {size} bytes, {gigabytes:.2} GB, warm");
    let cache = root.with_extension("cache");
    let _ = fs::remove_file(&cache);
    // what is young is not remembered
    std::thread::sleep(Duration::from_millis(2_200));
    AssetTree::new(root).cache(&cache).read().expect("it can be read");
    let shell = format!("cd '{}' && find . -type f | sort | xargs -P2 sha256sum", root.display());
    let mut table = Table::new(title, &["ms", "cpu ms"])
        .rows("find | sort | xargs -P2 sha256sum", || run("sh", &["-c", &shell]))
        .rows("naive walk", || timed(|| naive(root)))
        .rows("one thread", || {
            let one = Rules::new().threads(NonZero::<usize>::MIN);
            timed(|| hash_tree(root, &one).expect("it can be read"))
        })
        .rows("all cores", || timed(|| hash_tree(root, &Rules::new()).expect("it can be read")))
        .rows("again, with the cache", || {
            timed(|| AssetTree::new(root).cache(&cache).read().expect("it can be read"))
        });
    let repository = root.with_extension("git");
    let has_git = Command::new("git").arg("--version").output().is_ok();
    if has_git {
        let (repository, root) = (repository.display().to_string(), root.display().to_string());
        let at =
            format!("cd '{root}' && git --git-dir='{repository}' --work-tree=. -c core.bare=false");
        let new = format!("rm -rf '{repository}' && git init -q --bare '{repository}'");
        let git = format!("{new} && {at} -c core.compression=0 -c core.fsync=none add -A");
        let status = format!("{at} status --porcelain");
        // into the index once, so that status has something to compare
        run("sh", &["-c", &git]);
        table = table
            .rows("git add", {
                let git = git.replace(&repository, &format!("{repository}.new"));
                move || run("sh", &["-c", &git])
            })
            .rows("git status", move || run("sh", &["-c", &status]));
    } else {
        println!("left out: git, which is not here");
    }
    let results = table.run(bench);
    let shell = "find | sort | xargs -P2 sha256sum";
    let least = if name == "large" { 5.0 } else { 2.0 };
    let times = results.speed("all cores", shell);
    bench.target(&format!("{name}: at least {least} x xargs sha256sum"), times >= least);
    bench.target(
        &format!("{name}: faster than a naive walk"),
        results.speed("all cores", "naive walk") > 1.0,
    );
    let again = results.speed("again, with the cache", "all cores");
    bench.target(&format!("{name}: with the cache at least 10 x ({again:.1})"), again >= 10.0);
    if has_git {
        bench.target(
            &format!("{name}: faster than git add"),
            results.speed("all cores", "git add") > 1.0,
        );
        let status = results.speed("git status", "again, with the cache");
        bench.target(
            &format!("{name}: with the cache at most 1.5 x git status ({status:.2})"),
            status <= 1.5,
        );
    }
    let ran = results.median_of(shell, 1) / results.median_of("all cores", 1);
    println!("  {ran:.1} x less work than xargs sha256sum");
    // what the digests alone would take
    let limit = gigabytes / one_core() / cores() * 1000.0;
    let share = limit / results.median("all cores");
    println!(
        "  {:.2} GB/s, {share:.2} of cores x one core's SHA-256",
        gigabytes / results.median("all cores") * 1000.0
    );
}

/// Where bytes dominate: few large files.
fn limit(bench: &mut Bench) {
    let root = std::env::temp_dir().join(format!("standfast-bench-limit-{}", std::process::id()));
    let size = bench.count(32 << 20);
    plant(&root, 32, size, 4);
    let results = Table::new(format!("limit: 32 files of {size} bytes"), &["ms", "cpu ms"])
        .rows("SHA-256 of as many bytes in memory, one core", || {
            let bytes = vec![7; 1 << 20];
            timed(|| {
                let mut hash = Sha256::new();
                (0..32 * size / bytes.len()).for_each(|_| hash.update(&bytes));
                hash.finalize()
            })
        })
        .rows("all cores", || timed(|| hash_tree(&root, &Rules::new()).expect("it can be read")))
        .run(bench);
    fs::remove_dir_all(&root).expect("it was made here");
    let one = "SHA-256 of as many bytes in memory, one core";
    let share = results.speed("all cores", one) / cores();
    bench.target(&format!("at least 0.9 of cores x one core ({share:.2})"), share >= 0.9);
}

/// What a tool is told, for where it is to write.
type Arguments<'a> = Box<dyn Fn(&str) -> Vec<String> + 'a>;

const COPIES_BLINDLY: &str = "s5cmd cp";

/// A new set in a bucket, beside tools that copy trees there.
fn publish(bench: &mut Bench) {
    let Ok(service) = std::env::var("STANDFAST_TEST_S3") else {
        println!("left out: publish; STANDFAST_TEST_S3 names no bucket");
        return;
    };
    // beside this program: target/release/deps/assets-…
    let own = std::env::current_exe().expect("a program");
    let program = own.ancestors().nth(2).expect("a directory").join("standfast-asset-hash");
    if !program.exists() {
        let build = "cargo build --release --package standfast-asset-hash --features s3";
        println!("left out: publish; first {build}");
        return;
    }
    let (place, query) = service.split_once('?').unwrap_or((&service, ""));
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let endpoint = pairs.find(|(name, _)| *name == "endpoint").map_or("", |(_, value)| value);
    let root = std::env::temp_dir().join(format!("standfast-bench-set-{}", std::process::id()));
    let files = bench.count(1000);
    plant(&root, files, 10_240, 20);
    let tree = root.display().to_string();
    let run_number = std::process::id();
    let number = std::cell::Cell::new(0);
    // each time where nothing is yet
    let next = || {
        number.set(number.get() + 1);
        format!("bench-{run_number}/{}", number.get())
    };
    let bucket = place.trim_start_matches("s3://");
    let peers: [(&str, Arguments<'_>); 4] = [
        (
            "s5cmd sync",
            Box::new(|to| words(&["--endpoint-url", endpoint, "sync", &format!("{tree}/"), to])),
        ),
        (
            COPIES_BLINDLY,
            Box::new(|to| words(&["--endpoint-url", endpoint, "cp", &format!("{tree}/"), to])),
        ),
        (
            "rclone copy, 32 at once",
            Box::new(|to| {
                let remote = format!(":s3,provider=Other,env_auth=true,endpoint=\"{endpoint}\":");
                let to = to.replacen("s3://", &remote, 1);
                words(&["copy", "--transfers", "32", "--checkers", "32", &tree, &to])
            }),
        ),
        (
            "aws s3 sync",
            Box::new(|to| words(&["--endpoint-url", endpoint, "s3", "sync", "--quiet", &tree, to])),
        ),
    ];
    let mut table = Table::new(format!("publish: {files} files of 10 KiB"), &["ms", "cpu ms"])
        .rows("standfast-asset-hash publish", || {
            let store = format!("{place}/{}?{query}", next());
            let publish = ["publish", &tree, "--quiet", "--commit", "v1", "--store", &store];
            run(&program.display().to_string(), &publish)
        });
    let mut here = Vec::new();
    for (name, arguments) in &peers {
        let tool = name.split(' ').next().expect("a name");
        if Command::new(tool).arg("--help").output().is_err() {
            println!("left out: {name}; {tool} is not here");
            continue;
        }
        here.push(*name);
        let next = &next;
        table = table.rows(*name, move || {
            let arguments = arguments(&format!("s3://{bucket}/{}/", next()));
            run(tool, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        });
    }
    let results = table.run(bench);
    fs::remove_dir_all(&root).expect("it was made here");
    for peer in here {
        let times = results.speed("standfast-asset-hash publish", peer);
        if peer == COPIES_BLINDLY {
            println!("  {times:.2} x {peer}, which does not ask what is there");
            continue;
        }
        bench.target(&format!("publish: no slower than {peer} ({times:.2})"), times >= 1.0);
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| usize::from(cores) as f64)
}

/// The gigabytes a second of SHA-256 in the cache of one core.
fn one_core() -> f64 {
    let bytes = vec![7; 65_536];
    let rounds = 2_000;
    let seconds =
        timed(|| (0..rounds).map(|_| Sha256::digest(&bytes)[0]).fold(0, u8::wrapping_add))[0]
            / 1000.0;
    (rounds * bytes.len()) as f64 / 1e9 / seconds
}

fn naive(root: &Path) -> usize {
    let (mut open, mut lines) = (vec![root.to_owned()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let mut bytes = Vec::new();
            fs::File::open(&path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .expect("a file");
            lines.push((path, Sha256::digest(&bytes)));
        }
    }
    lines.sort();
    lines.len()
}

/// The milliseconds by the clock, and those that this process and its children ran.
fn timed<T>(work: impl FnOnce() -> T) -> Vec<f64> {
    let (start, before) = (Instant::now(), ran());
    std::hint::black_box(work());
    let clock = start.elapsed().as_secs_f64() * 1000.0;
    vec![clock, ran() - before]
}

/// As far as the system tells: in hundredths of a second.
fn ran() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // behind the name, which may have spaces: times of this process and of its children
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn run(program: &str, arguments: &[&str]) -> Vec<f64> {
    timed(|| {
        let mut command = Command::new(program);
        // rclone does not start where it is set, and nothing here speaks TLS
        command.args(arguments).env_remove("AWS_CA_BUNDLE").stdout(Stdio::null());
        assert!(command.status().expect("it starts").success(), "{program}");
    })
}
