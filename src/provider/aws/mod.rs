//! AWS: EC2 has the network, and CloudFormation has the stack.
//!
//! A pass without changes reads DescribeRouteTables and DescribeStacks. A check for drift adds DescribeNatGateways, DescribeAddresses,
//! DescribeSubnets (alternating with GetStackPolicy), and DescribeManagedPrefixLists if the stack has lists. With a check every 5 minutes
//! these are 60 calls an hour. The template, change sets, resources and events are read when the stack's state requires them. The search by
//! tags runs if our stack is unknown. VPC and gateway are read again when the route tables contradict them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use aws_config::identity::IdentityCache;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::Region;
use aws_types::service_config::ServiceConfigKey;
use tokio::sync::Mutex;

use self::absence::Absence;
use self::apply::Writer;
use self::bucket::Bucket;
use self::calls::Calls;

use self::credentials::Renewable;
use self::drift_detection::DriftDetector;
use self::memory::Memory;
use self::observe::Eyes;
use self::quota::Surveyor;
use self::reader::Reader;
use self::route_room::RouteRoom;
use self::vpc::VpcInfo;
use super::account::AwsConfig;
use super::{Provider, ProviderError};
use crate::lease::term::Term;
use crate::model::base::ids::Zone;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::static_ip::Account;
use crate::model::drift::cfn_detection::Detection;
use crate::model::plan::types::Action;

mod absence;
mod agent;
mod answer_limit;
mod apply;
mod bucket;
mod calls;
mod change_set_events;
mod changeset;
mod claim;
mod codes;
mod credentials;
mod deletion;
mod drift_detection;
mod ec2_values;
mod error;
#[cfg(test)]
mod event_examples;
mod failure;
mod http;
mod kind;
mod latest;
mod left_behind;
mod memory;
mod observe;
mod operation;
mod pages;
mod policy;
mod prefix_lists;
mod profile;
mod progress;
mod quota;
mod reader;
mod route_room;
mod stack;
mod tables;
mod vpc;

/// The maximum length of the app name, in characters. The SDK warns about longer names.
const MAX_APP_NAME: usize = 50;

/// The provider for one account and region.
pub struct AwsProvider {
    config: AwsConfig,
    region: String,
    bucket: Option<Bucket>,
    calls: Calls,
    credentials: Option<Renewable>,
    cloudformation: aws_sdk_cloudformation::Client,
    ec2: aws_sdk_ec2::Client,
    quotas: aws_sdk_servicequotas::Client,
    /// VPC and gateway. They are read again when the route tables contradict them, and after a failed operation.
    vpc: Mutex<Option<VpcInfo>>,
    /// Limits of the account. They are read again after a while, and after a failed operation.
    room: RouteRoom,
    memory: Mutex<Memory>,
}

impl AwsProvider {
    /// Reads the environment. Calls no service of AWS, except for the region, which can come from the instance's metadata.
    ///
    /// # Errors
    /// If no region is found or the HTTP client cannot be created. The first call reports missing credentials, which may appear later.
    pub async fn new(config: AwsConfig) -> Result<Self, ProviderError> {
        let profile = profile::read().await;
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .profile_name(profile::selected())
            .http_client(http::client(profile.ca_bundle.as_deref())?)
            .timeout_config(http::timeouts())
            .retry_config(http::retries());
        let loader = match app_name(&config.app_name) {
            Some(name) => loader.app_name(name),
            None => loader,
        };
        let sdk = loader.load().await;
        let credentials = sdk.credentials_provider();
        let credentials = credentials.map(|it| Renewable::new(it, profile.needs_code));
        let sdk = match &credentials {
            Some(renewable) => sdk
                .into_builder()
                .credentials_provider(SharedCredentialsProvider::new(renewable.clone()))
                .identity_cache(IdentityCache::no_cache())
                .build(),
            None => sdk,
        };
        let region = sdk
            .region()
            .map(Region::to_string)
            .filter(|region| !region.is_empty())
            .ok_or_else(no_region)?;
        Ok(Self {
            bucket: config
                .template_bucket
                .clone()
                .map(|name| bucket(&sdk, name, region.clone())),
            calls: Calls::new(config.observer.clone(), credentials.clone(), region.clone()),
            credentials,
            cloudformation: aws_sdk_cloudformation::Client::new(&sdk),
            ec2: aws_sdk_ec2::Client::new(&sdk),
            quotas: quota::client(&sdk),
            vpc: Mutex::default(),
            room: RouteRoom::default(),
            memory: Mutex::default(),
            region,
            config,
        })
    }

    /// Keeps the credentials fresh, so that this replica has them when it becomes the leader. Never ends.
    pub fn keep_warm(&self) -> impl Future<Output = ()> + Send + 'static {
        let credentials = self.credentials.clone();
        async move {
            match credentials {
                Some(credentials) => credentials.keep_fresh().await,
                None => std::future::pending().await,
            }
        }
    }

    async fn vpc(&self) -> Result<VpcInfo, ProviderError> {
        let mut known = self.vpc.lock().await;
        if let Some(vpc) = &*known {
            return Ok(vpc.clone());
        }
        let vpc = vpc::read(
            &self.calls,
            &self.ec2,
            &self.region,
            self.config.vpc_id.as_deref(),
        )
        .await?;
        *known = Some(vpc.clone());
        Ok(vpc)
    }

    /// Asks for the quota of routes, unless the operator has set one, and checks the template bucket.
    async fn ask_for_limits(&self) {
        let quota = async {
            if self.config.asks_route_quota {
                self.room.quota(&self.calls, &self.quotas).await;
            }
        };
        let bucket = async {
            if let Some(bucket) = &self.bucket {
                let stack = &self.config.stack_name;
                self.room.bucket(&self.calls, bucket, stack).await;
            }
        };
        futures::join!(quota, bucket);
    }

    fn eyes(&self) -> Eyes<'_> {
        Eyes {
            calls: &self.calls,
            cloudformation: &self.cloudformation,
            ec2: &self.ec2,
            keeps_policy: self.config.stack_policy,
        }
    }

    fn surveyor(&self) -> Surveyor<'_> {
        Surveyor {
            calls: &self.calls,
            ec2: &self.ec2,
            quotas: &self.quotas,
            region: &self.region,
        }
    }
}

