use kube::core::Status;

use super::*;

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": name, "namespace": "default", "uid": "u", "managedFields": [] },
        "data": { "key": value },
    }))
    .expect("a ConfigMap")
}

fn list(board: &mut Board, objects: &[(&str, &str)]) {
    board.take(Event::Init);
    for (name, value) in objects {
        board.take(Event::InitApply(config_map(name, value)));
    }
    board.take(Event::InitDone);
}

struct Rig {
    receiver: watch::Receiver<Option<Snapshot>>,
    boards: Boards,
    a: Board,
    b: Board,
}

fn rig() -> Rig {
    let (sender, receiver) = watch::channel(None);
    let boards = Boards::new(sender, ["a", "b"].into_iter());
    let (a, b) = (boards.board("a"), boards.board("b"));
    Rig {
        receiver,
        boards,
        a,
        b,
    }
}

impl Rig {
    fn woken(&mut self) -> bool {
        let woken = self.receiver.has_changed().expect("open");
        self.receiver.mark_unchanged();
        woken
    }

    fn names(&self) -> Vec<String> {
        self.receiver
            .borrow()
            .iter()
            .flat_map(|snapshot| snapshot.objects.keys().map(ToString::to_string))
            .collect()
    }

    fn missing(&self) -> Vec<String> {
        let known = self.receiver.borrow();
        known
            .iter()
            .flat_map(|snapshot| {
                snapshot
                    .missing
                    .iter()
                    .map(|(name, why)| format!("{name}: {why}"))
            })
            .collect()
    }

    fn stale(&self) -> Vec<String> {
        let known = self.receiver.borrow();
        known
            .iter()
            .flat_map(|snapshot| snapshot.stale.keys().cloned())
            .collect()
    }
}

fn api_error(code: u16) -> watcher::Error {
    let status = Status::failure("no", "Reason").with_code(code);
    watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()))
}

#[test]
fn the_first_snapshot_waits_until_every_cluster_has_been_heard() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    rig.a.take(Event::Apply(config_map("two", "9.9.9.9")));
    assert!(
        rig.receiver.borrow().is_none() && !rig.woken(),
        "b may have more to add"
    );
    rig.b.take(Event::Init);
    rig.b.take(Event::InitApply(config_map("three", "1.1.1.1")));
    assert!(rig.receiver.borrow().is_none(), "half a list is no list");
    rig.b.take(Event::InitDone);
    assert!(rig.woken());
    assert_eq!(
        rig.names(),
        ["a/default/one", "a/default/two", "b/default/three"]
    );
    assert!(rig.missing().is_empty());
}

#[test]
fn a_cluster_that_fails_has_been_heard_and_is_missing() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    rig.b.take(Event::Init);
    rig.b.failed(&api_error(403));
    assert!(rig.woken());
    assert_eq!(rig.names(), ["a/default/one"]);
    let missing = rig.missing();
    assert!(
        missing.len() == 1
            && missing[0].starts_with("Kubernetes API server b: ")
            && missing[0].contains("role")
    );
    rig.b.failed(&api_error(403));
    assert!(!rig.woken(), "the same again is no news");
    list(&mut rig.b, &[]);
    assert!(rig.woken() && rig.missing().is_empty());
}

#[test]
fn a_cluster_that_says_nothing_is_waited_for_only_so_long() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    rig.boards.publish();
    assert!(rig.woken());
    assert_eq!(rig.names(), ["a/default/one"]);
    assert_eq!(
        rig.missing(),
        ["Kubernetes API server b: its ConfigMaps have not been listed yet"]
    );
    rig.boards.publish();
    assert!(!rig.woken());
    list(&mut rig.b, &[("two", "9.9.9.9")]);
    assert_eq!(rig.names(), ["a/default/one", "b/default/two"]);
}

