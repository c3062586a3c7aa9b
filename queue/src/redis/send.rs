use std::collections::HashSet;

use bytes::Bytes;
use standfast_core::redis::{Durability, Reply, Request};
use standfast_core::{Id128, Result};

use super::scripts::SEND;
use super::{RedisQueue, layout, micros, unreadable};
use crate::envelope::Envelope;
use crate::message::{Original, OutgoingMessage, SendOutcome};
use crate::queue::Queue as _;

const OPERATION: &str = "queue.send";

/// The longest window of a dedupe key that Redis can be told.
const MAX_WINDOW_MS: u128 = 100 * 365 * 24 * 60 * 60 * 1000;

impl RedisQueue {
    pub(super) async fn send_all(&self, batch: &[OutgoingMessage]) -> Result<Vec<SendOutcome>> {
        let capabilities = self.capabilities();
        let mut outcomes: Vec<Option<SendOutcome>> = batch
            .iter()
            .map(|message| message.check(&capabilities).err().map(SendOutcome::Failed))
            .collect();
        loop {
            // an id that comes twice is sent twice: the second one finds the first
            let mut ids = HashSet::with_capacity(batch.len());
            let round: Vec<usize> = (0..batch.len())
                .filter(|at| outcomes[*at].is_none() && ids.insert(batch[*at].envelope.id))
                .collect();
            if round.is_empty() {
                return Ok(outcomes.into_iter().flatten().collect());
            }
            self.send_round(batch, &round, &mut outcomes).await?;
        }
    }

    /// Sends messages of different ids in one step.
    async fn send_round(
        &self,
        batch: &[OutgoingMessage],
        round: &[usize],
        outcomes: &mut [Option<SendOutcome>],
    ) -> Result<()> {
        // the plain ones go first, except where the order decides which ones still fit
        let in_order = self.max_len() > 0 && !round.iter().all(|at| is_plain(&batch[*at]));
        let (plain, special): (Vec<usize>, Vec<usize>) =
            round.iter().partition(|at| !in_order && is_plain(&batch[**at]));
        let request = self.request(batch, &plain, &special);
        let reply = self.call(request.durability(self.config().durability)).await?;
        let sent = plain.iter().chain(&special);
        match reply {
            Reply::Int(count) if usize::try_from(count) == Ok(round.len()) => {
                for at in sent {
                    outcomes[*at] = Some(SendOutcome::Sent);
                }
            }
            Reply::Array(answers) if answers.len() == round.len() => {
                for (at, answer) in sent.zip(answers) {
                    outcomes[*at] = Some(outcome(answer, &batch[*at].envelope)?);
                }
            }
            _ => return Err(unreadable(OPERATION)),
        }
        Ok(())
    }

    fn request(&self, batch: &[OutgoingMessage], plain: &[usize], special: &[usize]) -> Request {
        let keys = self.keys();
        let mut request = if special.is_empty() {
            SEND.on(OPERATION, keys.plain_send())
        } else {
            let dedupe = special.iter().filter_map(|at| batch[*at].dedupe.as_ref());
            SEND.on(OPERATION, &keys.special_send(dedupe.map(|dedupe| &*dedupe.key)))
        };
        request.push(&keys.channel);
        request.push_int(self.max_len());
        request.push_int((self.config().durability != Durability::Primary).into());
        request.push_int(super::count(plain.len()));
        let flags: Vec<u8> = plain.iter().map(|at| layout::flags(&batch[*at])).collect();
        request.push(flags);
        for at in plain {
            let envelope = &batch[*at].envelope;
            request.push(Id128::from(envelope.id).to_bytes());
            request.push(envelope.encode());
        }
        let mut next_key = 10;
        for at in special {
            let message = &batch[*at];
            let envelope = &message.envelope;
            request.push(Id128::from(envelope.id).to_bytes());
            request.push(envelope.encode());
            request.push([layout::flags(message)]);
            request.push_int(micros(message.delay));
            match message.drop_after {
                Some(span) => request.push_int(micros(span)),
                None => request.push(""),
            };
            request.push(message.group.as_deref().unwrap_or_default());
            match &message.dedupe {
                Some(dedupe) => {
                    let window = dedupe.window.as_millis().clamp(1, MAX_WINDOW_MS);
                    request.push_int(next_key);
                    request.push(window.to_string());
                    next_key += 1;
                }
                None => {
                    request.push_int(0);
                    request.push("");
                }
            }
            request.push(layout::remember(envelope.id, envelope.handle));
        }
        request
    }
}

/// Whether a message needs nothing but to be stored and listed.
fn is_plain(message: &OutgoingMessage) -> bool {
    message.delay.is_zero()
        && message.group.is_none()
        && message.dedupe.is_none()
        && message.drop_after.is_none()
}

fn outcome(answer: Reply, envelope: &Envelope) -> Result<SendOutcome> {
    let original = match answer {
        Reply::Int(1) => return Ok(SendOutcome::Sent),
        Reply::Int(0) => return Ok(SendOutcome::Full),
        Reply::Array(mut found) if found.len() == 2 => {
            let head = found.swap_remove(0).into_bytes(OPERATION)?;
            let head = head.strip_suffix(b"\n").unwrap_or(&head);
            // what is there under our id and cannot be read is not ours
            let stored = Envelope::from_parts(head, Bytes::new()).ok();
            Original::new(envelope.id, stored.and_then(|stored| stored.handle))
        }
        Reply::Array(mut found) if found.len() == 1 => {
            let value = found.swap_remove(0).into_bytes(OPERATION)?;
            layout::remembered(&value).ok_or_else(|| unreadable(OPERATION))?
        }
        _ => return Err(unreadable(OPERATION)),
    };
    match original == Original::new(envelope.id, envelope.handle) {
        true => Ok(SendOutcome::Sent),
        false => Ok(SendOutcome::Duplicate(original)),
    }
}
