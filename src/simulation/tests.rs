//! Runs histories, and shows that they find what is planted.

use super::bugs::Bug;
use super::history::{Story, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Fails with the seed and the end of the history if anything was wrong.
fn clean(seed: u64) -> Story {
    let story = run(seed, Bug::None);
    if let Some(wrong) = &story.wrong {
        let tail = story.lines.len().saturating_sub(80);
        panic!("SEED={seed}: {wrong}\n{}", story.lines[tail..].join("\n"));
    }
    story
}

#[test]
fn whole_controllers_survive_everything() {
    if let Some(seed) = number("SEED") {
        let story = run(seed, Bug::None);
        println!("{}\n{:?}", story.lines.join("\n"), story.wrong);
        assert_eq!(story.wrong, None);
        return;
    }
    let histories = number("HISTORIES").unwrap_or(12);
    let begin = std::time::Instant::now();
    let half = |odd: u64| (odd..histories).step_by(2).map(clean).collect::<Vec<_>>();
    let mut stories = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut stories = half(0);
        stories.extend(other.join().expect("the message is above"));
        stories
    });
    let sum = |what: fn(&Story) -> usize| stories.iter().map(what).sum::<usize>();
    let (terms, calls, failures) = (sum(|s| s.terms), sum(|s| s.calls), sum(|s| s.failures));
    stories.sort_by_key(|story| story.settled_after);
    let slowest = stories.last().map(|story| story.settled_after);
    println!(
        "{histories} histories in {:.1?}: {terms} terms, {calls} calls accepted, {failures} operations failed, settled after \
         {slowest:.1?} at most",
        begin.elapsed()
    );
    let few = usize::try_from(histories).expect("a number of histories");
    assert!(
        terms > 8 * few && calls > 10 * few,
        "the histories are too quiet"
    );
}

#[test]
fn a_seed_replays_its_history() {
    assert!(
        run(3, Bug::None) == run(3, Bug::None),
        "one seed, two histories"
    );
}

#[test]
fn every_planted_bug_is_found() {
    let hunt = |(bug, enough): &(Bug, u64)| {
        let found = (0..*enough).find_map(|seed| Some((seed, run(seed, *bug).wrong?)));
        match found {
            Some((seed, wrong)) => format!("{bug:?}: in history {}: {wrong}", seed + 1),
            None => format!("{bug:?} is not found in {enough} histories"),
        }
    };
    let (some, others) = Bug::PLANTED.split_at(Bug::PLANTED.len() / 2);
    let mut found = std::thread::scope(|scope| {
        let half = scope.spawn(|| others.iter().map(hunt).collect::<Vec<_>>());
        let mut found: Vec<_> = some.iter().map(hunt).collect();
        found.extend(half.join().expect("a hunt does not panic"));
        found
    });
    println!("{}", found.join("\n"));
    found.retain(|line| line.contains(" is not found in "));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
