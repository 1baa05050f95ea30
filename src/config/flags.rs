//! Flags and environment variables. Values are taken as text here and checked in [`super::check`], so that one run reports all mistakes.

use clap::Args;

pub use self::stack::StackOptions;

mod stack;

#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    pub sources: SourceOptions,
    #[command(flatten)]
    pub provider: ProviderOptions,
    #[command(flatten)]
    pub aws: AwsOptions,
    #[command(flatten)]
    pub stack: StackOptions,
    #[command(flatten)]
    pub election: ElectionOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sources")]
pub struct SourceOptions {
    /// Address of an API server. Several: the ConfigMaps of several clusters are merged. Default: kubeconfig, else the
    /// cluster the controller runs in.
    #[arg(
        long,
        value_name = "URL",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_MASTER",
        hide_env_values = true
    )]
    pub master: Vec<String>,
    /// Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config, else the cluster the controller runs in.
    #[arg(
        long,
        value_name = "FILE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_KUBECONFIG",
        hide_env_values = true
    )]
    pub kubeconfig: Option<String>,
    /// Context of the kubeconfig. Default: its current context.
    #[arg(
        long,
        value_name = "NAME",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CONTEXT",
        hide_env_values = true
    )]
    pub context: Option<String>,
    /// Watch the ConfigMaps of this namespace only. Default: all namespaces.
    #[arg(
        long,
        short,
        value_name = "NAME",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_NAMESPACE",
        hide_env_values = true
    )]
    pub namespace: Option<String>,
    /// Read the bearer token for every API server, at every request, from the file
    /// kube-static-egress-controller-token-secret in the credentials directory.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_USE_PLATFORM_CREDENTIALS",
          hide_env_values = true)]
    pub use_platform_credentials: String,
    /// Directory of the platform credentials. Default: $CREDENTIALS_DIR, else /meta/credentials.
    #[arg(
        long,
        value_name = "DIR",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CREDENTIALS_DIR",
        hide_env_values = true
    )]
    pub credentials_dir: Option<String>,
    /// Read ConfigMaps from this YAML file, or all *.yaml, *.yml and *.json below this directory, instead of a cluster;
    /// again whenever they change. Default: a cluster is watched.
    #[arg(
        long,
        value_name = "PATH",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_MANIFESTS",
        hide_env_values = true
    )]
    pub manifests: Option<String>,
    /// Networks that the ConfigMaps of one namespace may have in all; a network inside of another counts once, and the oldest come
    /// first. Default: as many as there is room for.
    #[arg(
        long,
        value_name = "NUMBER",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_MAX_NETWORKS_PER_NAMESPACE",
        hide_env_values = true
    )]
    pub max_networks_per_namespace: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Provider")]
pub struct ProviderOptions {
    /// aws; in-memory, which behaves like AWS, keeps everything in memory and shows invented static IPs; or noop, which only logs.
    /// Default: none, it must be given; with --manifests, in-memory.
    #[arg(
        long,
        value_name = "NAME",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_PROVIDER",
        hide_env_values = true
    )]
    pub provider: Option<String>,
    /// Id of the cluster: part of the stack's name and of the tag by which the stack is found again. Default: none,
    /// which is safe only while no other cluster of the account has a controller.
    #[arg(
        long,
        value_name = "ID",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CLUSTER_ID",
        hide_env_values = true
    )]
    pub cluster_id: Option<String>,
    /// What precedes the cluster id in the key of the stack's ownership tag.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "kubernetes.io/cluster/",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CLUSTER_ID_TAG_PREFIX",
        hide_env_values = true
    )]
    pub cluster_id_tag_prefix: String,
    /// Value of the stack's tag kubernetes:application.
    #[arg(
        long,
        value_name = "ID",
        default_value = "kube-static-egress-controller",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CONTROLLER_ID",
        hide_env_values = true
    )]
    pub controller_id: String,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "AWS")]
