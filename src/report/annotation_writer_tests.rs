use super::*;
use crate::model::status::State;
use crate::model::status::notifications::{OfObject, Standing};

fn id(name: &str) -> ObjectId {
    ObjectId {
        name: name.to_owned(),
        ..ObjectId::default()
    }
}

/// Returns ConfigMaps without annotations, each with one entry in this state.
fn snapshot(names: &[&str], state: State) -> StatusSnapshot {
    let object = |name: &&str| {
        let object = OfObject {
            uid: format!("uid-{name}"),
            standing: Standing::Is(state, Vec::new()),
            ..OfObject::default()
        };
        (id(name), object)
    };
    StatusSnapshot {
        notices: names.iter().map(object).collect(),
        ..StatusSnapshot::default()
    }
}

/// Returns the name of the ConfigMap that is written next.
fn turn(queue: &AnnotationQueue) -> Option<String> {
    match queue.next(Instant::now())? {
        (due, AnnotationTask::Write(id)) if due == Instant::now() => Some(id.name),
        _ => None,
    }
}

fn wrote(queue: &mut AnnotationQueue, result: WriteResult) -> String {
    let name = turn(queue).expect("somebody's turn");
    let patch = queue.due[&id(&name)].clone();
    queue.wrote(&id(&name), patch, result, Instant::now());
    name
}

#[tokio::test(start_paused = true)]
async fn the_same_is_not_written_again_while_the_informer_is_late() {
    let mut queue = AnnotationQueue::default();
    let first = snapshot(&["one"], State::Pending);
    queue.look(&first);
    wrote(&mut queue, WriteResult::Ok);
    queue.look(&first);
    assert_eq!(turn(&queue), None);
    queue.look(&snapshot(&["one"], State::Routed));
    assert_eq!(wrote(&mut queue, WriteResult::Ok), "one", "that is news");
    queue.look(&snapshot(&["one"], State::Routed));
    tokio::time::advance(AGAIN).await;
    assert_eq!(
        wrote(&mut queue, WriteResult::Ok),
        "one",
        "it was taken away"
    );
    queue.look(&snapshot(&[], State::Routed));
    assert!(queue.due[&id("one")].annotations.is_empty());
    wrote(&mut queue, WriteResult::Gone);
    queue.look(&snapshot(&[], State::Routed));
    assert!(queue.due.is_empty() && queue.tried.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_holds_up_nobody() {
    let mut queue = AnnotationQueue::default();
    queue.look(&snapshot(&["a", "b", "c"], State::Routed));
    assert_eq!(wrote(&mut queue, WriteResult::Conflict), "a");
    assert_eq!(wrote(&mut queue, WriteResult::Forbidden), "b");
    assert_eq!(turn(&queue), None, "the cluster is left alone for a while");
    let mut order = Vec::new();
    for _ in 0..4 {
        tokio::time::advance(PAUSE).await;
        order.push(wrote(&mut queue, WriteResult::Forbidden));
    }
    assert_eq!(order, ["c", "b", "c", "b"]);
    tokio::time::advance(AGAIN).await;
    assert_eq!(wrote(&mut queue, WriteResult::Ok), "a");
}
