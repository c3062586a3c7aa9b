//! One request from its first attempt to its outcome.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{Error, ErrorKind, Reason, Result};

use super::address::Address;
use super::error::{BACKEND, Refusal, refusal};
use super::link::{Failed, Link, NoLink};
use super::node::{BACKOFF, Lane, Node};
use super::reply::Refused;
use super::topology::Topology;
use super::{Durability, Reply, Request};

/// Redirects that are followed at once; nodes that disagree about a slot need a while.
const HASTY_REDIRECTS: u32 = 3;

/// Why an attempt did not end the request.
enum Setback {
    /// Nothing happened, nor will.
    Final(Error),
    /// Nothing happened; this node has the slot.
    Moved(Arc<Node>),
    /// Nothing happened; this node takes this one request.
    Ask(Arc<Node>),
    /// Nothing happened; the connection had ended before.
    Stale,
    /// Nothing happened; later, for this reason.
    Later(String),
    /// It may have happened: the reply is lost.
    Lost(String),
    /// It happened, but on too few replicas.
    NotReplicated(String),
}

struct Call<'a> {
    topology: &'a Topology,
    request: &'a Request,
    budget: Duration,
    deadline: Instant,
}

/// Does `request`, for `timeout` at most unless it says otherwise.
///
/// If this process dies, or the future is dropped, before anything was written, nothing has
/// happened; after that, the server does the whole request or nothing of it, and nobody learns
/// which. That is why what is not repeatable ends as `OutcomeUnknown` instead of being sent again.
pub(super) async fn call(
    topology: &Topology,
    timeout: Duration,
    request: &Request,
) -> Result<Reply> {
    if !request.one_slot {
        return Err(Error::new(ErrorKind::Invalid, BACKEND, request.operation)
            .with_detail("the keys of a script are not all in one slot"));
    }
    let mut budget = request.timeout.unwrap_or(timeout);
    if let Durability::Replicated { timeout, .. } = request.durability {
        budget = budget.saturating_add(timeout);
    }
    let deadline = Instant::from_std(crate::saturating_add(Instant::now().into_std(), budget));
    Call { topology, request, budget, deadline }.run().await
}

