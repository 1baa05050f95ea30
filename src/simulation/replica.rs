//! Replicas: processes that start, lead or stand by, and end by a signal or without one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::bugs::Bug;
use super::feed::feed;
use super::link::Link;
use super::maps::CLUSTERS;
use super::seat::Seat;
use super::world::World;
use crate::controller::{Conduct, Controller};
use crate::lease::Spawn;
use crate::lease::tests::fake::{Ask, Fate, Net};
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::ledger::{Book, Place};
use crate::model::desired::{Settings, example_zones};
use crate::report::metrics::Metrics;
use crate::report::pulse::Pulse;
use crate::report::teller::Teller;
use crate::source::Source;

/// What becomes of a process.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Crash,
    Stop,
}

pub fn settings() -> Settings {
    Settings {
        stack_name: "egress".to_owned(),
        tags: BTreeMap::from([("owner".to_owned(), "simulation".to_owned())]),
        ownership: BTreeMap::from([("owner".to_owned(), "simulation".to_owned())]),
        zones: example_zones(),
        max_removal: 50,
        route_table_quota: 500,
        ..Settings::default()
    }
}

/// Starts processes one after the other, each until an order ends it.
pub async fn replica(
    world: Arc<World>,
    who: usize,
    process: Process,
    mut orders: mpsc::Receiver<Order>,
) {
    for start in 0.. {
        world.note(&format!("replica {who} starts"));
        let (stop, stopped) = oneshot::channel::<()>();
        let (controller, seat) = controller(&world, who, start, &process);
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
            // By its own fault or, if it takes too long to stop, by Kubernetes.
            None => {
                running.abort();
                running.await
            }
        };
        drop(seat);
        if ended.is_err_and(|error| error.is_panic()) {
            world.fail(format!("replica {who} panicked"));
        }
        world.note(&format!("replica {who} has ended"));
        sleep(secs(20.0 * fastrand::f64())).await;
    }
}

fn controller(
    world: &Arc<World>,
    who: usize,
    start: u32,
    process: &Process,
) -> (Controller<Link, Seat>, Seat) {
    let net = Net::good();
    let (watched, mut cut) = (Arc::clone(world), Instant::now());
    net.set(move |ask| {
        if watched.faulty() {
            fate(&watched, who, &mut cut, ask)
        } else {
            Fate::default()
        }
    });
    let of = process.clone();
    let spawn: Spawn = Arc::new(move |task| tokio::spawn(of.run(task)));
    let name = format!("r{who}-{start}");
    let election = world.api.replica_over(&name, &net, spawn);
    let seat = Seat::new(world, who, process, election);
    let mut settings = settings();
    if world.bug == Bug::ZoneForgotten && who == 1 {
        settings.zones.pop_last();
        settings.allow_zone_removal = true;
    }
    let conduct = Conduct {
        settings,
        empty_grace_period: secs(60.0),
        resync_interval: secs(300.0),
        drift_interval: None,
        dry_run: false,
    };
    let controller = Controller::new(
        Link::new(world, who, process),
        seat.clone(),
        Source::Simulated {
            feed: feed(world, who, process),
        },
        conduct,
        book(world, &net),
        Teller::new(Metrics::new(), false),
        Pulse::new(secs(60.0)),
    );
    (controller, seat)
}

/// The ledger, over the same network as the Lease.
fn book(world: &World, net: &Net) -> Book {
    let transport = world.ledger.transport(net);
    let place = Place {
        namespace: "default".to_owned(),
        name: "egress-ledger".to_owned(),
        stack_name: settings().stack_name,
        clusters: CLUSTERS.map(str::to_owned).into(),
    };
    let start = world.start;
    let clock = Arc::new(move || secs(1.8e9) + start.elapsed());
    Book::new(
        ClientBuilder::new(transport, "default").build(),
        place,
        clock,
    )
}

/// Mostly short, sometimes long.
fn delay(most: f64) -> Duration {
    match fastrand::u8(0..100) {
        0..94 => secs(fastrand::f64() * 0.02),
        94..98 => secs(fastrand::f64() * 3.0),
        _ => secs(fastrand::f64() * most),
    }
}

/// What becomes of one request about the Lease.
fn fate(world: &World, who: usize, cut: &mut Instant, ask: Ask) -> Fate {
    let now = Instant::now();
    if fastrand::u16(0..150) == 0 {
        let pause = secs(fastrand::f64() * 60.0);
        world.note(&format!(
            "replica {who} is cut off from the Lease for {pause:.1?}"
        ));
        *cut = now + pause;
    }
    // A cut that lets requests through and holds the answers back, or one that lets nothing through.
    let lost = now < *cut;
    let slow = ask != Ask::Event;
    Fate {
        before: delay(if slow { 40.0 } else { 0.02 }),
        request_lost: lost && fastrand::bool() || fastrand::u16(0..200) < 2,
        after: if slow { delay(40.0) } else { Duration::ZERO },
        answer_lost: lost || fastrand::u16(0..200) < 2,
        status: (fastrand::u8(0..100) < 2).then(|| [409, 429, 500, 503][fastrand::usize(0..4)]),
    }
}
