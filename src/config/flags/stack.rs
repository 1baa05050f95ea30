//! Flags that control the stack and its changes.

use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Stack and safety")]
pub struct StackOptions {
    /// Protect the stack from deletion by others.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_STACK_TERMINATION_PROTECTION",
          hide_env_values = true)]
    pub stack_termination_protection: String,
    /// One more tag of the stack; repeat for more, at most 48. Default: none.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_ADDITIONAL_STACK_TAGS",
        hide_env_values = true
    )]
    pub additional_stack_tags: Vec<String>,
    /// Write nothing: only log what would be done and why.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", env = "KUBE_STATIC_EGRESS_CONTROLLER_DRY_RUN", hide_env_values = true)]
    pub dry_run: String,
    /// Remove the NAT gateway of this zone, which is no longer given with --aws-az; can be repeated. Its static IP stays
    /// in the account.
    /// Default: none.
    #[arg(
        long,
        value_name = "ZONE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_REMOVE_ZONE",
        hide_env_values = true
    )]
    pub remove_zone: Vec<String>,
    /// Gone: any zone that was missing in --aws-az lost its static IP, misspelt or not.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          env = "KUBE_STATIC_EGRESS_CONTROLLER_ALLOW_ZONE_REMOVAL", hide_env_values = true)]
    pub allow_zone_removal: Option<String>,
    /// When no ConfigMap asks for anything any more: keep (NAT gateways and static IPs stay, without routes) or delete
    /// (the stack is deleted; its static IPs stay in the account).
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "keep",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_ON_EMPTY",
        hide_env_values = true
    )]
    pub on_empty: String,
    /// How long to wait, while no entry requests a route, before --on-empty applies; a large removal waits as long; 0s: at once.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10m",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_EMPTY_GRACE_PERIOD",
        hide_env_values = true
    )]
    pub empty_grace_period: String,
    /// A change that takes the routes of more than this share of the networks, in percent, waits for --empty-grace-period; 100:
    /// none waits.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "50",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_MAX_REMOVAL",
        hide_env_values = true
    )]
    pub max_removal: String,
    /// How often everything is compared even when no ConfigMap changed; at least 10s.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_RESYNC_INTERVAL",
        hide_env_values = true
    )]
    pub resync_interval: String,
    /// What to do where EC2 differs from the stack, because it was changed outside of CloudFormation: off, report or repair.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "repair",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_DRIFT_DETECTION",
        hide_env_values = true
    )]
    pub drift_detection: String,
    /// How often the controller compares EC2 with the stack; at least 10s.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_DRIFT_INTERVAL",
        hide_env_values = true
    )]
    pub drift_interval: String,
    /// Give this zone a new static IP in place of this one, which was released, if AWS does not give it back; can be repeated.
    /// Default: none.
    #[arg(long, value_name = "ZONE=IP", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          env = "KUBE_STATIC_EGRESS_CONTROLLER_ALLOW_NEW_EIPS", hide_env_values = true)]
    pub allow_new_eips: Vec<String>,
    /// Use this Elastic IP address of the account for this zone when it is added; can be repeated. Further ones of the same zone are its
    /// additional static IPs, in this order. The controller never releases them. Default: the addresses that the zone had before, else new
    /// ones.
    #[arg(
        long,
        value_name = "ZONE=ID",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_EIP_ALLOCATION_ID",
        hide_env_values = true
    )]
    pub aws_eip_allocation_id: Vec<String>,
    /// How many static IPs each zone has, from 1 to 8. All are shown, so that partners can allow those that carry no traffic yet. Their
    /// number only grows.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "1",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_EIPS_PER_ZONE",
        hide_env_values = true
    )]
    pub aws_eips_per_zone: String,
    /// How many static IPs of each zone carry traffic, at most --aws-eips-per-zone. A NAT gateway has 55,000 connections to a destination
    /// for each. Fewer do only in a zone of --replace-static-ip.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "1",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_AWS_EIPS_IN_USE_PER_ZONE",
        hide_env_values = true
    )]
    pub aws_eips_in_use_per_zone: String,
    /// Replace the static IP of this zone by the one that --aws-eip-allocation-id names for it; can be repeated. The old address stays
    /// in the account. Default: none.
    #[arg(
        long,
        value_name = "ZONE",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_REPLACE_STATIC_IP",
        hide_env_values = true
    )]
    pub replace_static_ip: Vec<String>,
    /// Take the stack over from the cluster with this UID (of its namespace kube-system), which owns it until now. Stop that
    /// cluster's controller first. Default: none.
    #[arg(
        long,
        value_name = "UID",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_TAKE_OVER_STACK_FROM",
        hide_env_values = true
    )]
    pub take_over_stack_from: Option<String>,
    /// Which new networks get their routes by prefix lists of the stack, one route in each table for up to 100 networks: never; when-full,
    /// those that do not fit with routes of their own; or always. With always, networks with routes of their own move into lists as well,
    /// one list at a time; with never, networks in lists get routes of their own again, if all of them fit.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "never",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_PREFIX_LISTS",
        hide_env_values = true
    )]
    pub prefix_lists: String,
    /// Policy of the stack: protect (no update may replace or remove EIPs, NAT gateways and NAT subnets) or none.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "none",
        env = "KUBE_STATIC_EGRESS_CONTROLLER_STACK_POLICY",
        hide_env_values = true
    )]
    pub stack_policy: String,
}