impl Call<'_> {
    async fn run(self) -> Result<Reply> {
        let (mut attempt, mut redirects, mut lost) = (0_u32, 0_u32, false);
        let mut ask = None;
        loop {
            let why = match self.attempt(attempt == 0, ask.take()).await {
                Ok(reply) => return Ok(reply),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::NotReplicated(why)) => {
                    return Err(self
                        .error(ErrorKind::OutcomeUnknown, why)
                        .with_reason(Reason::NotReplicated));
                }
                Err(Setback::Lost(why)) if !self.request.repeatable => {
                    return Err(self.error(
                        ErrorKind::OutcomeUnknown,
                        format!("{why}; it may or may not have happened"),
                    ));
                }
                Err(Setback::Lost(why)) => {
                    lost = true;
                    why
                }
                Err(Setback::Later(why)) => why,
                Err(Setback::Stale) if attempt == 0 => {
                    attempt += 1;
                    continue;
                }
                Err(Setback::Stale) => "the connection ended".into(),
                Err(Setback::Moved(node)) => {
                    self.topology.moved(self.request.slot, &node);
                    redirects += 1;
                    if redirects <= HASTY_REDIRECTS {
                        continue;
                    }
                    format!("redirected {redirects} times, at last to {}", node.address)
                }
                Err(Setback::Ask(node)) => {
                    redirects += 1;
                    let why = format!("redirected {redirects} times, at last to {}", node.address);
                    ask = Some(node);
                    if redirects <= HASTY_REDIRECTS {
                        continue;
                    }
                    why
                }
            };
            attempt = attempt.saturating_add(1);
            tracing::debug!(operation = self.request.operation, attempt, why, "will try again");
            sleep_until(self.deadline.min(Instant::now() + BACKOFF.next(attempt))).await;
            if Instant::now() >= self.deadline {
                return Err(self.timed_out(lost, &why));
            }
        }
    }

    /// One attempt on the node that owns the slot, or on the one to `ask` instead.
    async fn attempt(&self, first: bool, ask: Option<Arc<Node>>) -> Result<Reply, Setback> {
        let asking = ask.is_some();
        let node = match ask {
            Some(node) => node,
            None => self
                .topology
                .owner(self.request.slot, !first, self.deadline)
                .await
                .map_err(|why| self.no_link(&why))?,
        };
        let result = self.attempt_on(&node, asking, first).await;
        if matches!(result, Err(Setback::Later(_) | Setback::Lost(_))) {
            self.topology.suspect(&node);
        }
        result
    }

    async fn attempt_on(
        &self,
        node: &Arc<Node>,
        asking: bool,
        first: bool,
    ) -> Result<Reply, Setback> {
        let own = self.request.durability != Durability::Primary;
        let lane = Lane::of(node, own, self.deadline).await.map_err(|why| self.no_link(&why))?;
        // what may be sent twice leaves half of its time for a second connection, in case this
        // one has died silently
        let now = Instant::now();
        let patience = if self.request.repeatable && first {
            now + self.deadline.saturating_duration_since(now) / 2
        } else {
            self.deadline
        };
        let result = match self.exchange(&lane, node, asking, patience).await {
            Ok(Err(Refusal::NoScript)) => match self.teach(&lane, node).await {
                Ok(()) => self.exchange(&lane, node, asking, self.deadline).await,
                Err(setback) => Err(setback),
            },
            other => other,
        };
        match result {
            Ok(Ok(reply)) => {
                lane.keep(node);
                Ok(reply)
            }
            Ok(Err(refusal)) => {
                // whoever it is connected to, it is not the primary; look again
                if matches!(refusal, Refusal::ReadOnly) {
                    lane.forget(node);
                } else {
                    lane.keep(node);
                }
                Err(self.refused(refusal, node))
            }
            Err(setback @ Setback::NotReplicated(_)) => {
                lane.keep(node);
                Err(setback)
            }
            Err(setback) => {
                lane.forget(node);
                Err(setback)
            }
        }
    }

    /// Writes the request, with what goes around it, and reads the replies: one round trip.
    async fn exchange(
        &self,
        link: &Link,
        node: &Node,
        asking: bool,
        patience: Instant,
    ) -> Result<Result<Reply, Refusal>, Setback> {
        let Request { command, timed, durability, .. } = self.request;
        let replicas = match *durability {
            Durability::Primary if !asking && !timed => {
                let value = self.patiently(link.send(command), node, patience).await?;
                return Ok(self.read(value, node));
            }
            Durability::Primary => None,
            Durability::Replicated { replicas, timeout } => Some((replicas, timeout)),
        };
        let mut all = Pipeline::with_capacity(4);
        if *timed {
            all.cmd("TIME");
        }
        if asking {
            // it counts for the next command only
            all.cmd("ASKING");
        }
        all.add_command(command.clone());
        if let Some((replicas, timeout)) = replicas {
            // The server waits for all that it has done so far, also where this connection wrote
            // nothing: so a repetition that finds its work done is as durable. 0 would wait for
            // ever.
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
            all.cmd("WAIT").arg(replicas).arg(millis);
        }
        let mut values = self.patiently(link.send_all(&all), node, patience).await?;
        let met = replicas.and_then(|_| values.pop());
        let mut reply = match self.read(values.pop().unwrap_or_default(), node) {
            Ok(reply) => reply,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if *timed {
            reply = match self.read_time(values.into_iter().next().unwrap_or_default(), node) {
                Ok(time) => Reply::Array(vec![time, reply]),
                // the command was done; it is repeatable, so that does no harm
                Err(refusal) => return Ok(Err(refusal)),
            };
        }
        let Some((replicas, timeout)) = replicas else { return Ok(Ok(reply)) };
        match met {
            Some(Value::Int(met)) if met >= i64::from(replicas) => Ok(Ok(reply)),
            Some(Value::Int(met)) => Err(Setback::NotReplicated(format!(
                "it is stored on the primary, and within {timeout:?} on {met} of {replicas} replicas"
            ))),
            _ => Err(Setback::NotReplicated(
                "it is stored on the primary, which would not wait for replicas".into(),
            )),
        }
    }

    async fn patiently<T>(
        &self,
        exchange: impl Future<Output = Result<T, Failed>>,
        node: &Node,
        patience: Instant,
    ) -> Result<T, Setback> {
        match timeout_at(patience, exchange).await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(Failed::NotSent)) => Err(Setback::Stale),
            Ok(Err(Failed::Lost)) => Err(Setback::Lost(format!(
                "{}: the connection ended before the reply",
                node.address
            ))),
            Err(_) => Err(Setback::Lost(format!("{}: no reply in time", node.address))),
        }
    }

    fn read(&self, value: Value, node: &Node) -> Result<Reply, Refusal> {
        Reply::from_value(value).map_err(|refused| match refused {
            Refused::Server(error) => refusal(self.request.operation, &error, &node.address),
            Refused::Alien => Refusal::Final(self.error(ErrorKind::Unexpected, "an alien reply")),
        })
    }

    /// The answer to `TIME` in microseconds.
    fn read_time(&self, value: Value, node: &Node) -> Result<Reply, Refusal> {
        let time = self.read(value, node)?;
        time.into_time(self.request.operation).map(Reply::Int).map_err(Refusal::Final)
    }

    /// Has the node learn the script. Idempotent: dying here leaves a script that nobody misses.
    async fn teach(&self, link: &Link, node: &Node) -> Result<(), Setback> {
        let Some(script) = self.request.script else {
            let error =
                self.error(ErrorKind::Invalid, "EVALSHA without the script; use Script::on");
            return Err(Setback::Final(error));
        };
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.source());
        // the request itself did not happen, so a lost reply to this is not a lost reply to that
        let value = match self.patiently(link.send(&load), node, self.deadline).await {
            Err(Setback::Lost(why)) => return Err(Setback::Later(why)),
            other => other?,
        };
        self.read(value, node).map(drop).map_err(|refusal| self.refused(refusal, node))
    }

    fn refused(&self, refusal: Refusal, node: &Node) -> Setback {
        let at = &node.address;
        match refusal {
            Refusal::Final(error) => Setback::Final(error),
            Refusal::Later(why) => Setback::Later(format!("{at}: {why}")),
            Refusal::NoScript => Setback::Later(format!("{at}: forgets scripts as it learns them")),
            Refusal::ReadOnly => Setback::Later(format!(
                "{at}: is a replica (READONLY); name the primary, or use redis+sentinel:// or \
                 redis+cluster://"
            )),
            Refusal::Moved(address) => {
                self.redirected(&address).map_or_else(Setback::Final, Setback::Moved)
            }
            Refusal::Ask(address) => {
                self.redirected(&address).map_or_else(Setback::Final, Setback::Ask)
            }
        }
    }

    fn redirected(&self, address: &Address) -> Result<Arc<Node>> {
        self.topology.redirected(address).ok_or_else(|| {
            let detail = "the server is a node of a Cluster: use a redis+cluster:// URL";
            self.error(ErrorKind::Invalid, detail)
        })
    }

    fn no_link(&self, why: &NoLink) -> Setback {
        match why {
            NoLink::Final(kind, why) => Setback::Final(self.error(*kind, why.as_str())),
            NoLink::Later(why) => Setback::Later(why.clone()),
        }
    }

    fn timed_out(&self, lost: bool, why: &str) -> Error {
        let budget = self.budget;
        if lost {
            self.error(ErrorKind::Timeout, format!("for {budget:?}: {why}"))
        } else {
            self.error(ErrorKind::Unavailable, format!("for {budget:?}, nothing happened: {why}"))
        }
    }

    fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> Error {
        Error::new(kind, BACKEND, self.request.operation).with_detail(detail)
    }
}
