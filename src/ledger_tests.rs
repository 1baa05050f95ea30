//! The ledger's ConfigMap over an API in this process.

use kube::client::ClientBuilder;

use super::*;
use crate::lease::Term;
use crate::lease::tests::fake::{Ask, FakeApi, Fate, Net};
use crate::lease::tests::{loose_term, secs};

struct Bench {
    fake: FakeApi,
    net: Net,
    term: Term,
}

impl Bench {
    fn new() -> Self {
        Self {
            fake: FakeApi::new(),
            net: Net::good(),
            term: loose_term(1).0,
        }
    }

    fn client(&self, net: &Net) -> Client {
        ClientBuilder::new(self.fake.transport(net), "default").build()
    }

    fn book(&self) -> Book {
        let place = Place {
            namespace: "default".to_owned(),
            name: "egress-ledger".to_owned(),
            stack_name: "egress".to_owned(),
            clusters: [String::new()].into(),
        };
        Book::new(self.client(&self.net), place, Arc::new(|| secs(1.8e9)))
    }

    /// One with this ARN.
    fn page(&self, stack: &str) -> Option<Ledger> {
        let mut ledger = Ledger::new("egress");
        ledger.stack = Some(stack.to_owned());
        Some(ledger)
    }

    /// What somebody with an editor sees and leaves.
    async fn edit(&self, edit: impl FnOnce(String) -> String) -> ConfigMap {
        let api: Api<ConfigMap> = Api::namespaced(self.client(&Net::good()), "default");
        let mut object = api.get("egress-ledger").await.expect("it is there");
        let data = object.data.get_or_insert_default();
        let text = edit(data.remove(KEY).unwrap_or_default());
        data.insert(KEY.to_owned(), text);
        self.replace(&object).await
    }

    async fn replace(&self, object: &ConfigMap) -> ConfigMap {
        let api: Api<ConfigMap> = Api::namespaced(self.client(&Net::good()), "default");
        let how = PostParams::default();
        let replaced = api.replace("egress-ledger", &how, object).await;
        replaced.expect("it is replaced")
    }

    fn writes(&self) -> u64 {
        let count = self.fake.count();
        [Ask::Post, Ask::Put]
            .iter()
            .filter_map(|ask| count.get(ask))
            .sum()
    }
}

