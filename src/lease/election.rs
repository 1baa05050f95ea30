//! The election: campaigns, renews the Lease while this replica leads, and releases it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant, timeout};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use kube::client::{Body, ClientBuilder, DynBody};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::util::BoxService;
use tower::{BoxError, Service};

use super::cas_layer::CasLayer;
use super::client::{Attempt, ErrorKind, LeaseClient};
use super::config::{ElectionConfig, ElectionError};
use super::observation::{LeaseState, LeaseVersion, Role};
use super::renew::Renewer;
use super::standby::Standby;
use super::status::{LeaseView, StatusWriter};
use super::term::{Term, TermHandle};

/// The timeout of a release. After it, the Lease expires by itself.
const RELEASE: Duration = Duration::from_millis(1400);
/// The pause between two attempts to release the Lease.
const RELEASE_RETRY: Duration = Duration::from_millis(50);
/// The minimum time between two attempts to take the Lease.
const BREATH: Duration = Duration::from_millis(100);

/// Decides which replica leads.
pub trait Election: Send {
    /// Waits until this replica leads. A Term from an earlier campaign is over from then on.
    ///
    /// Cancel safe: a future that is dropped leaves at most a Lease in our name that nobody renews.
    fn campaign(&mut self) -> impl Future<Output = Term> + Send;

    /// Ends the Term and its renewals, and only then releases the Lease. Takes at most 1.5 s. A Lease that could not be released
    /// expires by itself.
    fn release(&mut self, term: Term) -> impl Future<Output = ()> + Send;

    /// Returns the view of the Lease.
    fn view(&self) -> watch::Receiver<LeaseView>;
}

/// Starts a background task: [`tokio::spawn`], or a simulated process in tests.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) -> JoinHandle<()> + Send + Sync>;

/// The election by a Kubernetes Lease: client-go's protocol and times, but with compare-and-swap and without wall clocks.
pub struct LeaseElection {
    config: ElectionConfig,
    client: Arc<LeaseClient>,
    known: LeaseState,
    standby: Standby,
    status: StatusWriter,
    spawn: Spawn,
    current: Option<Current>,
}

/// The latest Term, and the task that renews it.
struct Current {
    handle: TermHandle,
    renewer: JoinHandle<()>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.renewer.abort();
    }
}

/// The transport of a client that kube makes from a configuration.
type Transport = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;

impl LeaseElection {
    /// Creates an election with its own clients, which `client` makes from a configuration. They do not retry, and every request has a
    /// timeout.
    ///
    /// # Errors
    /// If the config contradicts itself, or no client can be created.
    pub fn new(
        mut kube: kube::Config,
        client: impl Fn(kube::Config) -> Result<ClientBuilder<Transport>, kube::Error>,
        config: ElectionConfig,
    ) -> Result<Self, ElectionError> {
        config.check()?;
        kube.default_retry = false;
        kube.connect_timeout = Some(config.patience());
        kube.write_timeout = Some(config.patience());
        let client = |kube| client(kube).map_err(ElectionError::Client);
        // Each call has its own timeout, and its connection may be idle between calls. While a replica leads, a watch is quiet for less
        // than the lease duration.
        kube.read_timeout = None;
        let calls = client(kube.clone())?;
        kube.read_timeout = Some(config.lease_duration * 2);
        Self::over(calls, client(kube)?, config, Arc::new(tokio::spawn))
    }

