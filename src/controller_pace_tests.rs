//! The passes and calls of the loop during edits, on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::lease::NoElection;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::base::settings::{OnDrift, OnEmpty};
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::status::Status;
use crate::model::desired::example_zones;
use crate::model::input::request::Object;
use crate::model::plan::types::Action;
use crate::provider::memory::MemoryProvider;
use crate::report::metrics::Metrics;
use crate::source::Again;

pub(super) const HOUR: Duration = Duration::from_secs(3_600);
/// An account that counts calls, and whose stack can be held in one status.
#[derive(Clone)]
pub(super) struct Account {
    pub memory: MemoryProvider,
    /// The status that the stack is shown in, whatever is sent.
    pub shown: Arc<Mutex<Option<&'static str>>>,
    pub passes: Arc<AtomicUsize>,
    /// The number of calls that AWS would get, as measured by tests/suite.
    pub calls: Arc<AtomicUsize>,
    /// The number of calls that change something.
    pub writes: Arc<AtomicUsize>,
    /// The number of times that quotas were read.
    pub surveys: Arc<AtomicUsize>,
    /// Whether every call fails.
    pub away: Arc<AtomicBool>,
    /// Whether the stack is shown as one that has never served.
    pub new: Arc<AtomicBool>,
}

impl Account {
    pub fn new() -> Self {
        Self {
            memory: MemoryProvider::new(MemoryProvider::network_for(&example_zones())),
            shown: Arc::default(),
            passes: Arc::default(),
            calls: Arc::default(),
            writes: Arc::default(),
            surveys: Arc::default(),
            away: Arc::default(),
            new: Arc::default(),
        }
    }

    fn shown(&self) -> Option<&'static str> {
        *self.shown.lock().expect("no panic before")
    }

    pub fn show(&self, state: &'static str) {
        *self.shown.lock().expect("no panic before") = Some(state);
    }

    /// Returns the passes and calls so far.
    pub fn counts(&self) -> (usize, usize) {
        let [passes, calls] = [&self.passes, &self.calls].map(|of| of.load(Ordering::Relaxed));
        (passes, calls)
    }

    /// Returns the passes and calls within a time.
    pub async fn counts_in(&self, time: Duration) -> (usize, usize) {
        let before = self.counts();
        tokio::time::sleep(time).await;
        let after = self.counts();
        (after.0 - before.0, after.1 - before.1)
    }

    pub async fn routes(&self) -> usize {
        let network = self.memory.network().await.expect("a network");
        let routes = network.worker_tables["rtb-1"].routes.values();
        routes.filter(|it| it.target.starts_with("nat-")).count()
    }
}

impl Provider for Account {
    async fn network(&self) -> Result<Network, ProviderError> {
        if self.passes.fetch_add(1, Ordering::Relaxed) > 5_000 {
            // A loop without a wait would keep virtual time from advancing.
            std::future::pending::<()>().await;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            let text = "no connection".to_owned();
            return Err(ProviderError::after_fix("Unreachable", text));
        }
        self.memory.network().await
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        self.memory.absent(ids).await
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut live = self.memory.live(epoch, known).await?;
        match (&mut live, self.shown()) {
            (_, Some("no stack")) => live = Live::Absent,
            (Live::Ours(stack), Some(state)) => stack.status = Status::read(state),
            _ => {}
        }
        if let (Live::Ours(stack), true) = (&mut live, self.new.load(Ordering::Relaxed)) {
            (stack.updated, stack.outputs) = (false, BTreeMap::new());
        }
        Ok(live)
    }

    async fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        self.calls.fetch_add(3, Ordering::Relaxed);
        self.memory.observe(stack, ips).await
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.memory.addresses(ips).await
    }

    async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        self.surveys.fetch_add(1, Ordering::Relaxed);
        self.memory.headroom(zones).await
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
        match self.shown() {
            Some(_) => Ok(()),
            None => self.memory.apply(term, owner, stack, action).await,
        }
    }
}

/// Returns a cluster of one ConfigMap with these entries.
pub(super) fn asking(entries: &[(&str, &str)]) -> Snapshot {
    let data = entries.iter();
    let data = data.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let object = Object {
        data: data.collect(),
        ..Object::default()
    };
    let mut snapshot = Snapshot::default();
    if !entries.is_empty() {
        snapshot.objects.insert(ObjectId::default(), object);
    }
    snapshot
}

/// Runs a leader for as long as the task exists.
pub(super) fn lead(
    account: &Account,
    told: &watch::Sender<Snapshot>,
    dry_run: bool,
    on_empty: OnEmpty,
) -> JoinHandle<()> {
    let reporter = Reporter::new(Metrics::new(), false);
    let flags = (dry_run, on_empty);
    lead_with(account, told, flags, LedgerStore::disabled(), reporter)
}

