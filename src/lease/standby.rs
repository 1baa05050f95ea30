//! How a standby waits: it watches the Lease, and acts when it is released or has been seen unchanged for its whole duration.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client};
use std::time::Duration;

use crate::clock::{self, Instant, sleep_until, timeout};

use super::config::ElectionConfig;
use super::lock::chain;
use super::seen::Known;
use super::view::Board;

/// How long the API server keeps one watch, in seconds. A new one costs a request, so it is as long as the client allows.
const WATCH_SECONDS: u32 = 290;
/// How often a standby reads the Lease for nothing but to keep its connection open: setting up a new one, with TLS and delayed
/// acknowledgements, would cost a takeover 50 ms. Servers and this client close an idle connection after 90 s.
const KEEP_WARM: Duration = Duration::from_secs(75);

/// How much later than a new one a standby that has lived for 17 minutes tries to take a released Lease. In a rolling update the
/// leader goes while old and new replicas stand by: one that is about to go, too, would only be the next to hand over.
const DEFERENCE: Duration = Duration::from_millis(20);

type Events = BoxStream<'static, kube::Result<WatchEvent<Lease>>>;

pub(super) struct Standby {
    api: Api<Lease>,
    config: ElectionConfig,
    known: Known,
    board: Board,
    watch: Option<Watch>,
    born: Instant,
}

struct Watch {
    events: Events,
    since: Instant,
    /// The version that the watch has brought us to.
    version: String,
}

/// What the watch has to tell.
enum News {
    Changed,
    Deleted,
    /// The watch ended or could not be started, for this reason; `None` if it had simply lasted its time.
    Ended(Option<String>),
}

impl Standby {
    /// `client` must have the guard on its stack.
    pub(super) fn new(client: Client, config: ElectionConfig, known: Known, board: Board) -> Self {
        Self {
            api: Api::namespaced(client, &config.namespace),
            config,
            known,
            board,
            watch: None,
            born: clock::now(),
        }
    }

    /// Drops the watch.
    pub(super) fn rest(&mut self) {
        self.watch = None;
    }

    /// Waits until it makes sense to try to take the Lease: almost at once when it is released or deleted, otherwise when what is
    /// in front of us is dead, and not before `earliest`. Returns now and then without such a reason.
    pub(super) async fn wait(&mut self, earliest: Instant) {
        let mut earliest = earliest;
        let refresh = clock::now() + KEEP_WARM;
        loop {
            let seen = self.known.seen();
            self.board.saw(seen.as_ref());
            let Some(seen) = seen else {
                self.rest();
                return sleep_until(earliest).await;
            };
            // A read has shown more than the watch: it is late, or dead. A new one tells.
            if self
                .watch
                .as_ref()
                .is_some_and(|watch| watch.version != seen.version)
            {
                self.rest();
            }
            let due = seen.dead_at().max(earliest).min(refresh);
            let news = tokio::select! {
                // First, because news of a renewal saves a read.
                biased;
                news = self.news(&seen.version) => news,
                () = sleep_until(due) => return,
            };
            match news {
                News::Changed => {
                    // The failure that `earliest` waits out was about another version.
                    earliest = clock::now();
                    let seen = self.known.seen();
                    if seen.is_some_and(|seen| seen.dead_at() <= earliest) {
                        earliest += self.deference();
                    }
                }
                News::Deleted => return self.known.absent(),
                News::Ended(None) => self.rest(),
                News::Ended(Some(reason)) => {
                    self.rest();
                    tracing::debug!(reason, "cannot watch the Lease, reading it instead");
                    let poll = earliest.max(clock::now() + self.config.retry_after());
                    return sleep_until(poll.min(due)).await;
                }
            }
        }
    }

    /// 2 ms at the age of a second, 12 ms at that of a minute.
    fn deference(&self) -> Duration {
        let age = clock::since(self.born).as_secs_f64();
        DEFERENCE.mul_f64((1.0 + age).log2().min(10.0) / 10.0)
    }

    /// Waits for the next change after `version`, starting the watch if there is none.
    async fn news(&mut self, version: &str) -> News {
        if self.watch.is_none() {
            match self.start(version).await {
                Ok(watch) => self.watch = Some(watch),
                Err(reason) => return News::Ended(Some(reason)),
            }
        }
        let Some(watch) = self.watch.as_mut() else {
            return News::Ended(None);
        };
        loop {
            match watch.events.next().await {
                Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                    watch.version = lease.metadata.resource_version.clone().unwrap_or_default();
                    self.known.observe(&lease);
                    return News::Changed;
                }
                Some(Ok(WatchEvent::Deleted(_))) => return News::Deleted,
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(status))) => {
                    return News::Ended(Some(status.message.clone()));
                }
                Some(Err(error)) => return News::Ended(Some(chain(&error))),
                // A server that ends every watch at once is not to be asked at once.
                None if clock::since(watch.since) < Duration::from_secs(1) => {
                    return News::Ended(Some("the API server ended it at once".into()));
                }
                None => return News::Ended(None),
            }
        }
    }

    async fn start(&mut self, version: &str) -> Result<Watch, String> {
        let params = WatchParams {
            field_selector: Some(format!("metadata.name={}", self.config.name)),
            timeout: Some(WATCH_SECONDS),
            bookmarks: false,
            ..WatchParams::default()
        };
        let patience = self.config.patience();
        match timeout(patience, self.api.watch(&params, version)).await {
            Ok(Ok(events)) => Ok(Watch {
                events: events.boxed(),
                since: clock::now(),
                version: version.to_owned(),
            }),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!(
                "no answer from the API server within {patience:.1?}"
            )),
        }
    }
}
