//! AWS's limits for the stack, as far as they are known before a change is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::Settings;
use crate::model::cloud::live::Live;

/// The default quota of routes per route table (L-93826ACB in "Amazon VPC quotas").
pub const DEFAULT_ROUTES: u16 = 500;
/// The highest quota of routes per route table that an account can get.
pub const MOST_ROUTES: u16 = 1_000;

/// The maximum size of a template body in a request, in bytes (CloudFormation quota).
pub const MAX_INLINE_BYTES: usize = 51_200;
/// The delay until a bucket that cannot be used is checked again.
pub const BUCKET_AGAIN: Duration = Duration::from_secs(30);

/// The limits that the stack has to keep, as AWS reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The account's quota of routes per route table; None if AWS was not asked or gave no answer.
    pub routes: Option<u16>,
    /// The number of prefix lists that the account may add in the region; None if AWS was not asked or gave no answer.
    pub lists: Option<usize>,
    /// The limits that are unknown, and why.
    pub doubts: BTreeMap<Doubt, String>,
}

/// A limit that is unknown, or a bucket that may be unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The quota of routes per route table.
    RouteQuota,
    /// The sizes of the prefix lists that worker tables have routes to.
    PrefixLists,
    /// The number of prefix lists that the account may add.
    MoreLists,
    /// S3 does not answer, so that it is unknown whether templates can go through the bucket.
    BucketSilent,
    /// S3 answers that templates cannot go through the bucket.
    BucketWrong,
}

impl Limits {
    /// Returns the quota of routes per route table: the operator's number, else the account's, else AWS's default.
    pub fn routes_per_table(&self, settings: &Settings) -> u16 {
        let told = settings.route_table_quota.or(self.routes);
        told.unwrap_or(DEFAULT_ROUTES)
    }

    /// Whether a template may be longer than a request allows.
    pub fn allow_long_templates(&self, settings: &Settings, live: &Live) -> bool {
        let is_long = matches!(live, Live::Ours(stack) if stack.template.len() > MAX_INLINE_BYTES);
        settings.template_bucket && (is_long || !self.doubts.contains_key(&Doubt::BucketWrong))
    }

    /// Returns when to check the bucket again, since its correction causes no event in the cluster.
    pub fn again(&self) -> Option<Duration> {
        let mut wrong = self.doubts.keys();
        wrong
            .any(|it| matches!(it, Doubt::BucketWrong | Doubt::BucketSilent))
            .then_some(BUCKET_AGAIN)
    }

    /// Reports the limits that are unknown, and the values that apply instead.
    pub fn problems(&self, settings: &Settings) -> Vec<Problem> {
        let problem = |(doubt, why): (&Doubt, &String)| {
            let text = match doubt {
                Doubt::RouteQuota if settings.route_table_quota.is_some() => return None,
                Doubt::RouteQuota => format!(
                    "the account's quota of routes per route table is not known, and AWS's default of {DEFAULT_ROUTES} counts ({why}); \
                     allow servicequotas:GetServiceQuota, or set --aws-route-table-quota"
                ),
                Doubt::PrefixLists => format!(
                    "the sizes of prefix lists in worker route tables are not known, and a route to such a list counts as one ({why}); \
                     allow ec2:DescribeManagedPrefixLists, or lower --aws-route-table-quota by their entries"
                ),
                Doubt::MoreLists => format!(
                    "it is not known how many more prefix lists the account may have, and a list that is one too many fails the change \
                     ({why}); allow ec2:DescribeManagedPrefixLists"
                ),
                Doubt::BucketSilent => format!(
                    "S3 does not answer for the bucket of --cf-template-bucket, and a template of more than {MAX_INLINE_BYTES} bytes \
                     cannot be sent ({why}); look for the way to S3, such as a gateway endpoint or a network policy"
                ),
                Doubt::BucketWrong => format!(
                    "the bucket of --cf-template-bucket cannot be used, and entries that need a template of more than \
                     {MAX_INLINE_BYTES} bytes wait ({why}); name a bucket in the stack's region that the controller's role may read and \
                     write"
                ),
            };
            let reason = match doubt {
                Doubt::RouteQuota | Doubt::PrefixLists | Doubt::MoreLists => Reason::LimitUnknown,
                Doubt::BucketSilent | Doubt::BucketWrong => Reason::TemplateBucketUnusable,
            };
            let subject = Subject::Stack(settings.stack_name.clone());
            Some(Problem::warning(subject, reason, text))
        };
        self.doubts.iter().filter_map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_number_comes_before_the_accounts_and_the_default_comes_last() {
        let settings = |route_table_quota| Settings {
            route_table_quota,
            ..Settings::default()
        };
        let limits = |routes| Limits {
            routes,
            ..Limits::default()
        };
        let count = |told, set| limits(told).routes_per_table(&settings(set));
        assert_eq!(count(None, None), 500);
        assert_eq!(count(Some(50), None), 50);
        assert_eq!(count(Some(1_000), None), 1_000);
        assert_eq!(count(Some(1_000), Some(90)), 90);
    }

    #[test]
    fn what_is_not_known_is_said_where_it_counts() {
        let why = "AccessDenied".to_owned();
        let limits = Limits {
            doubts: BTreeMap::from([(Doubt::RouteQuota, why.clone()), (Doubt::PrefixLists, why)]),
            ..Limits::default()
        };
        let problems = |route_table_quota| {
            limits.problems(&Settings {
                route_table_quota,
                ..Settings::default()
            })
        };
        let [quota, lists] = &problems(None)[..] else {
            panic!("{:?}", problems(None));
        };
        assert!(quota.what.contains("500 counts (AccessDenied)"), "{quota}");
        assert!(
            quota.remedy().contains("--aws-route-table-quota"),
            "{quota}"
        );
        assert!(
            lists.remedy().contains("DescribeManagedPrefixLists"),
            "{lists}"
        );
        assert_eq!(problems(Some(500)), std::slice::from_ref(lists));
    }
}
