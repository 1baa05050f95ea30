//! A whole controller of another cluster with the same stack name, for a while. It must leave the stack alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::client::ClientBuilder;
use tokio::time::sleep;

use super::bugs::Bug;
use super::invariants::Invariant;
use super::replica::{CLUSTER, ledger_location, settings};
use super::world::World;
use crate::cluster::Cluster;
use crate::controller::{Controller, ControllerConfig};
use crate::lease::tests::fake::{FakeApi, Net};
use crate::lease::tests::secs;
use crate::lease::{LeaseElection, Spawn, Term};
use crate::ledger_store::LedgerStore;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::input::request::{Object, Snapshot};
use crate::model::plan::types::Action;
use crate::provider::memory::{MemoryProvider, owners};
use crate::provider::{Provider, ProviderError};
use crate::report::liveness::Liveness;
use crate::report::metrics::Metrics;
use crate::report::reporter::Reporter;
use crate::source::Source;

/// The UID of the second cluster.
const SECOND: &str = "77777777-6666-5555-4444-333333333333";

/// The provider of the second cluster's controller, without faults.
struct SecondProvider {
    world: Arc<World>,
    account: MemoryProvider,
    /// Whether the stack was the first cluster's when it was last read.
    is_theirs: AtomicBool,
}

impl Provider for SecondProvider {
    async fn network(&self) -> Result<Network, ProviderError> {
        self.account.network().await
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        self.account.absent(ids).await
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        let mut live = self.account.live(epoch, known).await?;
        if let Live::Ours(stack) = &mut live {
            let is_theirs = !owners::names(stack, SECOND);
            self.is_theirs.store(is_theirs, Ordering::Relaxed);
            if self.world.bug == Bug::SecondUnaware {
                owners::name(stack, SECOND);
            }
        }
        Ok(live)
    }

    async fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        self.account.observe(stack, ips).await
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        self.account.addresses(ips).await
    }

    async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        self.account.headroom(zones).await
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        if action.mutates() && self.is_theirs.load(Ordering::Relaxed) {
            let call = action.name();
            let text = format!("the second cluster decided on {call} for the first one's stack");
            self.world.fail(Invariant::OneOwner, text);
        }
        self.account.apply(term, owner, stack, action).await
    }
}

/// Runs the second cluster's controller, if the first cluster has a stack that nobody deletes.
pub fn run(world: &Arc<World>, lasts: Duration) {
    if !world.may_have_second || !world.account.has_owner(CLUSTER) {
        return world.note("the first cluster's stack does not exist yet, or may be deleted");
    }
    let (api, ledger, net) = (FakeApi::new(), FakeApi::new(), Net::good());
    let spawn: Spawn = Arc::new(tokio::spawn);
    let election = api.replica_over("second", &net, spawn);
    let (start, transport) = (world.start, ledger.transport(&net));
    let clock = Arc::new(move || secs(1.8e9) + start.elapsed());
    let client = ClientBuilder::new(transport, "default").build();
    let controller: Controller<SecondProvider, LeaseElection> = Controller::new(
        SecondProvider {
            world: Arc::clone(world),
            account: world.account.clone(),
            is_theirs: AtomicBool::default(),
        },
        election,
        source(),
        ControllerConfig {
            settings: settings(),
            empty_grace_period: secs(60.0),
            resync_interval: secs(300.0),
            drift_interval: Some(secs(120.0)),
            dry_run: false,
            cluster: Cluster::named(SECOND),
        },
        LedgerStore::new(client, ledger_location(), clock),
        Reporter::new(Metrics::new(), false),
        Liveness::new(secs(60.0)),
    );
    let world = Arc::clone(world);
    tokio::spawn(async move {
        controller.run(sleep(lasts)).await;
        world.note("the second cluster's controller has ended");
    });
}

/// Returns the source of one ConfigMap, with an entry that no entry of the first cluster requests.
fn source() -> Source {
    let id = ObjectId {
        cluster: "blue".to_owned(),
        namespace: "default".to_owned(),
        name: "second".to_owned(),
    };
    let mut object = Object::default();
    object.put("key", "77.0.0.1");
    let snapshot = Snapshot {
        objects: [(id, object)].into(),
        ..Snapshot::default()
    };
    let again = snapshot.clone();
    Source::Simulated {
        feed: Box::new(move |sender| {
            let snapshot = snapshot.clone();
            tokio::spawn(async move {
                if sender.send(Some(snapshot)).is_ok() {
                    sender.closed().await;
                }
            })
        }),
        taken: Arc::new(|| ()),
        again: Box::new(move || {
            let snapshot = again.clone();
            Box::pin(async move { Ok(snapshot) })
        }),
    }
}
