//! Limits of route tables, prefix lists and templates. They seldom change and cost calls, so they are kept between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::calls::Calls;
use super::prefix_lists::{self, Sizes};
use super::quota;
use crate::model::cloud::limits::{BUCKET_AGAIN, Doubt, Limits};
use crate::provider::ProviderError;

/// How long an answer counts. The time is short because users have a quota raised while entries wait.
const ANSWERED: Duration = Duration::from_secs(900);
/// How long a failure counts. A question without an answer may delay a pass by the timeout of its client.
const FAILED: Duration = Duration::from_secs(300);

/// An answer, or why there is none.
#[derive(Debug)]
struct Known<T> {
    value: Option<T>,
    failure: Option<String>,
    asked: Option<Instant>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            value: None,
            failure: None,
            asked: None,
        }
    }
}

impl<T> Known<T> {
    fn is_due(&self) -> bool {
        let holds = match self.failure {
            None => ANSWERED,
            Some(_) => FAILED,
        };
        self.asked.is_none_or(|asked| asked.elapsed() >= holds)
    }

    /// Stores an answer. A failure keeps the last answer.
    fn note(&mut self, answer: Result<T, ProviderError>) {
        self.asked = Some(Instant::now());
        self.failure = answer.as_ref().err().map(ToString::to_string);
        self.value = answer.ok().or(self.value.take());
    }

    /// Returns why there is no answer.
    fn doubt(&self) -> Option<String> {
        let failure = self.failure.as_ref();
        failure.filter(|_| self.value.is_none()).cloned()
    }
}

/// The result of the last check of the template bucket.
#[derive(Debug, Default)]
struct Look {
    doubt: Option<(Doubt, String)>,
    at: Option<Instant>,
}

/// The limits of route tables, prefix lists and templates, as AWS reports them.
#[derive(Debug, Default)]
pub struct RouteRoom {
    bucket: Mutex<Look>,
    quota: Mutex<Known<Option<u16>>>,
    lists: Mutex<Known<Sizes>>,
    more_lists: Mutex<Known<usize>>,
}

impl RouteRoom {
    /// Checks the template bucket if a check is due.
    pub async fn bucket(&self, calls: &Calls, bucket: &Bucket, stack: &str) {
        let mut look = self.bucket.lock().await;
        let holds = match look.doubt {
            Some(_) => BUCKET_AGAIN,
            None => ANSWERED,
        };
        if look.at.is_none_or(|at| at.elapsed() >= holds) {
            look.doubt = bucket.doubt(calls, stack).await;
            look.at = Some(Instant::now());
        }
    }

    /// Asks for the quota of routes per route table if that is due.
    pub async fn quota(&self, calls: &Calls, quotas: &aws_sdk_servicequotas::Client) {
        let mut known = self.quota.lock().await;
        if known.is_due() {
            let answer = quota::routes_per_table(calls, quotas).await;
            known.note(answer.map_err(ProviderError::from));
        }
    }

    /// Returns how many routes prefix lists count as. A list that is missing from the answer counts as one route.
    pub async fn sizes(
        &self,
        calls: &Calls,
        ec2: &aws_sdk_ec2::Client,
        ids: &BTreeSet<String>,
    ) -> Sizes {
        let mut known = self.lists.lock().await;
        let lacks = |sizes: &Sizes| !ids.iter().all(|id| sizes.contains_key(id));
        let is_new = known.failure.is_none() && known.value.as_ref().is_none_or(lacks);
        if is_new || known.is_due() {
            let answer = prefix_lists::sizes(calls, ec2, ids).await;
            known.note(answer.map_err(ProviderError::from));
        }
        known.value.clone().unwrap_or_default()
    }

    /// Asks how many more prefix lists the account may have if that is due.
    pub async fn more_lists(&self, calls: &Calls, ec2: &aws_sdk_ec2::Client, account: &str) {
        let mut known = self.more_lists.lock().await;
        if known.is_due() {
            let answer = prefix_lists::room(calls, ec2, account).await;
            known.note(answer.map_err(ProviderError::from));
        }
    }

    /// Returns the known limits. `has_lists`: whether a worker table has a route to a prefix list.
    pub async fn limits(&self, has_lists: bool) -> Limits {
        let quota = self.quota.lock().await;
        let mut doubts = BTreeMap::new();
        doubts.extend(self.bucket.lock().await.doubt.clone());
        doubts.extend(quota.doubt().map(|why| (Doubt::RouteQuota, why)));
        if has_lists {
            let why = self.lists.lock().await.doubt();
            doubts.extend(why.map(|why| (Doubt::PrefixLists, why)));
        }
        let more_lists = self.more_lists.lock().await;
        doubts.extend(more_lists.doubt().map(|why| (Doubt::MoreLists, why)));
        Limits {
            routes: quota.value.flatten(),
            lists: more_lists.value,
            doubts,
        }
    }

    /// Makes the questions about quotas and lists due again. A failed operation can mean that the limits have changed.
    pub async fn look_again(&self) {
        self.quota.lock().await.asked = None;
        self.lists.lock().await.asked = None;
        self.more_lists.lock().await.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<u16, ProviderError> {
        let text = "no answer".to_owned();
        Err(ProviderError::after_fix("Unreachable", text))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_keeps_the_last_answer_and_is_asked_again_sooner() {
        let mut known = Known::default();
        assert!(known.is_due());
        known.note(failed());
        assert!(!known.is_due());
        assert_eq!(known.doubt().as_deref(), Some("no answer"));
        tokio::time::advance(FAILED).await;
        assert!(known.is_due());
        known.note(Ok(90));
        assert_eq!((known.value, known.doubt()), (Some(90), None));
        tokio::time::advance(FAILED).await;
        assert!(!known.is_due());
        tokio::time::advance(ANSWERED).await;
        assert!(known.is_due());
        known.note(failed());
        assert_eq!((known.value, known.doubt()), (Some(90), None));
    }
}
