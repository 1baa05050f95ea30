//! Where log lines go and which ones.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::traces::Traces;
use crate::config::Log;
use crate::spans;

/// Sends the log to standard error, and spans where traces go. Does nothing when a log has been set up before.
pub fn init(log: Log, traces: Option<&Traces>) {
    let registry = tracing_subscriber::registry();
    let filter = filter(log.level);
    // A second initialisation only happens in tests.
    let _already = match traces {
        // A filter for all, so that a span costs nothing where nobody wants it.
        None => registry.with(filter).with(format(log.json)).try_init(),
        Some(traces) => registry
            .with(format(log.json).with_filter(filter))
            .with(traces.layer())
            .try_init(),
    };
}

fn format<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        format.json().flatten_event(true).boxed()
    } else {
        format.with_ansi(false).boxed()
    }
}

/// Libraries speak up only when something is wrong, or when everything is asked for.
fn filter(level: Level) -> Targets {
    let libraries = if level == Level::TRACE {
        Level::DEBUG
    } else {
        level.min(Level::WARN)
    };
    let kube = if level >= Level::DEBUG {
        LevelFilter::DEBUG
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(libraries)
        .with_target("kube_static_egress_controller", level)
        // At info it writes a line for every look at a Lease that somebody else holds.
        .with_target("kube_leader_election", level.min(Level::WARN))
        // They write a line for every request that fails; whoever sent it says so, once, with the remedy.
        .with_targets(["kube_client", "kube_runtime"].map(|target| (target, kube)))
        // They are no part of the lines.
        .with_target(spans::TARGET, LevelFilter::OFF)
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
        assert!(!shows(Level::INFO, "kube_runtime::watcher", Level::WARN));
        assert!(shows(
            Level::DEBUG,
            "kube_client::client::builder",
            Level::ERROR
        ));
        assert!(!shows(Level::ERROR, "hyper", Level::WARN));
        assert!(!shows(Level::TRACE, spans::TARGET, Level::INFO));
        assert!(
            shows(Level::TRACE, "hyper", Level::DEBUG)
                && !shows(Level::TRACE, "hyper", Level::TRACE)
        );
    }
}
