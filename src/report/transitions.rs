//! An Event on the Lease whenever this replica begins or ends to lead, in client-go's words.

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;

use super::events::{Events, Notice, Weight};
use crate::lease::LeaseView;

const REASON: &str = "LeaderElection";

/// Writes them until the election is gone. Never in the election's way: it only looks on.
pub async fn tell(
    mut view: watch::Receiver<LeaseView>,
    events: Events,
    namespace: String,
    name: String,
) {
    let mut led = None;
    loop {
        // After the election is gone, what it did last is told all the same.
        let gone = view.changed().await.is_err();
        let now = view.borrow_and_update().clone();
        let leads = now.leading.then_some(now.epoch);
        if leads != led {
            led = leads;
            let lease = ObjectReference {
                api_version: Some("coordination.k8s.io/v1".into()),
                kind: Some("Lease".into()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: now.uid.clone(),
                ..ObjectReference::default()
            };
            events.write(lease, &notice(&now)).await;
        }
        if gone {
            return;
        }
    }
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
