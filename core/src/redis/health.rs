//! What the servers say about themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::Verdict;

use super::link::{Failed, Link, NoLink};
use super::node::Node;
use super::topology::Topology;

/// A health check must answer within a few seconds, whatever the handle's timeout is.
const LIMIT: Duration = Duration::from_secs(3);
/// A replica this far behind is worth a look: the default size of the replication backlog.
const FAR_BEHIND: u64 = 1 << 20;
/// Memory in use, in percent of `maxmemory`, that is worth a look.
const NEARLY_FULL: u64 = 90;

/// Asks every primary, one `INFO` each.
pub(super) async fn check(topology: &Topology, timeout: Duration) -> Verdict {
    let deadline = Instant::now() + timeout.min(LIMIT);
    let nodes = match topology.primaries(deadline).await {
        Ok(nodes) => nodes,
        Err(why) => return Verdict::Failing(why.to_string()),
    };
    let total = nodes.len();
    let mut asked = JoinSet::new();
    for node in nodes {
        asked.spawn(async move {
            let answer = examine(&node, deadline).await;
            (node, answer)
        });
    }
    let (mut remarks, mut failures) = (Vec::new(), Vec::new());
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((_, Ok(more))) => remarks.extend(more),
            Ok((node, Err(why))) => {
                // or a process that only ever asks for health would not notice a failover
                topology.suspect(&node);
                failures.push(why);
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.sort();
    if failures.len() == total {
        return Verdict::Failing(failures.join("; "));
    }
    if !failures.is_empty() {
        remarks.push(format!("{} of {total} primaries do not work", failures.len()));
        remarks.append(&mut failures);
    }
    if remarks.is_empty() {
        return Verdict::Healthy;
    }
    remarks.sort();
    remarks.dedup();
    Verdict::Degraded(remarks.join("; "))
}

/// What is worth a look on `node`, or why it does not work.
async fn examine(node: &Arc<Node>, deadline: Instant) -> Result<Vec<String>, String> {
    let at = &node.address;
    match inquire(node, deadline).await? {
        Some(info) => {
            info.failure().map_or(Ok(()), |why| Err(format!("{at}: {why}")))?;
            Ok(info.remarks().into_iter().map(|remark| format!("{at}: {remark}")).collect())
        }
        // a user who may not ask: what can be said is that the server answers
        None => Ok(Vec::new()),
    }
}

async fn inquire(node: &Arc<Node>, deadline: Instant) -> Result<Option<Info>, String> {
    loop {
        let link = node.link(deadline).await.map_err(|why| why.to_string())?;
        match timeout_at(deadline, Info::read(&link)).await {
            Ok(Ok(info)) => return Ok(info),
            other => {
                node.forget(&link);
                // a connection that ended while nobody looked says nothing about the server
                if !matches!(other, Ok(Err(Failed::NotSent))) {
                    return Err(format!("{}: no answer to INFO", node.address));
                }
            }
        }
    }
}

/// Warns of a server that evicts. A connection that fails meanwhile shows in the requests.
pub(super) async fn warn_of_eviction(link: &Link, node: &Node) {
    if let Some(why) = Info::read(link).await.ok().flatten().and_then(|info| info.eviction()) {
        tracing::warn!(node = %node.address, "{why}");
    }
}

/// The answer to `INFO`.
struct Info(HashMap<String, String>);

impl Info {
    /// `None` when the user may not ask.
    async fn read(link: &Link) -> Result<Option<Self>, Failed> {
        let Some(mut info) = Self::ask(link, &redis::cmd("INFO")).await? else { return Ok(None) };
        if info.get("cluster_enabled") == "1" {
            // only the nodes themselves know whether they serve
            let question = redis::cmd("CLUSTER").arg("INFO").take();
            info.0.extend(Self::ask(link, &question).await?.map(|more| more.0).unwrap_or_default());
        }
        Ok(Some(info))
    }

    async fn ask(link: &Link, question: &Cmd) -> Result<Option<Self>, Failed> {
        Ok(match link.send(question).await? {
            Value::BulkString(bytes) => Some(Self::parse(&String::from_utf8_lossy(&bytes))),
            _ => None,
        })
    }

    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }

    fn failure(&self) -> Option<&'static str> {
        if self.get("loading") == "1" {
            return Some("is loading its data");
        }
        if self.get("cluster_state") == "fail" {
            return Some("the Cluster is down; `CLUSTER SHARDS` tells which slots are missing");
        }
        (self.get("role") == "slave").then_some("is a replica, which takes no writes")
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.eviction().into_iter().collect();
        let used = self.number("used_memory").unwrap_or(0);
        if let Some(most) = self.number("maxmemory").filter(|&most| most > 0)
            && used / (most / 100).max(1) >= NEARLY_FULL
        {
            remarks.push(format!("{used} bytes of maxmemory {most} are in use"));
        }
        for (name, what) in [
            ("rdb_last_bgsave_status", "the last snapshot failed"),
            ("aof_last_write_status", "the last write to the append-only file failed"),
        ] {
            if self.get(name) == "err" {
                remarks.push(format!("{what}; see the server's log"));
            }
        }
        remarks.extend(self.replicas());
        remarks
    }

    /// What is wrong with how the server evicts, and what to do about it.
    fn eviction(&self) -> Option<String> {
        let policy = self.get("maxmemory_policy");
        (!policy.is_empty() && policy != "noeviction").then(|| {
            format!(
                "maxmemory-policy is {policy}, so the server may silently drop what it was given: \
                 set it to noeviction"
            )
        })
    }

    /// Replicas that are behind: `slave0:ip=…,port=…,state=online,offset=…,lag=…`.
    fn replicas(&self) -> Vec<String> {
        let written = self.number("master_repl_offset").unwrap_or(0);
        let count = self.number("connected_slaves").unwrap_or(0);
        let mut remarks = Vec::new();
        for line in (0..count).map(|i| self.get(&format!("slave{i}"))) {
            let field = |name: &str| {
                let mut fields = line.split(',').filter_map(|field| field.split_once('='));
                fields.find(|(found, _)| *found == name).map_or("", |(_, value)| value)
            };
            let (ip, port, state) = (field("ip"), field("port"), field("state"));
            let behind = written.saturating_sub(field("offset").parse().unwrap_or(0));
            if state != "online" {
                remarks.push(format!("replica {ip}:{port} is not in step yet ({state})"));
            } else if behind > FAR_BEHIND {
                remarks.push(format!("replica {ip}:{port} is {behind} bytes behind"));
            }
        }
        remarks
    }
}