pub struct AwsOptions {
    /// Zone that gets a NAT gateway with a static IP; repeat for each zone. Needed with --provider=aws.
    #[arg(
        long,
        value_name = "ZONE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_AZ",
        hide_env_values = true
    )]
    pub aws_az: Vec<String>,
    /// Unused part of the VPC for the NAT subnet, /16 to /28; one for each --aws-az, in the same order.
    #[arg(
        long,
        value_name = "CIDR",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_NAT_CIDR_BLOCK",
        hide_env_values = true
    )]
    pub aws_nat_cidr_block: Vec<String>,
    /// VPC of the workers. Default: the only VPC, else the default VPC.
    #[arg(
        long,
        value_name = "ID",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_VPC_ID",
        hide_env_values = true
    )]
    pub vpc_id: Option<String>,
    /// Only route tables with this tag are the workers', besides having the tag AvailabilityZone; repeat for more tags,
    /// all of which they must have. Default: none.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_ROUTE_TABLE_TAG",
        hide_env_values = true
    )]
    pub aws_route_table_tag: Vec<String>,
    /// Routes per route table: entries whose routes would pass it wait, and no change fails on it. Default: the account's
    /// quota, read from Service Quotas (500 where it cannot be read).
    #[arg(
        long,
        value_name = "NUMBER",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_ROUTE_TABLE_QUOTA",
        hide_env_values = true
    )]
    pub aws_route_table_quota: Option<String>,
    /// Route private ranges (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10), too. A NAT gateway that faces the internet
    /// cannot reach them, so new entries there are refused otherwise.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_ALLOW_PRIVATE_RANGES",
          hide_env_values = true)]
    pub allow_private_ranges: String,
    /// S3 bucket for templates of more than 51,200 bytes. Default: none, and entries that would need one wait.
    #[arg(
        long,
        value_name = "NAME",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_CF_TEMPLATE_BUCKET",
        hide_env_values = true
    )]
    pub cf_template_bucket: Option<String>,
    /// Role with which CloudFormation makes the resources. Default: the rights of the controller itself.
    #[arg(
        long,
        value_name = "ARN",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_CFN_ROLE_ARN",
        hide_env_values = true
    )]
    pub aws_cfn_role_arn: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Leader election")]
pub struct ElectionOptions {
    /// Act only while holding the Lease, so that several replicas can run. Default: true, with --manifests false.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT", hide_env_values = true)]
    pub leader_elect: Option<String>,
    /// How long a leader that is silent keeps the Lease; whole seconds.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_LEASE_DURATION",
        hide_env_values = true
    )]
    pub leader_elect_lease_duration: String,
    /// How long the leader tries to renew the Lease before it stops acting; less than the lease duration.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RENEW_DEADLINE",
        hide_env_values = true
    )]
    pub leader_elect_renew_deadline: String,
    /// How long to wait between two tries to acquire or renew the Lease; 1.2 times it is less than the renew deadline.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2s",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RETRY_PERIOD",
        hide_env_values = true
    )]
    pub leader_elect_retry_period: String,
    /// Name of the Lease; that of the ledger has -ledger behind it.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "kube-static-egress-controller",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RESOURCE_NAME",
        hide_env_values = true
    )]
    pub leader_elect_resource_name: String,
    /// Namespace of the Lease and the ledger. Default: $POD_NAMESPACE, else the namespace of the service account.
    #[arg(
        long,
        value_name = "NAME",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RESOURCE_NAMESPACE",
        hide_env_values = true
    )]
    pub leader_elect_resource_namespace: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging and endpoints")]
pub struct ProcessOptions {
    /// panic, fatal, error, warn (or warning), info, debug or trace; panic and fatal show errors, too.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LOG_LEVEL",
        hide_env_values = true
    )]
    pub log_level: String,
    /// text or json.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_LOG_FORMAT",
        hide_env_values = true
    )]
    pub log_format: String,
    /// Where /healthz, /readyz and /metrics are served; without a host on all interfaces.
    #[arg(
        long,
        value_name = "[HOST]:PORT",
        default_value = ":8080",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_ADDRESS",
        hide_env_values = true
    )]
    pub address: String,
    /// Serve the status page at / and the same for machines at /api/status.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_STATUS_PAGE", hide_env_values = true)]
    pub status_page: String,
    /// Write static IPs and state of their entries as annotations on the ConfigMaps; needs the right to patch them.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_ANNOTATE_CONFIGMAPS", hide_env_values = true)]
    pub annotate_configmaps: String,
    /// Send OpenTelemetry traces of passes and AWS calls there, by OTLP over HTTP: to /v1/traces below this address.
    /// Default: $OTEL_EXPORTER_OTLP_TRACES_ENDPOINT as it is, else $OTEL_EXPORTER_OTLP_ENDPOINT, else there are no traces.
    #[arg(
        long,
        value_name = "URL",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    pub otlp_endpoint: Option<String>,
}
