//! What decorators pass on as it is.

/// Implements `DeadLetters` and `QueueAdmin` for `$type<Q>` by what `$inner` of it does.
macro_rules! delegate_operators {
    ($type:ident, $self:ident => $inner:expr) => {
        #[::async_trait::async_trait]
        impl<Q: $crate::Queue> $crate::DeadLetters for $type<Q> {
            async fn list_dead_letters(
                &$self,
                filter: &$crate::DeadLetterFilter,
                after: Option<&$crate::PageToken>,
                limit: usize,
            ) -> ::standfast_core::Result<$crate::DeadLetterPage> {
                $inner.list_dead_letters(filter, after, limit).await
            }
            async fn redrive(
                &$self,
                filter: &$crate::DeadLetterFilter,
                options: &$crate::RedriveOptions,
            ) -> ::standfast_core::Result<$crate::Redriven> {
                $inner.redrive(filter, options).await
            }
            async fn purge_dead_letters(
                &$self,
                filter: &$crate::DeadLetterFilter,
            ) -> ::standfast_core::Result<u64> {
                $inner.purge_dead_letters(filter).await
            }
        }

        #[::async_trait::async_trait]
        impl<Q: $crate::Queue> $crate::QueueAdmin for $type<Q> {
            async fn peek(
                &$self,
                limit: usize,
            ) -> ::standfast_core::Result<Vec<::std::sync::Arc<$crate::Envelope>>> {
                $inner.peek(limit).await
            }
            async fn leased(
                &$self,
                limit: usize,
            ) -> ::standfast_core::Result<Vec<$crate::Leased>> {
                $inner.leased(limit).await
            }
            async fn pause(&$self) -> ::standfast_core::Result<()> {
                $inner.pause().await
            }
            async fn resume(&$self) -> ::standfast_core::Result<()> {
                $inner.resume().await
            }
            async fn purge(&$self) -> ::standfast_core::Result<u64> {
                $inner.purge().await
            }
        }

        #[::async_trait::async_trait]
        impl<Q: $crate::Queue> ::standfast_core::HealthCheck for $type<Q> {
            async fn health(&$self) -> ::standfast_core::Health {
                $inner.health().await
            }
        }
    };
}

/// Implements `Queue` for `$type<Q>` by what `$inner` of it does.
macro_rules! delegate_queue {
    ($type:ident, $self:ident => $inner:expr) => {
        #[::async_trait::async_trait]
        impl<Q: $crate::Queue> $crate::Queue for $type<Q> {
            fn capabilities(&$self) -> $crate::QueueCapabilities {
                $inner.capabilities()
            }
            async fn send(
                &$self,
                batch: &[$crate::OutgoingMessage],
            ) -> ::standfast_core::Result<Vec<$crate::SendOutcome>> {
                $inner.send(batch).await
            }
            async fn receive(
                &$self,
                options: &$crate::ReceiveOptions,
            ) -> ::standfast_core::Result<$crate::Batch> {
                $inner.receive(options).await
            }
            async fn settle(
                &$self,
                batch: &[($crate::Receipt, $crate::Settlement)],
            ) -> ::standfast_core::Result<Vec<$crate::SettleOutcome>> {
                $inner.settle(batch).await
            }
            async fn extend(
                &$self,
                batch: &[$crate::Receipt],
                lease: ::std::time::Duration,
            ) -> ::standfast_core::Result<Vec<$crate::ExtendOutcome>> {
                $inner.extend(batch, lease).await
            }
            async fn stats(&$self) -> ::standfast_core::Result<$crate::QueueStats> {
                $inner.stats().await
            }
        }
    };
}

pub(crate) use {delegate_operators, delegate_queue};
