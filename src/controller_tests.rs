//! The whole loop on virtual time, from manifests to an account in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::ClientBuilder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::lease::NoElection;
use crate::lease::tests::fake::{FakeApi, Net};
use crate::ledger_store::{KEY, LedgerLocation};
use crate::model::base::ids::ObjectId;
use crate::model::base::settings::{OnDrift, OnEmpty};
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::Network;
use crate::model::cloud::observed::{Address, Observed};
use crate::model::desired::example_zones;
use crate::model::input::request::Object;
use crate::model::plan::types::Action;
use crate::provider::memory::MemoryProvider;
use crate::report::cluster_writer::ClusterWriter;
use crate::report::metrics::Metrics;
use crate::report::status_publisher::StatusPublisher;
use crate::report::write_metrics::WriteMetrics;

/// A directory with one ConfigMap, removed at the end.
struct Manifests(PathBuf);

impl Manifests {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn ask(&self, entries: &str) {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels:\n    egress: static\ndata: {{{entries}}}\n"
        );
        std::fs::write(self.0.join("one.yaml"), text).expect("a file");
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("one.yaml")).expect("it was there");
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        // A file that is left is in the temporary directory.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a controller and returns its account.
fn start(manifests: &Manifests, on_empty: OnEmpty) -> MemoryProvider {
    telling(manifests, on_empty, Reporter::new(Metrics::new(), false))
}

fn telling(manifests: &Manifests, on_empty: OnEmpty, reporter: Reporter) -> MemoryProvider {
    let settings = Settings {
        stack_name: "egress".to_owned(),
        zones: example_zones(),
        on_empty,
        max_removal: 50,
        ..Settings::default()
    };
    let provider = MemoryProvider::new(MemoryProvider::network_for(&settings.zones));
    let config = ControllerConfig {
        settings,
        empty_grace_period: Duration::from_secs(600),
        resync_interval: Duration::from_secs(300),
        drift_interval: None,
        dry_run: false,
        cluster: Cluster::none(),
    };
    let source = Source::Manifests(manifests.0.clone());
    let liveness = Liveness::new(Duration::from_secs(60));
    let controller = Controller::new(
        provider.clone(),
        NoElection::new(),
        source,
        config,
        LedgerStore::disabled(),
        reporter,
        liveness,
    );
    tokio::spawn(controller.run(std::future::pending()));
    provider
}

/// Returns the NAT routes of the first worker table.
async fn routes(provider: &MemoryProvider) -> Vec<String> {
    let network = provider.network().await.expect("a network");
    let routes = network.worker_tables["rtb-1"].routes.iter();
    routes
        .filter(|(_, route)| route.target.starts_with("nat-"))
        .map(|(cidr, _)| cidr.to_string())
        .collect()
}

async fn ips(provider: &MemoryProvider) -> Vec<String> {
    match provider.live(None, None).await.expect("an answer") {
        Live::Ours(stack) => stack.outputs.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Polls on virtual time: an hour passes immediately.
async fn until_routes(provider: &MemoryProvider, expected: &[&str]) {
    for _ in 0..3_600 {
        if routes(provider).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{:?} instead of {expected:?}", routes(provider).await);
}

#[tokio::test(start_paused = true)]
async fn routes_appear_change_and_go_and_static_ips_stay() {
    let manifests = Manifests::new("appear");
    manifests.ask("dns: 8.8.8.8");
    let provider = start(&manifests, OnEmpty::Keep);
    until_routes(&provider, &["8.8.8.8/32"]).await;
    let before = ips(&provider).await;
    assert_eq!(before.len(), 3);
    manifests.ask("dns: 8.8.8.8, more: 9.9.9.0/24");
    until_routes(&provider, &["8.8.8.8/32", "9.9.9.0/24"]).await;
    manifests.ask("dns: nonsense");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(
        routes(&provider).await.len(),
        2,
        "a typo takes nothing away"
    );
    manifests.ask("more: 9.9.9.0/24");
    until_routes(&provider, &["9.9.9.0/24"]).await;
    manifests.clear();
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(
        routes(&provider).await.len(),
        1,
        "the grace period is not over"
    );
    until_routes(&provider, &[]).await;
    assert_eq!(ips(&provider).await, before);
}

#[tokio::test(start_paused = true)]
async fn the_stack_goes_when_nobody_asks_and_that_is_wanted() {
    let manifests = Manifests::new("goes");
    manifests.ask("dns: 8.8.8.8");
    let provider = start(&manifests, OnEmpty::Delete);
    until_routes(&provider, &["8.8.8.8/32"]).await;
    manifests.clear();
    until_routes(&provider, &[]).await;
    assert!(ips(&provider).await.is_empty());
    manifests.ask("dns: 8.8.8.8");
    until_routes(&provider, &["8.8.8.8/32"]).await;
}

/// An account in which no stack can be created until it is repaired. It counts attempts and calls.
#[derive(Clone)]
struct Broken {
    account: MemoryProvider,
    mended: Arc<AtomicBool>,
    creations: Arc<AtomicUsize>,
    /// The number of calls that AWS would get, as measured by tests/suite.
    calls: Arc<AtomicUsize>,
}

impl Broken {
    fn new() -> Self {
        Self {
            account: MemoryProvider::new(MemoryProvider::network_for(&example_zones())),
            mended: Arc::default(),
            creations: Arc::default(),
            calls: Arc::default(),
        }
    }
}

impl Provider for Broken {
    async fn network(&self) -> Result<Network, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.account.network().await
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        self.account.absent(ids).await
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.account.live(epoch, known).await
    }

    async fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        self.calls.fetch_add(3, Ordering::Relaxed);
        self.account.observe(stack, ips).await
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.account.addresses(ips).await
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if matches!(action, Action::Create(_)) {
            self.creations.fetch_add(1, Ordering::Relaxed);
            let mended = self.mended.load(Ordering::Relaxed);
            self.account.spoil((!mended).then_some("a quota"));
        }
        self.account.apply(term, owner, stack, action).await
    }
}

fn snapshot() -> Snapshot {
    let object = Object {
        data: [("dns".to_owned(), "8.8.8.8".to_owned())].into(),
        ..Object::default()
    };
    Snapshot {
        objects: [(ObjectId::default(), object)].into(),
        ..Snapshot::default()
    }
}

fn asked(sender: watch::Sender<Option<Snapshot>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        sender.send_replace(Some(snapshot()));
        sender.closed().await;
    })
}

