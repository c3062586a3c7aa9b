//! A suite that nothing fails proves nothing: each fault here breaks one rule of the contract, and
//! the case that names it must notice. The first one is how most session stores work.

#[path = "support/broken.rs"]
mod broken;
mod support;

use std::sync::Arc;
use std::time::Duration;

use broken::{Broken, Fault};
use standfast_session::SessionHandler;
use standfast_session::testkit::{SessionHarness, async_trait, cases};
use support::Memory;

#[derive(Debug)]
struct BrokenHarness {
    memory: Memory,
    fault: Fault,
}

#[async_trait]
impl SessionHarness for BrokenHarness {
    async fn open(&self) -> Arc<dyn SessionHandler> {
        let inner = self.memory.open().await;
        Arc::new(Broken { inner, fault: self.fault })
    }

    async fn pass(&self, time: Duration) {
        self.memory.pass(time).await;
    }
}

/// One test per fault: the case must fail with it.
macro_rules! caught {
    ($($name:ident: $fault:ident fails $case:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let run = tokio::spawn(async {
                let harness = BrokenHarness { memory: support::manual(), fault: Fault::$fault };
                cases::$case(&harness).await;
            });
            let failed = run.await.is_err_and(|error| error.is_panic());
            assert!(failed, "{} does not notice", stringify!($case));
        }
    )*};
}

caught! {
    lost_updates: WholeSnapshots fails concurrent_patches_on_different_fields_are_all_kept;
    partial_patch: AppliesInParts fails a_patch_is_applied_whole_or_not_at_all;
    counted_versions: AppliesInParts fails the_version_rises_by_one_and_marks_what_changed;
    overwritten: CreateOverwrites fails a_taken_reference_is_not_overwritten;
    logout_ignored: DestroyDoesNothing fails a_destroyed_session_does_not_come_back;
    many_winners: EveryRotationWins fails of_many_rotations_at_once_one_wins;
    many_winners_and_a_login: EveryRotationWins fails a_login_among_renewals_wins;
    late_writes: GraceForLogins fails commits_that_race_a_login_are_applied_before_it_or_refused;
    session_fixation: GraceForLogins fails a_login_kills_the_old_secret_and_keeps_the_data;
    blind_writes: IgnoresPreconditions fails concurrent_updates_of_one_field_are_all_kept;
    blind_restore: IgnoresPreconditions fails a_removed_and_restored_field_is_a_conflict;
    no_secret: IgnoresTheVerifier fails a_wrong_secret_is_refused_everywhere;
    no_list: KeepsNoIndex fails sessions_of_a_principal_are_listed_and_ended;
    moved_references: MovesOnLogin fails a_reference_from_before_a_login_still_finds_the_session;
    no_grace: NoGrace fails commits_that_race_a_renewal_are_all_applied;
    reading_extends: LoadTouches fails loading_does_not_extend;
    resurrection: ResurrectsOnCommit fails nothing_but_create_creates;
    resurrection_after_logout: ResurrectsOnCommit fails a_destroyed_session_does_not_come_back;
    resurrection_by_race: ResurrectsOnCommit fails commits_that_race_a_logout_do_not_resurrect;
    resurrection_by_login: ResurrectsOnRotate fails rotations_that_race_a_logout_do_not_resurrect;
    endless_sweep: SweepsWithoutBound fails a_sweep_is_bounded_and_takes_only_what_has_ended;
    endless_life: TouchesPastTheLimit fails touches_that_race_the_absolute_limit_do_not_pass_it;
    lost_sums: SumsOutsideTheStore fails concurrent_increments_are_all_counted;
}
