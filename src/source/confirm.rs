//! Reads every source again before a step that cannot be undone, and checks that the decision still holds.
//!
//! A snapshot can be outdated without any sign, because a dead connection reports no error. So a snapshot does not prove that no ConfigMap
//! requests a route.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::{Source, directory};
use crate::model::base::ids::ObjectId;
use crate::model::input::request::{Object, Snapshot};

/// The timeout of reading all sources.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source that cannot be read again, or whose content has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {why}")]
pub struct Doubt {
    pub source_name: String,
    pub why: String,
}

impl Doubt {
    pub(crate) fn new(source_name: &str, why: impl Into<String>) -> Self {
        Self {
            source_name: source_name.to_owned(),
            why: why.into(),
        }
    }
}

impl Source {
    /// Reads every source again, by consistent reads, and compares the result with the snapshot.
    ///
    /// # Errors
    /// If a source cannot be read, or its content differs from the snapshot.
    pub async fn confirm(&self, snapshot: &Snapshot) -> Result<(), Doubt> {
        let again = timeout(PATIENCE, self.read_again()).await;
        let again = again.unwrap_or_else(|_| {
            let why = format!("they could not be read within {} s", PATIENCE.as_secs());
            Err(Doubt::new("ConfigMaps", why))
        })?;
        same(snapshot, &again)
    }

    async fn read_again(&self) -> Result<Snapshot, Doubt> {
        match self {
            Self::Kubernetes(clusters) => clusters.list().await,
            Self::Manifests(path) => {
                let again = path.clone();
                let read = tokio::task::spawn_blocking(move || directory::read(&again)).await;
                read.map_err(|_| Doubt::new(&path.display().to_string(), "it could not be read"))
            }
            #[cfg(test)]
            Self::Simulated { again, .. } => again().await,
        }
    }
}

fn same(before: &Snapshot, again: &Snapshot) -> Result<(), Doubt> {
    for snapshot in [before, again] {
        let mut doubts = snapshot.missing.iter().chain(&snapshot.stale);
        if let Some((source, why)) = doubts.next() {
            return Err(Doubt::new(source, why));
        }
        if let Some(source) = snapshot.unsure.first() {
            return Err(Doubt::new(
                source,
                "it may have changes that have not arrived yet",
            ));
        }
    }
    match difference(&before.objects, &again.objects) {
        Some(object) => {
            let why = format!("ConfigMap {object} has changed since the decision was made");
            Err(Doubt::new("ConfigMaps", why))
        }
        None => Ok(()),
    }
}

/// Returns an object whose requests differ, or that only one of the two snapshots has.
fn difference<'a>(
    before: &'a BTreeMap<ObjectId, Object>,
    again: &'a BTreeMap<ObjectId, Object>,
) -> Option<&'a ObjectId> {
    let changed = |(id, object): &(&ObjectId, &Object)| {
        let was = before.get(*id);
        was.is_none_or(|was| was.asks() != object.asks())
    };
    let gone = before.keys().find(|id| !again.contains_key(*id));
    gone.or_else(|| again.iter().find(changed).map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(objects: &[(&str, &str)]) -> Snapshot {
        let object = |(name, value): &(&str, &str)| {
            let id = ObjectId {
                name: (*name).to_owned(),
                ..ObjectId::default()
            };
            let mut object = Object::default();
            object.put("key", value);
            (id, object)
        };
        Snapshot {
            objects: objects.iter().map(object).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn only_the_same_is_confirmed() {
        let before = snapshot(&[("one", "8.8.8.8")]);
        assert_eq!(same(&before, &before.clone()), Ok(()));
        let mut annotated = before.clone();
        for object in annotated.objects.values_mut() {
            object.annotate("static-egress.example.com/ips", "1.2.3.4");
        }
        assert_eq!(same(&before, &annotated), Ok(()));
        let others = [
            snapshot(&[]),
            snapshot(&[("one", "8.8.8.8"), ("two", "9.9.9.9")]),
            snapshot(&[("one", "9.9.9.9")]),
        ];
        for other in &others {
            for (before, again) in [(&before, other), (other, &before)] {
                let doubt = same(before, again).expect_err("they differ").to_string();
                assert!(doubt.contains("ConfigMap /"), "{doubt}");
            }
        }
        let mut stale = before.clone();
        stale.stale.insert("one".to_owned(), "401".to_owned());
        assert!(same(&before, &stale).is_err() && same(&stale, &before).is_err());
        let mut unsure = before.clone();
        unsure.unsure.insert("one".to_owned());
        assert!(same(&unsure, &before).is_err());
    }

    #[tokio::test]
    async fn manifests_are_read_again() {
        let path = std::env::temp_dir().join(format!("confirm-{}.yaml", std::process::id()));
        let write = |value: &str| {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels:\n    egress: static\ndata:\n  dns: {value}\n"
            );
            std::fs::write(&path, text).expect("a file");
        };
        write("8.8.8.8");
        let source = Source::Manifests(path.clone());
        let snapshot = directory::read(&path);
        assert_eq!(snapshot.objects.len(), 1);
        assert_eq!(source.confirm(&snapshot).await, Ok(()));
        write("9.9.9.9");
        assert!(source.confirm(&snapshot).await.is_err());
        std::fs::remove_file(&path).expect("it was there");
        assert!(source.confirm(&snapshot).await.is_err());
    }
}