/// Runs a leader for as long as the task exists.
fn lead(
    provider: &Broken,
    drift_interval: Option<Duration>,
    ledger: LedgerStore,
) -> JoinHandle<()> {
    let settings = Settings {
        stack_name: "egress".to_owned(),
        zones: example_zones(),
        drift: drift_interval.map_or(OnDrift::Off, |_| OnDrift::Repair),
        ..Settings::default()
    };
    let config = ControllerConfig {
        settings,
        empty_grace_period: Duration::from_secs(600),
        resync_interval: Duration::from_secs(300),
        drift_interval,
        dry_run: false,
        cluster: Cluster::none(),
    };
    let feed = Box::new(asked);
    let controller = Controller::new(
        provider.clone(),
        NoElection::new(),
        Source::Simulated {
            feed,
            taken: Arc::new(|| {}),
            again: Box::new(|| Box::pin(async { Ok(snapshot()) })),
        },
        config,
        ledger,
        Reporter::new(Metrics::new(), false),
        Liveness::new(Duration::from_secs(60)),
    );
    tokio::spawn(controller.run(std::future::pending()))
}

/// Runs one leader after the other, each for a minute.
async fn a_leader_a_minute(provider: &Broken, minutes: u32, ledger: impl Fn() -> LedgerStore) {
    for _ in 0..minutes {
        let running = lead(provider, None, ledger());
        tokio::time::sleep(Duration::from_secs(60)).await;
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_that_always_fails_is_no_storm_with_a_failover_every_minute() {
    const MOST: usize = 110;
    let (provider, api, start) = (Broken::new(), FakeApi::new(), Instant::now());
    let ledger = || {
        let place = LedgerLocation {
            namespace: "default".to_owned(),
            name: "egress-ledger".to_owned(),
            stack_name: "egress".to_owned(),
            clusters: [String::new()].into(),
        };
        let client = ClientBuilder::new(api.transport(&Net::good()), "default").build();
        // Each leader's clock has another error.
        let skew = Duration::from_secs(fastrand::u64(0..60));
        let clock = move || Duration::from_secs(1_800_000_000) + start.elapsed() + skew;
        LedgerStore::new(client, place, Arc::new(clock))
    };
    a_leader_a_minute(&provider, 24 * 60, ledger).await;
    let tries = provider.creations.load(Ordering::Relaxed);
    println!("{tries} tries in a day with 1,440 leaders");
    assert!((20..=MOST).contains(&tries), "{tries}");

    provider.mended.store(true, Ordering::Relaxed);
    a_leader_a_minute(&provider, 60, ledger).await;
    assert_eq!(routes(&provider.account).await, ["8.8.8.8/32"]);
    let client = ClientBuilder::new(api.transport(&Net::good()), "default").build();
    let api: kube::Api<ConfigMap> = kube::Api::namespaced(client, "default");
    let object = api.get("egress-ledger").await.expect("it is there");
    let text = object.data.and_then(|mut data| data.remove(KEY));
    let text = text.expect("the document");
    assert!(
        text.contains("\"entries\"") && !text.contains("\"tries\""),
        "one success starts anew: {text}"
    );

    let forgetful = Broken::new();
    a_leader_a_minute(&forgetful, 60, LedgerStore::disabled).await;
    let tries = forgetful.creations.load(Ordering::Relaxed);
    assert!(tries > MOST, "without a ledger: {tries} in an hour");
}

/// Drift detection is on, and every hour of a day is checked.
#[tokio::test(start_paused = true)]
async fn an_idle_controller_makes_at_most_sixty_calls_an_hour() {
    let provider = Broken::new();
    provider.mended.store(true, Ordering::Relaxed);
    let leading = lead(
        &provider,
        Some(Duration::from_secs(300)),
        LedgerStore::disabled(),
    );
    until_routes(&provider.account, &["8.8.8.8/32"]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    for hour in 0..24 {
        let before = provider.calls.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let calls = provider.calls.load(Ordering::Relaxed) - before;
        assert!((50..=60).contains(&calls), "{calls} in hour {hour}");
    }
    leading.abort();
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_holds_up_no_route() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let silent = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<http::Response<kube::client::Body>, tower::BoxError>>()
    });
    let client = kube::Client::new(silent, "default");
    let publisher = StatusPublisher::new(false);
    tokio::spawn(publisher.clone().run());
    let writer = ClusterWriter::new(
        client,
        "default",
        "lease",
        BTreeMap::new(),
        WriteMetrics::default(),
    );
    let reporter = Reporter::new(Metrics::new(), false).with(publisher, Some(writer));
    let manifests = Manifests::new("silent");
    manifests.ask("dns: 8.8.8.8");
    let provider = telling(&manifests, OnEmpty::Keep, reporter);
    let before = Instant::now();
    until_routes(&provider, &["8.8.8.8/32"]).await;
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=20).contains(&asked), "{asked} requests in ten minutes");
}
