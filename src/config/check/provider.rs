//! Checks of the flags that choose the provider.

use std::collections::BTreeMap;

use super::super::flags::Options;
use super::super::form;
use super::super::{AwsSettings, Facts, ProviderConfig};
use super::Check;

const MAX_ROUTE_TABLE_TAGS: usize = 20;

impl Check {
    /// Returns the provider, and whether it only logs. There is a default only if nothing is published, so that a forgotten flag never
    /// shows invented static IPs to the tenants of a cluster.
    pub(super) fn provider(
        &mut self,
        options: &Options,
        facts: &Facts,
        private: bool,
    ) -> (ProviderConfig, bool) {
        let aws = AwsSettings {
            vpc_id: self.optional("vpc-id", &options.aws.vpc_id, form::vpc_id),
            route_table_filters: self.tags(
                "aws-route-table-tag",
                &options.aws.aws_route_table_tag,
                MAX_ROUTE_TABLE_TAGS,
                BTreeMap::new(),
            ),
            template_bucket: self.optional(
                "cf-template-bucket",
                &options.aws.cf_template_bucket,
                form::bucket,
            ),
            role_arn: self.optional(
                "aws-cfn-role-arn",
                &options.aws.aws_cfn_role_arn,
                form::role_arn,
            ),
        };
        let choices = [
            ("aws", ProviderConfig::Aws(aws)),
            ("in-memory", ProviderConfig::InMemory),
            ("noop", ProviderConfig::Noop),
        ];
        let named = options.provider.provider.as_deref().map(str::trim);
        let found = match named.filter(|name| !name.is_empty()) {
            Some(name) => self.choice("provider", name, &choices),
            None if private => None,
            None => {
                let remedy = "give aws; or in-memory to try it out, which publishes invented static IPs; or noop, which only logs";
                self.mistake(
                    "provider",
                    "is not given, and the ConfigMaps are a cluster's",
                    remedy,
                );
                None
            }
        };
        if facts.without_aws && matches!(found, Some(ProviderConfig::Aws(_))) {
            self.mistake(
                "provider",
                "is aws, and this program is built without AWS",
                "build it with cargo's default features (without --no-default-features), or give in-memory or noop",
            );
        }
        let provider = found.unwrap_or(ProviderConfig::InMemory);
        let noop = provider == ProviderConfig::Noop;
        (provider, noop)
    }
}
