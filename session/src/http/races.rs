//! In debug builds: who overwrote what somebody else had written since it was read.
//!
//! It knows the requests of this process, which is where development happens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use standfast_core::SessionRef;

use crate::field::FieldName;
use crate::patch::{FieldOp, Patch};

/// So many writes are remembered.
const REMEMBERED: usize = 1024;

struct Write {
    session: SessionRef,
    field: FieldName,
    version: u64,
    request: Arc<str>,
}

static WRITES: Mutex<VecDeque<Write>> = Mutex::new(VecDeque::new());

/// Notes the blind writes of a commit that made `version`, by a request that had read at version
/// `seen`, and warns of those that were written in between by somebody else.
pub(super) fn check(
    session: SessionRef,
    patch: &Patch,
    seen: Option<u64>,
    version: u64,
    request: &Arc<str>,
) {
    let mut writes = WRITES.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, change) in patch {
        if !matches!(change.op, FieldOp::Set(_) | FieldOp::Remove) || name.flash_id().is_some() {
            continue;
        }
        let overtaken = seen.and_then(|seen| {
            writes.iter().rev().find(|write| {
                let between = seen < write.version && write.version < version;
                between
                    && write.session == session
                    && write.field == *name
                    && write.request != *request
            })
        });
        if let Some(other) = overtaken {
            tracing::warn!(
                target: "standfast::session::races",
                field = %name,
                %session,
                request_id = &**request,
                overwrote = &*other.request,
                "a request has overwritten what another one wrote after it had read: \
                 should the key be `Key::cas` or `Key::counter`?"
            );
        }
        if writes.len() == REMEMBERED {
            writes.pop_front();
        }
        let request = Arc::clone(request);
        writes.push_back(Write { session, field: name.clone(), version, request });
    }
}
