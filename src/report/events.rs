//! Writes Events, which `kubectl describe` shows with an object. No pass waits for them.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::write_metrics::{WriteKind, WriteMetrics, WriteResult};
use crate::clock::wall;
use crate::model::base::plain::plain;

/// The reporting controller, which `kubectl describe` shows as the source.
const CONTROLLER: &str = "kube-static-egress-controller";
/// The API server's limits for the note and for the reporting instance, in bytes.
const MAX_NOTE: usize = 1_000;
const MAX_INSTANCE: usize = 128;
/// The maximum length of the object's name within the Event's name, so that the Event's name has at most 253 characters.
const MAX_NAME: usize = 230;

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

/// The content of an Event.
#[derive(Clone, Debug)]
pub struct EventContent {
    pub type_: EventType,
    /// The reason in CamelCase, such as `LeaderElection`.
    pub reason: &'static str,
    /// The action in CamelCase, such as `BecomeLeader`.
    pub action: &'static str,
    /// The text for users, cut after 1,000 bytes.
    pub note: String,
}

/// Writes Events into one cluster. Requires the permission to create `events` of `events.k8s.io` in the object's namespace.
pub struct Events {
    client: Client,
    instance: String,
    writes: WriteMetrics,
    failing: AtomicBool,
}

impl Events {
    /// Creates a writer. `instance` is the name of this process.
    pub fn new(client: Client, instance: &str, writes: WriteMetrics) -> Self {
        Self {
            client,
            instance: cut(instance, MAX_INSTANCE).to_owned(),
            writes,
            failing: AtomicBool::new(false),
        }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Writes one Event about the object `regarding`, which needs kind, namespace and name, and the UID by which `kubectl describe`
    /// finds the Event. Takes at most 5 s. A failure is logged once, until a write succeeds again.
    pub async fn write(&self, regarding: ObjectReference, notice: &EventContent) {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let kind = regarding.kind.clone().unwrap_or_default();
        let name = regarding.name.clone().unwrap_or_default();
        let event = self.event(regarding, notice, wall());
        let parameters = PostParams::default();
        let made = api.create(&parameters, &event);
        let failure = match self.writes.counted(WriteKind::Event, made).await {
            Ok(_) => return self.failing.store(false, Ordering::Relaxed),
            Err(failure) => failure,
        };
        let (error, note) = (failure.text, &notice.note);
        if failure.result == WriteResult::Gone || self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, note, "an Event could not be written");
        } else {
            tracing::warn!(
                error,
                note,
                "an Event on the {kind} {namespace}/{name} could not be written; routing does not depend on it: check the permission to \
                 create events.events.k8s.io"
            );
        }
    }

    fn event(&self, regarding: ObjectReference, notice: &EventContent, now: Timestamp) -> Event {
        let name = regarding.name.as_deref().unwrap_or_default();
        let type_ = match notice.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta {
                // The naming scheme of client-go: the object's name and the time in nanoseconds.
                name: Some(format!("{}.{:x}", cut(name, MAX_NAME), now.as_nanosecond())),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            regarding: Some(regarding),
            type_: Some(type_.to_owned()),
            reason: Some(notice.reason.to_owned()),
            action: Some(notice.action.to_owned()),
            note: Some(cut(&plain(&notice.note), MAX_NOTE).to_owned()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// Returns the first `bytes` bytes of a text, or fewer at a character boundary.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_keeps_within_what_the_api_server_takes() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("an address"));
        let client = Client::try_from(config).expect("a client");
        let events = Events::new(client, &"i".repeat(200), WriteMetrics::default());
        let regarding = ObjectReference {
            name: Some("n".repeat(253)),
            namespace: Some("default".into()),
            ..ObjectReference::default()
        };
        let notice = EventContent {
            type_: EventType::Warning,
            reason: "Refused",
            action: "Read",
            note: "ü".repeat(600),
        };
        let event = events.event(regarding, &notice, Timestamp::UNIX_EPOCH);
        let name = event.metadata.name.expect("a name");
        assert!(name.len() <= 253 && name.ends_with(".0"), "{name}");
        assert_eq!(event.note.expect("a note").len(), MAX_NOTE);
        assert_eq!(event.reporting_instance.expect("us").len(), MAX_INSTANCE);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }

    #[test]
    fn no_character_is_cut_in_two() {
        assert_eq!(cut("aü", 2), "a");
        assert_eq!(cut("aü", 3), "aü");
        assert_eq!(cut("aü", 9), "aü");
    }
}
