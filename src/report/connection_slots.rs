//! Limits the connections to the port. A new connection always gets a slot; if there is none, the connection that was idle longest
//! is closed.
//!
//! So a client that opens many connections cannot lock out probes or scrapes, even if it sends nothing or does not read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The number of slots, unless the process may open only few files.
const MOST: usize = 64;
/// The fraction of open files that connections may use, as a divisor. The rest is for requests to AWS and Kubernetes.
const SHARE: usize = 4;
/// The minimum number of slots.
const FEWEST: usize = 4;
/// How many versions of the status may be sent at once. Each stays in memory until its last reader has finished.
const MAX_VERSIONS: usize = 4;

/// All slots. All clones share them.
#[derive(Clone)]
pub(super) struct ConnectionSlots {
    most: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// A counter that orders requests and connections.
    now: u64,
    connections: BTreeMap<u64, Connection>,
}

/// One connection. Dropping it closes the connection.
struct Connection {
    peer: IpAddr,
    /// When the last request began.
    used: u64,
    /// The version of the status that was sent last.
    reads: Option<String>,
    _open: oneshot::Sender<()>,
}

/// The slot of one connection. It is free again when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Slot(Arc<SlotGuard>);

struct SlotGuard {
    slots: ConnectionSlots,
    id: u64,
}

/// Resolves when the slot is needed for another connection.
pub(super) type Eviction = oneshot::Receiver<()>;

impl ConnectionSlots {
    /// Creates as many slots as the limit of open files allows.
    pub(super) fn within(open_files: Option<usize>) -> Self {
        let share = open_files.map_or(MOST, |files| files / SHARE);
        Self {
            most: share.clamp(FEWEST, MOST),
            inner: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a slot to a new connection. One address gets at most half of all slots.
    pub(super) fn enter(&self, peer: IpAddr) -> (Slot, Eviction) {
        let peer = peer.to_canonical();
        let mut inner = self.lock();
        if inner.of(peer) >= self.most / 2 {
            inner.close_one(peer);
        } else if inner.connections.len() >= self.most {
            inner.close_any();
        }
        let (open, asked) = oneshot::channel();
        let id = inner.tick();
        let connection = Connection {
            peer,
            used: id,
            reads: None,
            _open: open,
        };
        inner.connections.insert(id, connection);
        drop(inner);
        let holder = SlotGuard {
            slots: self.clone(),
            id,
        };
        (Slot(Arc::new(holder)), asked)
    }

    /// Closes one connection, if there is one.
    pub(super) fn shed(&self) {
        self.lock().close_any();
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.now = self.now.saturating_add(1);
        self.now
    }

    fn of(&self, peer: IpAddr) -> usize {
        let connections = self.connections.values();
        connections
            .filter(|connection| connection.peer == peer)
            .count()
    }

    /// Closes the connection of this address that was idle longest.
    fn close_one(&mut self, peer: IpAddr) {
        let connections = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.peer == peer);
        if let Some(id) = connections
            .min_by_key(|(_, connection)| connection.used)
            .map(|(id, _)| *id)
        {
            self.connections.remove(&id);
        }
    }

    /// Closes a connection of the address with the most connections.
    fn close_any(&mut self) {
        let peers = self.connections.values().map(|connection| connection.peer);
        let most = peers.max_by_key(|peer| (self.of(*peer), *peer));
        if let Some(peer) = most {
            self.close_one(peer);
        }
    }

    /// Closes the connections that read the oldest version of the status, until few enough versions are in memory.
    fn forget_versions(&mut self) {
        loop {
            let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
            for connection in self.connections.values() {
                if let Some(version) = &connection.reads {
                    let newest = versions.entry(version).or_default();
                    *newest = connection.used.max(*newest);
                }
            }
            if versions.len() <= MAX_VERSIONS {
                return;
            }
            let oldest = versions.into_iter().min_by_key(|(_, used)| *used);
            let Some(oldest) = oldest.map(|(version, _)| version.to_owned()) else {
                return;
            };
            self.connections
                .retain(|_, connection| connection.reads.as_deref() != Some(&oldest));
        }
    }
}

impl Slot {
    /// Records a request. Returns whether the connection may be kept alive: only while at most half of all slots are taken.
    pub(super) fn used(&self) -> bool {
        let mut inner = self.0.slots.lock();
        let now = inner.tick();
        let taken = inner.connections.len();
        if let Some(connection) = inner.connections.get_mut(&self.0.id) {
            connection.used = now;
            connection.reads = None;
        }
        taken <= self.0.slots.most / 2
    }

