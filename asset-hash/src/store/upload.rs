//! Getting the files of a set into the store.

use std::cmp::Reverse;
use std::collections::HashMap;

use standfast_blobstore::{
    Body, CopyOptions, CopyOutcome, Precondition, PutOptions, PutOutcome, Sha256Digest, Version,
};
use standfast_core::{Error, ErrorKind, Reason, Result};

use super::marker::Marker;
use super::pool::Pool;
use super::publish::{Previous, Publish, Published};
use super::{failed, names};
use crate::digest::{AssetId, Digest};
use crate::local::Source;
use crate::manifest::AssetFile;

/// What is to be done for one file.
struct Task<'a> {
    file: &'a AssetFile,
    precondition: Precondition,
    /// Where the same bytes are already.
    copy: Option<(AssetId, String, Version)>,
}

/// What became of it.
enum Done {
    Uploaded(u64),
    Copied,
    WasThere,
}

impl Publish<'_> {
    /// Puts what is missing into the store; whether all of it was there afterwards.
    ///
    /// A file that is listed with the right size is there: only publishers write here, and each put
    /// carried the digest that the store compared. In a condemned set nothing is trusted: a
    /// collector deletes what it listed before, by version, so everything is written anew and has a
    /// version that the collector does not know.
    ///
    /// Died in between: files are there that no marker names, for the next attempt to use.
    pub(super) async fn fill(
        &self,
        marker: Option<&(Marker, Version)>,
        done: &mut Published,
    ) -> Result<bool> {
        let is_condemned = matches!(marker, Some((Marker::Condemned, _)));
        let present = self.present().await?;
        let mut tasks = Vec::new();
        for file in self.manifest().files() {
            let precondition = match present.get(&file.path) {
                _ if is_condemned => Precondition::Always,
                None => Precondition::IfAbsent,
                Some((size, _)) if *size == file.size => continue,
                // not one of ours, whatever it is
                Some((_, version)) => Precondition::IfMatch(version.clone()),
            };
            tasks.push(Task { file, precondition, copy: None });
        }
        if tasks.is_empty() {
            return Ok(true);
        }
        self.find_copies(&mut tasks).await?;
        if self.is_dry {
            for task in &tasks {
                let done_so = match &task.copy {
                    Some(_) => Done::Copied,
                    None => Done::Uploaded(task.file.size),
                };
                count(done, &done_so);
            }
            return Ok(true);
        }
        self.move_all(tasks, done).await?;
        let present = self.present().await?;
        let is_there =
            |file: &AssetFile| present.get(&file.path).is_some_and(|(size, _)| *size == file.size);
        Ok(self.manifest().files().iter().all(is_there))
    }

    /// Size and version of what is below the id.
    async fn present(&self) -> Result<HashMap<String, (u64, Version)>> {
        let prefix = format!("{}/", self.manifest().id());
        let listed = self.assets.io.list(&prefix).await?.into_iter().filter_map(|entry| {
            let path = entry.key.as_str().strip_prefix(&prefix)?.to_owned();
            Some((path, (entry.size, entry.version)))
        });
        Ok(listed.collect())
    }

    /// Notes where the bytes of a file lie already, in a set whose files are all there.
    async fn find_copies(&self, tasks: &mut [Task<'_>]) -> Result<()> {
        let io = &self.assets.io;
        let previous = match self.previous {
            Previous::None => return Ok(()),
            Previous::Set(id) => Some(id),
            Previous::Newest => {
                let mut sets = io.list(names::SETS).await?;
                sets.sort_by_key(|entry| Reverse(entry.modified_at));
                let ids = sets.iter().filter_map(|set| names::inner(&set.key, names::SETS, ".txt"));
                ids.into_iter().find(|id| *id != self.manifest().id())
            }
        };
        let Some(previous) = previous else { return Ok(()) };
        // a set that is to be deleted may be gone before it is copied
        let Some((Marker::Live(listed), _)) = self.assets.marker(previous).await? else {
            return Ok(());
        };
        let known: HashMap<Digest, &AssetFile> =
            listed.manifest.files().iter().map(|file| (file.sha256, file)).collect();
        if !tasks.iter().any(|task| known.contains_key(&task.file.sha256)) {
            return Ok(());
        }
        let prefix = format!("{previous}/");
        let versions: HashMap<String, (u64, Version)> = io
            .list(&prefix)
            .await?
            .into_iter()
            .filter_map(|entry| {
                let path = entry.key.as_str().strip_prefix(&prefix)?.to_owned();
                Some((path, (entry.size, entry.version)))
            })
            .collect();
        for task in tasks {
            let Some(source) = known.get(&task.file.sha256) else { continue };
            if let Some((size, version)) = versions.get(&source.path)
                && *size == source.size
            {
                task.copy = Some((previous, source.path.clone(), version.clone()));
            }
        }
        Ok(())
    }

    /// Does the tasks, the largest files first.
    async fn move_all(&self, mut tasks: Vec<Task<'_>>, done: &mut Published) -> Result<()> {
        tasks.sort_by_key(|task| Reverse(task.file.size));
        let bytes = tasks.iter().map(|task| task.file.size).sum();
        self.progress.begin(tasks.len() as u64, bytes);
        let mut pool = Pool::new(self.concurrency);
        for task in tasks {
            if let Some(one) = pool.add(self.move_one(task)).await? {
                count(done, &one);
            }
        }
        while let Some(one) = pool.next().await? {
            count(done, &one);
        }
        Ok(())
    }

    async fn move_one(&self, task: Task<'_>) -> Result<Done> {
        self.progress.check()?;
        let done = match self.copy(&task).await? {
            Some(copied) => copied,
            None => self.upload(&task).await?,
        };
        self.progress.add(1, task.file.size);
        Ok(done)
    }

    /// Copies the file inside the store; `None` where there is nothing to copy, or no longer.
    async fn copy(&self, task: &Task<'_>) -> Result<Option<Done>> {
        let Some((previous, path, version)) = &task.copy else { return Ok(None) };
        let from = names::file(*previous, path);
        let to = names::file(self.manifest().id(), &task.file.path);
        let options = CopyOptions::default()
            .with_attributes(self.profile.attributes(&task.file.path))
            .with_precondition(task.precondition.clone())
            .with_source(version.clone())
            .with_visibility(self.profile.visibility());
        let store = &self.assets.io.store;
        let (from, to, options) = (&from, &to, &options);
        Ok(match self.assets.io.again(|| store.copy(from, to, options)).await? {
            CopyOutcome::Stored(_) => Some(Done::Copied),
            CopyOutcome::Exists => Some(Done::WasThere),
            _ => None,
        })
    }

    async fn upload(&self, task: &Task<'_>) -> Result<Done> {
        let key = &names::file(self.manifest().id(), &task.file.path);
        let options = &PutOptions::default()
            .with_attributes(self.profile.attributes(&task.file.path))
            .with_precondition(task.precondition.clone())
            .with_sha256(Sha256Digest::from_bytes(task.file.sha256.to_bytes()))
            .with_visibility(self.profile.visibility());
        // invariant: the manifest is that of the set
        let source = self.set.source(&task.file.path).expect("a file of the set");
        let put = self
            .assets
            .io
            .again(|| {
                let body = match source.clone() {
                    Source::Embedded(bytes) => Body::from(bytes),
                    Source::File(path) => Body::file(path),
                };
                async move { self.assets.io.store.put(key, body, options).await }
            })
            .await;
        match put {
            Ok(PutOutcome::Stored(_)) => Ok(Done::Uploaded(task.file.size)),
            // somebody else was first; the listing at the end says whether it is the right one
            Ok(_) => Ok(Done::WasThere),
            Err(error) => Err(self.blame(task, error)),
        }
    }

    /// An upload that the store refused for its bytes is that of a file that changed.
    fn blame(&self, task: &Task<'_>, error: Error) -> Error {
        let is_local = self.set.file(&task.file.path).is_some();
        let bytes = error.kind() == ErrorKind::Checksum
            || error.reason() == Some(Reason::LengthMismatch)
            || (error.kind() == ErrorKind::NotFound && error.backend() == "file");
        if !is_local || !bytes {
            return error;
        }
        let detail = format!("{:?} is not as it was hashed", task.file.path);
        failed(ErrorKind::Conflict, "publish", detail)
            .with_reason(Reason::ChangedDuringRead)
            .with_retryable(true)
            .with_source(error)
    }

    /// Gives every file in the store the headers of the profile.
    pub(super) async fn rewrite(&self) -> Result<()> {
        let files = self.manifest().files();
        self.progress.begin(files.len() as u64, self.manifest().total_size());
        let mut pool = Pool::new(self.concurrency);
        for file in files {
            pool.add(self.rewrite_one(file)).await?;
        }
        while pool.next().await?.is_some() {}
        Ok(())
    }

    async fn rewrite_one(&self, file: &AssetFile) -> Result<()> {
        self.progress.check()?;
        let key = &names::file(self.manifest().id(), &file.path);
        let options = &CopyOptions::default()
            .with_attributes(self.profile.attributes(&file.path))
            .with_visibility(self.profile.visibility());
        let store = &self.assets.io.store;
        match self.assets.io.again(|| store.copy(key, key, options)).await? {
            CopyOutcome::Stored(_) => {
                self.progress.add(1, file.size);
                Ok(())
            }
            other => {
                let detail = format!("{key} of a live set could not be copied: {other:?}");
                Err(failed(ErrorKind::Corrupt, "publish", detail))
            }
        }
    }
}

fn count(done: &mut Published, one: &Done) {
    match one {
        Done::Uploaded(bytes) => {
            done.uploaded += 1;
            done.uploaded_bytes += bytes;
        }
        Done::Copied => done.copied += 1,
        Done::WasThere => {}
    }
}
