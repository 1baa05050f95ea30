//! The election: waits until this replica leads, keeps the Lease while it does, and gives it up.

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
use tower::{BoxError, Service};

use super::config::{ElectionConfig, ElectionError};
use super::fence::FenceLayer;
use super::lock::{Attempt, Kind, Lock};
use super::renew::Renewer;
use super::seen::{Known, Role, Seen};
use super::standby::Standby;
use super::term::{Tenure, Term};
use super::view::{Board, LeaseView};

/// How long giving the Lease up may take. Then it is left to run out.
const RELEASE: Duration = Duration::from_millis(1400);
/// The pause between two attempts to give it up.
const RELEASE_RETRY: Duration = Duration::from_millis(50);
/// The least time between two attempts to take the Lease, whatever went wrong.
const BREATH: Duration = Duration::from_millis(100);

/// Decides which replica leads.
pub trait Election: Send {
    /// Waits until this replica leads. A Term from an earlier campaign is over from then on.
    ///
    /// Cancel safe: a future that is dropped leaves at most a Lease in our name that nobody renews.
    fn campaign(&mut self) -> impl Future<Output = Term> + Send;

    /// Ends the Term, and the renewals with it, and only then gives the Lease up. Takes 1.5 s at most; a Lease that could not be
    /// given up by then runs out by itself.
    fn release(&mut self, term: Term) -> impl Future<Output = ()> + Send;

    /// What is known of the Lease.
    fn view(&self) -> watch::Receiver<LeaseView>;
}

/// Starts a task in the background. The default is [`tokio::spawn`]; a simulation that stops whole processes brings its own.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) -> JoinHandle<()> + Send + Sync>;

/// The election by a Kubernetes Lease: client-go's protocol and times, with compare-and-swap and without wall clocks.
pub struct LeaseElection {
    config: ElectionConfig,
    lock: Arc<Lock>,
    known: Known,
    standby: Standby,
    board: Board,
    spawn: Spawn,
    current: Option<Current>,
}

/// The latest Term, and the task that renews it.
struct Current {
    tenure: Tenure,
    renewer: JoinHandle<()>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.renewer.abort();
    }
}

impl LeaseElection {
    /// An election over a client of its own, made from `kube`: no retries below this module, and every request bounded in time.
    ///
    /// # Errors
    /// If the config contradicts itself, or no client can be made.
    pub fn new(mut kube: kube::Config, config: ElectionConfig) -> Result<Self, ElectionError> {
        config.check()?;
        kube.default_retry = false;
        kube.connect_timeout = Some(config.patience());
        kube.write_timeout = Some(config.patience());
        let client = |kube| ClientBuilder::try_from(kube).map_err(ElectionError::Client);
        // Calls are bounded one by one, and between them their connection is idle for as long as it likes. A watch is quiet for
        // less than the Lease's duration while somebody leads.
        kube.read_timeout = None;
        let calls = client(kube.clone())?;
        kube.read_timeout = Some(config.lease_duration * 2);
        Self::over(calls, client(kube)?, config, Arc::new(tokio::spawn))
    }

