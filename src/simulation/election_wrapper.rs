//! Wraps the real election of one replica, to observe it and to plant bugs.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use super::bugs::Bug;
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::{loose_term, secs};
use crate::lease::{Election, LeaseElection, LeaseView, Term};

#[derive(Clone)]
pub struct ElectionWrapper {
    world: Arc<World>,
    who: usize,
    process: Process,
    view: watch::Receiver<LeaseView>,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    election: LeaseElection,
    /// The Lease's own Term, if the controller got another one.
    real: Option<Term>,
}

impl ElectionWrapper {
    pub fn new(world: &Arc<World>, who: usize, process: &Process, election: LeaseElection) -> Self {
        Self {
            world: Arc::clone(world),
            who,
            process: process.clone(),
            view: election.view(),
            inner: Arc::new(Mutex::new(Inner {
                election,
                real: None,
            })),
        }
    }

    /// Releases the Lease before the controller stops its work.
    pub async fn release_first(&self) {
        let Ok(mut inner) = self.inner.try_lock() else {
            return;
        };
        if let Some(real) = inner.real.take() {
            inner.election.release(real).await;
        }
    }

    /// Returns a Term whose end is noticed late, or never.
    fn bend(&self, real: &Term) -> Term {
        let (loose, end) = loose_term(real.epoch());
        let (guard, bug) = (real.guard(), self.world.bug);
        let polls = async move {
            while !guard.is_over() {
                sleep(secs(5.0)).await;
            }
            end();
        };
        if bug == Bug::LeaderPolled {
            tokio::spawn(self.process.run(polls));
        }
        loose
    }
}

impl Election for ElectionWrapper {
    async fn campaign(&mut self) -> Term {
        let mut inner = self.inner.lock().await;
        let term = inner.election.campaign().await;
        self.world
            .leads(self.who, &self.process, term.epoch(), term.guard());
        match self.world.bug {
            Bug::LeaderCached | Bug::LeaderPolled | Bug::ReleasedFirst => {
                let loose = self.bend(&term);
                inner.real = Some(term);
                loose
            }
            _ => term,
        }
    }

    async fn release(&mut self, term: Term) {
        let mut inner = self.inner.lock().await;
        match inner.real.take() {
            Some(real) => {
                drop(term);
                inner.election.release(real).await;
            }
            None => inner.election.release(term).await,
        }
    }

    fn view(&self) -> watch::Receiver<LeaseView> {
        self.view.clone()
    }
}
