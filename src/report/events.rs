//! Events: what `kubectl describe` shows beside an object. They are for people, and nothing waits for them for long.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Config};

use super::writes::{Fate, Kind, Writes};
use crate::clock::wall;
use crate::model::base::plain::plain;

/// Who writes them, as `kubectl describe` calls it.
const CONTROLLER: &str = "kube-static-egress-controller";
/// What the API server takes: bytes of the note, and of the writer's name.
const MAX_NOTE: usize = 1_000;
const MAX_INSTANCE: usize = 128;
/// An Event is called after its object; this much of its name, so that all of it is at most 253 characters.
const MAX_NAME: usize = 230;

/// How much an Event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Normal,
    Warning,
}

/// What has happened, or what is wrong.
#[derive(Clone, Debug)]
pub struct Notice {
    pub weight: Weight,
    /// Why, in one word for machines: `LeaderElection`.
    pub reason: &'static str,
    /// What was done or tried, in one word for machines: `BecomeLeader`.
    pub action: &'static str,
    /// For people; cut off after 1,000 bytes.
    pub note: String,
}

/// Writes Events into one cluster. It needs the right to create `events` of `events.k8s.io` in the object's namespace.
pub struct Events {
    client: Client,
    instance: String,
    writes: Writes,
    failing: AtomicBool,
}

impl Events {
    /// `instance`: this process's name.
    ///
    /// # Errors
    /// If no client can be made of the configuration.
    pub fn new(mut config: Config, instance: &str, writes: Writes) -> Result<Self, kube::Error> {
        config.default_retry = false;
        Ok(Self {
            client: Client::try_from(config)?,
            instance: cut(instance, MAX_INSTANCE).to_owned(),
            writes,
            failing: AtomicBool::new(false),
        })
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Writes one Event about the object, which needs its kind, namespace and name, and its uid for `kubectl describe` to find the
    /// Event. Takes 5 s at most; a failure makes one line in the log until one succeeds again.
    pub async fn write(&self, regarding: ObjectReference, notice: &Notice) {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let kind = regarding.kind.clone().unwrap_or_default();
        let name = regarding.name.clone().unwrap_or_default();
        let event = self.event(regarding, notice, wall());
        let parameters = PostParams::default();
        let made = api.create(&parameters, &event);
        let failure = match self.writes.counted(Kind::Event, made).await {
            Ok(_) => return self.failing.store(false, Ordering::Relaxed),
            Err(failure) => failure,
        };
        let (error, note) = (failure.text, &notice.note);
        if failure.fate == Fate::Gone || self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, note, "an Event could not be written");
        } else {
            tracing::warn!(
                error,
                note,
                "an Event on the {kind} {namespace}/{name} could not be written, nothing else depends on it: check the right to \
                 create events.events.k8s.io"
            );
        }
    }

    fn event(&self, regarding: ObjectReference, notice: &Notice, now: Timestamp) -> Event {
        let name = regarding.name.as_deref().unwrap_or_default();
        let weight = match notice.weight {
            Weight::Normal => "Normal",
            Weight::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta {
                // As client-go names them: no two of one object at one nanosecond.
                name: Some(format!("{}.{:x}", cut(name, MAX_NAME), now.as_nanosecond())),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            regarding: Some(regarding),
            type_: Some(weight.to_owned()),
            reason: Some(notice.reason.to_owned()),
            action: Some(notice.action.to_owned()),
            note: Some(cut(&plain(&notice.note), MAX_NOTE).to_owned()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// The first so many bytes of a text, or less so as not to cut a character in two.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_keeps_within_what_the_api_server_takes() {
        let config = Config::new("http://127.0.0.1:1".parse().expect("an address"));
        let events = Events::new(config, &"i".repeat(200), Writes::default()).expect("a client");
        let regarding = ObjectReference {
            name: Some("n".repeat(253)),
            namespace: Some("default".into()),
            ..ObjectReference::default()
        };
        let notice = Notice {
            weight: Weight::Warning,
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
