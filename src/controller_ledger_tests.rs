//! The next leader's knowledge of entries that a leader accepted without changing the stack: the whole loop on virtual time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kube::client::ClientBuilder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pace_tests::{Account, asking, at_rest, lead_with};
use super::*;
use crate::lease::tests::fake::{Ask, FakeApi, Fate, Net};
use crate::ledger_store::LedgerLocation;
use crate::model::base::settings::OnEmpty;
use crate::model::status::{Entry, State, Status};
use crate::report::metrics::Metrics;
use crate::report::status_publisher::StatusPublisher;

/// Leaders that share a ledger and an account.
struct Bench {
    account: Account,
    told: watch::Sender<Snapshot>,
    ledger: FakeApi,
    net: Net,
    publisher: StatusPublisher,
    /// The rate of the ledger's writes; None for the default.
    bytes_per_second: Option<u32>,
}

impl Bench {
    /// Returns an account at rest with a route for 8.8.8.8.
    async fn new() -> Self {
        let (account, told, leading) = at_rest().await;
        leading.abort();
        let publisher = StatusPublisher::new(false);
        tokio::spawn(publisher.clone().run());
        Self {
            account,
            told,
            ledger: FakeApi::new(),
            net: Net::good(),
            publisher,
            bytes_per_second: None,
        }
    }

    fn lead(&self) -> JoinHandle<()> {
        let place = LedgerLocation {
            namespace: "default".to_owned(),
            name: "egress-ledger".to_owned(),
            stack_name: "egress".to_owned(),
            clusters: [String::new()].into(),
        };
        let client = ClientBuilder::new(self.ledger.transport(&self.net), "default").build();
        let clock = Arc::new(|| Duration::from_secs(1_800_000_000));
        let mut ledger = LedgerStore::new(client, place, clock);
        if let Some(rate) = self.bytes_per_second {
            ledger = ledger.with_rate(rate);
        }
        let reporter = Reporter::new(Metrics::new(), false).with(self.publisher.clone(), None);
        let flags = (false, OnEmpty::Keep);
        lead_with(&self.account, &self.told, flags, ledger, reporter)
    }

    async fn ask(&self, entries: &[(&str, &str)]) {
        self.told.send_replace(asking(entries));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    /// Returns the status of an entry.
    fn told_of(&self, key: &str) -> Entry {
        let latest = self.publisher.latest().expect("a status");
        let json = std::str::from_utf8(&latest.json).expect("text");
        let status = Status::read(json).expect("a status");
        let mut entries = status.entries.iter();
        let entry = entries.find(|entry| entry.key == key);
        entry.expect("the entry").clone()
    }
}

/// Three entries request one network. The last one is two seconds old when the leader ends.
#[tokio::test(start_paused = true)]
async fn an_entry_that_joins_a_live_route_outlives_its_leader() {
    let bench = Bench::new().await;
    let leading = bench.lead();
    bench.ask(&[("dns", "8.8.8.8")]).await;
    bench.ask(&[("dns", "8.8.8.8"), ("two", "8.8.8.8")]).await;
    let all = [("dns", "8.8.8.8"), ("two", "8.8.8.8"), ("three", "8.8.8.8")];
    bench.ask(&all).await;
    assert_eq!(bench.told_of("three").state, State::Routed);
    leading.abort();
    let spoilt = [("dns", "8.8.8.8"), ("two", "8.8.8.8"), ("three", "typo")];
    bench.told.send_replace(asking(&spoilt));
    let _leading = bench.lead();
    tokio::time::sleep(Duration::from_secs(120)).await;
    bench.ask(&[("three", "typo")]).await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(bench.told_of("three").state, State::Kept);
    assert_eq!(bench.account.routes().await, 1, "the route of the typo");
    bench.ask(&[("dns", "9.9.9.9")]).await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(bench.account.routes().await, 1);
}

/// Until the ledger is written, no owner may rely on the entry.
#[tokio::test(start_paused = true)]
async fn an_entry_counts_as_routed_when_the_ledger_has_it() {
    let mut bench = Bench::new().await;
    bench.bytes_per_second = Some(20);
    let _leading = bench.lead();
    bench.ask(&[("dns", "8.8.8.8")]).await;
    bench.ask(&[("dns", "8.8.8.8"), ("two", "8.8.8.8")]).await;
    let writes = || bench.ledger.count().get(&Ask::Put).copied().unwrap_or(0);
    let before = writes();
    let all = [("dns", "8.8.8.8"), ("two", "8.8.8.8"), ("three", "8.8.8.8")];
    bench.ask(&all).await;
    assert_eq!(writes(), before, "the document was written a moment ago");
    let waiting = bench.told_of("three");
    assert_eq!((waiting.state, waiting.reason), (State::Pending, None));
    assert_eq!(bench.told_of("dns").state, State::Routed);
    // The write happens without an edit.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(writes(), before + 1);
    assert_eq!(bench.told_of("three").state, State::Routed);

    bench.net.set(|ask| match ask {
        Ask::Put => Fate::status(403),
        _ => Fate::default(),
    });
    let more = [all.as_slice(), &[("four", "8.8.8.8")]].concat();
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.ask(&more).await;
    let waiting = bench.told_of("four");
    assert_eq!(waiting.state, State::Waiting);
    assert_eq!(waiting.reason.as_deref(), Some("LedgerUnavailable"));
    let text = waiting.message.expect("the reason").to_string();
    assert!(text.contains("its route exists"), "{text}");
    assert_eq!(bench.told_of("three").state, State::Routed);
    bench.net.set(|_| Fate::default());
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(bench.told_of("four").state, State::Routed);
}

/// A refused plan is computed again after minutes. The ledger does not wait for that, and does not extend that wait.
#[tokio::test(start_paused = true)]
async fn the_ledger_is_written_while_nothing_can_be_done() {
    let mut bench = Bench::new().await;
    bench.bytes_per_second = Some(20);
    let _leading = bench.lead();
    bench.ask(&[("dns", "8.8.8.8")]).await;
    bench.account.show("UPDATE_FAILED_IN_A_NEW_WAY");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    bench.ask(&[("dns", "8.8.8.8"), ("two", "8.8.8.8")]).await;
    let all = [("dns", "8.8.8.8"), ("two", "8.8.8.8"), ("three", "8.8.8.8")];
    bench.ask(&all).await;
    let writes = || bench.ledger.count().get(&Ask::Put).copied().unwrap_or(0);
    let (before, passes) = (writes(), bench.account.counts().0);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(writes(), before + 1);
    let passes = bench.account.counts().0 - passes;
    assert!(passes <= 2, "{passes} passes");
}

/// AWS does not answer while an entry joins the route of another one, becomes unreadable and the other one goes. Only the ledger knows what
/// the entry requested.
#[tokio::test(start_paused = true)]
async fn an_entry_that_joins_a_route_while_aws_does_not_answer_keeps_it() {
    let bench = Bench::new().await;
    let leading = bench.lead();
    bench.ask(&[("dns", "8.8.8.8")]).await;
    let away = |is_away| bench.account.away.store(is_away, Ordering::Relaxed);
    away(true);
    // The leader tries again within its resync interval.
    bench.ask(&[("dns", "8.8.8.8"), ("two", "8.8.8.8")]).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    bench.ask(&[("two", "typo")]).await;
    leading.abort();
    away(false);
    let _leading = bench.lead();
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(bench.told_of("two").state, State::Kept);
    assert_eq!(bench.account.routes().await, 1, "the route of the typo");
    bench.ask(&[("dns", "9.9.9.9")]).await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(bench.account.routes().await, 1, "the typo is gone");
}
