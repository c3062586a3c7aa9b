//! The one kind of job, with its two handlers: what the worker does, and what the job process does.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_blobstore::{BlobKey, Blobs, ErrorKind};
use standfast_queue::subprocess::SubprocessExecutor;
use standfast_queue::{Job, JobContext, JobError, Progress};

use crate::record::Record;
use crate::report::{self, ReportError, shorten};

/// How long uploads and reports are kept.
pub const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the input in the directory of a job process.
const INPUT: &str = "input.csv";

/// The most characters of a title.
const TITLE: usize = 120;

/// The id of the bundled data.
pub const SAMPLE: &str = "sample";

/// Makes a report: the rows of `data` grouped by one column, another one added up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportJob {
    /// An id that `POST /data` gave, or `sample`.
    pub data: String,
    /// The column to group by.
    pub group_by: String,
    /// The column to add up.
    pub sum: String,
    /// What whoever asks calls the data, such as the name of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ReportJob {
    /// What to call the report: one line, not long.
    pub fn title(&self) -> String {
        let Self { data, group_by, sum, name } = self;
        let of = match (name, &**data) {
            (Some(name), _) => format!(" ({name})"),
            (None, SAMPLE) => " (Sample)".to_owned(),
            (None, _) => String::new(),
        };
        shorten(&format!("{sum} by {group_by}{of}"), TITLE)
    }
}

/// What came of it: file names in the job process, blob keys afterwards.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportFiles {
    /// The page.
    pub report: String,
    /// The totals as CSV.
    pub totals: String,
}

impl Job for ReportJob {
    const KIND: &'static str = "report";
    type Output = ReportFiles;
}

/// What the worker's handler needs.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// Where uploads are and reports go.
    pub blobs: Blobs,
    /// What runs the job processes.
    pub executor: SubprocessExecutor,
    /// Where it is recorded what became of a request.
    pub record: Record,
}

/// In the worker: makes the report, and records how that ended.
///
/// # Errors
///
/// Those of the process; `dead` when the data has expired; those of the record: then the report is made again, under the same keys.
pub async fn make_report(
    job: ReportJob,
    shop: Workshop,
    ctx: JobContext,
) -> Result<ReportFiles, JobError> {
    let made = make(&job, &shop, &ctx).await;
    shop.record.ended(&job, &made, &ctx).await?;
    made
}

/// Fetches the data, has a process of its own make the report, stores the files.
///
/// # Errors
///
/// As the process says; `dead` when the data has expired.
async fn make(job: &ReportJob, shop: &Workshop, ctx: &JobContext) -> Result<ReportFiles, JobError> {
    let dir = shop.executor.directory()?;
    let input = dir.path().join(INPUT);
    if job.data == SAMPLE {
        tokio::fs::write(&input, report::SAMPLE).await?;
    } else {
        match shop.blobs.get_to_file(data_key(&job.data)?, &input).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(JobError::dead("the data is not kept any more; upload it again"));
            }
            fetched => fetched?,
        };
    }
    let made: ReportFiles = shop.executor.run(ctx, dir.path()).await?;
    ctx.report(Progress::new(1, 1).message("storing the report"));
    // the same keys for every attempt of the run: one that died in between leaves nothing behind
    let prefix = format!("reports/{}/{}", ctx.once("report"), ctx.run());
    let (report, totals) = (format!("{prefix}/report.html"), format!("{prefix}/totals.csv"));
    let from = |name: &str| dir.path().join(Path::new(name).file_name().unwrap_or_default());
    let page = shop.blobs.put_file(report.as_str(), from(&made.report));
    page.content_type("text/html; charset=utf-8").expires_in(KEEP).await?;
    let table = shop.blobs.put_file(totals.as_str(), from(&made.totals));
    table.content_type("text/csv; charset=utf-8").expires_in(KEEP).await?;
    Ok(ReportFiles { report, totals })
}

/// In the job process: makes the report from and in the working directory.
///
/// # Errors
///
/// `dead` when the data is at fault; `cancelled` at once when nobody wants the report any more.
pub async fn build_report(job: ReportJob, ctx: JobContext) -> Result<ReportFiles, JobError> {
    let told = ctx.clone();
    let build = tokio::task::spawn_blocking(move || {
        let mut progress = |done, total, message: &str| {
            told.report(Progress::new(done, total).message(message));
        };
        report::build(Path::new(INPUT), &job.group_by, &job.sum, Path::new("."), &mut progress)
    });
    let built = tokio::select! {
        built = build => built?,
        () = ctx.cancelled() => return Err(JobError::cancelled("stopped")),
    };
    match built {
        Ok(_) => Ok(ReportFiles {
            report: report::REPORT_FILE.to_owned(),
            totals: report::TOTALS_FILE.to_owned(),
        }),
        Err(error) => Err(in_words(error)),
    }
}

fn in_words(error: ReportError) -> JobError {
    match error.is_permanent() {
        true => JobError::dead(error.to_string()),
        false => JobError::retry(error.to_string()),
    }
}

/// Where the upload with this id is kept.
///
/// # Errors
///
/// When it is no id.
pub fn data_key(id: &str) -> standfast_core::Result<BlobKey> {
    BlobKey::new(format!("data/{id}/input.csv"))
}

/// Where the columns of the upload with this id are kept: stored last, so whoever finds them finds
/// the data.
///
/// # Errors
///
/// When it is no id.
pub fn columns_key(id: &str) -> standfast_core::Result<BlobKey> {
    BlobKey::new(format!("data/{id}/columns.json"))
}
