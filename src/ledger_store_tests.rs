//! The ledger's ConfigMap over an API in this process.

use kube::api::PostParams;
use kube::client::ClientBuilder;

use super::object::MANAGER;
use super::*;
use crate::lease::Term;
use crate::lease::tests::fake::{Ask, FakeApi, Fate, Net};
use crate::lease::tests::{loose_term, secs};

pub(super) struct Bench {
    fake: FakeApi,
    pub net: Net,
    pub term: Term,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            fake: FakeApi::new(),
            net: Net::good(),
            term: loose_term(1).0,
        }
    }

    fn client(&self, net: &Net) -> Client {
        ClientBuilder::new(self.fake.transport(net), "default").build()
    }

    pub fn store(&self) -> LedgerStore {
        let location = LedgerLocation {
            namespace: "default".to_owned(),
            name: "egress-ledger".to_owned(),
            stack_name: "egress".to_owned(),
            clusters: [String::new()].into(),
        };
        LedgerStore::new(self.client(&self.net), location, Arc::new(|| secs(1.8e9)))
    }

    /// Returns the ledger with this ARN.
    fn cache(&self, stack: &str) -> Option<Ledger> {
        let mut ledger = Ledger::new("egress");
        ledger.stack = Some(stack.to_owned());
        Some(ledger)
    }

    /// Edits the document as a user with an editor would.
    pub async fn edit(&self, edit: impl FnOnce(String) -> String) -> ConfigMap {
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

    pub fn writes(&self) -> u64 {
        let count = self.fake.count();
        [Ask::Post, Ask::Put]
            .iter()
            .filter_map(|ask| count.get(ask))
            .sum()
    }
}

