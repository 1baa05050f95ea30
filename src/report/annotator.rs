//! Annotations on the teams' ConfigMaps, by server-side apply under a field manager of its own. What stands on a ConfigMap is read
//! by the informer, so a new leader writes nothing that is there already, and what somebody took away comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PartialObjectMetaExt as _, Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::Instant;

use super::chronicle::Issue;
use super::turns::Turns;
use super::writes::{Failure, Fate, Kind, Writes, answered};
use crate::model::base::ids::ObjectId;
use crate::model::input::annotations::{Annotations, ours};
use crate::model::status::annotations;

/// Not that of the status ConfigMap: an apply takes away what the same manager applied before and does not any more.
const MANAGER: &str = "kube-static-egress-controller-annotations";
/// The same is not written to the same ConfigMap again before this: the informer may be late, and the API server may have said no.
const AGAIN: Duration = Duration::from_secs(300);
/// After a cluster has not let us write.
const PAUSE: Duration = Duration::from_secs(30);
/// ConfigMaps that ask for nothing, and how many of them are read at once: 1 MB of metadata.
const UNLABELLED: &str = "egress!=static";
const PAGE: u32 = 500;

pub(super) struct Annotator {
    /// By cluster.
    clients: BTreeMap<String, Client>,
    /// Where ConfigMaps are looked at; None: everywhere.
    namespace: Option<String>,
    writes: Writes,
    failing: AtomicBool,
}

/// What one term knows.
#[derive(Default)]
pub(super) struct Slate {
    /// Uids of ConfigMaps that bear annotations of ours, as seen or written.
    bearing: BTreeMap<ObjectId, String>,
    due: BTreeMap<ObjectId, Duty>,
    tried: BTreeMap<ObjectId, Try>,
    /// By cluster, until when.
    pauses: BTreeMap<String, Instant>,
    sweeps: Vec<Sweep>,
    turns: Turns,
}

/// What is to be written, and to which incarnation of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Duty {
    uid: String,
    annotations: Annotations,
}

struct Try {
    duty: Duty,
    fate: Fate,
    at: Instant,
    /// Not before this.
    again: Instant,
}

/// A cluster's ConfigMaps without the label, of which some may have lost it while nobody led.
struct Sweep {
    cluster: String,
    page: Option<String>,
    not_before: Instant,
}

pub(super) enum Chore {
    Write(ObjectId),
    Sweep(usize),
}

