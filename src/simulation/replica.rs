//! Replicas: processes that start, lead or stand by, and end by a signal or without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use kube::client::ClientBuilder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::bugs::Bug;
use super::config_maps::CLUSTERS;
use super::election_wrapper::ElectionWrapper;
use super::history::RESYNC;
use super::invariants::Invariant;
use super::network_faults::NetworkFaults;
use super::provider_wrapper::ProviderWrapper;
use super::script::Endpoint;
use super::source_view::{again, feed, taken};
use super::world::World;
use crate::cluster::Cluster;
use crate::controller::{Controller, ControllerConfig};
use crate::lease::Spawn;
use crate::lease::tests::fake::{Ask, Fate, Net};
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::lease::tests::wall::Wall;
use crate::ledger_store::{LedgerLocation, LedgerStore};
use crate::model::base::ids::Zone;
use crate::model::base::settings::{OnDrift, Settings};
use crate::model::desired::example_zones;
use crate::report::liveness::Liveness;
use crate::report::metrics::Metrics;
use crate::report::reporter::Reporter;
use crate::report::status_publisher::{StatusPublisher, StatusSnapshot};
use crate::source::Source;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Crash,
    Stop,
}

/// The UID of the cluster that all replicas work for.
pub const CLUSTER: &str = "11111111-2222-3333-4444-555555555555";

/// The UID of another cluster, which takes the stack over for a time.
pub const RIVAL: &str = "99999999-8888-7777-6666-555555555555";

/// Returns one of the zones, by its number in their order.
pub fn zone(number: usize) -> Zone {
    let mut zones = settings().zones.into_keys();
    zones.nth(number).expect("one of the zones")
}

/// Returns the settings, with two zones: a third zone makes templates longer and adds no behaviour.
pub fn settings() -> Settings {
    let mut zones = example_zones();
    zones.pop_last();
    Settings {
        stack_name: "egress".to_owned(),
        tags: BTreeMap::from([("owner".to_owned(), "simulation".to_owned())]),
        ownership: BTreeMap::from([("owner".to_owned(), "simulation".to_owned())]),
        zones,
        max_removal: 50,
        drift: OnDrift::Repair,
        termination_protection: true,
        stack_policy: true,
        ..Settings::default()
    }
}

/// Starts processes one after the other, each until an order ends it.
pub async fn replica(
    world: Arc<World>,
    who: usize,
    process: Process,
    mut orders: mpsc::Receiver<Order>,
    mut luck: Rng,
) {
    for start in 0.. {
        world.note(&format!("replica {who} starts"));
        let (stop, stopped) = oneshot::channel::<()>();
        let publisher = StatusPublisher::default();
        world.publishes(who, publisher.clone());
        let judging = tokio::spawn(judge(Arc::clone(&world), who, publisher.subscribe()));
        let publishing = tokio::spawn(publisher.clone().run());
        let reporter = Reporter::new(Metrics::new(), false).with(publisher, None);
        let (controller, seat) = controller(&world, who, start, &process, reporter);
        let run = controller.run(async move {
            let _either_way = stopped.await;
        });
        let mut running = tokio::spawn(process.run(run));
        let ended = match orders.recv().await {
            None => return running.abort(),
            Some(Order::Crash) => None,
            Some(Order::Stop) => {
                if world.bug == Bug::ReleasedFirst {
                    seat.release_first().await;
                    sleep(secs(5.0)).await;
                }
                let _sent = stop.send(());
                timeout(secs(30.0), &mut running).await.ok()
            }
        };
        let ended = match ended {
            Some(ended) => ended,
            // The process ended by its own fault or, if it takes too long to stop, Kubernetes ended it.
            None => {
                running.abort();
                running.await
            }
        };
        drop(seat);
        publishing.abort();
        judging.abort();
        if ended.is_err_and(|error| error.is_panic()) {
            world.fail(Invariant::NoPanic, format!("replica {who} panicked"));
        }
        world.note(&format!("replica {who} has ended"));
        sleep(secs(20.0 * luck.f64())).await;
    }
}

