//! Sets up the log: which lines are written, to which stream, and how they are escaped.

use std::io::Write;

use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::traces::Traces;
use crate::config::Log;
use crate::model::base::plain;
use crate::spans;

/// The maximum length of a line in bytes, and of each field of a JSON line that is longer.
const MAX_LINE: usize = 8_192;
const MAX_FIELD: usize = 1_024;

/// Sends the log to standard error and spans to `traces`. Does nothing if a log is already set up.
pub fn init(log: Log, traces: Option<&Traces>) {
    let registry = tracing_subscriber::registry();
    let filter = filter(log.level);
    // A second initialisation happens in tests only.
    let _already = match traces {
        // One filter for all layers, so that a disabled span costs nothing.
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
    let format = tracing_subscriber::fmt::layer().with_writer(move || Line { json });
    if json {
        format.json().flatten_event(true).boxed()
    } else {
        // The text is for users, to whom module paths say nothing.
        format.with_ansi(false).with_target(false).boxed()
    }
}

/// Writes each event as one line that is safe to show and of limited length. Names from outside may contain control characters.
struct Line {
    json: bool,
}

impl Write for Line {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = safe(text.trim_end_matches('\n'), self.json) + "\n";
        std::io::stderr().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn safe(line: &str, json: bool) -> String {
    match json {
        false => plain::short(line, MAX_LINE),
        true if line.len() <= MAX_LINE => plain::json(line),
        true => {
            let mut fields: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
            for value in fields.values_mut() {
                if let Value::String(text) = value {
                    *text = plain::short(text, MAX_FIELD);
                }
            }
            plain::json(&Value::Object(fields).to_string())
        }
    }
}

/// Returns the filter. Libraries log warnings and errors, and more at level `trace`.
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
        // At level info, it logs every read of a Lease that another replica holds.
        .with_target("kube_leader_election", level.min(Level::WARN))
        // They log every failed request. The caller logs the failure once, with the remedy.
        .with_targets(["kube_client", "kube_runtime"].map(|target| (target, kube)))
        // Spans are no part of the log lines.
        .with_target(spans::TARGET, LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_safe_to_show() {
        let line = safe("holder \u{1b}[2J\u{202e}x\n2026 INFO all is well", false);
        assert_eq!(line, "holder ?[2J?x 2026 INFO all is well");
        let long = safe(&"x".repeat(200_000), false);
        assert!(long.len() < MAX_LINE + 8, "{}", long.len());
        for message in ["a\u{202e}\u{1b}\nb".to_owned(), "x".repeat(200_000)] {
            let line = serde_json::json!({"level": "WARN", "message": message}).to_string();
            let line = safe(&line, true);
            assert!(line.len() <= MAX_LINE && *plain::plain(&line) == line);
            let back: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(back["level"], "WARN");
        }
    }

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
