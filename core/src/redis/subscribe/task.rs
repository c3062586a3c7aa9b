//! The task that owns the subscribed connection.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_core::Stream;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Msg, RedisError};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Command;
use super::channels::{Batch, Channels};
use crate::redis::address::Address;
use crate::redis::link::NoLink;
use crate::redis::node::BACKOFF;
use crate::redis::settings::Settings;
use crate::redis::stream;
use crate::redis::topology::Topology;

/// Between pings, which find out that a connection is dead.
const PING: Duration = Duration::from_secs(5);
/// How long the server may take to answer on this connection.
const ANSWER: Duration = Duration::from_secs(5);
/// Between doubts while there is no connection.
const DOUBT: Duration = Duration::from_secs(1);
/// Commands that are taken in at once.
const COMMANDS: usize = 4096;

/// Why the connection is not served any more.
enum End {
    /// Nobody wants anything any more.
    Unwanted,
    Lost(String),
}

/// Holds no state that outlives it: when it dies with its runtime, the subscriptions start another
/// one and are in doubt.
pub(super) async fn run(
    settings: Arc<Settings>,
    topology: Arc<Topology>,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut channels = Channels::default();
    let (mut failures, mut last) = (0_u32, None::<Address>);
    let mut inbox = Vec::new();
    let mut doubts = interval(DOUBT);
    doubts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // an idle process holds no connection
        while channels.is_empty() {
            if commands.recv_many(&mut inbox, COMMANDS).await == 0 {
                return;
            }
            inbox.drain(..).for_each(|command| channels.apply(command, failures == 0));
        }
        let delay = if failures == 0 { Duration::ZERO } else { BACKOFF.next(failures) };
        let avoid = last.take();
        let mut connecting = pin!(async {
            sleep(delay).await;
            connect(&settings, &topology, avoid.as_ref()).await
        });
        let connected = loop {
            tokio::select! {
                result = &mut connecting => break result,
                n = commands.recv_many(&mut inbox, COMMANDS) => {
                    if n == 0 {
                        return;
                    }
                    inbox.drain(..).for_each(|command| channels.apply(command, failures == 0));
                }
                _ = doubts.tick(), if failures > 0 => channels.doubt(),
            }
        };
        let why = match connected {
            Ok((address, pubsub)) => {
                if failures > 0 {
                    tracing::info!(node = %address, "subscribed redis connection is back");
                } else {
                    tracing::debug!(node = %address, "subscribed redis connection is there");
                }
                failures = 0;
                let end = serve(pubsub, &address, &topology, &mut channels, &mut commands).await;
                last = Some(address);
                match end {
                    End::Unwanted => return,
                    End::Lost(why) => why,
                }
            }
            Err((address, why)) => {
                last = address;
                why.to_string()
            }
        };
        if failures == 0 {
            tracing::warn!(why, "no subscribed redis connection");
            channels.lost();
            doubts.reset();
        } else {
            tracing::debug!(why, "still no subscribed redis connection");
        }
        failures = failures.saturating_add(1);
    }
}

/// The error says where it was, if it came to that.
async fn connect(
    settings: &Settings,
    topology: &Topology,
    avoid: Option<&Address>,
) -> Result<(Address, PubSub), (Option<Address>, NoLink)> {
    let limit = settings.config.connect_timeout;
    let address = topology.subscribe_at(avoid, Instant::now() + limit).await;
    let address = address.map_err(|why| (None, why))?;
    let opening = async {
        // what was written does not matter here: subscribing twice is subscribing once
        let stream = stream::open(settings, &address, Arc::new(AtomicU64::new(0))).await?;
        PubSub::new(&settings.login.for_subscriptions(), stream).await
    };
    let why = match timeout(limit, opening).await {
        Ok(Ok(pubsub)) => return Ok((address, pubsub)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {limit:?}"),
    };
    let why = NoLink::Later(format!("{address}: {why}"));
    Err((Some(address), why))
}

type Exchange = Pin<Box<dyn Future<Output = Result<Option<Batch>, String>> + Send>>;

/// Passes messages on and tells the server what is wanted, until the connection ends.
async fn serve(
    pubsub: PubSub,
    address: &Address,
    topology: &Arc<Topology>,
    channels: &mut Channels,
    commands: &mut UnboundedReceiver<Command>,
) -> End {
    let (sink, mut messages) = pubsub.split();
    let mut inbox = Vec::new();
    // one at a time; what is asked for meanwhile goes together into the next
    let mut exchange: Option<Exchange> = None;
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if exchange.is_none() {
            exchange = channels.next_batch().map(|batch| told(sink.clone(), batch));
        }
        tokio::select! {
            message = next(&mut messages) => match message {
                Some(message) => {
                    channels.deliver(message.get_channel_name(), message.get_payload_bytes());
                }
                None => return End::Lost(format!("{address}: the connection ended")),
            },
            n = commands.recv_many(&mut inbox, COMMANDS) => {
                if n == 0 {
                    return End::Unwanted;
                }
                inbox.drain(..).for_each(|command| channels.apply(command, true));
            }
            result = finished(&mut exchange) => {
                exchange = None;
                match result {
                    Ok(Some(batch)) => channels.confirmed(&batch),
                    Ok(None) => {}
                    Err(why) => return End::Lost(format!("{address}: {why}")),
                }
            }
            _ = pings.tick(), if exchange.is_none() => {
                exchange = Some(pinged(sink.clone(), Arc::clone(topology), address.clone()));
            }
        }
    }
}

async fn next(messages: &mut PubSubStream) -> Option<Msg> {
    std::future::poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

async fn finished(exchange: &mut Option<Exchange>) -> Result<Option<Batch>, String> {
    match exchange {
        Some(exchange) => exchange.await,
        None => std::future::pending().await,
    }
}

fn told(mut sink: PubSubSink, batch: Batch) -> Exchange {
    Box::pin(async move {
        let names =
            |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let telling = async {
            match &batch {
                Batch::Subscribe(all) => sink.subscribe(names(all)).await,
                Batch::Unsubscribe(all) => sink.unsubscribe(names(all)).await,
            }
        };
        answered(timeout(ANSWER, telling).await)?;
        Ok(Some(batch))
    })
}

fn pinged(mut sink: PubSubSink, topology: Arc<Topology>, address: Address) -> Exchange {
    Box::pin(async move {
        if !topology.reaches(&address).await {
            return Err("is not where messages arrive any more".into());
        }
        answered(timeout(ANSWER, sink.ping::<redis::Value>()).await)?;
        Ok(None)
    })
}

fn answered<T>(
    result: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
) -> Result<T, String> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}
