//! Commands that need no store.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use serde_json::json;
use standfast_asset_hash::{AssetTree, LocalSet, Progress, SriAlgorithm, Symlinks};

use super::args::{Algorithm, Cli, Format, Hash, Rules};
use super::exit::{DONE, Failure};
use super::output::{Output, size};

/// Reads a directory as the rules say, and shows how far that is.
pub(super) async fn read(dir: &Path, rules: &Rules, output: &Output) -> Result<LocalSet, Failure> {
    let progress = Progress::new();
    let tree = tree(dir, rules)?.progress(progress.clone());
    Ok(output.watch("hashing", &progress, tree.read_async()).await?)
}

fn tree(dir: &Path, args: &Rules) -> Result<AssetTree, Failure> {
    let mut rules = standfast_asset_hash::Rules::new();
    for glob in &args.include {
        rules = rules.include(glob).map_err(|error| Failure::usage(error.to_string()))?;
    }
    for glob in &args.exclude {
        rules = rules.exclude(glob).map_err(|error| Failure::usage(error.to_string()))?;
    }
    if args.no_links {
        rules = rules.symlinks(Symlinks::Reject);
    }
    if args.allow_case_collisions {
        rules = rules.allow_case_collisions();
    }
    if let Some(threads) = args.threads {
        rules = rules.threads(threads);
    }
    let tree = AssetTree::new(dir).rules(rules);
    Ok(match &args.cache {
        Some(cache) => tree.cache(cache),
        None => tree,
    })
}

pub(super) async fn hash(args: Hash, output: &Output) -> Result<u8, Failure> {
    let format = match args.format {
        Format::Ah1 => None,
        Format::H1 => Some(standfast_asset_hash::Format::H1),
        Format::GitTree => Some(standfast_asset_hash::Format::GitTree),
        Format::Sha256sum => Some(standfast_asset_hash::Format::Sha256Sum),
    };
    if let Some(format) = format {
        if args.manifest.is_some() || args.rules.cache.is_some() {
            return Err(Failure::usage("--manifest and --cache are for the format ah1"));
        }
        let progress = Progress::new();
        let tree = tree(&args.dir, &args.rules)?.progress(progress.clone());
        let work = tokio::task::spawn_blocking(move || tree.format(format));
        let hash = output.watch("hashing", &progress, work).await;
        let hash = hash.map_err(|error| Failure::io("hashing", &error.into()))??;
        output.result(json!({ "hash": hash }), &hash);
        return Ok(DONE);
    }
    let set = read(&args.dir, &args.rules, output).await?;
    let manifest = set.manifest();
    if let Some(path) = &args.manifest {
        let written = std::fs::write(path, manifest.to_json());
        written.map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    }
    let (files, bytes) = (manifest.files().len(), manifest.total_size());
    let json = json!({
        "id": manifest.id().to_string(), "digest": manifest.digest(), "files": files, "bytes": bytes,
    });
    output.result(json, manifest.id());
    output.note(format!("{files} files, {}", size(bytes)));
    Ok(DONE)
}

pub(super) fn sri(files: &[PathBuf], algorithm: Algorithm, output: &Output) -> Result<u8, Failure> {
    let algorithm = match algorithm {
        Algorithm::Sha256 => SriAlgorithm::Sha256,
        Algorithm::Sha384 => SriAlgorithm::Sha384,
        Algorithm::Sha512 => SriAlgorithm::Sha512,
    };
    let mut all = serde_json::Map::new();
    let mut lines = String::new();
    let mut add = |shown: String, path: &Path| {
        let digest = File::open(path).and_then(|file| algorithm.read(file));
        let digest = digest.map_err(|error| Failure::io(&shown, &error))?;
        lines += &format!("{digest}  {shown}\n");
        all.insert(shown, digest.into());
        Ok::<_, Failure>(())
    };
    for path in files {
        if !path.is_dir() {
            add(path.display().to_string(), path)?;
            continue;
        }
        let set = AssetTree::new(path).read()?;
        for file in set.manifest().files() {
            // invariant: the set was read from files
            let at = set.file(&file.path).expect("a file of the directory");
            add(path.join(&file.path).display().to_string(), at)?;
        }
    }
    output.result(all.into(), lines);
    Ok(DONE)
}

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
}