    /// An election over any two transports to the API server: a watch occupies a connection, so it has one of its own, and calls
    /// find theirs free and open. Must be called within a tokio runtime.
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
        let known = Known::new(&config.identity, config.lease_duration);
        let guard = FenceLayer::new(&config.namespace, &config.name, known.clone());
        let calls: Client = calls.with_layer(&guard).build();
        let watches: Client = watches.with_layer(&guard).build();
        let board = Board::new(&config.identity);
        Ok(Self {
            lock: Arc::new(Lock::new(calls, &config)),
            standby: Standby::new(watches, config.clone(), known.clone(), board.clone()),
            config,
            known,
            board,
            spawn,
            current: None,
        })
    }

    /// Ends the Term of an earlier campaign, if there is one, and waits until nothing renews it any more.
    async fn retire(&mut self, why: &str) {
        if let Some(mut current) = self.current.take() {
            current.renewer.abort();
            current.tenure.end();
            // It is gone once it has been polled; a runtime that shuts down may never do that.
            let _gone = timeout(BREATH, &mut current.renewer).await;
            self.board.ends(current.tenure.epoch(), why);
        }
    }

    /// Tries to take the Lease: the Term, or when to try again at the earliest.
    async fn attempt(&mut self) -> Result<Term, Instant> {
        let before = self.known.seen();
        // Before the request, and thus before anybody can see the claim and start counting.
        let sent = clock::now();
        match self.lock.take_or_renew(self.config.patience()).await {
            Attempt::Ours(epoch) => {
                self.board.renewed(sent, true);
                self.board.saw(self.known.seen().as_ref());
                let (term, tenure) = Term::begin(epoch, sent + self.config.term());
                if term.is_over() {
                    return Err(clock::now());
                }
                self.standby.rest();
                self.lead(tenure, sent, before);
                Ok(term)
            }
            Attempt::NotOurs => {
                self.board.succeeded();
                Err(clock::now() + BREATH)
            }
            // Somebody was faster. The watch shows who; a read does if it cannot.
            Attempt::Failed(fault) if fault.kind == Kind::Conflict => {
                self.board.succeeded();
                Err(clock::now() + BREATH.mul_f64(1.0 + 2.0 * fastrand::f64()))
            }
            Attempt::Failed(fault) => {
                self.board.failed(&fault.text);
                Err(clock::now() + self.config.retry_after())
            }
        }
    }

    /// `before`: the Lease as it was in front of us when it was taken.
    fn lead(&mut self, tenure: Tenure, sent: Instant, before: Option<Seen>) {
        self.known.become_a(Role::Holder);
        let (since, why) = before.map_or_else(
            || (sent, "the Lease was free".into()),
            |seen| (seen.dead_at().min(sent), seen.why_dead()),
        );
        self.board.begins(tenure.epoch(), since, why);
        let renewer = Renewer {
            config: self.config.clone(),
            lock: Arc::clone(&self.lock),
            known: self.known.clone(),
            board: self.board.clone(),
            tenure: tenure.clone(),
            sent,
        };
        let renewer = (self.spawn)(renewer.run().boxed());
        self.current = Some(Current { tenure, renewer });
    }

    async fn give_up(&mut self) {
        let end = clock::now() + RELEASE;
        loop {
            let left = end.saturating_duration_since(clock::now());
            // A lost request leaves time for another one.
            let limit = (left / 2).max(RELEASE / 4).min(left);
            let fault = match self.lock.give_up(limit).await {
                Ok(()) => return,
                Err(fault) if fault.kind == Kind::NotOurs => return,
                Err(fault) => fault,
            };
            if clock::now() + RELEASE_RETRY >= end {
                let error = fault.text;
                tracing::warn!(
                    error,
                    "the Lease could not be given up: another replica can lead when it has run out"
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
            .is_some_and(|current| term.is_of(&current.tenure));
        if !ours {
            return;
        }
        let led = !term.is_over();
        self.retire(if led {
            "it gives the Lease up"
        } else {
            "the Term is over"
        })
        .await;
        drop(term);
        self.give_up().await;
        self.known.become_a(Role::Candidate);
        self.board.saw(self.known.seen().as_ref());
    }

    fn view(&self) -> watch::Receiver<LeaseView> {
        self.board.subscribe()
    }
}

/// The election of a controller that runs as the only replica: it always leads.
///
/// There is no Lease to count the terms, so an epoch is the Unix time in seconds at which its Term began, or one more than the last.
pub struct Alone {
    board: Board,
    current: Option<Tenure>,
}

impl Alone {
    /// Far beyond any process's life.
    const TERM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

    /// An election without a Lease.
    #[must_use]
    pub fn new() -> Self {
        Self {
            board: Board::new("alone"),
            current: None,
        }
    }
}

impl Default for Alone {
    fn default() -> Self {
        Self::new()
    }
}

impl Election for Alone {
    async fn campaign(&mut self) -> Term {
        let last = self.current.take();
        if let Some(last) = &last {
            last.end();
        }
        let now = u64::try_from(clock::wall().as_second()).unwrap_or(0);
        let epoch = last.map_or(now, |last| now.max(last.epoch() + 1));
        let (term, tenure) = Term::begin(epoch, clock::now() + Self::TERM);
        self.current = Some(tenure);
        self.board.alone(Some(epoch));
        term
    }

    async fn release(&mut self, term: Term) {
        drop(term);
        self.board.alone(None);
    }

    fn view(&self) -> watch::Receiver<LeaseView> {
        self.board.subscribe()
    }
}
