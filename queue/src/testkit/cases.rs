//! The one list of cases, and what it is stamped into: tests, tables, guarantees.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::harness::{IntoQueueHarness, IntoStatusHarness, QueueHarness, StatusHarness};

/// How long a case may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(120);

macro_rules! case {
    ($(#[$doc:meta])* $name:ident, $harness:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[non_exhaustive]
        pub struct $name {
            /// The sentence that it proves, in `snake_case`.
            pub name: &'static str,
            /// The file it is in.
            pub topic: &'static str,
            /// The line of the contract, such as `Q3`.
            pub line: &'static str,
            /// Runs it; panics where the backend breaks the contract.
            pub run: for<'a> fn(&'a dyn $harness) -> BoxFuture<'a, ()>,
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}::{}", self.line, self.topic, self.name)
            }
        }
    };
}

case! {
    /// One case of the [`Queue`](crate::Queue) suite.
    ///
    /// ```
    /// use standfast_queue::testkit::{MemoryHarness, QueueCase, queue_case};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let case: &QueueCase = queue_case("an_acked_message_is_not_delivered_again");
    /// assert_eq!((case.line, case.topic), ("Q1", "delivery"));
    /// (case.run)(&MemoryHarness::manual()).await;
    /// # }
    /// ```
    QueueCase, QueueHarness
}
case! {
    /// One case of the [`StatusStore`](crate::StatusStore) suite.
    ///
    /// ```
    /// use standfast_queue::testkit::{MemoryHarness, STATUS_CASES};
    ///
    /// # #[tokio::main] async fn main() {
    /// for case in STATUS_CASES.iter().filter(|case| case.line == "T1") {
    ///     println!("{case:?}");
    ///     (case.run)(&MemoryHarness::manual()).await;
    /// }
    /// # }
    /// ```
    StatusCase, StatusHarness
}

#[doc(hidden)]
pub fn run_queue_case<H: IntoQueueHarness>(case: &QueueCase, make: impl FnOnce() -> H) {
    block_on(async {
        if let Some(harness) = make().into_harness() {
            (case.run)(&*harness).await;
        }
    });
}

#[doc(hidden)]
pub fn run_status_case<H: IntoStatusHarness>(case: &StatusCase, make: impl FnOnce() -> H) {
    block_on(async {
        if let Some(harness) = make().into_harness() {
            (case.run)(&*harness).await;
        }
    });
}

/// A runtime of its own, with threads, for each case: what one leaves running does not meet another.
fn block_on(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let ended = runtime.block_on(async { tokio::time::timeout(HUNG, case).await });
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the case ends within {HUNG:?}");
}

/// The lines of a contract and how many cases prove each, as a Markdown table.
///
/// ```
/// use standfast_queue::testkit::{QUEUE_CASES, guarantee_table};
///
/// let table = guarantee_table(QUEUE_CASES.iter().map(|case| (case.line, case.name)));
/// assert!(table.contains("| Q1 | an acked message is not delivered again |"));
/// ```
pub fn guarantee_table(cases: impl IntoIterator<Item = (&'static str, &'static str)>) -> String {
    let mut lines: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    for (line, name) in cases {
        lines.entry((line.len(), line)).or_default().push(name);
    }
    let mut table = String::from("| | the suite proves that |\n|---|---|\n");
    for ((_, line), names) in lines {
        for (index, name) in names.iter().enumerate() {
            let line = if index == 0 { line } else { "" };
            let sentence = name.replace('_', " ");
            // invariant: writing to a string cannot fail
            writeln!(table, "| {line} | {sentence} |").expect("a string takes it");
        }
    }
    table
}

/// Stamps one test per case of the [`Queue`](crate::Queue) suite into a module: its name, then an
/// expression that makes a [`QueueHarness`](crate::testkit::QueueHarness) or an `Option` of one.
/// It is evaluated once per case, inside a tokio runtime.
#[macro_export]
macro_rules! queue_conformance {
    ($name:ident, $harness:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness may be named by the module around")]
            use super::*;
            $crate::__queue_cases! { queue_tests ($harness) }
        }
    };
}

/// Stamps one test per case of the [`StatusStore`](crate::StatusStore) suite into a module, as
/// [`queue_conformance!`](crate::queue_conformance) does.
#[macro_export]
macro_rules! status_conformance {
    ($name:ident, $harness:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness may be named by the module around")]
            use super::*;
            $crate::__status_cases! { status_tests ($harness) }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __stamp {
    (queue_tests ($harness:expr) $($line:ident $topic:ident::$case:ident,)*) => {$(
        #[test]
        fn $case() {
            $crate::testkit::run_queue_case(
                $crate::testkit::queue_case(stringify!($case)),
                || $harness,
            );
        }
    )*};
    (status_tests ($harness:expr) $($line:ident $topic:ident::$case:ident,)*) => {$(
        #[test]
        fn $case() {
            $crate::testkit::run_status_case(
                $crate::testkit::status_case(stringify!($case)),
                || $harness,
            );
        }
    )*};
    ($table:ident () $($line:ident $topic:ident::$case:ident,)*) => {
        &[$($table {
            name: stringify!($case),
            topic: stringify!($topic),
            line: stringify!($line),
            run: |harness| Box::pin($topic::$case(harness)),
        },)*]
    };
}

/// The case of that name.
///
/// # Panics
///
/// When there is none.
pub fn queue_case(name: &str) -> &'static QueueCase {
    let case = super::queue::CASES.iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no case `{name}` in the queue suite"))
}

/// The case of that name.
///
/// # Panics
///
/// When there is none.
pub fn status_case(name: &str) -> &'static StatusCase {
    let case = super::status::CASES.iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no case `{name}` in the status suite"))
}