impl Chore {
    pub(super) fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Annotator {
    pub(super) fn new(
        clients: BTreeMap<String, Client>,
        namespace: Option<String>,
        writes: Writes,
    ) -> Self {
        Self {
            clients,
            namespace,
            writes,
            failing: AtomicBool::new(false),
        }
    }

    /// At the beginning of a term.
    pub(super) fn slate(&self) -> Slate {
        Slate {
            sweeps: self.clients.keys().map(|name| Sweep::of(name)).collect(),
            ..Slate::default()
        }
    }

    pub(super) async fn carry_out(&self, slate: &mut Slate, chore: &Chore, issue: &Issue) {
        match chore {
            Chore::Write(id) => self.write(slate, id).await,
            Chore::Sweep(index) => {
                self.sweep(slate, *index).await;
                slate.look(issue);
            }
        }
    }

    async fn write(&self, slate: &mut Slate, id: &ObjectId) {
        let duty = slate.due.get(id).cloned();
        let (Some(duty), Some(client)) = (duty, self.clients.get(&id.cluster)) else {
            slate.due.remove(id);
            return;
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &id.namespace);
        let annotations = duty.annotations.iter();
        let annotations = annotations.map(|(key, value)| ((*key).to_owned(), value.clone()));
        let object = ObjectMeta {
            name: Some(id.name.clone()),
            namespace: Some(id.namespace.clone()),
            // One that is gone, or made anew, is refused instead of created.
            uid: Some(duty.uid.clone()),
            annotations: Some(annotations.collect()),
            ..ObjectMeta::default()
        };
        let patch = Patch::Apply(object.into_request_partial::<ConfigMap>());
        // Without force: what somebody else sets is theirs.
        let parameters = PatchParams::apply(MANAGER);
        let written = api.patch_metadata(&id.name, &parameters, &patch);
        let fate = match self.writes.counted(Kind::Annotations, written).await {
            Ok(_) => {
                self.failing.store(false, Ordering::Relaxed);
                Fate::Ok
            }
            Err(failure) => {
                self.tell(id, &failure, slate.is_disputed(id));
                failure.fate
            }
        };
        slate.wrote(id, duty, fate, Instant::now());
    }

    /// Each failure once: what concerns a single ConfigMap for each, all else until something succeeds again.
    fn tell(&self, id: &ObjectId, failure: &Failure, disputed: bool) {
        let error = &failure.text;
        let remedy = match failure.fate {
            Fate::Gone => {
                return tracing::debug!(error, "the ConfigMap {id} is not there any more");
            }
            Fate::Conflict => "take them out of what else manages it, or leave them to it",
            Fate::Forbidden => {
                "give the right to patch configmaps (value annotateConfigMaps), or leave out --annotate-configmaps"
            }
            _ => "see what refuses it",
        };
        let known = match failure.fate {
            Fate::Conflict => disputed,
            _ => self.failing.swap(true, Ordering::Relaxed),
        };
        if known {
            tracing::debug!(error, "the ConfigMap {id} cannot be annotated");
        } else {
            tracing::warn!(
                error,
                "the ConfigMap {id} cannot be annotated, nothing else depends on it: {remedy}"
            );
        }
    }

    /// Reads one page.
    async fn sweep(&self, slate: &mut Slate, index: usize) {
        let mut sweep = slate.sweeps.swap_remove(index);
        let Some(client) = self.clients.get(&sweep.cluster).cloned() else {
            return;
        };
        let api: Api<ConfigMap> = match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut parameters = ListParams::default().labels(UNLABELLED).limit(PAGE);
        parameters.continue_token = sweep.page.take();
        match answered(api.list_metadata(&parameters)).await {
            Ok(list) => {
                for object in list.items {
                    let metadata = object.metadata;
                    let ours = ours(&metadata.annotations.unwrap_or_default());
                    let id = ObjectId {
                        cluster: sweep.cluster.clone(),
                        namespace: metadata.namespace.unwrap_or_default(),
                        name: metadata.name.unwrap_or_default(),
                    };
                    if let (false, Some(uid)) = (ours.is_empty(), metadata.uid) {
                        slate.bearing.insert(id, uid);
                    }
                }
                sweep.page = list.metadata.continue_.filter(|page| !page.is_empty());
                if sweep.page.is_some() {
                    slate.sweeps.push(sweep);
                }
            }
            Err(failure) => {
                let error = failure.text;
                tracing::debug!(error, "ConfigMaps that lost the label cannot be looked for");
                sweep.not_before = Instant::now() + AGAIN;
                slate.sweeps.push(sweep);
            }
        }
    }
}

impl Sweep {
    fn of(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            page: None,
            not_before: Instant::now(),
        }
    }
}

impl Slate {
    /// Takes in what ConfigMaps bear, and what they should.
    pub(super) fn look(&mut self, issue: &Issue) {
        self.due.clear();
        for (id, object) in &issue.notices {
            if !object.bears.is_empty() {
                self.bearing.insert(id.clone(), object.uid.clone());
            }
            let wanted = annotations::wanted(object).filter(|wanted| *wanted != object.bears);
            if let Some(annotations) = wanted {
                let uid = object.uid.clone();
                self.due.insert(id.clone(), Duty { uid, annotations });
            }
        }
        for (id, uid) in &self.bearing {
            if !issue.notices.contains_key(id) {
                let duty = Duty {
                    uid: uid.clone(),
                    annotations: Annotations::new(),
                };
                self.due.insert(id.clone(), duty);
            }
        }
        let known: BTreeSet<&ObjectId> = issue.notices.keys().chain(self.due.keys()).collect();
        self.tried.retain(|id, _| known.contains(id));
        self.turns.tidy(|id| known.contains(id));
    }

