//! A control group with a limit of CPU or memory, as a container with such a limit has.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The minimum quota that the kernel accepts.
const QUOTA_US: u32 = 1_000;

pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// Creates a group with this many thousandths of a CPU. Fails if this process may not create control groups.
    pub fn with_millicores(name: &str, millicores: u32) -> Result<Self> {
        let (group, unified) = Self::make("cpu", name)?;
        let period = QUOTA_US * 1_000 / millicores;
        if unified {
            fs::write(group.dir.join("cpu.max"), format!("{QUOTA_US} {period}"))?;
        } else {
            fs::write(group.dir.join("cpu.cfs_period_us"), period.to_string())?;
            fs::write(group.dir.join("cpu.cfs_quota_us"), QUOTA_US.to_string())?;
        }
        Ok(group)
    }

    /// Creates a group with this many MiB of memory and no swap. Fails if this process may not create control groups.
    pub fn with_memory(name: &str, mebibytes: u64) -> Result<Self> {
        let (group, unified) = Self::make("memory", name)?;
        let bytes = (mebibytes << 20).to_string();
        if unified {
            fs::write(group.dir.join("memory.max"), &bytes)?;
            let _ = fs::write(group.dir.join("memory.swap.max"), "0");
        } else {
            fs::write(group.dir.join("memory.limit_in_bytes"), &bytes)?;
            let _ = fs::write(group.dir.join("memory.swappiness"), "0");
        }
        Ok(group)
    }

    fn make(controller: &str, name: &str) -> Result<(Self, bool)> {
        let (root, unified) = hierarchy(controller)?;
        let dir = root.join(format!("ksec-{}-{name}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok((Self { dir }, unified))
    }

    /// Returns the peak memory of the group's processes in MiB, including the page cache that the kernel holds for them.
    pub fn most_memory(&self) -> f64 {
        let names = ["memory.peak", "memory.max_usage_in_bytes"];
        let found = names.map(|name| fs::read_to_string(self.dir.join(name)));
        let text = found.into_iter().find_map(Result::ok).unwrap_or_default();
        text.trim().parse::<f64>().unwrap_or(f64::NAN) / f64::from(1 << 20)
    }

    /// Returns how many processes of the group the kernel has killed because memory ran out.
    pub fn killed(&self) -> u64 {
        let found = ["memory.events", "memory.oom_control"]
            .map(|name| fs::read_to_string(self.dir.join(name)));
        let text = found.into_iter().find_map(Result::ok).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let count = count.expect("the kernel counts them");
        count.parse().unwrap()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the number of periods in which processes of the group had to wait.
    pub fn throttled(&self) -> u64 {
        let stat = fs::read_to_string(self.dir.join("cpu.stat")).unwrap_or_default();
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel releases the group shortly after its last process has ended.
        let _ = Command::new("/bin/sh")
            .args([
                "-c",
                r#"for i in 1 2 3 4 5; do rmdir "$0" && exit; sleep 0.2; done 2>/dev/null"#,
            ])
            .arg(&self.dir)
            .status();
    }
}

/// Returns where a cgroup controller is mounted, and whether that is the unified hierarchy.
fn hierarchy(controller: &str) -> Result<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, place, kind, options, ..] = fields[..] else {
            continue;
        };
        let place = PathBuf::from(place);
        match kind {
            "cgroup" if options.split(',').any(|option| option == controller) => {
                return Ok((place, false));
            }
            "cgroup2" => {
                let controls = fs::read_to_string(place.join("cgroup.subtree_control"))?;
                if controls
                    .split_whitespace()
                    .any(|control| control == controller)
                {
                    return Ok((place, true));
                }
            }
            _ => {}
        }
    }
    let text = format!("no control group hierarchy has the controller {controller}");
    Err(Error::new(ErrorKind::NotFound, text))
}
