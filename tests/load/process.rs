//! Processor time and memory of the server's processes, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::error::LoadError;

/// Length of the kernel's clock tick as `/proc` counts it: `USER_HZ` is 100 on every Linux platform.
const TICK: Duration = Duration::from_millis(10);
/// Fields of `/proc/<pid>/stat` after the command's name, from 0: own time, then that of children
/// who have ended. Source: proc_pid_stat(5).
const TIMES: std::ops::Range<usize> = 11..15;

/// The processes that are measured.
pub(crate) struct Processes {
    roots: Vec<u32>,
}

impl Processes {
    /// These processes and all their children.
    pub(crate) fn new(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// Whether there is anything to measure.
    pub(crate) fn any(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Processor time that they have used so far.
    ///
    /// # Errors
    /// When one of the processes that were named is gone.
    pub(crate) fn cpu(&self) -> Result<Duration, LoadError> {
        let mut ticks = 0;
        for pid in self.tree()? {
            // A child may end between the listing and the reading; its parent has its time then.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat
                .rsplit_once(") ")
                .map(|(_, fields)| fields)
                .unwrap_or_default();
            let fields: Vec<&str> = fields.split(' ').collect();
            let times = fields.get(TIMES).unwrap_or_default();
            ticks += times
                .iter()
                .filter_map(|time| time.parse::<u32>().ok())
                .sum::<u32>();
        }
        Ok(TICK * ticks)
    }

    /// Resident memory in KiB. Pages that several of the processes share count once for each.
    ///
    /// # Errors
    /// When one of the processes that were named is gone.
    pub(crate) fn resident_kib(&self) -> Result<u64, LoadError> {
        let mut kib = 0;
        for pid in self.tree()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
            kib += number
                .and_then(|number| number.trim().parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(kib)
    }

    fn tree(&self) -> Result<BTreeSet<u32>, LoadError> {
        let mut tree = BTreeSet::new();
        let mut next = self.roots.clone();
        while let Some(pid) = next.pop() {
            let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
                Ok(threads) => threads,
                Err(cause) if self.roots.contains(&pid) => {
                    return Err(LoadError::Process { pid, cause });
                }
                Err(_) => continue,
            };
            tree.insert(pid);
            for thread in threads.flatten() {
                let children =
                    fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                next.extend(
                    children
                        .split_whitespace()
                        .filter_map(|child| child.parse::<u32>().ok()),
                );
            }
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_and_memory_are_read() {
        let own = Processes::new(vec![std::process::id()]);
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        while own.cpu().unwrap() < before + 3 * TICK {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(own.resident_kib().unwrap() > 100);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Processes::new(vec![u32::MAX]).cpu().is_err());
    }
}