    /// What to do next, and when. Namespaces take turns; in each, what was never tried, then what was tried longest ago.
    pub(super) fn next(&self, now: Instant) -> Option<(Instant, Chore)> {
        let sweeps = self.sweeps.iter().enumerate();
        let sweep = sweeps.min_by_key(|(_, sweep)| sweep.not_before);
        let sweep = sweep.map(|(index, sweep)| (sweep.not_before.max(now), Chore::Sweep(index)));
        let turn = |(id, duty): &(&ObjectId, &Duty)| {
            let tried = self.tried.get(*id).filter(|tried| tried.duty == **duty);
            let pause = self.pauses.get(&id.cluster).copied();
            let due = pause.max(tried.map(|tried| tried.again)).unwrap_or(now);
            let namespace = self.turns.of_namespace(id);
            (due.max(now), namespace, tried.map(|tried| tried.at))
        };
        let write = self.due.iter().map(|duty| (turn(&duty), duty.0));
        let write = write.min_by_key(|(turn, _)| *turn);
        let write = write.map(|((due, ..), id)| (due, Chore::Write(id.clone())));
        [sweep, write]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// Whether another field manager had it at the last try.
    fn is_disputed(&self, id: &ObjectId) -> bool {
        let tried = self.tried.get(id);
        tried.is_some_and(|tried| tried.fate == Fate::Conflict)
    }

    fn wrote(&mut self, id: &ObjectId, duty: Duty, fate: Fate, at: Instant) {
        let mut again = at + AGAIN;
        self.turns.serve(id);
        match fate {
            Fate::Ok if !duty.annotations.is_empty() => {
                self.bearing.insert(id.clone(), duty.uid.clone());
                self.due.remove(id);
            }
            Fate::Ok | Fate::Gone => {
                self.bearing.remove(id);
                self.due.remove(id);
            }
            Fate::Conflict => {}
            // It is hardly for this ConfigMap alone.
            _ => {
                again = at + PAUSE;
                self.pauses.insert(id.cluster.clone(), again);
            }
        }
        let tried = Try {
            duty,
            fate,
            at,
            again,
        };
        self.tried.insert(id.clone(), tried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::State;
    use crate::model::status::notifications::{OfObject, Standing};

    fn id(name: &str) -> ObjectId {
        ObjectId {
            name: name.to_owned(),
            ..ObjectId::default()
        }
    }

    /// ConfigMaps with an entry each, in this state, which bear nothing.
    fn issue(names: &[&str], state: State) -> Issue {
        let object = |name: &&str| {
            let object = OfObject {
                uid: format!("uid-{name}"),
                standing: Standing::Is(state, Vec::new()),
                ..OfObject::default()
            };
            (id(name), object)
        };
        Issue {
            notices: names.iter().map(object).collect(),
            ..Issue::default()
        }
    }

    /// Whose turn it is now.
    fn turn(slate: &Slate) -> Option<String> {
        match slate.next(Instant::now())? {
            (due, Chore::Write(id)) if due == Instant::now() => Some(id.name),
            _ => None,
        }
    }

    fn wrote(slate: &mut Slate, fate: Fate) -> String {
        let name = turn(slate).expect("somebody's turn");
        let duty = slate.due[&id(&name)].clone();
        slate.wrote(&id(&name), duty, fate, Instant::now());
        name
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_not_written_again_while_the_informer_is_late() {
        let mut slate = Slate::default();
        let first = issue(&["one"], State::Pending);
        slate.look(&first);
        wrote(&mut slate, Fate::Ok);
        slate.look(&first);
        assert_eq!(turn(&slate), None);
        slate.look(&issue(&["one"], State::Routed));
        assert_eq!(wrote(&mut slate, Fate::Ok), "one", "that is news");
        slate.look(&issue(&["one"], State::Routed));
        tokio::time::advance(AGAIN).await;
        assert_eq!(wrote(&mut slate, Fate::Ok), "one", "it was taken away");
        slate.look(&issue(&[], State::Routed));
        assert!(slate.due[&id("one")].annotations.is_empty());
        wrote(&mut slate, Fate::Gone);
        slate.look(&issue(&[], State::Routed));
        assert!(slate.due.is_empty() && slate.tried.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_holds_up_nobody() {
        let mut slate = Slate::default();
        slate.look(&issue(&["a", "b", "c"], State::Routed));
        assert_eq!(wrote(&mut slate, Fate::Conflict), "a");
        assert_eq!(wrote(&mut slate, Fate::Forbidden), "b");
        assert_eq!(turn(&slate), None, "the cluster is left alone for a while");
        let mut turns = Vec::new();
        for _ in 0..4 {
            tokio::time::advance(PAUSE).await;
            turns.push(wrote(&mut slate, Fate::Forbidden));
        }
        assert_eq!(turns, ["c", "b", "c", "b"]);
        tokio::time::advance(AGAIN).await;
        assert_eq!(wrote(&mut slate, Fate::Ok), "a");
    }
}
