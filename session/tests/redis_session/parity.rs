//! The scripts say what the reference says: patches drawn at random, on Redis and in memory.

use std::time::Duration;

use standfast_core::testkit::redis::single;
use standfast_session::{
    Access, CommitOutcome, MemorySessionHandler, Patch, SessionHandler, SessionHandlerExt,
    SessionInit, Snapshot,
};

use crate::support::{handler_in, namespace};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A small generator: what it makes is the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn value(&mut self) -> String {
        let size = [0, 1, 3, 200, 9_000][self.below(5) as usize];
        "v".repeat(size)
    }

    fn number(&mut self) -> i64 {
        let edges =
            [1, -1, 0, i64::MAX, i64::MIN, 1 << 32, -(1 << 32), (1 << 53) + 1, 4_294_967_295];
        edges[self.below(9) as usize]
    }

    fn patch(&mut self, seen: &Snapshot) -> Patch {
        let mut patch = Patch::new();
        for name in NAMES {
            let revision = match self.below(4) {
                0 => None,
                1 => Some(self.below(20)),
                _ => seen.revision(name),
            };
            patch = match self.below(14) {
                0 | 1 => patch.set(name, self.value()),
                2 => patch.remove(name),
                3 | 4 => patch.increment(name, self.number()),
                5 => patch.put_if_absent(name, self.value()),
                6 => patch.compare_and_set(name, revision, Some(self.value().into())),
                7 => patch.compare_and_set(name, revision, None),
                8 => patch.add_member(name, self.value()).remove_member(name, self.value()),
                9 => {
                    let keep = self.below(4) as usize;
                    patch.append(name, self.value(), keep).append(name, self.value(), keep)
                }
                _ => continue,
            };
            if self.below(4) == 0 {
                patch = patch.expiring(name, Duration::from_secs(3600));
            }
        }
        patch
    }
}

/// What an answer says that does not depend on the clock.
fn said(answer: standfast_core::Result<CommitOutcome>) -> String {
    match answer {
        Ok(CommitOutcome::Committed { version, .. }) => format!("committed {version}"),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{:?} {}", error.kind(), error.detail()),
    }
}

#[tokio::test]
async fn random_patches_do_the_same_in_redis_and_in_memory() {
    let Some(redis) = single() else { return };
    let (memory, redis) = (MemorySessionHandler::new(), handler_in(&redis.url(), &namespace()));
    let mut noise = Noise(11);
    let (mut applied, mut not) = (0, 0);
    for _ in 0..40 {
        let token = memory.start(&SessionInit::new()).await.expect("memory answers").token;
        let (session, hash) = (token.session(), token.verifier_hash());
        let _ = redis.create(session, hash, &SessionInit::new()).await.expect("redis answers");
        let visitor = Access::bearer(&token);
        for _ in 0..50 {
            let load = memory.load(&visitor).await.expect("memory answers");
            let patch = noise.patch(&load.found().expect("it is there"));
            let expected = said(memory.commit(&visitor, &patch).await);
            let got = said(redis.commit(&visitor, &patch).await);
            assert_eq!(got, expected, "{patch:?}");
            if got.starts_with("committed") {
                applied += 1
            } else {
                not += 1
            }
            let there =
                [&memory as &dyn SessionHandler, &redis].map(|handler| handler.load(&visitor));
            let [left, right] = there;
            let (left, right) = (left.await.expect("ok").found(), right.await.expect("ok").found());
            let (left, right) = (left.expect("it is there"), right.expect("it is there"));
            assert_eq!(left.version, right.version);
            let plain = |snapshot: &Snapshot| -> Vec<_> {
                let fields = snapshot.fields.iter();
                fields
                    .map(|(name, it)| {
                        (name.clone(), it.value.clone(), it.revision, it.expires_at.is_some())
                    })
                    .collect()
            };
            assert_eq!(plain(&right), plain(&left), "{patch:?}");
        }
    }
    assert!(applied > 200 && not > 200, "both happen: {applied} and {not}");
}
