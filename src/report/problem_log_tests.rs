use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::reason::Reason;

/// The messages of all logged lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().expect("lines").push(message.0);
    }
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("lines"))
    }

    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }
}

fn bad(namespace: &str, key: usize) -> Problem {
    let id = EntryId {
        object: ObjectId {
            namespace: namespace.to_owned(),
            name: "partners".to_owned(),
            ..ObjectId::default()
        },
        key: format!("k{key}"),
    };
    Problem::refused(Subject::Entry(id), Reason::NotACidr, "no".to_owned())
}

fn of_source(text: &str) -> Problem {
    Problem::warning(
        Subject::Source("east".into()),
        Reason::SourceStale,
        text.to_owned(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_namespace_is_counted_and_the_others_are_told() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let mut problem_log = ProblemLog::default();
    let mut flood: Vec<Problem> = (0..100_000).map(|key| bad("aaa", key)).collect();
    flood.push(bad("zzz", 1));
    problem_log.tell(&flood);
    let told = lines.take();
    assert_eq!(told.len(), 22, "{told:?}");
    assert!(told.iter().any(|line| line.contains("zzz/partners")));
    assert_eq!(
        told[21],
        "and 99980 more NotACidr problems; the subcommand `status` shows all of them"
    );
    // 20 passes per second, with new problems each time.
    for second in 0..60 {
        for pass in 0..20 {
            let from = 200_000 + (second * 20 + pass) * 100;
            let mut flood: Vec<Problem> = (from..from + 100).map(|key| bad("aaa", key)).collect();
            flood.push(bad("zzz", second % 7));
            problem_log.tell(&flood);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let told = lines.take();
    let of = |part: &str| told.iter().filter(|line| line.contains(part)).count();
    assert!(told.len() <= 2 * (2 * 20 + 1), "{}", told.len());
    assert!(of("zzz/partners") >= 7, "{told:?}");
}

/// One problem of the stack counts all of them.
#[tokio::test(start_paused = true)]
async fn hundreds_of_entries_without_room_are_a_few_lines() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let mut problem_log = ProblemLog::default();
    let waits = |namespace: &str, key| Problem {
        severity: Severity::Warning,
        reason: Reason::LimitReached,
        ..bad(namespace, key)
    };
    let summary = |count: usize| {
        let text = format!("{count} entries wait for room");
        Problem::warning(Subject::Stack("egress".into()), Reason::LimitReached, text)
    };
    let mut problems: Vec<Problem> = (0..397).map(|key| waits("aaa", key)).collect();
    problems.extend([waits("zzz", 1), summary(398)]);
    problem_log.tell(&problems);
    let told = lines.take();
    assert_eq!(told.len(), 4, "{told:?}");
    for part in ["398 entries", "aaa/partners", "zzz/partners"] {
        assert!(told.iter().any(|line| line.contains(part)), "{told:?}");
    }
    for key in 0..60 {
        problem_log.tell(&[waits("aaa", 1_000 + key), summary(1)]);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    problem_log.tell(&[]);
    let told = lines.take();
    assert!(told.len() < 8, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_is_not_told_each_time() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let mut problem_log = ProblemLog::default();
    for _ in 0..100 {
        problem_log.tell(&[bad("team", 1)]);
        problem_log.tell(&[]);
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    let told = lines.take();
    let flaps = told.iter().filter(|line| line.contains("team/partners"));
    assert_eq!(flaps.count(), 4, "{told:?}");
    tokio::time::advance(SAME_WITHIN).await;
    problem_log.tell(&[bad("team", 1)]);
    assert!(
        lines
            .take()
            .iter()
            .any(|line| line.contains("team/partners"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_figure_that_changes_makes_no_other_problem() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let mut problem_log = ProblemLog::default();
    for time in 0..50 {
        problem_log.tell(&[of_source(&format!("verification time {time}: expired"))]);
    }
    assert_eq!(lines.take().len(), 1);
    problem_log.tell(&[of_source("connection refused")]);
    let told = lines.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with("no longer: "), "{told:?}");
    problem_log.tell(&[]);
    assert_eq!(lines.take().len(), 1);
    // Another term logs the existing problems again.
    problem_log.tell(&[of_source("connection refused")]);
    let mut problem_log = problem_log.next_term();
    problem_log.tell(&[of_source("connection refused")]);
    assert_eq!(lines.take().len(), 2);
}
