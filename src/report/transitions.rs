//! Events on the Lease: whenever this replica begins or ends to lead, in client-go's words, and where the stack may not be this
//! cluster's alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;

use super::chronicle::Issue;
use super::events::{Events, Notice, Weight};
use crate::lease::LeaseView;

const REASON: &str = "LeaderElection";
/// Different ones that a term writes at most.
const MAX_TOLD: usize = 20;

/// The problems of the stack that are written on the Lease.
const REASONS: [&str; 4] = [
    "OwnedByAnotherCluster",
    "StackInAnotherVpc",
    "OwnerUnknown",
    "ForeignOperation",
];

/// The Lease, and what is written on it.
pub struct Board {
    events: Events,
    namespace: String,
    name: String,
}

impl Board {
    pub fn new(events: Events, namespace: String, name: String) -> Self {
        Self {
            events,
            namespace,
            name,
        }
    }

    async fn write(&self, view: &LeaseView, notice: &Notice) {
        let lease = ObjectReference {
            api_version: Some("coordination.k8s.io/v1".into()),
            kind: Some("Lease".into()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: view.uid.clone(),
            ..ObjectReference::default()
        };
        self.events.write(lease, notice).await;
    }

    /// Writes them until the election is gone. Never in the election's way: it only looks on.
    pub async fn tell(
        self,
        mut view: watch::Receiver<LeaseView>,
        mut issues: watch::Receiver<Option<Arc<Issue>>>,
    ) {
        let (mut led, mut contested) = (None, BTreeSet::new());
        loop {
            // After the election is gone, what it did last is told all the same.
            let gone = tokio::select! {
                changed = view.changed() => changed.is_err(),
                Ok(()) = issues.changed() => false,
            };
            let now = view.borrow_and_update().clone();
            let leads = now.leading.then_some(now.epoch);
            if leads != led {
                led = leads;
                contested.clear();
                self.write(&now, &notice(&now)).await;
            }
            let found = issues.borrow_and_update().as_deref().map(doubts);
            for doubt in found.into_iter().flatten().filter(|_| led.is_some()) {
                if contested.len() < MAX_TOLD && contested.insert(doubt.note.clone()) {
                    self.write(&now, &doubt).await;
                }
            }
            if gone {
                return;
            }
        }
    }
}

/// What puts in doubt that the stack is this cluster's alone. The Lease's cluster has no other object that stands for the stack.
fn doubts(issue: &Issue) -> Vec<Notice> {
    let problems = issue.status.problems.iter();
    let found = problems.filter_map(|told| {
        let reason = REASONS.into_iter().find(|reason| *reason == told.reason)?;
        Some(Notice {
            weight: Weight::Warning,
            reason,
            action: "Reconcile",
            note: format!("{}: {}; {}", told.subject, told.message, told.remedy),
        })
    });
    found.collect()
}

fn notice(view: &LeaseView) -> Notice {
    let (action, became) = match view.leading {
        true => ("BecomeLeader", "became leader"),
        false => ("StopLeading", "stopped leading"),
    };
    Notice {
        weight: Weight::Normal,
        reason: REASON,
        action,
        note: format!("{} {became}: {}", view.us, view.why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::Told;

    #[test]
    fn only_who_owns_the_stack_is_written_on_the_lease() {
        let told = |reason: &str| Told {
            subject: "stack egress".into(),
            reason: reason.into(),
            message: "it is another's".into(),
            remedy: "move it".into(),
            ..Told::default()
        };
        let mut issue = Issue::default();
        issue.status.problems = vec![told("NoNatInZone"), told("OwnedByAnotherCluster")];
        let found = doubts(&issue);
        let reasons: Vec<&str> = found.iter().map(|notice| notice.reason).collect();
        assert_eq!(reasons, ["OwnedByAnotherCluster"]);
        assert_eq!(found[0].note, "stack egress: it is another's; move it");
    }

    #[test]
    fn the_words_are_those_of_client_go() {
        let mut view = LeaseView {
            us: "pod-1_ab".into(),
            leading: true,
            why: "the Lease was released".into(),
            ..LeaseView::default()
        };
        assert_eq!(
            notice(&view).note,
            "pod-1_ab became leader: the Lease was released"
        );
        view.leading = false;
        view.why = "it gives the Lease up".into();
        assert_eq!(
            notice(&view).note,
            "pod-1_ab stopped leading: it gives the Lease up"
        );
    }
}
