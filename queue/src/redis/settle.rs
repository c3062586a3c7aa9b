use std::collections::HashSet;
use std::time::Duration;

use standfast_core::{Id128, Result};

use super::layout::Item;
use super::scripts::{EXTEND, SETTLE};
use super::{RedisQueue, count, micros, unreadable};
use crate::delivery::{ExtendOutcome, SettleOutcome, Settlement};
use crate::receipt::Receipt;

impl RedisQueue {
    pub(super) async fn settle_all(
        &self,
        batch: &[(Receipt, Settlement)],
    ) -> Result<Vec<SettleOutcome>> {
        const OPERATION: &str = "queue.settle";
        let mut outcomes = vec![SettleOutcome::Stale; batch.len()];
        // a receipt is good for one settlement: the first one in the batch
        let mut seen = HashSet::with_capacity(batch.len());
        let (mut acks, mut other) = (Vec::new(), Vec::new());
        let mut needs_all = false;
        for (at, (receipt, settlement)) in batch.iter().enumerate() {
            let Some((lease, item)) = lease(receipt) else { continue };
            if !seen.insert(lease) {
                continue;
            }
            match settlement {
                Settlement::Ack => {
                    needs_all |= !item.is_plain();
                    acks.push((at, lease));
                }
                Settlement::DeadLetter { reason } => {
                    other.push((at, lease, "d", Duration::ZERO, reason.as_str()));
                }
                Settlement::Release { delay, counted, error } => {
                    let what = if *counted { "R" } else { "r" };
                    other.push((at, lease, what, *delay, error.as_deref().unwrap_or_default()));
                }
            }
        }
        if seen.is_empty() {
            return Ok(outcomes);
        }
        needs_all |= !other.is_empty();
        let mut request = match needs_all {
            false => SETTLE.on(OPERATION, self.keys().acks()),
            true => SETTLE.on(OPERATION, &self.keys().settle()),
        };
        request.push_int(count(acks.len()));
        for (_, lease) in &acks {
            request.push(lease);
        }
        for (at, _) in &acks {
            request.push(Id128::from(batch[*at].0.id()).to_bytes());
        }
        if needs_all {
            request.push(&self.keys().channel);
            self.push_dead_limits(&mut request);
        }
        for (_, lease, what, delay, text) in &other {
            request.push(lease);
            request.push(what);
            request.push_int(micros(*delay));
            request.push(text);
        }
        let digits = self.call(request).await?.into_bytes(OPERATION)?;
        let asked = acks.iter().map(|(at, _)| *at).chain(other.iter().map(|(at, ..)| *at));
        if digits.len() != acks.len() + other.len() {
            return Err(unreadable(OPERATION));
        }
        for (at, digit) in asked.zip(digits) {
            if digit == b'1' {
                outcomes[at] = SettleOutcome::Settled;
            }
        }
        Ok(outcomes)
    }

    pub(super) async fn extend_all(
        &self,
        batch: &[Receipt],
        span: Duration,
    ) -> Result<Vec<ExtendOutcome>> {
        const OPERATION: &str = "queue.extend";
        let mut outcomes = vec![ExtendOutcome::Stale; batch.len()];
        let leases = batch.iter().enumerate();
        let leases: Vec<_> =
            leases.filter_map(|(at, receipt)| Some((at, lease(receipt)?.0))).collect();
        if leases.is_empty() {
            return Ok(outcomes);
        }
        let mut request = EXTEND.on(OPERATION, self.keys().leases());
        request.push(&self.keys().channel);
        request.push_int(micros(span));
        for (_, lease) in &leases {
            request.push(lease);
        }
        let digits = self.call(request).await?.into_bytes(OPERATION)?;
        if digits.len() != leases.len() {
            return Err(unreadable(OPERATION));
        }
        for ((at, _), digit) in leases.iter().zip(digits) {
            if digit == b'1' {
                outcomes[*at] = ExtendOutcome::Extended;
            }
        }
        Ok(outcomes)
    }
}

/// The lease that a receipt names, if it is one of ours for this message.
fn lease(receipt: &Receipt) -> Option<(&[u8], Item)> {
    let lease = receipt.token().as_bytes()?;
    let item = Item::parse(lease)?;
    (item.id == receipt.id()).then_some((lease, item))
}
