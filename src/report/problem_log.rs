//! Logs each problem once when it appears and once when it is resolved, within limits.
//!
//! A tenant that floods the log hides other tenants' problems. So each namespace has a limit of lines per minute, a problem that
//! flaps is not logged each time, and suppressed lines are counted.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::base::problem::{Problem, Severity, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::share;

/// The limits of lines per minute: per namespace, for all namespaces together, and for problems without a namespace.
const OF_ONE: u32 = 20;
const OF_ALL: u32 = 100;
const OF_REST: u32 = 50;
/// The limit of lines per minute about single entries without room: one problem of the stack counts all of these entries.
const OF_WAITING: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// The limit of lines about the same problem within `SAME_WITHIN`.
const SAME: u32 = 4;
const SAME_WITHIN: Duration = Duration::from_secs(600);
/// The maximum number of problems whose lines are counted.
const MAX_SAME: usize = 2_000;

#[derive(Default)]
pub(super) struct ProblemLog {
    hasher: RandomState,
    /// The current problems by their hashes. There may be 20,000.
    known: HashMap<u64, Known>,
    minute: Option<Minute>,
    /// The number of lines about the problem with this hash, and the start of the count.
    same: HashMap<u64, (u32, Instant)>,
    left_out: BTreeMap<Reason, LeftOut>,
    counted_at: Option<Instant>,
}

struct Known {
    /// Whether the problem was logged.
    told: bool,
    /// The problem itself, if its end may be logged.
    problem: Option<Box<Problem>>,
}

impl Known {
    fn new(problem: &Problem, told: bool) -> Self {
        let keep = told || problem.namespace().is_none();
        Self {
            told,
            problem: keep.then(|| Box::new(problem.clone())),
        }
    }
}

struct Minute {
    began: Instant,
    of_all: u32,
    of_waiting: u32,
    by_namespace: BTreeMap<String, u32>,
}

#[derive(Clone, Copy, Default)]
struct LeftOut {
    new: usize,
    gone: usize,
}

impl ProblemLog {
    /// Returns the log of the next term, which logs all problems again within the same limits.
    pub(super) fn next_term(self) -> Self {
        Self {
            known: HashMap::new(),
            ..self
        }
    }

    /// Logs the problems that are new and the problems that are resolved.
    pub(super) fn tell(&mut self, problems: &[Problem]) {
        let (new, gone) = self.compare(problems);
        for problem in in_turn(&new) {
            let told = self.admits(problem);
            match problem.severity {
                _ if !told && problem.is_counted_elsewhere() => {}
                _ if !told => self.left_out.entry(problem.reason).or_default().new += 1,
                Severity::Refused | Severity::Warning => {
                    tracing::warn!(reason = problem.reason.name(), "{problem}");
                }
                Severity::Note => tracing::info!(reason = problem.reason.name(), "{problem}"),
            }
            let hash = self.hasher.hash_one(problem);
            self.known.insert(hash, Known::new(problem, told));
        }
        for problem in in_turn(&gone) {
            if self.admits(problem) {
                tracing::info!(reason = problem.reason.name(), "no longer: {problem}");
            } else if !problem.is_counted_elsewhere() {
                self.left_out.entry(problem.reason).or_default().gone += 1;
            }
        }
        self.count();
    }