    /// Creates an election over two transports to the API server: one for watches and one for calls. A watch occupies its connection, so
    /// calls never wait for it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the config contradicts itself.
    pub fn over<S>(
        calls: ClientBuilder<S>,
        watches: ClientBuilder<S>,
        config: ElectionConfig,
        spawn: Spawn,
    ) -> Result<Self, ElectionError>
    where
        S: Service<http::Request<Body>, Response = http::Response<Box<DynBody>>, Error = BoxError>
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        config.check()?;
        let known = LeaseState::new(&config.identity, config.lease_duration);
        let guard = CasLayer::new(&config.namespace, &config.name, known.clone());
        let calls: Client = calls.with_layer(&guard).build();
        let watches: Client = watches.with_layer(&guard).build();
        let status = StatusWriter::new(&config.identity);
        Ok(Self {
            client: Arc::new(LeaseClient::new(calls, &config)),
            standby: Standby::new(watches, config.clone(), known.clone(), status.clone()),
            config,
            known,
            status,
            spawn,
            current: None,
        })
    }

    /// Ends the Term of an earlier campaign, if there is one, and waits until its renewals have stopped.
    async fn retire(&mut self, why: &str) {
        if let Some(mut current) = self.current.take() {
            current.renewer.abort();
            current.handle.end();
            // An aborted task ends at its next poll, which a runtime that shuts down may never make.
            let _gone = timeout(BREATH, &mut current.renewer).await;
            self.status.ends(current.handle.epoch(), why);
        }
    }

    /// Tries to take the Lease. Returns the Term, or the earliest time of the next attempt.
    async fn attempt(&mut self) -> Result<Term, Instant> {
        let before = self.known.seen();
        // Read before the request, and so before another candidate can see the claim and start counting.
        let sent = clock::now();
        match self.client.take_or_renew(self.config.patience()).await {
            Attempt::Ours(epoch) => {
                self.status.renewed(sent, true);
                self.status.saw(self.known.seen().as_ref());
                let (term, handle) = Term::begin(epoch, sent + self.config.term());
                if term.is_over() {
                    return Err(clock::now());
                }
                self.standby.rest();
                self.lead(handle, sent, before);
                Ok(term)
            }
            Attempt::NotOurs => {
                self.status.succeeded();
                Err(clock::now() + BREATH)
            }
            // Another candidate was faster. The watch shows which one, or else a read does.
            Attempt::Failed(fault) if fault.kind == ErrorKind::Conflict => {
                self.status.succeeded();
                Err(clock::now() + BREATH.mul_f64(1.0 + 2.0 * fastrand::f64()))
            }
            Attempt::Failed(fault) => {
                self.status.failed(&fault.text);
                Err(clock::now() + self.config.retry_after())
            }
        }
    }

    /// Starts the renewals of a new Term. `before` is the version of the Lease that was taken.
    fn lead(&mut self, handle: TermHandle, sent: Instant, before: Option<LeaseVersion>) {
        self.known.become_a(Role::Holder);
        let (since, why) = before.map_or_else(
            || (sent, "the Lease was free".into()),
            |seen| (seen.dead_at().min(sent), seen.why_dead()),
        );
        self.status.begins(handle.epoch(), since, why);
        let renewer = Renewer {
            config: self.config.clone(),
            client: Arc::clone(&self.client),
            known: self.known.clone(),
            status: self.status.clone(),
            handle: handle.clone(),
            sent,
        };
        let renewer = (self.spawn)(renewer.run().boxed());
        self.current = Some(Current { handle, renewer });
    }

    async fn give_up(&mut self) {
        let end = clock::now() + RELEASE;
        loop {
            let left = end.saturating_duration_since(clock::now());
            // The limit leaves time for a second request.
            let limit = (left / 2).max(RELEASE / 4).min(left);
            let fault = match self.client.give_up(limit).await {
                Ok(()) => return,
                Err(fault) if fault.kind == ErrorKind::NotOurs => return,
                Err(fault) => fault,
            };
            if clock::now() + RELEASE_RETRY >= end {
                let error = fault.text;
                tracing::warn!(
                    error,
                    "the Lease could not be released: another replica can lead after it has expired"
                );
                return;
            }
            clock::sleep(RELEASE_RETRY).await;
        }
    }
}

impl Election for LeaseElection {
    async fn campaign(&mut self) -> Term {
        self.retire("the Term is over").await;
        self.known.become_a(Role::Candidate);
        loop {
            match self.attempt().await {
                Ok(term) => return term,
                Err(earliest) => self.standby.wait(earliest).await,
            }
        }
    }

    async fn release(&mut self, term: Term) {
        let ours = self
            .current
            .as_ref()
            .is_some_and(|current| term.is_of(&current.handle));
        if !ours {
            return;
        }
        let led = !term.is_over();
        self.retire(if led {
            "it releases the Lease"
        } else {
            "the Term is over"
        })
        .await;
        drop(term);
        self.give_up().await;
        self.known.become_a(Role::Candidate);
        self.status.saw(self.known.seen().as_ref());
    }

    fn view(&self) -> watch::Receiver<LeaseView> {
        self.status.subscribe()
    }
}

/// The election of a controller that is the only replica: it always leads.
///
/// Without a Lease to count terms, an epoch is the Unix time in seconds at which the Term began, or the last epoch plus one.
pub struct NoElection {
    status: StatusWriter,
    current: Option<TermHandle>,
}

impl NoElection {
    /// The duration of the Term, longer than any process lives.
    const TERM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

    /// Creates an election without a Lease.
    #[must_use]
    pub fn new() -> Self {
        Self {
            status: StatusWriter::new("alone"),
            current: None,
        }
    }
}

impl Default for NoElection {
    fn default() -> Self {
        Self::new()
    }
}

impl Election for NoElection {
    async fn campaign(&mut self) -> Term {
        let last = self.current.take();
        if let Some(last) = &last {
            last.end();
        }
        let now = u64::try_from(clock::wall().as_second()).unwrap_or(0);
        let epoch = last.map_or(now, |last| now.max(last.epoch() + 1));
        let (term, handle) = Term::begin(epoch, clock::now() + Self::TERM);
        self.current = Some(handle);
        self.status.alone(Some(epoch));
        term
    }

    async fn release(&mut self, term: Term) {
        drop(term);
        self.status.alone(None);
    }

    fn view(&self) -> watch::Receiver<LeaseView> {
        self.status.subscribe()
    }
}
