//! Resource limits of a job process.

use std::io;
use std::time::Duration;

/// Resource limits that the job process and all its descendants run under.
///
/// A limit that is not set is inherited from the worker. A limit above the worker's own hard limit
/// is lowered to it. The address space, the file size and the number of open files count per
/// process, not for the whole subtree. On other systems than Linux limits have no effect.
///
/// ```
/// use std::time::Duration;
/// use standfast_queue::subprocess::{Limits, Subprocess};
///
/// let limits = Limits::new().address_space(2 << 30).cpu_time(Duration::from_secs(60)).core_size(0);
/// assert_eq!(limits.open_files, None, "as many as the worker");
/// let job = Subprocess::new().arg("job").limits(limits);
/// # assert!(format!("{job:?}").contains("2147483648"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest size of the address space in bytes; an allocation above it fails.
    pub address_space: Option<u64>,
    /// Processor time, in whole seconds, rounded up; `SIGXCPU` at the limit, `SIGKILL` five seconds
    /// above it.
    pub cpu_time: Option<Duration>,
    /// Largest number of open file descriptors.
    pub open_files: Option<u64>,
    /// Largest file that may be written, in bytes; `SIGXFSZ` above it.
    pub file_size: Option<u64>,
    /// Largest core dump in bytes; zero writes none.
    pub core_size: Option<u64>,
}

impl Limits {
    /// No limits beyond those of the worker.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the address space of each process, in bytes.
    pub fn address_space(mut self, bytes: u64) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Limits the processor time of each process.
    pub fn cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(time);
        self
    }

    /// Limits the number of open file descriptors of each process.
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Limits the size of each file that is written, in bytes.
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_size = Some(bytes);
        self
    }

    /// Limits the size of core dumps, in bytes.
    pub fn core_size(mut self, bytes: u64) -> Self {
        self.core_size = Some(bytes);
        self
    }

    /// One argument of the shim's command line.
    pub(super) fn encode(&self) -> String {
        let cpu = self
            .cpu_time
            .map(|time| time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)));
        [self.address_space, cpu, self.open_files, self.file_size, self.core_size]
            .map(|limit| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()))
            .join(",")
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut fields = text.split(',').map(|field| match field {
            "-" => Some(None),
            number => number.parse::<u64>().ok().map(Some),
        });
        let limits = Self {
            address_space: fields.next()??,
            cpu_time: fields.next()??.map(Duration::from_secs),
            open_files: fields.next()??,
            file_size: fields.next()??,
            core_size: fields.next()??,
        };
        fields.next().is_none().then_some(limits)
    }

    /// Applies the limits to the calling process.
    #[cfg(target_os = "linux")]
    pub(super) fn apply(&self) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        const CPU_KILL_AFTER: u64 = 5;
        let set = |resource, limit: Option<u64>, above: u64| -> io::Result<()> {
            let Some(limit) = limit else { return Ok(()) };
            let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let new = Rlimit {
                current: Some(limit.min(hard)),
                maximum: Some(limit.saturating_add(above).min(hard)),
            };
            Ok(setrlimit(resource, new)?)
        };
        set(Resource::Cpu, self.cpu_time.map(|time| time.as_secs()), CPU_KILL_AFTER)?;
        set(Resource::Core, self.core_size, 0)?;
        set(Resource::Fsize, self.file_size, 0)?;
        set(Resource::Nofile, self.open_files, 0)?;
        set(Resource::As, self.address_space, 0)
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn apply(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_the_command_line() {
        let limits = Limits::new().address_space(1 << 30).cpu_time(Duration::from_millis(1500));
        let decoded = Limits::decode(&limits.encode()).unwrap();
        assert_eq!(decoded.address_space, Some(1 << 30));
        assert_eq!(decoded.cpu_time, Some(Duration::from_secs(2)));
        assert_eq!(decoded.open_files, None);
        assert_eq!(Limits::decode(&Limits::new().encode()), Some(Limits::new()));
    }

    #[test]
    fn a_damaged_argument_is_refused() {
        for text in ["", "-", "-,-,-,-", "-,-,-,-,-,-", "-,-,x,-,-", "-1,-,-,-,-"] {
            assert_eq!(Limits::decode(text), None, "{text}");
        }
    }
}
