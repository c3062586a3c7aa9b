//! What was promised, and what became of it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::json;

use crate::support::Server;
use crate::support::http::request;
use crate::support::table::{read_totals, sample_totals};
use crate::{fetch, note};

#[derive(Default)]
pub(crate) struct Ledger {
    /// Where to ask for what was answered with 202.
    accepted: Mutex<Vec<String>>,
    /// How many were answered with 503.
    refused: Mutex<usize>,
    /// How many were not answered.
    unanswered: Mutex<usize>,
}

impl Ledger {
    /// Asks for a report about the sample, and says whether it was accepted.
    pub(crate) fn post(&self, to: &Server) -> bool {
        let body = json!({ "data": "sample", "group_by": "region", "sum": "revenue" }).to_string();
        let headers = [("Content-Type", "application/json")];
        match request(to.address, "POST", "/get_report", &headers, body.as_bytes()) {
            Ok(answer) if answer.status == 202 => {
                let poll = answer.json()["poll"].as_str().unwrap().to_owned();
                self.accepted.lock().unwrap().push(poll);
                true
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", answer.text());
                let after = answer.header("retry-after").unwrap().parse::<u32>().unwrap();
                assert!((1..=300).contains(&after) && !answer.error().is_empty());
                *self.refused.lock().unwrap() += 1;
                false
            }
            Err(_) => {
                *self.unanswered.lock().unwrap() += 1;
                false
            }
        }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    pub(crate) fn refused(&self) -> usize {
        *self.refused.lock().unwrap()
    }

    /// Waits for the end of every report that was accepted, asking these servers in turn, and
    /// fetches each from another one than was asked.
    pub(crate) fn settle(&self, what: &str, servers: &[&Server]) {
        let accepted = self.accepted.lock().unwrap();
        assert_eq!(accepted.iter().collect::<BTreeSet<_>>().len(), accepted.len());
        let (mut ready, mut failed) = (0, Vec::new());
        for (index, poll) in accepted.iter().enumerate() {
            let [asked, other] = [index, index + 1].map(|index| servers[index % servers.len()]);
            let end = asked.end_of(poll);
            if end["status"] != "ready" {
                failed.push(end);
                continue;
            }
            let totals = fetch(other, end["totals_url"].as_str().unwrap());
            assert_eq!(read_totals(&totals.body, "region,revenue"), sample_totals());
            ready += 1;
        }
        let (refused, unanswered) = (self.refused(), self.unanswered.lock().unwrap());
        note(&format!(
            "{what}: accepted {}, ready {ready}, failed {}, refused {refused}, \
             unanswered {unanswered}",
            accepted.len(),
            failed.len(),
        ));
        assert!(ready > 0 && failed.is_empty(), "{failed:?}");
    }
}
