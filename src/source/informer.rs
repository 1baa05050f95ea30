//! Follows one cluster's ConfigMaps: lists them, watches changes, and lists them again at each resync interval.
//!
//! The list finds everything that a watch can miss, for example after an API server lost events or was restored from a backup.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::board::Board;
use super::item::Event;
use super::past::Past;
use super::reader::{ReadError, Reader, Watch};
use crate::retry::Backoff;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The backoff starts again after a watch or request that lasted this long.
const CALM: Duration = Duration::from_secs(10);
/// The minimum time between the starts of two watches or lists.
const PACE: Duration = Duration::from_secs(1);
/// How long a watch must be open, without new events to deliver, before the snapshot counts as current.
const SETTLES: Duration = Duration::from_millis(100);
/// The minimum time between a list and the list that follows an unreadable event.
const REREAD: Duration = Duration::from_secs(30);

/// The informer of one cluster.
pub(super) struct Informer {
    reader: Reader,
    board: Board,
    /// The interval between lists.
    resync: Duration,
    backoff: Backoff,
    /// The version up to which events are known. Before the first list, the version that the previous watch reached.
    version: String,
    past: Past,
}

/// Why a watch ended.
enum End {
    /// The watch ended by itself. The next watch continues from its version.
    Over,
    /// All ConfigMaps have to be listed again.
    List,
}

impl Informer {
    pub(super) fn new(reader: Reader, board: Board, resync: Duration, past: Past) -> Self {
        Self {
            reader,
            board,
            resync,
            // The backoff starts again only after a watch has lasted: a server that accepts a watch and fails immediately is failing.
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            version: past.version(),
            past,
        }
    }

    /// Follows the cluster forever.
    pub(super) async fn run(mut self) {
        if let Some((at, why)) = self.past.went_back() {
            self.board.still_back(at, why);
        }
        loop {
            let begun = Instant::now();
            self.board.doubt();
            match self.reader.list().await {
                Ok(listing) => {
                    self.compare(&listing.version);
                    self.version.clone_from(&listing.version);
                    self.past.reach(&self.version);
                    self.board.listed(listing);
                    self.follow(Instant::now()).await;
                    sleep_until(begun + PACE).await;
                }
                Err(error) => self.pause(begun, &error).await,
            }
        }
    }

    /// Runs one watch after the other until the next list is due.
    async fn follow(&mut self, listed: Instant) {
        let mut until = listed + self.resync;
        while Instant::now() < until {
            let begun = Instant::now();
            match self.watch_once(listed, &mut until).await {
                Ok(End::Over) => {
                    self.board.doubt();
                    sleep_until(begun + PACE).await;
                }
                Ok(End::List) => return,
                Err(error) if error.needs_a_list() => {
                    tracing::debug!("the watch cannot continue from its version: {error}");
                    self.board.doubt();
                    // Right after a list, this is a failure like any other: a problem reports it if it persists.
                    if begun.duration_since(listed) < CALM {
                        self.pause(begun, &error).await;
                    }
                    return;
                }
                Err(error) => self.pause(begun, &error).await,
            }
        }
    }

    async fn watch_once(&mut self, listed: Instant, until: &mut Instant) -> Result<End, ReadError> {
        let mut watch: Watch = self.reader.watch(&self.version).await?;
        let begun = Instant::now();
        let mut settles = Some(begun + SETTLES);
        loop {
            let wake = settles.map_or(*until, |at| at.min(*until));
            let Ok(events) = timeout_at(wake, watch.next()).await else {
                if settles.take().is_none() || Instant::now() >= *until {
                    return Ok(End::List);
                }
                self.board.is_certain();
                continue;
            };
            let Some(events) = events? else {
                return Ok(End::Over);
            };
            if begun.elapsed() > CALM {
                self.backoff.reset();
            }
            for event in events {
                match event {
                    Event::Set(item) => {
                        let id = self.reader.id(item.namespace, item.name);
                        self.advance(item.version);
                        self.board.set(id, item.object);
                    }
                    Event::Deleted(item) => {
                        self.advance(item.version);
                        self.board
                            .delete(&self.reader.id(item.namespace, item.name));
                    }
                    Event::Bookmark(version) => {
                        if is_older(&version, &self.version) {
                            return Ok(End::List);
                        }
                        self.advance(version);
                    }
                    Event::Failed { code, message } => {
                        return Err(ReadError::Status { code, message });
                    }
                    Event::Unknown(why) => {
                        tracing::debug!("an event cannot be read: {why}");
                        *until = (*until).min(listed + REREAD).max(Instant::now());
                    }
                }
            }
        }
    }

    /// Records the version of an event. Only a list may return to an older version.
    fn advance(&mut self, version: String) {
        if !version.is_empty() && !is_older(&version, &self.version) {
            self.version = version;
            self.past.reach(&self.version);
        }
    }

    /// Records that a list shows an older state than the known one.
    fn compare(&mut self, listed: &str) {
        if is_older(listed, &self.version)
            && let (Ok(from), Ok(to)) = (self.version.parse(), listed.parse())
        {
            let why = self.board.went_back(from, to);
            self.past.note(Instant::now(), why);
        }
    }

    async fn pause(&mut self, begun: Instant, error: &ReadError) {
        self.board.failed(&error.explain());
        // A watch that lasted was a success, even without events.
        if begun.elapsed() > CALM {
            self.backoff.reset();
        }
        sleep(self.backoff.next()).await;
    }
}

/// Whether a version is older than another. Kubernetes versions are increasing integers; other versions are not compared.
fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

#[cfg(test)]
#[path = "informer_tests.rs"]
mod tests;
