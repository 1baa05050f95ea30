//! The real crate and the real CAS layer over an API in this process, on a paused clock.

mod answers;
pub(crate) mod fake;
mod faults;
mod guard;
mod handover;
mod net;
pub(crate) mod process;
mod simulation;
mod term;
pub(crate) mod wall;

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Election, LeaseElection, Term};

/// The lease duration of every replica in these tests.
const TTL: Duration = Duration::from_secs(15);

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Campaigns for at most a day. Returns the Term, and how long the campaign took.
async fn lead(election: &mut LeaseElection) -> (Term, Duration) {
    let start = Instant::now();
    let term = timeout(secs(1e5), election.campaign())
        .await
        .expect("nobody leads for a day");
    (term, start.elapsed())
}

/// Campaigns in the background.
fn rival(mut election: LeaseElection) -> tokio::task::JoinHandle<(LeaseElection, Term, Instant)> {
    tokio::spawn(async move {
        let (term, _) = lead(&mut election).await;
        (election, term, Instant::now())
    })
}

/// Creates a Term without a Lease, and a function that ends it, for controllers with a planted bug.
pub(crate) fn loose_term(epoch: u64) -> (Term, impl Fn() + Send + 'static) {
    let (term, handle) = Term::begin(epoch, Instant::now() + secs(1e7));
    (term, move || {
        handle.end();
    })
}
