use super::*;
use crate::model::input::annotations::KEYS;

fn config_map(name: &str, value: &str) -> Object {
    let mut object = Object::default();
    object.set_uid(name);
    object.put("key", value);
    object
}

fn id(board: &Board, name: &str) -> ObjectId {
    ObjectId {
        cluster: board.cluster.clone(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

/// A list whose watch has started.
fn list(board: &mut Board, objects: &[(&str, &str)]) {
    let objects = objects
        .iter()
        .map(|(name, value)| (id(board, name), config_map(name, value)));
    let listing = Listing {
        version: "1".to_owned(),
        objects: objects.collect(),
    };
    board.listed(listing);
    board.is_certain();
}

fn set(board: &Board, name: &str, value: &str) {
    board.set(id(board, name), config_map(name, value));
}

struct Rig {
    receiver: watch::Receiver<Option<Snapshot>>,
    boards: Boards,
    a: Board,
    b: Board,
}

fn rig() -> Rig {
    let (sender, receiver) = watch::channel(None);
    let boards = Boards::new(sender, Arc::default(), ["a", "b"].into_iter());
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

    fn is_certain(&self) -> bool {
        let known = self.receiver.borrow();
        known.as_ref().is_some_and(Snapshot::is_certain)
    }

    fn stale(&self) -> Vec<String> {
        let known = self.receiver.borrow();
        known
            .iter()
            .flat_map(|snapshot| snapshot.stale.keys().cloned())
            .collect()
    }
}

#[test]
fn the_first_snapshot_waits_until_every_cluster_has_been_heard() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    set(&rig.a, "two", "9.9.9.9");
    assert!(
        rig.receiver.borrow().is_none() && !rig.woken(),
        "b may have more to add"
    );
    rig.b.doubt();
    assert!(rig.receiver.borrow().is_none(), "it has only been asked");
    list(&mut rig.b, &[("three", "1.1.1.1")]);
    assert!(rig.woken());
    assert_eq!(
        rig.names(),
        ["a/default/one", "a/default/two", "b/default/three"]
    );
    assert!(rig.missing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_fails_has_been_heard_and_is_missing() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    rig.b.doubt();
    rig.b.failed("bind a role");
    assert!(rig.woken());
    assert_eq!(rig.names(), ["a/default/one"]);
    assert_eq!(rig.missing(), ["Kubernetes API server b: bind a role"]);
    rig.b.failed("bind a role");
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

#[tokio::test(start_paused = true)]
async fn a_cluster_that_goes_away_keeps_what_it_had() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    rig.a.failed("away");
    assert!(!rig.woken() && rig.stale().is_empty(), "it may be short");
    assert!(!rig.is_certain(), "it counts at once");
    tokio::time::advance(TOLD_AFTER).await;
    rig.a.failed("away");
    assert!(rig.woken() && rig.missing().is_empty());
    assert_eq!(rig.stale(), ["Kubernetes API server a"], "that is told");
    rig.a.failed("away");
    assert!(!rig.woken(), "once");
    rig.a.doubt();
    assert_eq!(
        rig.names(),
        ["a/default/one"],
        "a list that begins removes nothing yet"
    );
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    assert!(rig.woken() && rig.stale().is_empty() && rig.is_certain());
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    assert!(!rig.woken(), "the same list again");
    list(&mut rig.a, &[("two", "9.9.9.9")]);
    assert!(rig.woken());
    assert_eq!(rig.names(), ["a/default/two"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_renewed_wakes_only_who_has_looked_meanwhile() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    rig.a.doubt();
    assert!(!rig.is_certain());
    rig.a.is_certain();
    assert!(rig.is_certain() && !rig.woken());
    rig.a.doubt();
    rig.boards.taken_in_doubt.store(true, Ordering::Relaxed);
    rig.a.is_certain();
    assert!(rig.woken(), "the pass may have held a removal back");
    rig.a.doubt();
    rig.a.is_certain();
    assert!(!rig.woken());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_went_back_is_told_for_a_while() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    rig.a.went_back(700, 12);
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    assert!(rig.woken() && !rig.is_certain());
    tokio::time::advance(WENT_BACK).await;
    rig.a.is_certain();
    assert!(!rig.is_certain() && !rig.woken());
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.a.is_certain();
    assert!(rig.is_certain() && rig.woken());
}

#[test]
fn readers_wake_up_only_for_changes() {
    let mut rig = rig();
    list(&mut rig.a, &[]);
    list(&mut rig.b, &[]);
    rig.woken();
    set(&rig.a, "one", "8.8.8.8");
    assert!(rig.woken());
    set(&rig.a, "one", "8.8.8.8");
    assert!(!rig.woken());
    rig.b.delete(&id(&rig.b, "one"));
    assert!(!rig.woken(), "that of the other cluster is another one");
    rig.a.delete(&id(&rig.a, "one"));
    assert!(rig.woken() && rig.names().is_empty());
}

/// Our own annotations come back through the watch.
#[test]
fn annotations_are_known_and_wake_nobody() {
    let mut rig = rig();
    list(&mut rig.a, &[("one", "8.8.8.8")]);
    list(&mut rig.b, &[]);
    rig.woken();
    let key = KEYS[0];
    let annotated = |value: &str| {
        let mut object = config_map("one", "8.8.8.8");
        object.annotate(key, value);
        object.annotate("other", "theirs");
        object
    };
    let bears = |rig: &Rig| {
        let known = rig.receiver.borrow();
        let objects = &known.as_ref().expect("published").objects;
        objects.values().next().expect("one").annotations.clone()
    };
    rig.a.set(id(&rig.a, "one"), annotated("198.51.100.1"));
    assert!(!rig.woken());
    assert_eq!(bears(&rig), [(key, "198.51.100.1".to_owned())].into());
    rig.a.listed(Listing {
        version: "2".to_owned(),
        objects: [(id(&rig.a, "one"), annotated("198.51.100.2"))].into(),
    });
    assert!(!rig.woken());
    assert_eq!(bears(&rig), [(key, "198.51.100.2".to_owned())].into());
    let mut object = annotated("198.51.100.2");
    object.put("key", "9.9.9.9");
    rig.a.set(id(&rig.a, "one"), object);
    assert!(rig.woken());
}