    /// Compares with the problems of the last pass. Returns the new problems, and the resolved ones that were logged.
    fn compare<'a>(&mut self, problems: &'a [Problem]) -> (Vec<&'a Problem>, Vec<Problem>) {
        let mut now: Vec<(&Problem, u64)> = problems
            .iter()
            .map(|problem| (problem, self.hasher.hash_one(problem)))
            .collect();
        now.sort_unstable();
        now.dedup();
        let hashes: BTreeSet<u64> = now.iter().map(|(_, hash)| *hash).collect();
        let before = std::mem::take(&mut self.known);
        let (known, gone): (HashMap<_, _>, HashMap<_, _>) = before
            .into_iter()
            .partition(|(hash, _)| hashes.contains(hash));
        self.known = known;
        let mut renewed: BTreeMap<(Subject, Reason, String), bool> = BTreeMap::new();
        let mut over = Vec::new();
        for Known { told, problem } in gone.into_values() {
            let Some(problem) = problem else { continue };
            if let Some(kind) = kind(&problem) {
                renewed.insert(kind, told);
            }
            if told {
                over.push(*problem);
            }
        }
        over.sort_unstable();
        let mut new = Vec::new();
        let mut same = BTreeSet::new();
        for (problem, hash) in now {
            if self.known.contains_key(&hash) {
                continue;
            }
            match kind(problem).filter(|kind| renewed.contains_key(kind)) {
                Some(kind) => {
                    let known = Known::new(problem, renewed[&kind]);
                    self.known.insert(hash, known);
                    same.insert(kind);
                }
                None => new.push(problem),
            }
        }
        over.retain(|problem| kind(problem).is_none_or(|kind| !same.contains(&kind)));
        (new, over)
    }

    /// Whether the limits allow a line about this problem. Counts the line.
    fn admits(&mut self, problem: &Problem) -> bool {
        let now = Instant::now();
        let fresh = |since: &Instant| now.duration_since(*since) < SAME_WITHIN;
        if self.same.len() >= MAX_SAME {
            self.same.retain(|_, (_, since)| fresh(since));
        }
        let hash = self.hasher.hash_one(problem);
        let said = self.same.get(&hash).filter(|(_, since)| fresh(since));
        let (times, since) = said.copied().unwrap_or((0, now));
        if times >= SAME || !self.has_room(problem, now) {
            return false;
        }
        if self.same.len() < MAX_SAME || self.same.contains_key(&hash) {
            self.same.insert(hash, (times + 1, since));
        }
        true
    }

    fn has_room(&mut self, problem: &Problem, now: Instant) -> bool {
        let namespace = problem.namespace();
        let is_counted = problem.is_counted_elsewhere();
        let minute = match self.minute.take() {
            Some(minute) if now.duration_since(minute.began) < MINUTE => minute,
            _ => Minute {
                began: now,
                of_all: 0,
                of_waiting: 0,
                by_namespace: BTreeMap::new(),
            },
        };
        let minute = self.minute.insert(minute);
        let of_one = minute
            .by_namespace
            .entry(namespace.unwrap_or_default().to_owned())
            .or_default();
        let has_room = match namespace {
            _ if is_counted && minute.of_waiting >= OF_WAITING => false,
            None => *of_one < OF_REST,
            Some(_) => *of_one < OF_ONE && minute.of_all < OF_ALL,
        };
        if has_room {
            *of_one += 1;
            minute.of_all += u32::from(namespace.is_some());
            minute.of_waiting += u32::from(is_counted);
        }
        has_room
    }

    /// Logs the number of suppressed lines, one line per reason, at most once a minute.
    fn count(&mut self) {
        let now = Instant::now();
        let early = |at: Instant| now.duration_since(at) < MINUTE;
        if self.left_out.is_empty() || self.counted_at.is_some_and(early) {
            return;
        }
        self.counted_at = Some(now);
        for (reason, LeftOut { new, gone }) in std::mem::take(&mut self.left_out) {
            tracing::warn!(
                reason = reason.name(),
                gone,
                "and {new} more {reason} problems; the subcommand `status` shows all of them"
            );
        }
    }
}

/// Returns the identity of a problem without a namespace. It ignores figures in the message, which may change in each pass.
fn kind(problem: &Problem) -> Option<(Subject, Reason, String)> {
    match problem.namespace() {
        Some(_) => None,
        None => Some((
            problem.subject.clone(),
            problem.reason,
            skeleton(&problem.message()),
        )),
    }
}

/// Returns a text without its words that have digits: counts, times, ids of requests.
pub(super) fn skeleton(text: &str) -> String {
    let words = text.split_whitespace();
    let words = words.map(|word| {
        let figure = word.contains(|c: char| c.is_ascii_digit());
        if figure { "#" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Orders problems so that namespaces take turns; the most severe of each namespace come first.
fn in_turn<T: Borrow<Problem>>(problems: &[T]) -> impl Iterator<Item = &Problem> {
    let turns = share::in_turn(problems.iter().map(|problem| problem.borrow().namespace()));
    turns.into_iter().map(|index| problems[index].borrow())
}

#[cfg(test)]
#[path = "problem_log_tests.rs"]
mod tests;
