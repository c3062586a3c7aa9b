use std::fmt;

use standfast_core::Id128;

/// Who claims ticks: one life of one process.
///
/// The name is for people. What the store compares is the incarnation, drawn anew by
/// [`Owner::new`], so that a process that was restarted on the same host is somebody else and
/// cannot inherit what its former life held. Make one owner at start-up and keep it.
///
/// ```
/// use standfast_cron_lock::Owner;
///
/// let (before, after) = (Owner::new("web-1"), Owner::new("web-1"));
/// assert_eq!(before.name(), after.name());
/// assert_ne!(before, after);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Owner {
    name: String,
    incarnation: Id128,
}

impl Owner {
    /// A new life of the process called `name`. Names longer than 200 bytes are cut.
    pub fn new(name: impl Into<String>) -> Self {
        Self::from_parts(name, Id128::random())
    }

    /// The owner as a backend has stored it.
    pub fn from_parts(name: impl Into<String>, incarnation: Id128) -> Self {
        let mut name = name.into();
        name.truncate(name.floor_char_boundary(NAME_LIMIT));
        Self { name, incarnation }
    }

    /// What people call the process.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which life of it this is.
    pub fn incarnation(&self) -> Id128 {
        self.incarnation
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.incarnation)
    }
}

const NAME_LIMIT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let owner = Owner::new("é".repeat(150));
        assert_eq!(owner.name(), "é".repeat(100));
    }
}
