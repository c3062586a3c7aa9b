use std::io::Write as _;

/// Where the service `name` is that tests need, as the environment variable `variable` says.
///
/// Without it, `None`, and a line on standard error that no test runner captures says what is
/// skipped; unless `STANDFAST_TEST_REQUIRE`, a list of names, has this one.
///
/// # Panics
///
/// When the service is required and the variable is not set.
///
/// ```
/// use standfast_core::testkit::service;
///
/// let Some(endpoint) = service("abacus", "STANDFAST_TEST_ABACUS") else { return };
/// # unreachable!("{endpoint}");
/// ```
pub fn service(name: &str, variable: &str) -> Option<String> {
    if let Ok(endpoint) = std::env::var(variable) {
        return Some(endpoint);
    }
    skip(name, &format!("set {variable}"));
    None
}

/// Says that the running test is skipped because there is no `name`, and what would help.
///
/// # Panics
///
/// When `name` is required.
pub(super) fn skip(name: &str, remedy: &str) {
    let required = std::env::var("STANDFAST_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|one| one == name);
    assert!(!is_required, "{name} is required, but there is none: {remedy}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // written past the capture of `eprintln!`: a skip that nobody sees looks like a pass
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {name}; {remedy}");
}
