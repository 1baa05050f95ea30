//! Environment variables that look like flags but belong to none. A misspelt variable is as wrong as a misspelt flag.

use std::collections::BTreeSet;

use clap::CommandFactory as _;

use super::flags::Options;
use super::{Config, Facts, Purpose};
use crate::config::cli::Cli;

const PREFIX: &str = "KUBE_STATIC_EGRESS_CONTROLLER_";
/// The maximum length of a name in a message, in characters.
const MAX_SHOWN: usize = 100;
/// The maximum number of letters in which a misspelt name differs from the suggested one.
const MAX_DISTANCE: usize = 3;

/// Returns an error line for each variable with the controller's prefix that belongs to no flag. `given`: names and values.
pub fn misspelt(given: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let command = Cli::command();
    let known: BTreeSet<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    let mut wrong: Vec<String> = given
        .into_iter()
        .filter(|(name, value)| {
            let upper = name.to_ascii_uppercase();
            let ours = upper.strip_prefix(PREFIX);
            ours.is_some_and(|rest| !known.contains(name.as_str()) && !is_service_link(rest, value))
        })
        .map(|(name, _)| complaint(&name, &known))
        .collect();
    wrong.sort();
    wrong
}

/// Checks flags and environment together. Returns the configuration, or all mistakes.
pub fn check(options: &Options, purpose: Purpose) -> Result<Config, Vec<String>> {
    let given = std::env::vars_os().filter_map(|(name, value)| {
        let value = value.to_string_lossy().into_owned();
        Some((name.into_string().ok()?, value))
    });
    let mut wrong = misspelt(given);
    match Config::check(options, &Facts::from_environment(), purpose) {
        Ok(config) if wrong.is_empty() => Ok(config),
        Ok(_) => Err(wrong),
        Err(mistakes) => {
            wrong.extend(mistakes.iter().map(ToString::to_string));
            Err(wrong)
        }
    }
}

fn complaint(name: &str, known: &BTreeSet<&str>) -> String {
    let shown: String = name.chars().take(MAX_SHOWN).collect();
    let bare = |name: &str| name.to_ascii_uppercase().replace('_', "");
    let near = known
        .iter()
        .map(|known| (distance(&bare(name), &bare(known)), *known))
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min();
    match near {
        Some((_, meant)) => {
            format!("{shown}: no flag has this environment variable; did you mean {meant}?")
        }
        None => format!("{shown}: no flag has this environment variable; see --help, or remove it"),
    }
}

/// Whether Kubernetes sets the variable in every pod for a Service with the controller's name, or with a name that begins with it:
/// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTP`, `…_PORT=tcp://10.0.0.1:8080`, `…_PORT_8080_TCP`, and the last with `_PROTO`,
/// `_PORT` or `_ADDR`.
fn is_service_link(rest: &str, value: &str) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    let is_protocol = |word: &str| ["TCP", "UDP", "SCTP"].contains(&word);
    let is_number = |word: &str| word.parse::<u16>().is_ok();
    let scheme = value.split("://").next().unwrap_or_default();
    let of_service = words.ends_with(&["SERVICE", "HOST"])
        || words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]);
    let of_address = words.ends_with(&["PORT"])
        && value.contains("://")
        && is_protocol(&scheme.to_ascii_uppercase());
    let of_port = (0..words.len()).any(|at| match &words[at..] {
        ["PORT", number, protocol] => is_number(number) && is_protocol(protocol),
        ["PORT", number, protocol, part] => {
            is_number(number) && is_protocol(protocol) && ["PROTO", "PORT", "ADDR"].contains(part)
        }
        _ => false,
    });
    of_service || of_address || of_port
}

/// Returns how many letters must be changed, added or removed to turn one name into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.chars().take(MAX_SHOWN).enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (at, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rest: &str, value: &str) -> Vec<String> {
        misspelt([(format!("{PREFIX}{rest}"), value.to_owned())])
    }

    #[test]
    fn a_misspelt_variable_is_named_with_what_was_probably_meant() {
        for (wrong, meant) in [
            ("DRYRUN", "DRY_RUN"),
            ("dry_run", "DRY_RUN"),
            ("RESYNC_INTERVALL", "RESYNC_INTERVAL"),
            ("ADRESS", "ADDRESS"),
            ("ON_EMTPY", "ON_EMPTY"),
        ] {
            let told = found(wrong, "true");
            assert_eq!(told.len(), 1, "{wrong}");
            assert!(
                told[0].contains(&format!("did you mean {PREFIX}{meant}?")),
                "{told:?}"
            );
        }
        let told = found("COLOUR_OF_THE_BIKE_SHED", "secret");
        assert!(
            told[0].contains("--help") && !told[0].contains("secret"),
            "{told:?}"
        );
        assert_eq!(found("PORT", "8080").len(), 1);
        for wrong in [
            "",
            "_",
            "PORT_",
            "PORT_8080",
            "PORT_8080_FOO",
            "SERVICE",
            "é",
        ] {
            assert_eq!(found(wrong, "x").len(), 1, "{wrong}");
        }
    }

    #[test]
    fn flags_service_links_and_what_is_not_ours_are_right() {
        let command = Cli::command();
        for name in command
            .get_arguments()
            .filter_map(|argument| argument.get_env()?.to_str())
        {
            assert_eq!(
                misspelt([(name.to_owned(), "x".to_owned())]),
                [""; 0],
                "{name}"
            );
        }
        for (rest, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP", "8080"),
            ("SERVICE_PORT_HTTP_METRICS", "8080"),
            ("PORT", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("METRICS_SERVICE_HOST", "10.0.0.1"),
            ("METRICS_PORT_8080_UDP_PORT", "8080"),
            ("METRICS_PORT", "udp://10.0.0.1:8080"),
        ] {
            assert_eq!(found(rest, value), [""; 0], "{rest}");
        }
        assert_eq!(
            misspelt([("KUBECONFIG".to_owned(), String::new())]),
            [""; 0]
        );
    }
}
