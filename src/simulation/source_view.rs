//! The ConfigMaps as a replica reads them: late, and sometimes without one of the clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::bugs::Bug;
use super::config_maps::{CLUSTERS, entries, readable};
use super::script::{Endpoint, REPLICAS};
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::model::base::cidr;
use crate::model::base::ids::ObjectId;
use crate::model::input::request::{Object, Snapshot};
use crate::provider::memory::quota_faults::ROUTES;
use crate::source::confirm::Doubt;
use crate::source::{Again, Feed, Taken};

/// How long a watch may be silent before its source is in doubt.
const NOTICED: Duration = Duration::from_secs(8);

/// The faults between the clusters and the replicas, apart from network partitions.
pub struct SourceFaults {
    away_until: Instant,
    blind_until: BTreeMap<(usize, &'static str), Instant>,
    late_until: [Instant; REPLICAS],
    blank_until: Instant,
    deaf_until: Instant,
}

impl SourceFaults {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            away_until: now,
            blind_until: BTreeMap::new(),
            late_until: [now; REPLICAS],
            blank_until: now,
            deaf_until: now,
        }
    }

    /// Makes the API server unavailable that also has the Lease.
    pub fn away(&mut self, lasts: Duration) {
        self.away_until = Instant::now() + lasts;
    }

    pub fn blind(&mut self, who: usize, cluster: &'static str, lasts: Duration) {
        self.blind_until
            .insert((who, cluster), Instant::now() + lasts);
    }

    pub fn late(&mut self, who: usize, lasts: Duration) {
        self.late_until[who] = Instant::now() + lasts;
    }

    pub fn blank(&mut self, lasts: Duration) {
        self.blank_until = Instant::now() + lasts;
    }

    /// Silences all watches without ending them.
    pub fn deaf(&mut self, lasts: Duration) {
        self.deaf_until = Instant::now() + lasts;
    }

    fn delay(&self, who: usize) -> Duration {
        let late = self.late_until[who] > Instant::now();
        secs(fastrand::f64() * if late { 20.0 } else { 0.05 })
    }
}

pub fn feed(world: &Arc<World>, who: usize, process: &Process) -> Feed {
    let (world, process) = (Arc::clone(world), process.clone());
    Box::new(move |sender| {
        // Nothing is known until the first list.
        world.shared().shown[who] = Snapshot::default();
        let told = tell(Arc::clone(&world), who, sender);
        tokio::spawn(process.run(told))
    })
}

/// Records the basis of the replica's pass.
pub fn taken(world: &Arc<World>, who: usize) -> Taken {
    let world = Arc::clone(world);
    Arc::new(move || {
        let truth = truth(&world);
        let mut shared = world.shared();
        shared.basis[who] = shared.shown[who].clone();
        for (id, net) in entries(&shared.basis[who].objects) {
            let standing = shared.entries.get_mut(&id);
            if let Some(standing) = standing.filter(|it| it.net == net) {
                standing.read.get_or_insert(Instant::now());
            }
        }
        shared.truth[who] = truth;
        shared.passes += 1;
    })
}

/// Returns the result that a list would have.
fn truth(world: &World) -> BTreeMap<ObjectId, Object> {
    match world.source_faults().blank_until > Instant::now() {
        true => BTreeMap::new(),
        false => world.maps().objects.clone(),
    }
}

/// Lists everything by a consistent read, which fails and is delayed like other messages.
pub fn again(world: &Arc<World>, who: usize) -> Again {
    let world = Arc::clone(world);
    Box::new(move || {
        let world = Arc::clone(&world);
        Box::pin(async move {
            if world.bug == Bug::Unconfirmed {
                let shown = world.shared().shown[who].clone();
                return Ok(distorted(&world, shown));
            }
            let luck = world.network_faults().luck(who, Endpoint::Api, 8.0);
            sleep(luck.before).await;
            let now = Instant::now();
            let cut = world.network_faults().cut_until(who, Endpoint::Api);
            let away = world.source_faults().away_until.max(cut) > now;
            let blind = |cluster| {
                world
                    .source_faults()
                    .blind_until
                    .get(&(who, cluster))
                    .copied()
            };
            let blind = CLUSTERS.into_iter().filter_map(blind).any(|at| at > now);
            if away || blind || luck.lost || luck.unanswered || luck.error.is_some() {
                sleep(secs(5.0)).await;
                return Err(Doubt::new("a cluster", "it does not answer"));
            }
            let objects = truth(&world);
            world.shared().truth[who] = objects.clone();
            sleep(luck.after).await;
            let snapshot = Snapshot {
                objects,
                ..Snapshot::default()
            };
            Ok(distorted(&world, snapshot))
        })
    })
}

