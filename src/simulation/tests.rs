//! Runs histories, shows that they find planted bugs, and that a failure is shrunk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bugs::Bug;
use super::flags::Lists;
use super::history::{History, run};
use super::script::Script;
use super::shrink::shrink;

/// The number of histories in a run of all tests, with direct routes only and with prefix lists.
const USUAL: u64 = 400;
const WITH_LISTS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns what fails, and how to replay the failure, whole and shrunk.
fn report(script: &Script, bug: Bug) -> Option<String> {
    let wrong = run(script, bug).wrong?;
    let seed = script.seed;
    let small = shrink(script, bug, wrong.law).expect("it failed a moment ago");
    let kept: Vec<String> = small.kept.iter().map(usize::to_string).collect();
    let bug = match bug {
        Bug::None => script.lists.replay(),
        bug => format!("BUG={bug:?} "),
    };
    Some(format!(
        "{:?}: {}\nall of it: {bug}SEED={seed}\n{} of its {} events do the same: {bug}SEED={seed} ONLY={}\n{}",
        wrong.law,
        wrong.text,
        small.kept.len(),
        script.events.len(),
        kept.join(","),
        small.story.lines.join("\n")
    ))
}

/// Returns the planted bug that the environment names.
fn planted() -> Option<Bug> {
    let name = std::env::var("BUG").ok()?;
    let mut bugs = Bug::PLANTED.iter().chain(&Bug::RARE).map(|(bug, _)| *bug);
    bugs.find(|bug| format!("{bug:?}") == name)
}

/// Returns the history that the environment names: `SEED`, with the events `ONLY`, and a planted `BUG`.
fn named(lists: fn(u64) -> Lists) -> Option<(Script, Bug)> {
    let (seed, bug) = (number("SEED")?, planted().unwrap_or(Bug::None));
    let mut script = Script {
        lists: lists(seed),
        ..Script::of(seed, bug)
    };
    if let Ok(only) = std::env::var("ONLY") {
        let kept: Vec<usize> = only.split(',').filter_map(|n| n.parse().ok()).collect();
        script = script.only(&kept);
    }
    Some((script, bug))
}

/// Runs `one` for 0, 1, 2 and so on up to `end`, on all processors, until it fails.
fn on_all<T: Send>(
    end: u64,
    one: impl Fn(u64) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let next = AtomicU64::new(0);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let results = numbers
            .take_while(|n| *n < end)
            .map(|n| one(n).inspect_err(|_| next.store(end, Ordering::Relaxed)));
        results.collect::<Result<Vec<T>, String>>()
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("the message is above")?);
        }
        Ok(all)
    })
}

/// Runs the history of a seed. Returns an error with the shrunk failure; with `KEEP_GOING`, a failure is one line, and the run continues.
fn survive(seed: u64, lists: Lists) -> Result<History, String> {
    let script = Script {
        lists,
        ..Script::of(seed, Bug::None)
    };
    let mut story = run(&script, Bug::None);
    story.lines.clear();
    match &story.wrong {
        Some(wrong) if number("KEEP_GOING").is_some() => {
            let lists = lists.replay();
            println!("{lists}SEED={seed} {:?}: {}", wrong.law, wrong.text);
            Ok(story)
        }
        Some(_) => Err(report(&script, Bug::None).unwrap_or_default()),
        None => Ok(story),
    }
}

#[test]
fn whole_controllers_survive_everything() {
    all_survive(USUAL, |_| Lists::named().unwrap_or(Lists::Never));
}

#[test]
fn whole_controllers_survive_with_prefix_lists() {
    all_survive(WITH_LISTS, |seed| {
        Lists::named().unwrap_or_else(|| Lists::of(seed))
    });
}

/// Runs the history that the environment names, or a number of histories. `lists`: the values of `--prefix-lists` by the seed.
fn all_survive(usual: u64, lists: fn(u64) -> Lists) {
    if let Some((script, bug)) = named(lists) {
        let story = run(&script, bug);
        println!("{}\n{:?}", story.lines.join("\n"), story.wrong);
        if number("SHRINK").is_some() {
            println!("{}", report(&script, bug).unwrap_or_default());
        }
        assert_eq!(story.wrong, None);
        return;
    }
    let (histories, begin) = (number("HISTORIES").unwrap_or(usual), Instant::now());
    let first = number("FROM").unwrap_or(0);
    let stories = on_all(histories, |n| survive(first + n, lists(first + n)));
    let stories = stories.unwrap_or_else(|report| panic!("{report}"));
    let sum = |what: fn(&History) -> usize| stories.iter().map(what).sum::<usize>();
    let (terms, calls, failures) = (sum(|s| s.terms), sum(|s| s.calls), sum(|s| s.failures));
    let slowest = stories.iter().map(|story| story.settled_after).max();
    let time: Duration = stories.iter().map(|story| story.lasted).sum();
    println!(
        "{histories} histories of {} hours in {:.1?}: {terms} terms, {calls} calls accepted, {failures} operations failed, \
         settled after {slowest:.1?} at most",
        time.as_secs() / 3_600,
        begin.elapsed()
    );
    let failed = stories.iter().filter(|story| story.wrong.is_some()).count();
    assert_eq!(failed, 0, "histories failed; the lines above name them");
    let few = usize::try_from(histories).expect("a number of histories");
    assert!(
        terms > 3 * few && calls > 6 * few && failures > few / 2,
        "the histories are too quiet"
    );
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 1..4 {
        let script = Script::draw(seed);
        assert!(
            run(&script, Bug::None) == run(&script, Bug::None),
            "one seed, two histories"
        );
    }
}

#[test]
fn every_planted_bug_is_found() {
    let one = |bug| planted().is_none_or(|named| named == bug);
    let mut bugs = Bug::PLANTED.to_vec();
    if planted().is_some() || std::env::var("KSEC_LONG").is_ok_and(|long| long == "1") {
        bugs.extend(Bug::RARE);
    }
    bugs.retain(|(bug, _)| one(*bug));
    let found = on_all(bugs.len() as u64, |n| {
        let (bug, enough) = bugs[usize::try_from(n).expect("a place in the list")];
        let enough = number("HISTORIES").unwrap_or(enough);
        let found =
            (0..enough).find_map(|seed| Some((seed, run(&Script::of(seed, bug), bug).wrong?)));
        Ok(match found {
            Some((seed, wrong)) => Ok(format!("{bug:?}: in history {}: {}", seed + 1, wrong.text)),
            None => Err(format!("{bug:?} is not found in {enough} histories")),
        })
    });
    let (found, lost): (Vec<_>, Vec<_>) = found
        .expect("each hunt ends")
        .into_iter()
        .partition(Result::is_ok);
    println!("{found:#?}");
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn a_failure_shrinks_and_stays_the_same() {
    for bug in [Bug::LeaderPolled, Bug::EmptyTrusted] {
        let failing = |seed| {
            let script = Script::draw(seed);
            let wrong = run(&script, bug).wrong?;
            Some((script, wrong.law))
        };
        let (script, law) = (0..100).find_map(failing).expect("a history that fails");
        let small = shrink(&script, bug, law).expect("it fails the same way");
        let (all, left) = (script.events.len(), small.kept.len());
        println!(
            "{bug:?}: {left} of {all} deeds break {law:?}\n{}",
            small.story.lines.join("\n")
        );
        assert!(2 * left < all, "{left} of {all} events are left");
        let again = run(&script.only(&small.kept), bug);
        assert!(
            again == small.story,
            "what is printed is not what is replayed"
        );
    }
}
