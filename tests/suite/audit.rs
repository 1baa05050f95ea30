//! Checks on the stand-in's log that hold in every test: terms follow one another, and each change is made once.

use std::collections::{BTreeMap, BTreeSet};

use crate::replica::Replica;
use crate::standin::{Entry, Standin};

/// The terms of replicas, from their own logs.
#[derive(Default)]
pub struct Terms {
    /// The start of each term in milliseconds since 1970, and its epoch, by access key.
    began: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Terms {
    /// Adds the terms of a replica whose clock is right.
    pub fn add(&mut self, replica: &Replica) {
        self.add_log(&replica.access_key, &replica.log());
    }

    /// Adds the terms of the process that used this access key.
    pub fn add_log(&mut self, access_key: &str, log: &str) {
        let of_line = |line: &str| {
            let time: jiff::Timestamp = line.split(' ').next()?.parse().ok()?;
            let epoch = line.split("epoch=").nth(1)?.split(' ').next()?;
            Some((time.as_millisecond().try_into().ok()?, epoch.parse().ok()?))
        };
        let began = log
            .lines()
            .filter(|line| line.contains("this replica leads: "))
            .filter_map(of_line);
        self.began.insert(access_key.to_owned(), began.collect());
    }

    /// Returns the epoch of a call: from its token, or else from its replica's log.
    fn epoch(&self, entry: &Entry) -> Option<u64> {
        let of_token = |token: &str| {
            let mut parts = token.split('-');
            let is_epoch = |part: &str| part.strip_prefix('e')?.parse().ok();
            parts.find_map(is_epoch)
        };
        let of_log = || {
            let began = self.began.get(entry.access_key.as_ref()?)?;
            let before = began.iter().filter(|(time, _)| *time <= entry.t);
            before.map(|(_, epoch)| *epoch).max()
        };
        entry.token.as_deref().and_then(of_token).or_else(of_log)
    }

    /// Fails unless the accepted changes are those of one leader after the other, each made once.
    pub fn audit(&self, changes: &[Entry]) {
        let accepted = || {
            changes
                .iter()
                .filter(|entry| entry.mutating && entry.result.as_deref() == Some("ok"))
        };
        let mut last = (0, None);
        for entry in accepted() {
            let Some(epoch) = self.epoch(entry) else {
                continue;
            };
            let (highest, leader) = last;
            let key = entry.access_key.as_ref();
            let good = epoch > highest || epoch == highest && leader == key;
            assert!(
                good,
                "a former leader's change was accepted, of epoch {epoch} after {highest}: {}",
                entry.line()
            );
            last = (epoch, key);
        }
        // A change that is requested again after it was reverted has the same name, and is prepared again.
        let of_set = |action: &str, name: &Option<String>| {
            let same = |entry: &&Entry| entry.action == action && entry.change_set == *name;
            // Calls with the same token are the same call.
            let tokens: BTreeSet<_> = accepted().filter(same).map(|entry| &entry.token).collect();
            (tokens.len(), accepted().filter(same).count())
        };
        for entry in accepted().filter(|entry| entry.action == "ExecuteChangeSet") {
            let (executed, _) = of_set("ExecuteChangeSet", &entry.change_set);
            let (_, prepared) = of_set("CreateChangeSet", &entry.change_set);
            assert!(executed <= prepared, "made twice: {}", entry.line());
        }
    }
}

/// Returns how many of these calls were accepted. A call that was repeated with its token counts once.
pub fn accepted(entries: &[Entry], action: &str) -> usize {
    let good = |entry: &&Entry| entry.action == action && entry.result.as_deref() == Some("ok");
    let tokens: BTreeSet<_> = entries
        .iter()
        .filter(good)
        .map(|entry| (&entry.token, &entry.change_set))
        .collect();
    tokens.len()
}

/// Fails if an operation of the stack has failed.
pub fn nothing_failed(aws: &Standin, stack: &str) {
    let events = aws.call(
        "cloudformation",
        "DescribeStackEvents",
        &[("StackName", stack)],
    );
    for bad in ["ROLLBACK", "_FAILED"] {
        assert!(!events.contains(bad), "{bad} in {events}");
    }
}