async fn tell(world: Arc<World>, who: usize, sender: watch::Sender<Option<Snapshot>>) {
    // The time until which each cluster is not listed completely. Some first lists take long.
    let mut listed: BTreeMap<&'static str, Instant> = BTreeMap::new();
    for cluster in CLUSTERS {
        let most = if fastrand::u8(0..3) == 0 { 20.0 } else { 0.05 };
        listed.insert(cluster, Instant::now() + secs(fastrand::f64() * most));
    }
    sleep(secs(fastrand::f64() * 0.05)).await;
    let mut last: Option<Snapshot> = None;
    let mut silent = BTreeMap::new();
    loop {
        let mut edited = pin!(world.edited.notified());
        edited.as_mut().enable();
        let (snapshot, better_at) = look(&world, who, &mut listed, &mut silent, last.as_ref());
        if last.as_ref() != Some(&snapshot) {
            last = Some(snapshot.clone());
            world.shared().shown[who] = snapshot.clone();
            if sender.send(Some(distorted(&world, snapshot))).is_err() {
                return;
            }
        }
        let now = Instant::now();
        tokio::select! {
            biased;
            () = edited => {
                if world.bug == Bug::EditsMissed && fastrand::bool() {
                    world.edited.notified().await;
                }
                let delay = world.source_faults().delay(who);
                sleep(delay).await;
            }
            () = sleep_until(better_at.unwrap_or(now + secs(60.0))) => {}
        }
    }
}

/// Returns what the replica can read now, and when it may read more.
fn look(
    world: &World,
    who: usize,
    listed: &mut BTreeMap<&'static str, Instant>,
    silent: &mut BTreeMap<&'static str, Instant>,
    last: Option<&Snapshot>,
) -> (Snapshot, Option<Instant>) {
    let now = Instant::now();
    let mut snapshot = Snapshot {
        objects: world.maps().objects.clone(),
        ..Snapshot::default()
    };
    let mut better_at: Option<Instant> = None;
    let mut wait = |until: Instant| better_at = Some(better_at.map_or(until, |at| at.min(until)));
    for cluster in CLUSTERS {
        let cut = if cluster == CLUSTERS[0] {
            let away = world.source_faults().away_until;
            away.max(world.network_faults().cut_until(who, Endpoint::Api))
        } else {
            now
        };
        let (deaf, key) = (world.source_faults().deaf_until, (who, cluster));
        let blind = world.source_faults().blind_until.get(&key).copied();
        if let Some(until) = blind.filter(|until| *until > now) {
            listed.insert(cluster, until);
        }
        let ready = listed.get(cluster).copied().unwrap_or(now);
        if cut <= now && deaf <= now {
            silent.remove(cluster);
        }
        if ready > now || cut > now && listed.contains_key(cluster) {
            snapshot.objects.retain(|id, _| id.cluster != cluster);
            let why = "it does not answer".to_owned();
            snapshot.missing.insert(cluster.to_owned(), why);
            wait(ready.max(cut));
        } else if cut > now {
            // Objects that were listed before still count. The replica notices after a while that they are in doubt.
            as_before(&mut snapshot, cluster, last);
            let noticed = *silent.entry(cluster).or_insert(now) + NOTICED;
            if noticed <= now {
                let why = "it no longer answers".to_owned();
                snapshot.stale.insert(cluster.to_owned(), why);
                wait(cut);
            } else {
                wait(cut.min(noticed));
            }
            continue;
        } else if deaf > now && !listed.contains_key(cluster) {
            as_before(&mut snapshot, cluster, last);
            // One of the clusters sends bookmarks, so its silence is noticed after a while.
            let noticed = *silent.entry(cluster).or_insert(now) + NOTICED;
            if cluster == CLUSTERS[1] && noticed <= now {
                let why = "its watch is silent".to_owned();
                snapshot.stale.insert(cluster.to_owned(), why);
            } else {
                wait(noticed.max(now + secs(0.1)));
            }
            wait(deaf);
            continue;
        } else {
            listed.remove(cluster);
        }
    }
    let blank = world.source_faults().blank_until;
    if blank > now {
        snapshot.objects.clear();
        wait(blank);
    }
    (snapshot, better_at)
}

fn as_before(snapshot: &mut Snapshot, cluster: &str, last: Option<&Snapshot>) {
    snapshot.objects.retain(|id, _| id.cluster != cluster);
    let known = last.into_iter().flat_map(|last| &last.objects);
    let before = known.filter(|(id, _)| id.cluster == cluster);
    let before = before.map(|(id, object)| (id.clone(), object.clone()));
    snapshot.objects.extend(before);
}

fn distorted(world: &World, mut snapshot: Snapshot) -> Snapshot {
    let bug = world.bug;
    if bug == Bug::ServedWait && world.is_tight() {
        snapshot.objects.pop_first();
    }
    if bug == Bug::EmptyTrusted {
        snapshot.missing.clear();
    }
    if bug == Bug::StaleTrusted {
        snapshot.stale.clear();
    }
    if bug == Bug::FullIsEmpty {
        let nets = entries(&snapshot.objects).into_values();
        if cidr::minimal(nets, &BTreeSet::new()).len() >= ROUTES {
            snapshot.objects.clear();
        }
    }
    if bug == Bug::FullLedgerFreezes {
        world.freeze_if_full(&mut snapshot);
    }
    if bug == Bug::OversizedDropped {
        for object in snapshot.objects.values_mut() {
            (object.more_keys, object.unreadable) = (0, None);
        }
    }
    if bug == Bug::TyposDropped {
        for object in snapshot.objects.values_mut() {
            object.data.retain(|_, value| readable(value));
        }
    }
    snapshot
}
