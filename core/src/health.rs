use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// What a health check found.
///
/// ```
/// use std::time::Instant;
/// use standfast_core::{Health, Verdict};
///
/// let verdict = Verdict::Degraded("one of three nodes is away".into());
/// let health = Health::since("redis queue `mail`", Instant::now(), verdict);
/// if let Verdict::Degraded(why) | Verdict::Failing(why) = &health.verdict {
///     println!("{}: {why}", health.asked);
/// }
/// assert!(health.is_usable());   // only `Failing` is not
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It works, and somebody should look at it.
    Degraded(String),
    /// It does not work.
    Failing(String),
    /// It works.
    Healthy,
}

/// The answer of a [`HealthCheck`]: what was asked, how long the answer took, and the verdict.
///
/// ```
/// use standfast_core::{Health, Verdict};
///
/// let health = Health::healthy("memory queue `reports`");
/// assert!(health.is_usable());
/// assert_eq!(health.verdict, Verdict::Healthy);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// What was asked, and of whom.
    pub asked: String,
    /// How long the answer took.
    pub latency: Duration,
    /// What was found.
    pub verdict: Verdict,
}

impl Health {
    /// An answer of `verdict` to `asked`, which began at `began`.
    pub fn since(asked: impl Into<String>, began: Instant, verdict: Verdict) -> Self {
        Self { asked: asked.into(), latency: began.elapsed(), verdict }
    }

    /// An immediate answer that all is well.
    pub fn healthy(asked: impl Into<String>) -> Self {
        Self { asked: asked.into(), latency: Duration::ZERO, verdict: Verdict::Healthy }
    }

    /// Whether work can go on.
    pub fn is_usable(&self) -> bool {
        !matches!(self.verdict, Verdict::Failing(_))
    }
}

/// Something that can be asked whether it works.
///
/// # Contract
///
/// 1. `health` asks the service itself, with one cheap call, and must answer within a few seconds.
/// 2. It never fails: trouble is a [`Verdict`].
///
/// ```
/// use std::time::Instant;
/// use standfast_core::{Health, HealthCheck, Verdict};
/// # struct Printer;
/// # impl Printer { async fn ping(&self) -> Result<(), String> { Err("out of paper".into()) } }
///
/// #[async_trait::async_trait]
/// impl HealthCheck for Printer {
///     async fn health(&self) -> Health {
///         let began = Instant::now();
///         let verdict = self.ping().await.map_or_else(Verdict::Failing, |()| Verdict::Healthy);
///         Health::since("printer", began, verdict)
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert!(!Printer.health().await.is_usable());
/// # }
/// ```
#[async_trait]
pub trait HealthCheck {
    /// Asks whether it works.
    async fn health(&self) -> Health;
}

#[async_trait]
impl<T: HealthCheck + Send + Sync + ?Sized> HealthCheck for Arc<T> {
    async fn health(&self) -> Health {
        (**self).health().await
    }
}

#[async_trait]
impl<T: HealthCheck + Send + Sync + ?Sized> HealthCheck for Box<T> {
    async fn health(&self) -> Health {
        (**self).health().await
    }
}
