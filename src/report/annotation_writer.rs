//! Annotates the labelled ConfigMaps by server-side apply, under a field manager of its own. The informer reads the current
//! annotations, so a new leader writes only what differs, and annotations that were removed by hand are restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PartialObjectMetaExt as _, Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::Instant;

use super::fair_order::FairOrder;
use super::status_publisher::StatusSnapshot;
use super::write_metrics::{WriteFailure, WriteKind, WriteMetrics, WriteResult, answered};
use crate::model::base::ids::ObjectId;
use crate::model::input::annotations::{Annotations, ours};
use crate::model::status::annotations;

/// The field manager. It is not the status ConfigMap's: an apply removes the fields that its manager applied before and omits now.
const MANAGER: &str = "kube-static-egress-controller-annotations";
/// The minimum time before the same patch is retried on a ConfigMap: the informer may lag, or the API server may refuse it.
const AGAIN: Duration = Duration::from_secs(300);
/// The pause after a cluster refused a write.
const PAUSE: Duration = Duration::from_secs(30);
/// The selector of ConfigMaps without the label, and the page size of their list: about 1 MB of metadata.
const UNLABELLED: &str = "egress!=static";
const PAGE: u32 = 500;

pub(super) struct AnnotationWriter {
    /// One client per cluster.
    clients: BTreeMap<String, Client>,
    /// The watched namespace; None for all namespaces.
    namespace: Option<String>,
    writes: WriteMetrics,
    failing: AtomicBool,
}

/// The annotations that are due in this term.
#[derive(Default)]
pub(super) struct AnnotationQueue {
    /// The UIDs of ConfigMaps with our annotations, as seen or written.
    annotated: BTreeMap<ObjectId, String>,
    due: BTreeMap<ObjectId, AnnotationPatch>,
    tried: BTreeMap<ObjectId, Try>,
    /// The time until which no request is sent to each cluster.
    pauses: BTreeMap<String, Instant>,
    scans: Vec<UnlabelledScan>,
    order: FairOrder,
}

/// The annotations to write, and the UID of the ConfigMap they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AnnotationPatch {
    uid: String,
    annotations: Annotations,
}

struct Try {
    patch: AnnotationPatch,
    result: WriteResult,
    at: Instant,
    /// The earliest time of the next attempt.
    again: Instant,
}

/// A scan of one cluster for ConfigMaps that lost the label while no replica led, and still have our annotations.
struct UnlabelledScan {
    cluster: String,
    page: Option<String>,
    not_before: Instant,
}

pub(super) enum AnnotationTask {
    Write(ObjectId),
    UnlabelledScan(usize),
}

impl AnnotationTask {
    pub(super) fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl AnnotationWriter {
    pub(super) fn new(
        clients: BTreeMap<String, Client>,
        namespace: Option<String>,
        writes: WriteMetrics,
    ) -> Self {
        Self {
            clients,
            namespace,
            writes,
            failing: AtomicBool::new(false),
        }
    }

    /// Creates the queue of a new term.
    pub(super) fn queue(&self) -> AnnotationQueue {
        AnnotationQueue {
            scans: self
                .clients
                .keys()
                .map(|name| UnlabelledScan::of(name))
                .collect(),
            ..AnnotationQueue::default()
        }
    }

    pub(super) async fn carry_out(
        &self,
        queue: &mut AnnotationQueue,
        task: &AnnotationTask,
        snapshot: &StatusSnapshot,
    ) {
        match task {
            AnnotationTask::Write(id) => self.write(queue, id).await,
            AnnotationTask::UnlabelledScan(index) => {
                self.scan(queue, *index).await;
                queue.look(snapshot);
            }
        }
    }

    async fn write(&self, queue: &mut AnnotationQueue, id: &ObjectId) {
        let patch = queue.due.get(id).cloned();
        let (Some(patch), Some(client)) = (patch, self.clients.get(&id.cluster)) else {
            queue.due.remove(id);
            return;
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &id.namespace);
        let annotations = patch.annotations.iter();
        let annotations = annotations.map(|(key, value)| ((*key).to_owned(), value.clone()));
        let object = ObjectMeta {
            name: Some(id.name.clone()),
            namespace: Some(id.namespace.clone()),
            // With the UID, the API server refuses the apply if the ConfigMap was deleted or created again.
            uid: Some(patch.uid.clone()),
            annotations: Some(annotations.collect()),
            ..ObjectMeta::default()
        };
        let apply = Patch::Apply(object.into_request_partial::<ConfigMap>());
        // Without force: a key that another manager owns stays with that manager.
        let parameters = PatchParams::apply(MANAGER);
        let written = api.patch_metadata(&id.name, &parameters, &apply);
        let result = match self.writes.counted(WriteKind::Annotations, written).await {
            Ok(_) => {
                self.failing.store(false, Ordering::Relaxed);
                WriteResult::Ok
            }
            Err(failure) => {
                self.tell(id, &failure, queue.is_disputed(id));
                failure.result
            }
        };
        queue.wrote(id, patch, result, Instant::now());
    }

    /// Logs a failure: a conflict once per ConfigMap, any other failure once until a write succeeds.
    fn tell(&self, id: &ObjectId, failure: &WriteFailure, disputed: bool) {
        let error = &failure.text;
        let remedy = match failure.result {
            WriteResult::Gone => {
                return tracing::debug!(error, "the ConfigMap {id} no longer exists");
            }
            WriteResult::Conflict => {
                "another field manager owns these annotations: remove them from that manager's manifest, or leave them there"
            }
            WriteResult::Forbidden => {
                "grant the permission to patch configmaps (value annotateConfigMaps), or remove --annotate-configmaps"
            }
            _ => "check which admission policy or quota refuses it",
        };
        let known = match failure.result {
            WriteResult::Conflict => disputed,
            _ => self.failing.swap(true, Ordering::Relaxed),
        };
        if known {
            tracing::debug!(error, "the ConfigMap {id} cannot be annotated");
        } else {
            tracing::warn!(
                error,
                "the ConfigMap {id} cannot be annotated; routing does not depend on it: {remedy}"
            );
        }
    }

    /// Reads the next page of the scan.
    async fn scan(&self, queue: &mut AnnotationQueue, index: usize) {
        let mut scan = queue.scans.swap_remove(index);
        let Some(client) = self.clients.get(&scan.cluster).cloned() else {
            return;
        };
        let api: Api<ConfigMap> = match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut parameters = ListParams::default().labels(UNLABELLED).limit(PAGE);
        parameters.continue_token = scan.page.take();
        match answered(api.list_metadata(&parameters)).await {
            Ok(list) => {
                for object in list.items {
                    let metadata = object.metadata;
                    let ours = ours(&metadata.annotations.unwrap_or_default());
                    let id = ObjectId {
                        cluster: scan.cluster.clone(),
                        namespace: metadata.namespace.unwrap_or_default(),
                        name: metadata.name.unwrap_or_default(),
                    };
                    if let (false, Some(uid)) = (ours.is_empty(), metadata.uid) {
                        queue.annotated.insert(id, uid);
                    }
                }
                scan.page = list.metadata.continue_.filter(|page| !page.is_empty());
                if scan.page.is_some() {
                    queue.scans.push(scan);
                }
            }
            Err(failure) => {
                let error = failure.text;
                tracing::debug!(error, "cannot list the ConfigMaps without the label");
                scan.not_before = Instant::now() + AGAIN;
                queue.scans.push(scan);
            }
        }
    }
}

impl UnlabelledScan {
    fn of(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            page: None,
            not_before: Instant::now(),
        }
    }
}

