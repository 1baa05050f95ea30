//! What is known of AWS's limits before anything is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::Settings;
use crate::model::cloud::live::Live;

/// Routes per route table, unless the account has another quota (L-93826ACB in "Amazon VPC quotas").
pub const DEFAULT_ROUTES: u16 = 500;
/// No account gets a higher quota of routes per route table.
pub const MOST_ROUTES: u16 = 1_000;

/// The largest template body in a request (CloudFormation quota).
pub const MAX_INLINE_BYTES: usize = 51_200;
/// How soon a bucket that cannot be used is looked at again.
pub const BUCKET_AGAIN: Duration = Duration::from_secs(30);

/// What AWS says of the limits that the stack has to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The account's quota of routes per route table; None where AWS has not been asked or does not tell.
    pub routes: Option<u16>,
    /// How many more prefix lists of its own the account may have in the region; None where AWS has not been asked or does not tell.
    pub lists: Option<usize>,
    /// What could not be found out, and why.
    pub doubts: BTreeMap<Doubt, String>,
}

/// What could not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The quota of routes per route table.
    RouteQuota,
    /// The sizes of the prefix lists that worker tables have routes to.
    PrefixLists,
    /// How many more prefix lists the account may have.
    MoreLists,
    /// Whether templates can go through the bucket: S3 does not answer.
    BucketSilent,
    /// S3 says that templates cannot go through the bucket.
    BucketWrong,
}

impl Limits {
    /// Returns how many routes a route table takes: what the operator says, else what AWS says, else AWS's default.
    pub fn routes_per_table(&self, settings: &Settings) -> u16 {
        let told = settings.route_table_quota.or(self.routes);
        told.unwrap_or(DEFAULT_ROUTES)
    }

    /// Whether a template may be too long for a request.
    pub fn allow_long_templates(&self, settings: &Settings, live: &Live) -> bool {
        let is_long = matches!(live, Live::Ours(stack) if stack.template.len() > MAX_INLINE_BYTES);
        settings.template_bucket && (is_long || !self.doubts.contains_key(&Doubt::BucketWrong))
    }

    /// Returns when to look again at what is corrected outside of the cluster.
    pub fn again(&self) -> Option<Duration> {
        let mut wrong = self.doubts.keys();
        wrong
            .any(|it| matches!(it, Doubt::BucketWrong | Doubt::BucketSilent))
            .then_some(BUCKET_AGAIN)
    }

    /// Reports what is not known, and what counts instead.
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
