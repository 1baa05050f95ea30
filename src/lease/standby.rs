//! How a standby waits: it watches the Lease until it is released, or was observed unchanged for its whole duration.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client};
use std::time::Duration;

use crate::clock::{self, Instant, sleep_until, timeout};
use crate::error_chain;

use super::config::ElectionConfig;
use super::observation::LeaseState;
use super::status::StatusWriter;

/// The duration of one watch in seconds. Each watch costs a request, so it is as long as the client allows.
const WATCH_SECONDS: u32 = 290;
/// The interval at which a standby reads the Lease to keep its connection open. Servers and this client close an idle connection after 90
/// s, and a new one, with TLS and delayed acknowledgements, would delay a takeover by 50 ms.
const KEEP_WARM: Duration = Duration::from_secs(75);

/// The maximum delay before an old standby (17 minutes) takes a released Lease. In a rolling update, old and new replicas stand by. A
/// new one should win, because an old one would soon have to hand over again.
const DEFERENCE: Duration = Duration::from_millis(20);

type Events = BoxStream<'static, kube::Result<WatchEvent<Lease>>>;

pub(super) struct Standby {
    api: Api<Lease>,
    config: ElectionConfig,
    known: LeaseState,
    status: StatusWriter,
    watch: Option<Watch>,
    born: Instant,
}

struct Watch {
    events: Events,
    since: Instant,
    /// The last version that the watch delivered.
    version: String,
}

/// An event of the watch.
enum News {
    Changed,
    Deleted,
    /// The watch ended or could not be started, with the reason, or `None` if its time was over.
    Ended(Option<String>),
}

impl Standby {
    /// Creates a standby. `client` must have the CAS layer on its stack.
    pub(super) fn new(
        client: Client,
        config: ElectionConfig,
        known: LeaseState,
        status: StatusWriter,
    ) -> Self {
        Self {
            api: Api::namespaced(client, &config.namespace),
            config,
            known,
            status,
            watch: None,
            born: clock::now(),
        }
    }

    /// Ends the watch.
    pub(super) fn rest(&mut self) {
        self.watch = None;
    }

    /// Waits until an attempt to take the Lease makes sense: almost at once if it is released or deleted, otherwise when it has expired,
    /// and not before `earliest`. May return early.
    pub(super) async fn wait(&mut self, earliest: Instant) {
        let mut earliest = earliest;
        let refresh = clock::now() + KEEP_WARM;
        loop {
            let seen = self.known.seen();
            self.status.saw(seen.as_ref());
            let Some(seen) = seen else {
                self.rest();
                return sleep_until(earliest).await;
            };
            // A read has returned a newer version than the watch, which lags or is dead. A new watch replaces it.
            if self
                .watch
                .as_ref()
                .is_some_and(|watch| watch.version != seen.version)
            {
                self.rest();
            }
            let due = seen.dead_at().max(earliest).min(refresh);
            let news = tokio::select! {
                // The watch comes first, because a renewal saves a read.
                biased;
                news = self.news(&seen.version) => news,
                () = sleep_until(due) => return,
            };
            match news {
                News::Changed => {
                    // `earliest` is the pause after a failure with another version.
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

    /// Returns the delay for this replica's age: 2 ms after a second, 12 ms after a minute.
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
                Some(Err(error)) => return News::Ended(Some(error_chain::text(&error))),
                // A server that ends every watch immediately must not receive the next request immediately.
                None if clock::since(watch.since) < Duration::from_secs(1) => {
                    return News::Ended(Some("the API server ended the watch immediately".into()));
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
            Ok(Err(error)) => Err(error_chain::text(&error)),
            Err(_) => Err(format!(
                "no answer from the API server within {patience:.1?}"
            )),
        }
    }
}