impl AnnotationQueue {
    /// Compares the annotations of each ConfigMap with the wanted ones.
    pub(super) fn look(&mut self, snapshot: &StatusSnapshot) {
        self.due.clear();
        for (id, object) in &snapshot.notices {
            if !object.bears.is_empty() {
                self.annotated.insert(id.clone(), object.uid.clone());
            }
            let wanted = annotations::wanted(object).filter(|wanted| *wanted != object.bears);
            if let Some(annotations) = wanted {
                let uid = object.uid.clone();
                self.due
                    .insert(id.clone(), AnnotationPatch { uid, annotations });
            }
        }
        for (id, uid) in &self.annotated {
            if !snapshot.notices.contains_key(id) {
                let patch = AnnotationPatch {
                    uid: uid.clone(),
                    annotations: Annotations::new(),
                };
                self.due.insert(id.clone(), patch);
            }
        }
        let known: BTreeSet<&ObjectId> = snapshot.notices.keys().chain(self.due.keys()).collect();
        self.tried.retain(|id, _| known.contains(id));
        self.order.tidy(|id| known.contains(id));
    }

    /// Returns the next task and when it is due. Namespaces take turns. In each namespace, new patches come first, then the one
    /// tried longest ago.
    pub(super) fn next(&self, now: Instant) -> Option<(Instant, AnnotationTask)> {
        let scans = self.scans.iter().enumerate();
        let scan = scans.min_by_key(|(_, scan)| scan.not_before);
        let scan = scan.map(|(index, scan)| {
            (
                scan.not_before.max(now),
                AnnotationTask::UnlabelledScan(index),
            )
        });
        let turn = |(id, patch): &(&ObjectId, &AnnotationPatch)| {
            let tried = self.tried.get(*id).filter(|tried| tried.patch == **patch);
            let pause = self.pauses.get(&id.cluster).copied();
            let due = pause.max(tried.map(|tried| tried.again)).unwrap_or(now);
            let namespace = self.order.of_namespace(id);
            (due.max(now), namespace, tried.map(|tried| tried.at))
        };
        let write = self.due.iter().map(|patch| (turn(&patch), patch.0));
        let write = write.min_by_key(|(turn, _)| *turn);
        let write = write.map(|((due, ..), id)| (due, AnnotationTask::Write(id.clone())));
        [scan, write]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// Whether the last attempt failed because another field manager owns the annotations.
    fn is_disputed(&self, id: &ObjectId) -> bool {
        let tried = self.tried.get(id);
        tried.is_some_and(|tried| tried.result == WriteResult::Conflict)
    }

    fn wrote(&mut self, id: &ObjectId, patch: AnnotationPatch, result: WriteResult, at: Instant) {
        let mut again = at + AGAIN;
        self.order.serve(id);
        match result {
            WriteResult::Ok if !patch.annotations.is_empty() => {
                self.annotated.insert(id.clone(), patch.uid.clone());
                self.due.remove(id);
            }
            WriteResult::Ok | WriteResult::Gone => {
                self.annotated.remove(id);
                self.due.remove(id);
            }
            WriteResult::Conflict => {}
            // The cause most likely affects the whole cluster.
            _ => {
                again = at + PAUSE;
                self.pauses.insert(id.cluster.clone(), again);
            }
        }
        let tried = Try {
            patch,
            result,
            at,
            again,
        };
        self.tried.insert(id.clone(), tried);
    }
}

#[cfg(test)]
#[path = "annotation_writer_tests.rs"]
mod tests;
