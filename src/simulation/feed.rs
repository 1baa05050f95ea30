//! What a replica is shown of the ConfigMaps: late, and now and then without one of the clusters.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::bugs::Bug;
use super::maps::{CLUSTERS, readable};
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::model::request::Snapshot;
use crate::source::Feed;

pub fn feed(world: &Arc<World>, who: usize, process: &Process) -> Feed {
    let (world, process) = (Arc::clone(world), process.clone());
    Box::new(move |sender| {
        // Nothing is known until the first listing.
        world.shared().shown[who] = Snapshot::default();
        let told = tell(Arc::clone(&world), who, sender);
        tokio::spawn(process.run(told))
    })
}

async fn tell(world: Arc<World>, who: usize, sender: watch::Sender<Option<Snapshot>>) {
    // Until when each cluster is not listed whole.
    let mut missing: BTreeMap<&str, Instant> = BTreeMap::new();
    for cluster in CLUSTERS {
        missing.insert(cluster, Instant::now() + delay(&world, 20.0));
    }
    sleep(delay(&world, 2.0)).await;
    loop {
        let mut edited = pin!(world.edited.notified());
        edited.as_mut().enable();
        let now = Instant::now();
        let mut snapshot = Snapshot {
            objects: world.maps().0.clone(),
            ..Snapshot::default()
        };
        missing.retain(|_, until| *until > now);
        for cluster in missing.keys() {
            snapshot.objects.retain(|id, _| id.cluster != **cluster);
            snapshot
                .missing
                .insert((*cluster).to_owned(), "it does not answer".to_owned());
        }
        world.shared().shown[who] = snapshot.clone();
        distort(world.bug, &mut snapshot);
        if sender.send(Some(snapshot)).is_err() {
            return;
        }
        let back = missing.values().min().copied();
        tokio::select! {
            biased;
            () = edited => {
                if world.bug == Bug::EditsMissed && fastrand::bool() {
                    world.edited.notified().await;
                }
                sleep(delay(&world, 20.0)).await;
            }
            () = sleep_until(back.unwrap_or(now + secs(1e6))) => {}
            () = sleep(delay(&world, 60.0) + secs(60.0)) => {
                if world.faulty() && fastrand::u8(0..3) == 0 {
                    let cluster = CLUSTERS[fastrand::usize(0..CLUSTERS.len())];
                    world.note(&format!("replica {who} loses sight of {cluster}"));
                    missing.insert(cluster, Instant::now() + secs(60.0 * fastrand::f64()));
                }
            }
        }
    }
}

/// Mostly a moment, sometimes long.
fn delay(world: &World, most: f64) -> std::time::Duration {
    let long = world.faulty() && fastrand::u8(0..5) == 0;
    secs(fastrand::f64() * if long { most } else { 0.05 })
}

fn distort(bug: Bug, snapshot: &mut Snapshot) {
    if bug == Bug::EmptyTrusted {
        snapshot.missing.clear();
    }
    if bug == Bug::TyposDropped {
        for object in snapshot.objects.values_mut() {
            object.data.retain(|_, value| readable(value));
        }
    }
}