/// Runs a leader with this ledger, which publishes its status.
pub(super) fn lead_with(
    account: &Account,
    told: &watch::Sender<Snapshot>,
    (dry_run, on_empty): (bool, OnEmpty),
    ledger: LedgerStore,
    reporter: Reporter,
) -> JoinHandle<()> {
    let settings = Settings {
        stack_name: "egress".to_owned(),
        zones: example_zones(),
        drift: OnDrift::Repair,
        on_empty,
        ..Settings::default()
    };
    let config = ControllerConfig {
        settings,
        empty_grace_period: Duration::from_secs(600),
        resync_interval: Duration::from_secs(300),
        drift_interval: Some(Duration::from_secs(300)),
        dry_run,
        cluster: Cluster::none(),
    };
    let (told, truth) = (told.clone(), told.subscribe());
    let feed = Box::new(move |sender: watch::Sender<Option<Snapshot>>| {
        let mut told = told.subscribe();
        told.mark_changed();
        tokio::spawn(async move {
            while told.changed().await.is_ok() {
                sender.send_replace(Some(told.borrow_and_update().clone()));
            }
        })
    });
    let again: Again = Box::new(move || {
        let snapshot = truth.borrow().clone();
        Box::pin(async move { Ok(snapshot) })
    });
    let controller = Controller::new(
        account.clone(),
        NoElection::new(),
        Source::Simulated {
            feed,
            taken: Arc::new(|| {}),
            again,
        },
        config,
        ledger,
        reporter,
        Liveness::new(Duration::from_secs(60)),
    );
    tokio::spawn(controller.run(std::future::pending()))
}

/// Returns a leader at rest with one route.
pub(super) async fn at_rest() -> (Account, watch::Sender<Snapshot>, JoinHandle<()>) {
    let account = Account::new();
    let told = watch::Sender::new(asking(&[("dns", "8.8.8.8")]));
    let leading = lead(&account, &told, false, OnEmpty::Keep);
    for _ in 0..600 {
        if account.routes().await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(account.routes().await, 1, "the first route");
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    (account, told, leading)
}

/// Sends an edit of an unreadable entry every 5 ms.
async fn stream(told: &watch::Sender<Snapshot>, time: Duration) {
    let end = Instant::now() + time;
    for number in 0_u64.. {
        let text = format!("nonsense {number}");
        told.send_replace(asking(&[("dns", "8.8.8.8"), ("bad", &text)]));
        tokio::time::sleep(Duration::from_millis(5)).await;
        if Instant::now() >= end {
            return;
        }
    }
}

/// Returns passes and writes during a stream of edits.
async fn under_a_stream(
    account: &Account,
    told: &watch::Sender<Snapshot>,
    time: Duration,
) -> [usize; 2] {
    let now = || (account.counts().0, account.writes.load(Ordering::Relaxed));
    let before = now();
    stream(told, time).await;
    let after = now();
    [after.0 - before.0, after.1 - before.1]
}

#[tokio::test(start_paused = true)]
async fn the_first_edit_acts_at_once_and_a_stream_has_a_pace() {
    let (account, told, leading) = at_rest().await;
    for _ in 0..5 {
        let before = account.counts().0;
        told.send_replace(asking(&[("dns", "8.8.8.8"), ("bad", "nonsense")]));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(account.counts().0, before + 1, "the first edit");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let [passes, _] = under_a_stream(&account, &told, Duration::from_secs(60)).await;
    assert!((20..=27).contains(&passes), "{passes} passes in a minute");
    // The last edit takes effect.
    told.send_replace(asking(&[("dns", "8.8.8.8"), ("new", "9.9.9.9")]));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(account.routes().await, 2);
    leading.abort();
}

#[tokio::test(start_paused = true)]
async fn while_an_operation_runs_edits_wake_no_pass() {
    let mut polls = Vec::new();
    for edits in [false, true] {
        let (account, told, leading) = at_rest().await;
        account.show("UPDATE_IN_PROGRESS");
        told.send_replace(asking(&[("dns", "8.8.8.8")]));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let time = Duration::from_secs(300);
        polls.push(match edits {
            true => under_a_stream(&account, &told, time).await[0],
            false => account.counts_in(time).await.0,
        });
        leading.abort();
    }
    let most = polls[0] + 1;
    assert!((20..=most).contains(&polls[1]), "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn edits_shorten_no_patience() {
    let time = Duration::from_secs(600);
    // A failed call is retried with its own backoff.
    let (account, told, leading) = at_rest().await;
    account.away.store(true, Ordering::Relaxed);
    let [passes, _] = under_a_stream(&account, &told, time).await;
    assert!((5..=16).contains(&passes), "{passes} passes that fail");
    leading.abort();
    // A failed step is retried after its wait. A status that needs an operator is only polled.
    for (state, most) in [("CREATE_FAILED", 8), ("SOMETHING_NEW", 0)] {
        let (account, told, leading) = at_rest().await;
        account.show(state);
        let [passes, writes] = under_a_stream(&account, &told, time).await;
        assert!(passes <= 620, "{state}: {passes} passes");
        assert!(writes <= most, "{state}: {writes} tries");
        // The stream of edits has not shortened the waits of a refused plan.
        let (after, _) = account.counts_in(HOUR).await;
        assert!((10..=40).contains(&after), "{state}: {after} passes");
        leading.abort();
    }
}

/// A zone is added whose change set takes minutes to compute.
#[tokio::test(start_paused = true)]
async fn while_a_change_set_is_computed_no_quota_is_read() {
    let account = Account::new();
    account.memory.leave_gateways(2, true);
    let told = watch::Sender::new(asking(&[("dns", "8.8.8.8")]));
    let leading = lead(&account, &told, false, OnEmpty::Keep);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(account.memory.zone_ips().len(), 2, "the third zone waits");
    account.memory.set_pace(Duration::from_secs(400));
    account.memory.raise_gateways();
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let before = count(&account.writes);
    for _ in 0..HOUR.as_secs() {
        if count(&account.writes) > before {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(count(&account.writes), before + 1, "the change set");
    let surveys = count(&account.surveys);
    assert!(surveys > 0);
    let (passes, _) = account.counts_in(Duration::from_secs(190)).await;
    assert!(passes >= 5, "{passes} passes");
    assert_eq!(count(&account.surveys), surveys, "in {passes} passes");
    leading.abort();
}
