//! How a request is sent: once, counted, within its time.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::StalledStreamProtectionConfig;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use standfast_core::{Clock, SystemClock};

use super::error::Failure;
use super::meter::{Api, SqsMeter};

/// A client that neither repeats nor waits on its own: no method of a queue does.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) client: Client,
    pub(super) meter: SqsMeter,
    timeout: Duration,
}

impl Calls {
    pub(super) fn new(client: &Client, meter: SqsMeter, timeout: Duration) -> Self {
        let settings = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(Duration::from_millis(3100)).build(),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self { client: Client::from_conf(settings.build()), meter, timeout }
    }

    /// A request that changes nothing.
    pub(super) async fn ask<T, E>(
        &self,
        api: Api,
        operation: &'static str,
        wait: Duration,
        sent: impl Future<Output = Result<T, SdkError<E>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        self.run(api, operation, false, wait, sent).await
    }

    /// A request that may have happened even if no answer came.
    pub(super) async fn change<T, E>(
        &self,
        api: Api,
        operation: &'static str,
        sent: impl Future<Output = Result<T, SdkError<E>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        self.run(api, operation, true, Duration::ZERO, sent).await
    }

    async fn run<T, E>(
        &self,
        api: Api,
        operation: &'static str,
        changes: bool,
        wait: Duration,
        sent: impl Future<Output = Result<T, SdkError<E>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let after = self.timeout.saturating_add(wait);
        self.meter.asked(api);
        let clock: &dyn Clock = &SystemClock;
        tokio::select! {
            biased;
            answer = sent => answer.map_err(|error| Failure::of(operation, changes, error)),
            () = clock.sleep(after) => Err(Failure::late(operation, changes, after)),
        }
    }
}
