//! Trees as git names them.

use std::fs;
use std::path::Path;

use sha1::{Digest as _, Sha1};
use standfast_core::Result;

use super::raw::{Tree, digest_all, entries, found, target};
use crate::walk::{Found, invalid, io_error};

type Name = [u8; 20];

/// A directory whose files are not hashed yet.
struct Dir(Vec<(Vec<u8>, Node)>);

enum Node {
    Dir(Dir),
    /// The number of a file.
    File(usize),
    Link(Name),
}

pub(super) fn write_tree(tree: &Tree<'_>) -> Result<String> {
    let root = tree.root;
    if !fs::metadata(root).map_err(|error| io_error(root, error))?.is_dir() {
        return Err(invalid(root, "is no directory"));
    }
    let mut files = Vec::new();
    let all = look(tree, root, true, &mut files)?;
    let blobs = digest_all(
        tree,
        &files,
        |file| Sha1::new_with_prefix(format!("blob {}\0", file.stamp.size)),
        |digest, bytes| digest.update(bytes),
        |digest| digest.finalize().into(),
    )?;
    Ok(name(&all, &blobs).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn look(tree: &Tree<'_>, dir: &Path, is_root: bool, files: &mut Vec<Found>) -> Result<Dir> {
    tree.progress.check()?;
    let mut nodes = Vec::new();
    for entry in entries(dir)? {
        if entry.name == b".git" {
            if is_root {
                continue;
            }
            return Err(invalid(dir, "is a repository of its own"));
        }
        let node = if entry.kind.is_dir() {
            let below = look(tree, &entry.path, false, files)?;
            // git knows no empty directories
            if below.0.is_empty() {
                continue;
            }
            Node::Dir(below)
        } else if entry.kind.is_symlink() {
            Node::Link(object("blob", &target(&entry.path)?))
        } else {
            files.push(found(entry.path)?);
            Node::File(files.len() - 1)
        };
        nodes.push((entry.name, node));
    }
    // a directory sorts as if its name ended in a slash
    nodes.sort_by_cached_key(|(name, node)| match node {
        Node::Dir(_) => [&name[..], b"/"].concat(),
        _ => name.clone(),
    });
    Ok(Dir(nodes))
}

fn name(dir: &Dir, blobs: &[Name]) -> Name {
    let mut bytes = Vec::new();
    for (name_of, node) in &dir.0 {
        let (mode, id) = match node {
            Node::Dir(below) => ("40000", name(below, blobs)),
            Node::File(number) => ("100644", blobs[*number]),
            Node::Link(id) => ("120000", *id),
        };
        bytes.extend(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend(name_of);
        bytes.push(0);
        bytes.extend(id);
    }
    object("tree", &bytes)
}

fn object(kind: &str, bytes: &[u8]) -> Name {
    let header = format!("{kind} {}\0", bytes.len());
    Sha1::new_with_prefix(header).chain_update(bytes).finalize().into()
}