fn last_error(store: &LedgerStore) -> &str {
    match store.recall() {
        Recall::Unavailable(why, _) => why,
        Recall::Nowhere | Recall::Known(_) => "",
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_read_once_and_written_where_it_changes() {
    let bench = Bench::new();
    let mut store = bench.store();
    assert_eq!(store.begin_term(), secs(1.8e9));
    assert_eq!(store.read().await, Some(&Ledger::new("egress")));
    assert!(store.read().await.is_none() && bench.writes() == 0);
    for _ in 0..3 {
        assert!(store.write(&bench.term, bench.cache("arn:one"), true).await);
    }
    assert_eq!((bench.writes(), store.stack()), (1, Some("arn:one")));
    assert!(store.write(&bench.term, bench.cache("arn:two"), true).await);
    let object = bench.edit(|text| text).await;
    let labels = object.metadata.labels.unwrap_or_default();
    assert_eq!(labels["app.kubernetes.io/managed-by"], MANAGER);
    assert!(!labels.contains_key("egress"), "it asks for nothing");

    // The next leader, and another term of this one.
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:two"));
    store.begin_term();
    assert_eq!(store.stack(), None);
    assert_eq!(store.read().await.cloned(), bench.cache("arn:two"));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_written_is_read_before_anything_is_done() {
    let bench = Bench::new();
    let (mut old, mut new) = (bench.store(), bench.store());
    old.read().await;
    new.read().await;
    assert!(new.write(&bench.term, bench.cache("arn:new"), true).await);
    assert!(
        !old.write(&bench.term, bench.cache("arn:old"), true).await,
        "plan anew"
    );
    old.read().await;
    assert_eq!((old.stack(), last_error(&old)), (Some("arn:new"), ""));
    // After repeated conflicts the store pauses.
    bench
        .edit(|text| text.replace("arn:new", "arn:third"))
        .await;
    assert!(!old.write(&bench.term, bench.cache("arn:old"), true).await);
    old.read().await;
    assert!(
        last_error(&old).contains("another writer"),
        "{}",
        last_error(&old)
    );
    assert!(old.write(&bench.term, None, true).await);
    tokio::time::sleep(AGAIN).await;
    old.read().await;
    assert_eq!((old.stack(), last_error(&old)), (Some("arn:third"), ""));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_stops_nothing_and_is_tried_again_after_a_while() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    let denied = |ask| {
        if ask == Ask::Post {
            Fate::status(403)
        } else {
            Fate::default()
        }
    };
    bench.net.set(denied);
    assert!(
        !store.write(&bench.term, bench.cache("arn:one"), true).await,
        "plan anew, without"
    );
    assert!(last_error(&store).contains("does not exist and may not be created"));
    assert!(last_error(&store).contains("deploy/manifests.yaml, which create it"));
    for _ in 0..5 {
        assert!(store.write(&bench.term, bench.cache("arn:one"), true).await);
    }
    assert_eq!(bench.writes(), 0);
    bench.net.set(|_| Fate::LOST);
    tokio::time::sleep(AGAIN).await;
    let begin = Instant::now();
    assert!(store.write(&bench.term, bench.cache("arn:one"), true).await);
    assert!(begin.elapsed() < secs(6.0), "{:?}", begin.elapsed());
    assert!(last_error(&store).contains("has not answered"));
    bench.net.set(|_| Fate::default());
    tokio::time::sleep(AGAIN).await;
    assert!(store.write(&bench.term, bench.cache("arn:one"), true).await);
    assert_eq!((bench.writes(), last_error(&store)), (1, ""));
    // The ConfigMap may exist and be inaccessible.
    bench.net.set(|_| Fate::status(403));
    assert!(!store.write(&bench.term, bench.cache("arn:two"), true).await);
    assert!(last_error(&store).contains("bind a role with get and update"));
}

/// The role cannot create the ConfigMap, and the chart creates it again. The leader writes its cached ledger.
#[tokio::test(start_paused = true)]
async fn one_that_was_made_again_without_content_gets_what_is_known() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    store.write(&bench.term, bench.cache("arn:one"), true).await;
    let empty = async || {
        bench.fake.delete();
        let api: Api<ConfigMap> = Api::namespaced(bench.client(&Net::good()), "default");
        let mut object = ConfigMap::default();
        object.metadata.name = Some("egress-ledger".to_owned());
        api.create(&PostParams::default(), &object)
            .await
            .expect("made");
    };
    // Before the leader has noticed the deletion, and after it has read the new ConfigMap.
    empty().await;
    assert!(store.write(&bench.term, bench.cache("arn:two"), true).await);
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:two"));
    empty().await;
    tokio::time::sleep(REFRESH).await;
    assert!(store.read().await.is_none());
    assert_eq!((store.stack(), last_error(&store)), (Some("arn:two"), ""));
    assert!(store.write(&bench.term, bench.cache("arn:two"), true).await);
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:two"));
}

/// Helm recognises its own objects by that label.
#[tokio::test(start_paused = true)]
async fn labels_of_others_stay() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    store.write(&bench.term, bench.cache("arn:one"), true).await;
    let mut object = bench.edit(|text| text).await;
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned());
    bench.replace(&object).await;
    store.begin_term();
    store.read().await;
    assert!(store.write(&bench.term, bench.cache("arn:two"), true).await);
    let labels = bench.edit(|text| text).await.metadata.labels;
    assert_eq!(
        labels.unwrap_or_default()["app.kubernetes.io/managed-by"],
        "Helm"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deleted_is_written_again() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    store.write(&bench.term, bench.cache("arn:one"), true).await;
    bench.fake.delete();
    assert!(
        store.write(&bench.term, bench.cache("arn:two"), true).await,
        "at a change"
    );
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:two"));
    bench.fake.delete();
    tokio::time::sleep(REFRESH).await;
    assert!(store.read().await.is_none(), "it is no other's");
    assert!(
        store.write(&bench.term, bench.cache("arn:two"), true).await,
        "or by and by"
    );
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:two"));
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_begun_anew_and_a_later_version_is_left_alone() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    store.write(&bench.term, bench.cache("arn:one"), true).await;
    bench
        .edit(|text| text.replace("\"version\":1", "\"version\":9"))
        .await;
    let mut store = bench.store();
    assert_eq!(store.read().await, None);
    assert!(
        last_error(&store).contains("its version is 9"),
        "{}",
        last_error(&store)
    );
    let writes = bench.writes();
    assert!(store.write(&bench.term, None, true).await && bench.writes() == writes);

    bench.edit(|_| "nonsense".to_owned()).await;
    let mut store = bench.store();
    assert_eq!(store.read().await, Some(&Ledger::new("egress")));
    assert!(store.write(&bench.term, bench.cache("arn:one"), true).await);
    assert_eq!(bench.store().read().await.cloned(), bench.cache("arn:one"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_the_term_is_over() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    let (term, end) = loose_term(1);
    end();
    store.write(&term, bench.cache("arn:one"), true).await;
    assert_eq!(bench.writes(), 0);
}