    /// Records which version of the status is the response.
    pub(super) fn reads(&self, version: &str) {
        let mut inner = self.0.slots.lock();
        if let Some(connection) = inner.connections.get_mut(&self.0.id) {
            connection.reads = Some(version.to_owned());
            inner.forget_versions();
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.slots.lock().connections.remove(&self.id);
    }
}

/// Parses the limit of open files from `/proc/self/limits`. None means no limit.
pub(super) fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    line?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn is_closed(asked: &mut Eviction) -> bool {
        asked.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn who_was_silent_longest_makes_room_for_its_own_address() {
        let slots = ConnectionSlots::within(None);
        let (_b, mut b) = slots.enter(B);
        let mut held: Vec<(Slot, Eviction)> = (0..32).map(|_| slots.enter(A)).collect();
        held[0].0.used();
        let _new = slots.enter(A);
        let closed: Vec<bool> = held.iter_mut().map(|(_, asked)| is_closed(asked)).collect();
        assert!(closed[1] && closed.iter().filter(|is| **is).count() == 1);
        assert!(!is_closed(&mut b));
    }

    #[test]
    fn the_address_with_most_connections_makes_room_for_others() {
        let slots = ConnectionSlots::within(Some(40));
        let c = IpAddr::from([10, 0, 0, 3]);
        let mut few: Vec<(Slot, Eviction)> = (0..4).map(|_| slots.enter(B)).collect();
        let mut many: Vec<(Slot, Eviction)> = (0..5).map(|_| slots.enter(A)).collect();
        let _third = slots.enter(c);
        let _fourth = slots.enter(c);
        assert!(few.iter_mut().all(|(_, asked)| !is_closed(asked)));
        assert!(is_closed(&mut many[0].1) && !is_closed(&mut many[1].1));
    }

    #[test]
    fn a_place_that_is_given_back_is_free() {
        let slots = ConnectionSlots::within(Some(0));
        for _ in 0..100 {
            let (slot, mut asked) = slots.enter(A);
            assert!(slot.clone().used());
            drop(slot);
            assert!(is_closed(&mut asked));
        }
        assert_eq!(slots.lock().connections.len(), 0);
    }

    #[test]
    fn few_versions_are_held_at_once() {
        let slots = ConnectionSlots::within(None);
        let mut held: Vec<(Slot, Eviction)> = (0..6_u8)
            .map(|number| {
                let (slot, asked) = slots.enter(IpAddr::from([10, 0, 1, number / 2]));
                slot.reads(&format!("version {}", number / 2 * 2));
                (slot, asked)
            })
            .collect();
        assert!(held.iter_mut().all(|(_, asked)| !is_closed(asked)));
        for number in 10..12 {
            let (slot, asked) = slots.enter(B);
            slot.reads(&format!("version {number}"));
            held.push((slot, asked));
        }
        let closed: Vec<bool> = held.iter_mut().map(|(_, asked)| is_closed(asked)).collect();
        assert_eq!(
            closed,
            [true, true, false, false, false, false, false, false]
        );
        let versions: BTreeSet<_> = slots
            .lock()
            .connections
            .values()
            .map(|connection| connection.reads.clone())
            .collect();
        assert_eq!(versions.len(), MAX_VERSIONS);
    }

    #[test]
    fn the_limit_of_open_files_is_read_as_the_kernel_writes_it() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             95914                95914                processes\n\
                    Max open files            40                   524288               files\n";
        assert_eq!(open_files(text), Some(40));
        assert_eq!(open_files("Max open files unlimited unlimited files"), None);
        assert_eq!(open_files(""), None);
        let of_ours = std::fs::read_to_string("/proc/self/limits").expect("limits");
        assert!(open_files(&of_ours).is_some_and(|files| files > 8));
    }
}
