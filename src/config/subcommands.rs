//! Subcommands: each takes the controller's flags and has some of its own.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Purpose;
use super::flags::Options;

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print what would be done and why, and write nothing. Exit code: 0 no change, 2 change, 1 error.
    Plan(Box<PlanArgs>),
    /// Print what the leader has last written down. Exit code: 0 all is routed, 2 something is refused or not routed, 1 error.
    Status(Box<StatusArgs>),
    /// Print which entry, route and static IPs serve an address. Exit code: 0 it has a static IP, 2 it has none, 1 error.
    Check(Box<CheckArgs>),
}

#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Only ConfigMaps of this name.
    pub name: Option<String>,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// An IPv4 address in the internet.
    pub ip: Ipv4Addr,
    #[command(flatten)]
    pub answer: AnswerArgs,
    #[command(flatten)]
    pub options: Options,
}

/// Who is asked, and in which form the answer is printed.
#[derive(Args, Clone, Debug)]
pub struct AnswerArgs {
    /// Address of a controller's status page, such as http://localhost:8080. Default: the status ConfigMap in the cluster is read.
    #[arg(long, value_name = "URL", help_heading = "Status and check")]
    pub server: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t, help_heading = "Status and check")]
    pub output: Output,
}

impl Command {
    pub fn options(&self) -> &Options {
        match self {
            Self::Plan(args) => &args.options,
            Self::Status(args) => &args.options,
            Self::Check(args) => &args.options,
        }
    }

    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Plan(_) => Purpose::Plan,
            Self::Status(_) | Self::Check(_) => Purpose::Read,
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// Description of the network as YAML or JSON, to plan without AWS. Default: the provider is asked.
    #[arg(long, value_name = "FILE", help_heading = "Plan")]
    pub network: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t, help_heading = "Plan")]
    pub output: Output,
    /// Print the CloudFormation template, too. Default: false.
    #[arg(long, help_heading = "Plan")]
    pub template: bool,
    /// Exit with 0 where something would change, too: for `helm test`. Default: false.
    #[arg(long, help_heading = "Plan")]
    pub allow_changes: bool,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}
