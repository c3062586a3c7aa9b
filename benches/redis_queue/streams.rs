use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline, cmd, pipe};

use crate::contender::messages;

const KEY: &str = "bench";
const GROUP: &str = "workers";

/// What XREADGROUP answers: streams, their entries, their fields.
type Read = Vec<(Vec<u8>, Vec<(String, Vec<Vec<u8>>)>)>;

/// A stream with one group of consumers, and nothing else.
pub(crate) struct Streams(MultiplexedConnection);

impl Streams {
    pub(crate) async fn open(url: &str) -> Self {
        let client = Client::open(url).expect("it is a URL");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("the server is there");
        let create =
            cmd("XGROUP").arg("CREATE").arg(KEY).arg(GROUP).arg("$").arg("MKSTREAM").clone();
        create.exec_async(&mut connection).await.expect("there is no group yet");
        Self(connection)
    }

    /// One round trip, one XADD per message.
    pub(crate) async fn send(&mut self, batch: usize) {
        let mut add = pipe();
        for message in messages(batch) {
            let envelope = message.envelope.encode();
            add.cmd("XADD").arg(KEY).arg("*").arg("e").arg(&envelope[..]).ignore();
        }
        add.exec_async(&mut self.0).await.expect("the server is there");
    }

    /// One round trip; the ids of the entries.
    pub(crate) async fn receive(&mut self, max: usize) -> Vec<String> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg("one").arg("COUNT").arg(max);
        read.arg("STREAMS").arg(KEY).arg(">");
        let read: Read = read.query_async(&mut self.0).await.expect("the server is there");
        let entries = read.into_iter().flat_map(|(_, entries)| entries);
        entries
            .map(|(id, fields)| {
                assert_eq!(fields.len(), 2);
                id
            })
            .collect()
    }

    /// One round trip of two commands.
    pub(crate) async fn ack(&mut self, ids: &[String]) {
        let mut done: Pipeline = pipe();
        done.cmd("XACK").arg(KEY).arg(GROUP).arg(ids).ignore();
        done.cmd("XDEL").arg(KEY).arg(ids).ignore();
        done.exec_async(&mut self.0).await.expect("the server is there");
    }
}