impl std::fmt::Display for NoLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Final(_, why) | Self::Later(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(text: &str) -> String {
        Info::parse(text).remarks().join("; ")
    }

    #[test]
    fn a_server_in_order_gives_no_remarks() {
        let text = "# Memory\r\nused_memory:100\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
            role:master\r\nconnected_slaves:1\r\n\
            slave0:ip=h,port=7,state=online,offset=90,lag=0\r\nmaster_repl_offset:100\r\n\
            rdb_last_bgsave_status:ok\r\n";
        assert_eq!(remarks(text), "");
        assert_eq!(Info::parse(text).failure(), None);
    }

    #[test]
    fn trouble_is_named() {
        assert!(remarks("maxmemory_policy:allkeys-lru").contains("noeviction"));
        assert!(remarks("used_memory:95\r\nmaxmemory:100").contains("95 bytes of maxmemory 100"));
        assert!(remarks("rdb_last_bgsave_status:err").contains("snapshot"));
        let lag = "connected_slaves:2\r\nmaster_repl_offset:9000000\r\n\
            slave0:ip=h,port=7,state=online,offset=1,lag=9\r\n\
            slave1:ip=h,port=8,state=wait_bgsave,offset=0,lag=0";
        assert_eq!(
            remarks(lag),
            "replica h:7 is 8999999 bytes behind; replica h:8 is not in step yet (wait_bgsave)"
        );
        assert!(Info::parse("role:slave").failure().is_some());
        assert!(Info::parse("loading:1").failure().is_some());
    }
}
