//! Where log lines go and which ones.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Log;

/// Sends the log to standard error. Does nothing when a log has been set up before.
pub fn init(log: Log) {
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter(log.level));
    // A second initialisation only happens in tests.
    let _already = if log.json {
        registry.with(format.json().flatten_event(true)).try_init()
    } else {
        registry.with(format.with_ansi(false)).try_init()
    };
}

/// Libraries speak up only when something is wrong, or when everything is asked for.
fn filter(level: Level) -> Targets {
    let libraries = if level == Level::TRACE {
        Level::DEBUG
    } else {
        level.min(Level::WARN)
    };
    Targets::new()
        .with_default(libraries)
        .with_target("kube_static_egress_controller", level)
        // At info it writes a line for every look at a Lease that somebody else holds.
        .with_target("kube_leader_election", level.min(Level::WARN))
        // It writes an error for every request that fails; whoever sent it says so, once, with the remedy.
        .with_target(
            "kube_client",
            if level >= Level::DEBUG {
                level.min(Level::DEBUG).into()
            } else {
                LevelFilter::OFF
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet() {
        let shows = |level, target, line| filter(level).would_enable(target, &line);
        let own = "kube_static_egress_controller::controller";
        assert!(shows(Level::INFO, own, Level::INFO) && !shows(Level::INFO, own, Level::DEBUG));
        assert!(shows(Level::INFO, "kube_leader_election", Level::WARN));
        assert!(!shows(Level::DEBUG, "kube_leader_election", Level::INFO));
        assert!(!shows(
            Level::INFO,
            "kube_client::client::builder",
            Level::ERROR
        ));
        assert!(shows(
            Level::DEBUG,
            "kube_client::client::builder",
            Level::ERROR
        ));
        assert!(!shows(Level::ERROR, "hyper", Level::WARN));
        assert!(
            shows(Level::TRACE, "hyper", Level::DEBUG)
                && !shows(Level::TRACE, "hyper", Level::TRACE)
        );
    }
}