/// Checks each status when it is published.
async fn judge(
    world: Arc<World>,
    who: usize,
    mut statuses: watch::Receiver<Option<Arc<StatusSnapshot>>>,
) {
    while statuses.changed().await.is_ok() {
        let latest = statuses.borrow_and_update().clone();
        if let Some(latest) = latest {
            world.judge_recorded(who, &latest);
            world.note_plan(who, &latest.status);
        }
    }
}

/// Returns the location of the ledger of all replicas.
pub fn ledger_location() -> LedgerLocation {
    LedgerLocation {
        namespace: "default".to_owned(),
        name: "egress-ledger".to_owned(),
        stack_name: settings().stack_name,
        clusters: CLUSTERS.map(str::to_owned).into(),
    }
}

fn controller(
    world: &Arc<World>,
    who: usize,
    start: u32,
    process: &Process,
    reporter: Reporter,
) -> (
    Controller<ProviderWrapper, ElectionWrapper>,
    ElectionWrapper,
) {
    let (watched, mut wall) = (Arc::clone(world), Wall::new(world.ahead[who]));
    wall.trusted = world.bug == Bug::WallClock;
    let net = Net::of(wall);
    net.set(move |ask| fate(&mut watched.network_faults(), who, ask));
    let of = process.clone();
    let spawn: Spawn = Arc::new(move |task| tokio::spawn(of.run(task)));
    let name = format!("r{who}-{start}");
    let election = world.api.replica_over(&name, &net, spawn);
    let seat = ElectionWrapper::new(world, who, process, election);
    let mut settings = settings();
    world.starts_with_flags(&mut settings);
    world.starts_with_moving_lists(who, start, &mut settings);
    world.starts_with_eips(&mut settings);
    world.starts_with_zones(who, &mut settings);
    world.starts_with_own_ip(who, &mut settings);
    if world.bug == Bug::ZoneForgotten && who == 1 {
        let last = settings.zones.pop_last();
        settings.remove_zones.extend(last.map(|(zone, _)| zone));
    }
    if world.bug == Bug::DriftUnseen {
        settings.drift = OnDrift::Off;
    }
    if world.bug == Bug::LimitsUnseen {
        settings.route_table_quota = Some(500);
    }
    let config = ControllerConfig {
        settings,
        empty_grace_period: match world.bug {
            Bug::GraceSkipped => secs(0.0),
            _ => secs(f64::from(world.flags.grace)),
        },
        resync_interval: match world.bug {
            Bug::Restless => secs(1.0),
            _ => RESYNC,
        },
        drift_interval: Some(secs(120.0)),
        dry_run: false,
        cluster: Cluster::named(CLUSTER),
    };
    let controller = Controller::new(
        ProviderWrapper::new(world, who, process),
        seat.clone(),
        Source::Simulated {
            feed: feed(world, who, process),
            taken: taken(world, who),
            again: again(world, who),
        },
        config,
        ledger(world, who, &net),
        reporter,
        Liveness::new(secs(60.0)),
    );
    (controller, seat)
}

/// Returns the ledger, over the same network as the Lease.
fn ledger(world: &World, who: usize, net: &Net) -> LedgerStore {
    let transport = world.ledger.transport(net);
    let (start, ahead) = (world.start, world.ahead[who]);
    let clock = Arc::new(move || secs(1.8e9 + ahead as f64) + start.elapsed());
    let client = ClientBuilder::new(transport, "default").build();
    let store = LedgerStore::new(client, ledger_location(), clock);
    match world.bug {
        Bug::LedgerLate => store.with_rate(1),
        _ => store,
    }
}

/// Draws the fate of one request about the Lease.
fn fate(network_faults: &mut NetworkFaults, who: usize, ask: Ask) -> Fate {
    let most = if ask == Ask::Event { 3.0 } else { 40.0 };
    let luck = network_faults.luck(who, Endpoint::Api, most);
    Fate {
        before: luck.before,
        request_lost: luck.lost,
        after: luck.after,
        answer_lost: luck.unanswered,
        status: luck
            .error
            .map(|error| [409, 429, 500, 503][usize::from(error)]),
        again: luck.again,
    }
}
