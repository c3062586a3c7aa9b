use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use standfast_core::redis::{Reply, Signal, Subscription};
use standfast_core::{Clock as _, Reason, Result, SystemClock, random, saturating_add};

use super::layout::{self, Item};
use super::scripts::CLAIM;
use super::{MAX_BATCH, RedisQueue, count, micros, unreadable};
use crate::delivery::{Batch, ReceiveOptions, Received, Settlement};
use crate::envelope::Envelope;
use crate::queue::Queue as _;
use crate::receipt::Receipt;

const OPERATION: &str = "queue.receive";

/// How long a message that this process cannot read is put aside.
const UNREADABLE: Duration = Duration::from_secs(60);
/// The same for one that a newer version has sent: there is a worker that can read it, soon.
const NEWER: Duration = Duration::from_secs(5);

/// What one claim brought.
struct Claim {
    batch: Batch,
    /// When to look again, if nothing is said before.
    next: Option<Instant>,
}

impl RedisQueue {
    pub(super) async fn claim_or_wait(&self, options: &ReceiveOptions) -> Result<Batch> {
        let deadline = saturating_add(SystemClock.instant(), options.wait);
        // whoever is subscribed before it looks misses nothing that comes after the look
        let mut wake = match self.0.wake.initialized() && !options.wait.is_zero() {
            true => Some(self.listen().await),
            false => None,
        };
        loop {
            let Claim { batch, next } = self.claim(options).await?;
            if !batch.is_empty() || SystemClock.instant() >= deadline {
                return Ok(batch);
            }
            match &mut wake {
                None => wake = Some(self.listen().await),
                Some(wake) => {
                    if !slept(wake, next, deadline).await {
                        // a last look: something may have come due with the deadline
                        return Ok(self.claim(options).await?.batch);
                    }
                }
            }
        }
    }

    async fn listen(&self) -> Subscription {
        let channel = &self.keys().channel;
        self.0.wake.get_or_init(|| self.redis().subscribe(channel)).await;
        self.redis().subscribe(channel).await
    }

