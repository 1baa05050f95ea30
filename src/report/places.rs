//! The places of connections to the port: a newcomer always gets one, and who has been silent longest makes room.
//!
//! So nobody who holds connections keeps a probe or a scrape out, whether it sends nothing, keeps connections alive or does not
//! read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places, unless the process may open few files.
const MOST: usize = 64;
/// The share of all open files that connections to the port may take: the rest is for calls of AWS and Kubernetes.
const SHARE: usize = 4;
/// The fewest places that are of use.
const FEWEST: usize = 4;
/// How many versions of the status may be on their way at once, each of them in memory as long as somebody reads it.
const MAX_VERSIONS: usize = 4;

/// All places. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub(super) struct Places {
    most: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Counts what happens, so that it can be ordered.
    now: u64,
    seats: BTreeMap<u64, Seat>,
}

/// One connection. When it is dropped, the connection has to end.
struct Seat {
    peer: IpAddr,
    /// When it last began to say something.
    used: u64,
    /// The version of the status that it was sent last.
    reads: Option<String>,
    _open: oneshot::Sender<()>,
}

/// The place of one connection, given back when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Place(Arc<Holder>);

struct Holder {
    places: Places,
    id: u64,
}

/// Resolves when the place is needed for another connection.
pub(super) type Asked = oneshot::Receiver<()>;

impl Places {
    /// As many as the limit of open files allows.
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

    /// Gives a place to a new connection. One address gets half of all at most.
    pub(super) fn enter(&self, peer: IpAddr) -> (Place, Asked) {
        let peer = peer.to_canonical();
        let mut inner = self.lock();
        if inner.of(peer) >= self.most / 2 {
            inner.close_one(peer);
        } else if inner.seats.len() >= self.most {
            inner.close_any();
        }
        let (open, asked) = oneshot::channel();
        let id = inner.tick();
        let seat = Seat {
            peer,
            used: id,
            reads: None,
            _open: open,
        };
        inner.seats.insert(id, seat);
        drop(inner);
        let holder = Holder {
            places: self.clone(),
            id,
        };
        (Place(Arc::new(holder)), asked)
    }

    /// Closes one connection, where there is any.
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
        let seats = self.seats.values();
        seats.filter(|seat| seat.peer == peer).count()
    }

    /// Closes the longest silent connection of this address.
    fn close_one(&mut self, peer: IpAddr) {
        let seats = self.seats.iter().filter(|(_, seat)| seat.peer == peer);
        if let Some(id) = seats.min_by_key(|(_, seat)| seat.used).map(|(id, _)| *id) {
            self.seats.remove(&id);
        }
    }

    /// Closes a connection of the address that has most of them.
    fn close_any(&mut self) {
        let peers = self.seats.values().map(|seat| seat.peer);
        let most = peers.max_by_key(|peer| (self.of(*peer), *peer));
        if let Some(peer) = most {
            self.close_one(peer);
        }
    }

    /// Closes the connections that hold the oldest version of the status while too many are held.
    fn forget_versions(&mut self) {
        loop {
            let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
            for seat in self.seats.values() {
                if let Some(version) = &seat.reads {
                    let newest = versions.entry(version).or_default();
                    *newest = seat.used.max(*newest);
                }
            }
            if versions.len() <= MAX_VERSIONS {
                return;
            }
            let oldest = versions.into_iter().min_by_key(|(_, used)| *used);
            let Some(oldest) = oldest.map(|(version, _)| version.to_owned()) else {
                return;
            };
            self.seats
                .retain(|_, seat| seat.reads.as_deref() != Some(&oldest));
        }
    }
}

impl Place {
    /// Notes that a request has come. Whether the connection may be kept alive after it: where more than half of all places are
    /// taken, it may not.
    pub(super) fn used(&self) -> bool {
        let mut inner = self.0.places.lock();
        let now = inner.tick();
        let taken = inner.seats.len();
        if let Some(seat) = inner.seats.get_mut(&self.0.id) {
            seat.used = now;
            seat.reads = None;
        }
        taken <= self.0.places.most / 2
    }

    /// Notes that the answer is this version of the status.
    pub(super) fn reads(&self, version: &str) {
        let mut inner = self.0.places.lock();
        if let Some(seat) = inner.seats.get_mut(&self.0.id) {
            seat.reads = Some(version.to_owned());
            inner.forget_versions();
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.places.lock().seats.remove(&self.id);
    }
}

/// The limit of open files, as the kernel writes it; None where there is none.
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

    fn is_closed(asked: &mut Asked) -> bool {
        asked.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn who_was_silent_longest_makes_room_for_its_own_address() {
        let places = Places::within(None);
        let (_b, mut b) = places.enter(B);
        let mut held: Vec<(Place, Asked)> = (0..32).map(|_| places.enter(A)).collect();
        held[0].0.used();
        let _new = places.enter(A);
        let closed: Vec<bool> = held.iter_mut().map(|(_, asked)| is_closed(asked)).collect();
        assert!(closed[1] && closed.iter().filter(|is| **is).count() == 1);
        assert!(!is_closed(&mut b));
    }

    #[test]
    fn the_address_with_most_connections_makes_room_for_others() {
        let places = Places::within(Some(40));
        let c = IpAddr::from([10, 0, 0, 3]);
        let mut few: Vec<(Place, Asked)> = (0..4).map(|_| places.enter(B)).collect();
        let mut many: Vec<(Place, Asked)> = (0..5).map(|_| places.enter(A)).collect();
        let _third = places.enter(c);
        let _fourth = places.enter(c);
        assert!(few.iter_mut().all(|(_, asked)| !is_closed(asked)));
        assert!(is_closed(&mut many[0].1) && !is_closed(&mut many[1].1));
    }

    #[test]
    fn a_place_that_is_given_back_is_free() {
        let places = Places::within(Some(0));
        for _ in 0..100 {
            let (place, mut asked) = places.enter(A);
            assert!(place.clone().used());
            drop(place);
            assert!(is_closed(&mut asked));
        }
        assert_eq!(places.lock().seats.len(), 0);
    }

    #[test]
    fn few_versions_are_held_at_once() {
        let places = Places::within(None);
        let mut held: Vec<(Place, Asked)> = (0..6_u8)
            .map(|number| {
                let (place, asked) = places.enter(IpAddr::from([10, 0, 1, number / 2]));
                place.reads(&format!("version {}", number / 2 * 2));
                (place, asked)
            })
            .collect();
        assert!(held.iter_mut().all(|(_, asked)| !is_closed(asked)));
        for number in 10..12 {
            let (place, asked) = places.enter(B);
            place.reads(&format!("version {number}"));
            held.push((place, asked));
        }
        let closed: Vec<bool> = held.iter_mut().map(|(_, asked)| is_closed(asked)).collect();
        assert_eq!(
            closed,
            [true, true, false, false, false, false, false, false]
        );
        let versions: BTreeSet<_> = places
            .lock()
            .seats
            .values()
            .map(|seat| seat.reads.clone())
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
