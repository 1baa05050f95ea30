//! The ConfigMap that holds the ledger: reads it, and replaces the version that was read.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Api;
use kube::api::PostParams;

use super::{KEY, LedgerLocation};
use crate::clock::timeout;
use crate::config_map::ConfigMap;
use crate::error_chain;
use crate::model::persisted::ledger::{Ledger, LedgerError};

/// The value of the labels `name` and `managed-by`.
pub(super) const MANAGER: &str = "kube-static-egress-controller";
/// The timeout of one request.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct LedgerConfigMap {
    pub api: Api<ConfigMap>,
    pub location: LedgerLocation,
}

pub(super) enum WriteError {
    /// Another writer has changed the ConfigMap.
    Conflict,
    Other(String),
}

impl LedgerConfigMap {
    fn explain(&self, error: &kube::Error) -> String {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        match error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "the ledger {namespace}/{name} may not be read or written ({}): bind a role with get and update on this \
                 ConfigMap, as deploy/manifests.yaml has it",
                status.message
            ),
            other => format!(
                "the ledger {namespace}/{name} cannot be read or written ({})",
                error_chain::text(other)
            ),
        }
    }

    fn slow(&self) -> String {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        format!("the ledger {namespace}/{name}: the API server has not answered for {PATIENCE:?}")
    }

    pub async fn get(&self) -> Result<(Option<ConfigMap>, Ledger), String> {
        let location = &self.location;
        let found = timeout(PATIENCE, self.api.get(&location.name)).await;
        let object = match found.map_err(|_| self.slow())? {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(self.explain(&error)),
        };
        let new = Ledger::new(&location.stack_name);
        let Some(text) = object.as_ref().and_then(text) else {
            return Ok((object, new));
        };
        match Ledger::read(text, &location.stack_name, &location.clusters) {
            Ok(ledger) => Ok((object, ledger)),
            Err(error @ LedgerError::Newer(_)) => Err(format!(
                "the ledger {}/{} cannot be used: {error}",
                location.namespace, location.name
            )),
            Err(error @ LedgerError::NotOurs) => {
                let LedgerLocation {
                    namespace, name, ..
                } = location;
                tracing::warn!(
                    "the ledger {namespace}/{name} is replaced by an empty one: {error}"
                );
                Ok((object, new))
            }
        }
    }

    /// Replaces the version that was read, or creates the ConfigMap.
    pub async fn put(
        &self,
        old: Option<&ConfigMap>,
        ledger: &Ledger,
    ) -> Result<ConfigMap, WriteError> {
        let written = timeout(PATIENCE, self.send(old, ledger)).await;
        written.map_err(|_| WriteError::Other(self.slow()))?
    }

    fn fault(&self, error: &kube::Error) -> WriteError {
        match error {
            kube::Error::Api(status) if status.code == 409 => WriteError::Conflict,
            _ => WriteError::Other(self.explain(error)),
        }
    }

    /// Explains why the ledger was not created. The chart creates it, and the chart's role has no permission to.
    fn not_created(&self, error: &kube::Error) -> WriteError {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        match error {
            kube::Error::Api(status) if status.code == 403 => WriteError::Other(format!(
                "the ledger {namespace}/{name} does not exist and may not be created ({}): install the chart again or apply \
                 deploy/manifests.yaml, which create it",
                status.message
            )),
            error => self.fault(error),
        }
    }

    async fn send(
        &self,
        old: Option<&ConfigMap>,
        ledger: &Ledger,
    ) -> Result<ConfigMap, WriteError> {
        let name = &self.location.name;
        let mut object = old.cloned().unwrap_or_default();
        object.metadata.name = Some(name.clone());
        let labels = object.metadata.labels.get_or_insert_default();
        for key in ["name", "managed-by"] {
            // Helm recognizes its own objects by `managed-by`, so existing values stay.
            let label = labels.entry(format!("app.kubernetes.io/{key}"));
            label.or_insert_with(|| MANAGER.to_owned());
        }
        object.data = Some(BTreeMap::from([(KEY.to_owned(), ledger.text())]));
        let how = PostParams::default();
        if old.is_some() {
            match self.api.replace(name, &how, &object).await {
                // The ConfigMap was deleted.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    return self.fill(object, &kube::Error::Api(status)).await;
                }
                other => return other.map_err(|error| self.fault(&error)),
            }
        }
        object.metadata.resource_version = None;
        object.metadata.uid = None;
        match self.api.create(&how, &object).await {
            // The API server checks the permission to create before it checks whether the object exists.
            Err(kube::Error::Api(status)) if [403, 409].contains(&status.code) => {
                self.fill(object, &kube::Error::Api(status)).await
            }
            made => made.map_err(|error| self.fault(&error)),
        }
    }

    /// Writes into a ConfigMap that was created in the meantime, if it has no ledger yet. `why` is the error of the first attempt.
    async fn fill(
        &self,
        mut object: ConfigMap,
        why: &kube::Error,
    ) -> Result<ConfigMap, WriteError> {
        let there = match self.api.get(&self.location.name).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(self.not_created(why));
            }
            there => there.map_err(|error| self.fault(&error))?,
        };
        if text(&there).is_some() {
            return Err(WriteError::Conflict);
        }
        let content = object.data.take();
        object = there;
        object.data = content;
        let how = PostParams::default();
        let filled = self.api.replace(&self.location.name, &how, &object).await;
        filled.map_err(|error| self.fault(&error))
    }
}

/// Returns the document. The chart creates the ConfigMap without one.
pub(super) fn text(object: &ConfigMap) -> Option<&String> {
    object.data.as_ref()?.get(KEY)
}
