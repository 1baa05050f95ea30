//! The passes and calls of the idle loop, in each status of a stack: a day of each, on virtual time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pace_tests::{HOUR, asking, at_rest, lead};
use super::*;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::status::{Phase, Status};

/// The maximum number of passes per hour at rest, and of AWS calls in a status that only an operator can end.
const MOST_PASSES: usize = 120;
const MOST_CALLS: usize = 240;
/// The calls per hour of a stack that is as planned.
const WELL: std::ops::RangeInclusive<usize> = 50..=60;
/// The rows of the tables in deploy/docs/statuses.md, and a missing stack.
const STATES: [&str; 25] = [
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "UPDATE_FAILED",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
    "CREATE_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "DELETE_IN_PROGRESS",
    "IMPORT_IN_PROGRESS",
    "IMPORT_ROLLBACK_IN_PROGRESS",
    "CREATE_FAILED",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",
    "DELETE_COMPLETE",
    "IMPORT_ROLLBACK_FAILED",
    "any other",
    "no stack",
];

/// Passes and calls in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hour {
    passes: usize,
    calls: usize,
}

impl Hour {
    fn or_more(self, other: Self) -> Self {
        Self {
            passes: self.passes.max(other.passes),
            calls: self.calls.max(other.calls),
        }
    }
}

/// The conditions of a day, besides the status of the stack.
#[derive(Clone, Copy, Debug)]
struct Day {
    asks: bool,
    dry_run: bool,
    on_empty: OnEmpty,
    /// Whether the stack has never served, and was never seen at rest.
    new: bool,
}

/// Returns the busiest hour of a day in which the stack stays in one status, and the fewest calls.
async fn idle(state: &'static str, day: Day) -> (Hour, usize) {
    let (account, told, leading) = at_rest().await;
    if !day.asks {
        told.send_replace(asking(&[]));
        tokio::time::sleep(HOUR).await;
    }
    leading.abort();
    let shown = || {
        account.show(state);
        account.new.store(day.new, Ordering::Relaxed);
    };
    if day.new {
        shown();
    }
    let leading = lead(&account, &told, day.dry_run, day.on_empty);
    // The loop has read the stack at least once.
    tokio::time::sleep(Duration::from_secs(400)).await;
    shown();
    let (mut most, mut least) = (Hour::default(), usize::MAX);
    for hour in 0..24 {
        let (passes, calls) = account.counts_in(HOUR).await;
        most.passes = most.passes.max(passes);
        // In the first hours, failed steps are retried with growing waits.
        if hour > 2 {
            most.calls = most.calls.max(calls);
            least = least.min(calls);
        }
    }
    leading.abort();
    (most, least)
}

/// Returns every kind of day in a status.
fn days(state: &str) -> Vec<Day> {
    // Whether the stack has ever served matters only if its creation may have failed.
    let news: &[bool] = match Status::read(state).phase() {
        Phase::CreateFailed | Phase::DeleteFailed => &[false, true],
        _ => &[false],
    };
    let kinds = [
        (false, false, OnEmpty::Keep),
        (false, true, OnEmpty::Keep),
        (true, false, OnEmpty::Keep),
        (true, true, OnEmpty::Keep),
        (false, false, OnEmpty::Delete),
    ];
    let mut days = Vec::new();
    for new in news.iter().copied() {
        days.extend(kinds.map(|(asks, dry_run, on_empty)| Day {
            asks,
            dry_run,
            on_empty,
            new,
        }));
    }
    days
}

/// The measurements of a status: the busiest hours with and without entries, and the days that exceeded a limit.
type Measured = ([Hour; 2], Vec<String>);

async fn measure(state: &'static str) -> Measured {
    let (mut table, mut wrong) = ([Hour::default(); 2], Vec::new());
    for day in days(state) {
        let (most, least) = idle(state, day).await;
        let of = &mut table[usize::from(!day.asks)];
        *of = of.or_more(most);
        let keeps = day.asks || day.on_empty == OnEmpty::Keep;
        let well = Status::read(state).phase() == Phase::Settled && keeps;
        let calls_well = WELL.contains(&most.calls) && WELL.contains(&least);
        if most.passes > MOST_PASSES || most.calls > MOST_CALLS || (well && !calls_well) {
            let what = format!("{state}, {day:?}: {most:?} at most, {least} calls at least");
            wrong.push(what);
        }
    }
    (table, wrong)
}

/// Measures all statuses, in as many threads as useful.
fn measure_all() -> BTreeMap<&'static str, Measured> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let mut measured = BTreeMap::new();
        while let Some(state) = STATES.get(next.fetch_add(1, Ordering::Relaxed)) {
            measured.insert(*state, runtime.block_on(measure(state)));
        }
        measured
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|it| it.join().expect("no panic"));
        done.flatten().collect()
    })
}

/// Returns the table in deploy/docs/statuses.md: the maximum passes and calls with entries, and without.
fn documented() -> BTreeMap<String, [Hour; 2]> {
    let docs = include_str!("../deploy/docs/statuses.md");
    let table = docs.split("<!-- idle -->").nth(1).unwrap_or_default();
    let table = table
        .split("<!-- end of idle -->")
        .next()
        .unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let state = cells.next()?.trim_matches('`').to_owned();
        let mut number = || cells.next()?.parse::<usize>().ok();
        let mut hour = || {
            Some(Hour {
                passes: number()?,
                calls: number()?,
            })
        };
        Some((state, [hour()?, hour()?]))
    };
    table.lines().filter_map(row).collect()
}

#[test]
fn a_day_at_rest_takes_few_passes_in_every_state_of_the_stack() {
    let measured = measure_all();
    let row = |hour: &Hour| format!("{} | {}", hour.passes, hour.calls);
    for state in STATES {
        let ([with, without], _) = &measured[state];
        println!("| `{state}` | {} | {} |", row(with), row(without));
    }
    let wrong: Vec<_> = measured.values().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let documented = documented();
    // Jitter spreads the waits.
    let fits = |shown: usize, is: usize| (is..=is + is / 2 + 5).contains(&shown);
    for state in STATES {
        let shown = documented.get(state).copied().unwrap_or_default();
        for (shown, is) in shown.iter().zip(&measured[state].0) {
            let right = fits(shown.passes, is.passes) && fits(shown.calls, is.calls);
            assert!(
                right,
                "{state}: the table has {shown:?}, measured is {is:?}"
            );
        }
    }
}
