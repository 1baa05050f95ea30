//! Writes Events on the Lease: when this replica starts or stops leading, in the words of client-go, and when another cluster may own
//! or change the stack.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;

use super::events::{EventContent, EventType, Events};
use super::status_publisher::StatusSnapshot;
use crate::lease::LeaseView;
use crate::model::base::reason::Reason;

const REASON: &str = "LeaderElection";
/// The maximum number of different Events about the stack's owner in one term.
const MAX_TOLD: usize = 20;

/// Writes the Events of one Lease.
pub struct LeaseEvents {
    events: Events,
    namespace: String,
    name: String,
}

impl LeaseEvents {
    pub fn new(events: Events, namespace: String, name: String) -> Self {
        Self {
            events,
            namespace,
            name,
        }
    }

    async fn write(&self, view: &LeaseView, notice: &EventContent) {
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

    /// Writes Events until the election ends. It only observes the election, so it cannot delay it.
    pub async fn tell(
        self,
        mut view: watch::Receiver<LeaseView>,
        mut snapshots: watch::Receiver<Option<Arc<StatusSnapshot>>>,
    ) {
        let (mut led, mut contested) = (None, BTreeSet::new());
        loop {
            // The last change gets its Event even if the election has already ended.
            let gone = tokio::select! {
                changed = view.changed() => changed.is_err(),
                Ok(()) = snapshots.changed() => false,
            };
            let now = view.borrow_and_update().clone();
            let leads = now.leading.then_some(now.epoch);
            if leads != led {
                led = leads;
                contested.clear();
                self.write(&now, &notice(&now)).await;
            }
            let found = snapshots.borrow_and_update().as_deref().map(doubts);
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

/// Returns the Events about problems with the stack's owner. No other object in the cluster stands for the stack.
fn doubts(snapshot: &StatusSnapshot) -> Vec<EventContent> {
    let problems = snapshot.status.problems.iter();
    let found = problems.filter_map(|told| {
        let reason = Reason::named(&told.reason).filter(|reason| reason.is_about_ownership())?;
        Some(EventContent {
            type_: EventType::Warning,
            reason: reason.name(),
            action: "Reconcile",
            note: format!("{}: {}; {}", told.subject, told.message, told.remedy),
        })
    });
    found.collect()
}

fn notice(view: &LeaseView) -> EventContent {
    let (action, became) = match view.leading {
        true => ("BecomeLeader", "became leader"),
        false => ("StopLeading", "stopped leading"),
    };
    EventContent {
        type_: EventType::Normal,
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
        let mut snapshot = StatusSnapshot::default();
        snapshot.status.problems = vec![told("NoNatInZone"), told("OwnedByAnotherCluster")];
        let found = doubts(&snapshot);
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
        view.why = "it releases the Lease".into();
        assert_eq!(
            notice(&view).note,
            "pod-1_ab stopped leading: it releases the Lease"
        );
    }
}