impl Provider for AwsProvider {
    async fn network(&self) -> Result<Network, ProviderError> {
        let mut vpc = self.vpc().await?;
        let filters = &self.config.route_table_filters;
        let tables = tables::read(&self.calls, &self.ec2, &vpc.vpc_id, filters);
        let (tables, ()) = futures::join!(tables, self.ask_for_limits());
        if tables.is_err() {
            // The VPC may have been replaced.
            *self.vpc.lock().await = None;
        }
        let mut tables = tables?;
        let lists = tables.lists();
        if !lists.is_empty() {
            let sizes = self.room.sizes(&self.calls, &self.ec2, &lists).await;
            tables.count_lists(&sizes);
        }
        if let (true, Some(account)) = (self.config.asks_more_lists, &vpc.account) {
            self.room.more_lists(&self.calls, &self.ec2, account).await;
        }
        if tables.contradict(&vpc) {
            *self.vpc.lock().await = None;
            vpc = self.vpc().await?;
        }
        Ok(Network {
            account: vpc.account,
            vpc_id: vpc.vpc_id,
            vpc_cidrs: vpc.vpc_cidrs,
            internet_gateway_id: vpc.internet_gateway_id,
            limits: self.room.limits(!lists.is_empty()).await,
            worker_tables: tables.workers,
            other_tables: tables.others,
            associations: tables.associations,
            ..Network::default()
        })
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let absence = Absence {
            calls: &self.calls,
            ec2: &self.ec2,
        };
        absence.of(ids).await
    }

    async fn live(&self, epoch: Option<u64>, known: Option<&str>) -> Result<Live, ProviderError> {
        let mut memory = self.memory.lock().await;
        let reader = Reader {
            calls: &self.calls,
            cloudformation: &self.cloudformation,
            name: &self.config.stack_name,
            ownership: &self.config.ownership,
            policy: self.config.stack_policy,
        };
        let (live, doubtful) = reader.live(&mut memory, epoch, known).await?;
        if doubtful {
            *self.vpc.lock().await = None;
            self.room.look_again().await;
        }
        Ok(live)
    }

    async fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        let mut memory = self.memory.lock().await;
        self.eyes().observe(&mut memory, stack, ips).await
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        let ips = ips.iter().cloned().collect();
        Ok(self.eyes().addresses(ips).await?)
    }

    async fn detect(&self, stack: &Stack, new: bool) -> Result<Detection, ProviderError> {
        let detector = DriftDetector {
            calls: &self.calls,
            cloudformation: &self.cloudformation,
        };
        let mut memory = self.memory.lock().await;
        detector.detect(&mut memory, stack, new).await
    }

    async fn static_ips(&self) -> Account {
        self.surveyor().static_ips().await
    }

    async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        self.surveyor().headroom(zones).await
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        let mut memory = self.memory.lock().await;
        let writer = Writer {
            calls: &self.calls,
            cloudformation: &self.cloudformation,
            bucket: self.bucket.as_ref(),
            role_arn: self.config.role_arn.as_deref(),
            term,
            owner,
            lease: self.config.lease.as_deref(),
        };
        writer.apply(&mut memory, stack, action).await
    }
}

fn bucket(sdk: &SdkConfig, name: String, region: String) -> Bucket {
    let endpoint = s3_endpoint(sdk);
    let config = aws_sdk_s3::config::Builder::from(sdk)
        .force_path_style(endpoint.is_some())
        .build();
    Bucket {
        name,
        region,
        endpoint,
        client: aws_sdk_s3::Client::from_conf(config),
    }
}

/// Returns the endpoint that the SDK uses for S3 if it is not AWS's own. The bucket is then part of the path.
fn s3_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let of_service = sdk
        .service_config()
        .and_then(|config| config.load_config(key));
    of_service.or_else(|| sdk.endpoint_url().map(str::to_owned))
}

/// Returns a text as an app name: cut, and without characters that a user agent must not contain. None if it is empty.
fn app_name(text: &str) -> Option<AppName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let clean: String = text
        .chars()
        .take(MAX_APP_NAME)
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    (!clean.is_empty())
        .then(|| AppName::new(clean).ok())
        .flatten()
}

fn no_region() -> ProviderError {
    let text =
        "no AWS region: set AWS_REGION, such as eu-west-1 (pods on EKS with a role have it set)";
    ProviderError::after_fix("NoRegion", text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_fit_a_user_agent() {
        let name = |text: &str| app_name(text).map(|name| name.as_ref().to_owned());
        assert_eq!(
            name("egress-7d9/replica 1"),
            Some("egress-7d9-replica-1".to_owned())
        );
        assert_eq!(name(&"x".repeat(80)), Some("x".repeat(50)));
        assert_eq!(name(""), None);
    }
}
