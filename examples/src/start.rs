//! How a process starts: its backends are chosen, its parts are made of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Backoff, BoxError, HealthCheck, Lifecycle, LifecycleConfig, Phase};
use standfast_queue::subprocess::{Subprocess, SubprocessExecutor};
use standfast_queue::{Jobs, KindConfig, RetryPolicy, Worker, WorkerConfig};
use tokio::net::TcpListener;

use crate::assets::Page;
use crate::config::Config;
use crate::cron::{self, Sender};
use crate::jobs::{Workshop, make_report};
use crate::parts;
use crate::record::Record;
use crate::server::{self, App, Health, Ticks};
use crate::wiring::{ASSETS, Backends, FILES, Storage, open_assets, open_files};

/// How long reports that were accepted may take to be made once the only process that knows them
/// stops.
const LAST_REPORTS: Duration = Duration::from_secs(60 * 60);
/// How long a worker may take beyond its grace: to end what it had to interrupt, and to say so.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Starts the parts of this process as parts of the returned lifecycle, and says where it serves.
///
/// # Errors
///
/// When the address cannot be had, the directory for files not be used, or a backend does not let
/// us in.
pub async fn start(
    config: Config,
    backends: Backends,
) -> Result<(Lifecycle, Option<SocketAddr>), BoxError> {
    let listener = match config.listen_on() {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|error| format!("cannot listen on {address}: {error}"))?)
        }
        None => None,
    };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    backends.greet().await?;

    let mut lifetimes = LifecycleConfig::default();
    lifetimes.readiness_delay = config.notice;
    lifetimes.phase_timeout = match backends.is_shared {
        true => lifetimes.phase_timeout.max(config.grace) + LAST_WORDS,
        false => LAST_REPORTS,
    };
    let lifecycle = Lifecycle::with_config(lifetimes);
    let links = public_url(&config, address) + FILES;
    let Storage { blobs, routes, secret } = open_files(&backends, links).await?;
    let Backends { queue, status, sessions, locks, business, is_shared, .. } = backends;
    let jobs = Jobs::new(Arc::clone(&queue), Arc::clone(&status));
    let own_queue = (!is_shared).then(|| Arc::clone(&queue));
    let mut checks: Vec<Arc<dyn HealthCheck + Send + Sync>> =
        vec![queue, status, Arc::clone(&sessions) as _, Arc::clone(blobs.store()) as _];
    checks.extend(business.clone().map(|business| business as _));
    let record = Record::new(business);
    let sender = Sender { jobs: jobs.clone(), record: record.clone(), secret: Arc::clone(&secret) };
    let cron = cron::cron(locks, &config, sender)?;
    let ticks = Ticks { ledger: cron.ledger(), every: config.tick };
    if config.role.ticks() {
        checks.push(Arc::new(cron.health()));
        cron.spawn(&lifecycle);
    }

    let job_process = Subprocess::new().arg("job").inherit_nothing().grace(Duration::from_secs(3));
    let executor = SubprocessExecutor::new(job_process, std::env::temp_dir())?;
    if config.role.works() {
        let (executor, record) = (executor.clone(), record.clone());
        let workshop = Workshop { blobs: blobs.clone(), executor, record };
        let worker = worker(&config, &jobs, workshop);
        checks.push(Arc::new(worker.health()));
        // a queue in this process goes with it: its worker stops only once that is empty
        parts::run_worker(&lifecycle, worker, own_queue);
        parts::run_sweeper(&lifecycle, blobs.clone(), Arc::clone(&sessions));
    }
    let Some(listener) = listener else { return Ok((lifecycle, None)) };
    let mut router = server::health(Health { lifecycle: lifecycle.clone(), checks: checks.into() });
    if config.role.serves() {
        let (urls, assets) = open_assets(&config).await?;
        let forms = server::forms_at(&blobs).await?;
        let page = Page::new(&urls, forms.as_deref())
            .map_err(|error| format!("these are no assets of ours: {error}"))?;
        let status =
            parts::status_routes(&jobs, &blobs, config.links, lifecycle.stopping(Phase::Http));
        let patience = config.patience;
        let staging = executor;
        let page = Arc::new(page);
        let (links, uploads) = (config.links, config.uploads);
        let app =
            App { jobs, blobs, links, uploads, staging, record, page, ticks, secret, patience };
        let seen_as = config.public_url.unwrap_or(format!("http://{}", listener.local_addr()?));
        if seen_as.starts_with("https:") {
            tracing::info!("cookies go over https alone: who comes over http keeps no session");
        }
        let routes_of_ours = server::router(app, status, sessions, &seen_as)?;
        router = router.merge(routes_of_ours.nest_service(ASSETS, assets));
        if let Some(routes) = routes {
            router = router.nest_service(FILES, routes);
        }
    }
    parts::serve(&lifecycle, listener, router);
    Ok((lifecycle, address))
}

fn worker(config: &Config, jobs: &Jobs, workshop: Workshop) -> Worker<Workshop> {
    let kind = KindConfig::default().timeout(config.time_limit).retry(
        RetryPolicy::default()
            .max_attempts(3)
            .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(10))),
    );
    let mut how = WorkerConfig::default();
    how.concurrency = config.jobs;
    how.lease = config.lease;
    how.grace = config.grace;
    jobs.worker(workshop).on_with(kind, make_report).config(how)
}

/// Links are absolute, unless nobody knows under which name the server is reached.
fn public_url(config: &Config, address: Option<SocketAddr>) -> String {
    match (&config.public_url, address) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) if !address.ip().is_unspecified() => format!("http://{address}"),
        _ => String::new(),
    }
}