    async fn claim(&self, options: &ReceiveOptions) -> Result<Claim> {
        let token: [u8; 8] = random::bytes();
        let worker = layout::worker_suffix(options.worker.as_deref());
        let mut request = CLAIM.on(OPERATION, self.keys().all());
        request.push(&self.keys().channel);
        request.push_int(count(options.max.min(MAX_BATCH)));
        request.push_int(micros(options.lease));
        request.push(token);
        request.push(&worker);
        self.push_limits(&mut request);
        let told = self.told().clone();
        for name in &told {
            request.push(name);
        }
        let asked_at = SystemClock.instant();
        let reply = self.call(request).await?;

        let parts: Result<[Reply; 8], _> = reply.into_array(OPERATION)?.try_into();
        let [now, items, envelopes, errors, letters, dropped, missing, next] =
            parts.map_err(|_| unreadable(OPERATION))?;
        let now = number(now)?;
        let mut batch = Batch::default();
        // told of by the receive before this one, which whoever receives has dealt with by now
        self.told().retain(|name| !told.contains(name));
        let mut letters = letters.into_array(OPERATION)?.into_iter();
        while let (Some(name), Some(letter)) = (letters.next(), letters.next()) {
            self.told().push(name.into_bytes(OPERATION)?);
            match layout::letter(letter.into_bytes(OPERATION)?) {
                Ok((_, letter)) => batch.dead.push(letter),
                Err(error) => {
                    tracing::error!(%error, "a message crashed too often, and cannot be read")
                }
            }
        }
        for envelope in dropped.into_array(OPERATION)? {
            match Envelope::decode(envelope.into_bytes(OPERATION)?.into()) {
                Ok(envelope) => batch.dropped.push(Arc::new(envelope)),
                Err(error) => tracing::error!(%error, "a message was dropped, and cannot be read"),
            }
        }
        for id in missing.into_array(OPERATION)? {
            let queue = self.keys().name();
            let id = id.into_bytes(OPERATION)?;
            tracing::error!(queue, ?id, "somebody has deleted the body of a message");
        }
        let since = u64::try_from(now).map_err(|_| unreadable(OPERATION))?.to_be_bytes();
        let lease_until = saturating_add(asked_at, options.lease);
        let mut aside = Vec::new();
        let mut errors = errors.into_array(OPERATION)?.into_iter();
        let items = items.into_array(OPERATION)?.into_iter();
        batch.deliveries.reserve_exact(items.len());
        for (item, envelope) in items.zip(envelopes.into_array(OPERATION)?) {
            let last_error = match errors.next() {
                Some(Reply::Bytes(text)) => Some(String::from_utf8_lossy(&text).into()),
                _ => None,
            };
            let mut lease = item.into_bytes(OPERATION)?;
            let item = Item::parse(&lease).ok_or_else(|| unreadable(OPERATION))?;
            lease.reserve_exact(16 + worker.len());
            lease.extend_from_slice(&token);
            lease.extend_from_slice(&since);
            lease.extend_from_slice(&worker);
            let envelope = Envelope::decode(envelope.into_bytes(OPERATION)?.into());
            match envelope {
                Ok(envelope) => {
                    let receipt = Receipt::new(Bytes::from(lease), Arc::new(envelope));
                    batch.deliveries.push(Received {
                        attempt: item.attempt(),
                        delivery: item.delivery(),
                        crashes: item.crashes,
                        last_error,
                        ..Received::new(receipt, item.due_at, lease_until)
                    });
                }
                Err(error) => aside.push((item, lease, error)),
            }
        }
        if !aside.is_empty() {
            self.put_aside(aside).await;
        }
        let next = match number(next)? {
            at if at < 0 => None,
            at => {
                let micros = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
                Some(saturating_add(SystemClock.instant(), Duration::from_micros(micros)))
            }
        };
        Ok(Claim { batch, next })
    }

    /// Gives back what this process cannot read, uncounted: another one may, and nothing is lost.
    /// What fails here comes back after its lease.
    async fn put_aside(&self, unread: Vec<(Item, Vec<u8>, standfast_core::Error)>) {
        let queue = self.keys().name();
        let mut batch = Vec::new();
        for (item, lease, error) in unread {
            let is_newer = error.reason() == Some(Reason::NewerVersion);
            let delay = if is_newer { NEWER } else { UNREADABLE };
            if is_newer {
                tracing::warn!(queue, id = %item.id, %error, "a message for a newer worker is put aside");
            } else {
                tracing::error!(queue, id = %item.id, %error, "a message that cannot be read is put aside");
            }
            let stand_in = Arc::new(Envelope::new("", Bytes::new()).with_id(item.id));
            let error = Some(error.to_string());
            let release = Settlement::Release { delay, counted: false, error };
            batch.push((Receipt::new(Bytes::from(lease), stand_in), release));
        }
        if let Err(error) = self.settle(&batch).await {
            tracing::warn!(queue, %error, "what cannot be read comes back after its lease");
        }
    }
}

/// Waits until it is time to look again; `false` when the deadline came first.
async fn slept(wake: &mut Subscription, next: Option<Instant>, deadline: Instant) -> bool {
    let mut look_at = next.map_or(deadline, |next| next.min(deadline));
    loop {
        tokio::select! {
            signal = wake.next() => match signal {
                Signal::Message(text) if !text.is_empty() => {
                    let micros = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                    let due = Duration::from_micros(micros.unwrap_or(0));
                    look_at = look_at.min(saturating_add(SystemClock.instant(), due));
                }
                _ => return true,
            },
            () = SystemClock.sleep_until(look_at) => return look_at < deadline,
        }
    }
}

fn number(reply: Reply) -> Result<i64> {
    let text = reply.into_bytes(OPERATION)?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| unreadable(OPERATION))
}
