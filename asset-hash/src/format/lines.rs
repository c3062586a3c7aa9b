//! Formats that are lines of digests and names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use standfast_core::Result;

use super::raw::{Tree, all_files, refused};
use crate::digest::Digest;
use crate::hash::hash_all;
use crate::walk::Found;

pub(super) fn h1(tree: &Tree<'_>) -> Result<String> {
    let mut all = Sha256::new();
    for (name, digest) in digests(tree, |_| true)? {
        // the lines would not be injective
        if name.contains(&b'\n') {
            return Err(refused(&name, "has a line feed in its name"));
        }
        all.update(format!("{digest}  "));
        all.update(&name);
        all.update(b"\n");
    }
    Ok(format!("h1:{}", STANDARD.encode(all.finalize())))
}

pub(super) fn sha256sum(tree: &Tree<'_>) -> Result<String> {
    // patterns are text: what is no text is matched as it would be shown
    let takes = |name: &[u8]| tree.rules.takes(&String::from_utf8_lossy(name));
    let mut lines = String::new();
    for (name, digest) in digests(tree, takes)? {
        let name = String::from_utf8(name)
            .map_err(|error| refused(error.as_bytes(), "has a name that is not UTF-8"))?;
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let mark = if escaped == name { "" } else { "\\" };
        lines += &format!("{mark}{digest}  {escaped}\n");
    }
    Ok(lines)
}

fn digests(
    tree: &Tree<'_>,
    takes: impl Fn(&[u8]) -> bool,
) -> Result<impl Iterator<Item = (Vec<u8>, Digest)>> {
    let (names, files): (Vec<_>, Vec<Found>) = all_files(tree, takes)?.into_iter().unzip();
    tree.progress.begin(files.len() as u64, files.iter().map(|file| file.stamp.size).sum());
    let wanted: Vec<usize> = (0..files.len()).collect();
    let digests = hash_all(&files, &wanted, tree.rules.thread_count(), tree.progress)?;
    Ok(names.into_iter().zip(digests))
}
