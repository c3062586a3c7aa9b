//! Files that are whole or absent.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes `name` in `dir` beside its final place and moves it there once it is on disk.
pub(super) fn publish(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let draft = dir.join(format!(".{name}.part"));
    let mut out = BufWriter::new(File::create(&draft)?);
    write(&mut out)?;
    out.into_inner()?.sync_all()?;
    fs::rename(&draft, dir.join(name))
}