#[test]
fn a_cluster_that_goes_away_keeps_what_it_had() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    rig.a.failed(&watcher::Error::NoResourceVersion);
    assert!(rig.woken() && rig.missing().is_empty());
    assert_eq!(rig.stale(), ["Kubernetes API server a"], "that is told");
    rig.a.failed(&watcher::Error::NoResourceVersion);
    assert!(!rig.woken(), "once");
    rig.a.take(Event::Init);
    assert_eq!(
        rig.names(),
        ["a/default/one"],
        "a list begun anew removes nothing yet"
    );
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    assert!(rig.woken() && rig.stale().is_empty(), "it is back");
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    assert!(!rig.woken(), "the same list again");
    list(&mut rig.a, &[("two", "9.9.9.9")]);
    assert!(rig.woken());
    assert_eq!(rig.names(), ["a/default/two"]);
}

#[test]
fn readers_wake_up_only_for_changes() {
    let mut rig = rig();
    list(&mut rig.a, &[]);
    list(&mut rig.b, &[]);
    rig.woken();
    rig.a.take(Event::Apply(config_map("one", "8.8.8.8")));
    assert!(rig.woken());
    rig.a.take(Event::Apply(config_map("one", "8.8.8.8")));
    assert!(!rig.woken());
    rig.b.take(Event::Delete(config_map("one", "")));
    assert!(!rig.woken(), "that of the other cluster is another one");
    rig.a.take(Event::Delete(config_map("one", "")));
    assert!(rig.woken() && rig.names().is_empty());
}

/// Our own annotations come back by the watch.
#[test]
fn annotations_are_known_and_wake_nobody() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    let key = annotation::KEYS[0];
    let annotated = |value: &str| {
        let mut object = config_map("one", "8.8.8.8");
        let all = [(key, value), ("other", "theirs")];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned()));
        object.metadata.annotations = Some(all.into());
        object
    };
    let bears = |rig: &Rig| {
        let known = rig.receiver.borrow();
        let objects = &known.as_ref().expect("published").objects;
        objects.values().next().expect("one").annotations.clone()
    };
    rig.a.take(Event::Apply(annotated("198.51.100.1")));
    assert!(!rig.woken());
    assert_eq!(bears(&rig), [(key, "198.51.100.1".to_owned())].into());
    rig.a.take(Event::Init);
    rig.a.take(Event::InitApply(annotated("198.51.100.2")));
    rig.a.take(Event::InitDone);
    assert!(!rig.woken());
    assert_eq!(bears(&rig), [(key, "198.51.100.2".to_owned())].into());
    let mut object = annotated("198.51.100.2");
    object.data = Some([("key".to_owned(), "9.9.9.9".to_owned())].into());
    rig.a.take(Event::Apply(object));
    assert!(rig.woken());
}

#[test]
fn a_new_try_is_no_success() {
    let mut rig = rig();
    rig.a.failed(&api_error(500));
    assert!(!rig.a.take(Event::Init));
    assert!(
        rig.a.error.is_some(),
        "else each try would log the failure and its end"
    );
    assert!(rig.a.take(Event::InitDone));
    assert!(rig.a.error.is_none());
}

#[test]
fn a_watch_that_is_too_old_is_no_error() {
    let mut rig = rig();
    rig.a.failed(&watcher::Error::WatchError(
        Status::failure("gone", "Expired").with_code(410).boxed(),
    ));
    assert!(rig.a.error.is_none());
}

#[test]
fn each_failure_says_what_to_do() {
    let text = |error: kube::Error| explain(&watcher::Error::WatchFailed(error));
    for (code, part) in [(401, "--credentials-dir"), (403, "role"), (429, "429")] {
        assert!(explain(&api_error(code)).contains(part), "{code}");
    }
    let outer = std::io::Error::other(std::io::Error::other("Connection refused"));
    let away = text(kube::Error::Service(Box::new(outer)));
    assert!(
        away.contains("Connection refused") && away.contains("check its address"),
        "{away}"
    );
    let long = text(kube::Error::Service("x".repeat(10_000).into()));
    assert_eq!(long.chars().count(), MAX_REASON);
}
