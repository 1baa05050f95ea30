//! [`Cli`]: the command line.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{CommandFactory as _, Parser};

use super::flags::Options;
use super::subcommands::Command;

/// Static IPs for a cluster's egress traffic.
///
/// ConfigMaps labelled egress=static name destination networks. Traffic from the cluster's nodes to them leaves through
/// NAT gateways with static IPs, which one CloudFormation stack holds.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "kube-static-egress-controller",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 120,
    after_help = "Every flag can also be given in the environment. Flags that can be repeated take several values there, \
                  one a line or separated by commas; tags one a line.\n\
                  Durations are written like 300ms, 15s, 5m or 1h30m."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

impl Cli {
    /// Parses arguments, the first of which is the program. `--no-FLAG` of a switch means `--FLAG=false`, as in the Go controller.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let command = Self::command();
        let may_be_bare = |arg: &&clap::Arg| {
            let values = arg.get_num_args();
            values.is_some_and(|values| values.min_values() == 0)
        };
        let switches = command.get_arguments().filter(may_be_bare);
        let switches: BTreeSet<&str> = switches.filter_map(clap::Arg::get_long).collect();
        let positive = |argument: OsString| {
            let flag = argument
                .to_str()
                .and_then(|text| text.strip_prefix("--no-"));
            match flag.filter(|flag| switches.contains(flag)) {
                Some(flag) => format!("--{flag}=false").into(),
                None => argument,
            }
        };
        Self::try_parse_from(arguments.into_iter().map(positive))
    }
}