fn trouble(book: &Book) -> &str {
    match book.recall() {
        Recall::Unavailable(why, _) => why,
        Recall::Nowhere | Recall::Known(_) => "",
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_read_once_and_written_where_it_changes() {
    let bench = Bench::new();
    let mut book = bench.book();
    assert_eq!(book.open(), secs(1.8e9));
    assert_eq!(book.read().await, Some(&Ledger::new("egress")));
    assert!(book.read().await.is_none() && bench.writes() == 0);
    for _ in 0..3 {
        assert!(book.write(&bench.term, bench.page("arn:one"), true).await);
    }
    assert_eq!((bench.writes(), book.stack()), (1, Some("arn:one")));
    assert!(book.write(&bench.term, bench.page("arn:two"), true).await);
    let object = bench.edit(|text| text).await;
    let labels = object.metadata.labels.unwrap_or_default();
    assert_eq!(labels["app.kubernetes.io/managed-by"], MANAGER);
    assert!(!labels.contains_key("egress"), "it asks for nothing");

    // The next leader, and a term of this one.
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:two"));
    book.open();
    assert_eq!(book.stack(), None);
    assert_eq!(book.read().await.cloned(), bench.page("arn:two"));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_written_is_read_before_anything_is_done() {
    let bench = Bench::new();
    let (mut old, mut new) = (bench.book(), bench.book());
    old.read().await;
    new.read().await;
    assert!(new.write(&bench.term, bench.page("arn:new"), true).await);
    assert!(
        !old.write(&bench.term, bench.page("arn:old"), true).await,
        "plan anew"
    );
    old.read().await;
    assert_eq!((old.stack(), trouble(&old)), (Some("arn:new"), ""));
    // Again and again, it is left to whoever else writes it, for a while.
    bench
        .edit(|text| text.replace("arn:new", "arn:third"))
        .await;
    assert!(!old.write(&bench.term, bench.page("arn:old"), true).await);
    old.read().await;
    assert!(trouble(&old).contains("somebody else"), "{}", trouble(&old));
    assert!(old.write(&bench.term, None, true).await);
    tokio::time::sleep(AGAIN).await;
    old.read().await;
    assert_eq!((old.stack(), trouble(&old)), (Some("arn:third"), ""));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_stops_nothing_and_is_tried_again_after_a_while() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    let denied = |ask| {
        if ask == Ask::Post {
            Fate::status(403)
        } else {
            Fate::default()
        }
    };
    bench.net.set(denied);
    assert!(
        !book.write(&bench.term, bench.page("arn:one"), true).await,
        "plan anew, without"
    );
    assert!(trouble(&book).contains("is not there and may not be created"));
    assert!(trouble(&book).contains("deploy/manifests.yaml, which make it"));
    for _ in 0..5 {
        assert!(book.write(&bench.term, bench.page("arn:one"), true).await);
    }
    assert_eq!(bench.writes(), 0);
    bench.net.set(|_| Fate::LOST);
    tokio::time::sleep(AGAIN).await;
    let begin = Instant::now();
    assert!(book.write(&bench.term, bench.page("arn:one"), true).await);
    assert!(begin.elapsed() < secs(6.0), "{:?}", begin.elapsed());
    assert!(trouble(&book).contains("has not answered"));
    bench.net.set(|_| Fate::default());
    tokio::time::sleep(AGAIN).await;
    assert!(book.write(&bench.term, bench.page("arn:one"), true).await);
    assert_eq!((bench.writes(), trouble(&book)), (1, ""));
    // One that is there may still be out of reach.
    bench.net.set(|_| Fate::status(403));
    assert!(!book.write(&bench.term, bench.page("arn:two"), true).await);
    assert!(trouble(&book).contains("bind a role with get and update"));
}

/// The role cannot create it, the chart makes it again: what the leader knows goes into it.
#[tokio::test(start_paused = true)]
async fn one_that_was_made_again_without_content_gets_what_is_known() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    book.write(&bench.term, bench.page("arn:one"), true).await;
    let empty = async || {
        bench.fake.delete();
        let api: Api<ConfigMap> = Api::namespaced(bench.client(&Net::good()), "default");
        let mut object = ConfigMap::default();
        object.metadata.name = Some("egress-ledger".to_owned());
        api.create(&PostParams::default(), &object)
            .await
            .expect("made");
    };
    // Before the leader has noticed anything, and after it has read it.
    empty().await;
    assert!(book.write(&bench.term, bench.page("arn:two"), true).await);
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:two"));
    empty().await;
    tokio::time::sleep(REFRESH).await;
    assert!(book.read().await.is_none());
    assert_eq!((book.stack(), trouble(&book)), (Some("arn:two"), ""));
    assert!(book.write(&bench.term, bench.page("arn:two"), true).await);
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:two"));
}

/// Helm tells by that label what is its own.
#[tokio::test(start_paused = true)]
async fn labels_of_others_stay() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    book.write(&bench.term, bench.page("arn:one"), true).await;
    let mut object = bench.edit(|text| text).await;
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned());
    bench.replace(&object).await;
    book.open();
    book.read().await;
    assert!(book.write(&bench.term, bench.page("arn:two"), true).await);
    let labels = bench.edit(|text| text).await.metadata.labels;
    assert_eq!(
        labels.unwrap_or_default()["app.kubernetes.io/managed-by"],
        "Helm"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deleted_is_written_again() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    book.write(&bench.term, bench.page("arn:one"), true).await;
    bench.fake.delete();
    assert!(
        book.write(&bench.term, bench.page("arn:two"), true).await,
        "at a change"
    );
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:two"));
    bench.fake.delete();
    tokio::time::sleep(REFRESH).await;
    assert!(book.read().await.is_none(), "it is no other's");
    assert!(
        book.write(&bench.term, bench.page("arn:two"), true).await,
        "or by and by"
    );
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:two"));
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_begun_anew_and_a_later_version_is_left_alone() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    book.write(&bench.term, bench.page("arn:one"), true).await;
    bench
        .edit(|text| text.replace("\"version\":1", "\"version\":9"))
        .await;
    let mut book = bench.book();
    assert_eq!(book.read().await, None);
    assert!(trouble(&book).contains("version 9"), "{}", trouble(&book));
    let writes = bench.writes();
    assert!(book.write(&bench.term, None, true).await && bench.writes() == writes);

    bench.edit(|_| "nonsense".to_owned()).await;
    let mut book = bench.book();
    assert_eq!(book.read().await, Some(&Ledger::new("egress")));
    assert!(book.write(&bench.term, bench.page("arn:one"), true).await);
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:one"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_the_term_is_over() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    let (term, end) = loose_term(1);
    end();
    book.write(&term, bench.page("arn:one"), true).await;
    assert_eq!(bench.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_depends_on_is_written_at_a_pace() {
    let bench = Bench::new();
    let mut book = bench.book();
    book.read().await;
    assert!(book.write(&bench.term, bench.page("arn:0"), false).await);
    assert_eq!(
        (bench.writes(), book.owes()),
        (1, None),
        "the first at once"
    );
    for number in 1..50 {
        let page = bench.page(&format!("arn:{number}"));
        assert!(book.write(&bench.term, page, false).await);
    }
    assert_eq!((bench.writes(), book.stack()), (1, Some("arn:49")));
    assert_eq!(book.owes(), Some(PACE));
    // What a step depends on goes with it, at once.
    assert!(book.write(&bench.term, bench.page("arn:49"), true).await);
    assert_eq!((bench.writes(), book.owes()), (2, None));
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:49"));
    // What is owed is kept when the ledger is read again, unless somebody else has written it.
    assert!(book.write(&bench.term, bench.page("arn:50"), false).await);
    book.page.asked = None;
    book.read().await;
    assert_eq!((book.stack(), book.owes()), (Some("arn:50"), Some(PACE)));
    bench.edit(|text| text.replace("arn:49", "arn:other")).await;
    book.page.asked = None;
    book.read().await;
    assert_eq!((book.stack(), book.owes()), (Some("arn:other"), None));
    assert!(book.write(&bench.term, bench.page("arn:51"), false).await);
    tokio::time::sleep(PACE).await;
    assert_eq!(book.owes(), Some(Duration::ZERO), "its time has come");
    let writes = bench.writes();
    assert!(book.write(&bench.term, bench.page("arn:51"), false).await);
    assert_eq!((bench.writes(), book.owes()), (writes + 1, None));
    assert_eq!(bench.book().read().await.cloned(), bench.page("arn:51"));
}
