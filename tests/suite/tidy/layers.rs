//! The allowed imports between modules. src/ARCHITECTURE.md explains them.

use std::collections::BTreeSet;
use std::path::Path;

use super::code::{is_test_file, shipped};
use super::imports::imports;
use super::{files, none};

/// Modules, with the parts of the crate that each may name besides itself. The longest prefix of a file's path decides.
const LAYERS: [(&str, &[&str]); 21] = [
    ("config", &["model"]),
    ("model", &[]),
    ("agent", &[]),
    ("retry", &[]),
    ("clock", &[]),
    ("proxy", &[]),
    ("error_chain", &[]),
    ("spans", &[]),
    ("config_map", &[]),
    ("cluster", &["model", "source", "clock", "error_chain"]),
    ("lease", &["clock", "error_chain"]),
    (
        "ledger_store",
        &[
            "model",
            "clock",
            "config_map",
            "error_chain",
            "spans",
            "lease::term",
        ],
    ),
    (
        "source",
        &["model", "config", "agent", "error_chain", "proxy", "retry"],
    ),
    ("provider", &["model", "lease::term"]),
    (
        "provider/aws",
        &[
            "agent",
            "provider",
            "model",
            "error_chain",
            "proxy",
            "spans",
            "lease::term",
        ],
    ),
    (
        "report",
        &[
            "agent",
            "model",
            "config",
            "clock::wall",
            "config_map",
            "error_chain",
            "spans",
            "reconcile::Pass",
            "provider::ProviderError",
            "lease::LeaseView",
            "lease::Term",
        ],
    ),
    (
        "reconcile",
        &[
            "cluster",
            "error_chain",
            "provider",
            "source",
            "ledger_store",
            "model",
            "spans",
            "lease::term",
        ],
    ),
    (
        "controller",
        &[
            "cluster",
            "reconcile",
            "provider",
            "source",
            "report",
            "ledger_store",
            "model",
            "lease",
            "clock",
            "spans",
            "retry",
        ],
    ),
    (
        "plan_command",
        &[
            "cluster",
            "reconcile",
            "provider",
            "source",
            "ledger_store",
            "model",
            "config",
        ],
    ),
    (
        "status_command",
        &[
            "agent",
            "report::cluster_writer",
            "source",
            "model",
            "config",
            "config_map",
            "clock::wall",
            "error_chain",
        ],
    ),
    ("main", &[]),
];

/// Names that are forbidden in the model: time and randomness are arguments, and the model has no side effects.
const IMPURE: [&str; 13] = [
    "tokio",
    "tracing",
    "futures",
    "kube",
    "fastrand",
    "async ",
    "Instant",
    "SystemTime",
    "std::env",
    "std::fs",
    "std::io",
    "std::net::Tcp",
    "println!",
];

#[test]
fn modules_use_only_the_layers_below_them() {
    let (mut findings, mut used) = (Vec::new(), BTreeSet::new());
    for path in files("src", &["rs"]) {
        let name = module(&path);
        let layer = LAYERS
            .iter()
            .filter(|(layer, _)| begins(&name, layer, '/'))
            .max_by_key(|(layer, _)| layer.len());
        let Some((layer, allowed)) = layer else {
            if name != "lib" && !is_test_file(&path) {
                findings.push(format!(
                    "{} is in no layer: add it to the table in this test",
                    path.display()
                ));
            }
            continue;
        };
        let own = layer.replace('/', "::");
        let module = name.replace('/', "::");
        for import in imports(&shipped(&path), &module) {
            let may = allowed.iter().find(|may| begins(&import, may, ':'));
            if let Some(may) = may {
                used.insert((*layer, *may));
            } else if !begins(&import, &own, ':') {
                findings.push(format!("{} uses crate::{import}", path.display()));
            }
        }
    }
    none(
        "main → controller → report → reconcile → {provider, source} → model",
        &findings,
    );
    let all = LAYERS
        .iter()
        .flat_map(|(layer, may)| may.iter().map(move |may| (*layer, *may)));
    let unused = all.filter(|pair| !used.contains(pair));
    let unused: Vec<String> = unused
        .map(|(layer, may)| format!("{layer} does not use {may}"))
        .collect();
    none("the table has no imports that no file has", &unused);
}

#[test]
fn the_model_is_pure() {
    let mut findings = Vec::new();
    for path in files("src/model", &["rs"]) {
        // An implementation of the trait only receives bytes.
        let code = shipped(&path).replace("impl std::io::Write for ", "");
        let code = code.replace("-> std::io::Result<", "");
        let found = IMPURE.iter().filter(|word| code.contains(**word));
        findings.extend(found.map(|word| format!("{} names {word:?}", path.display())));
    }
    none(
        "no async, clock, randomness, environment, log or IO in the model",
        &findings,
    );
}

#[test]
fn the_lease_and_the_loop_read_one_clock() {
    let mut findings = Vec::new();
    let lease = files("src/lease", &["rs"]).into_iter();
    for path in lease.chain(
        [
            "src/controller.rs",
            "src/reconcile.rs",
            "src/ledger_store.rs",
        ]
        .map(Into::into),
    ) {
        let code = shipped(&path);
        let found = [
            "tokio::time",
            "std::time::Instant",
            "Instant::now",
            ".elapsed()",
        ]
        .into_iter()
        .filter(|word| code.contains(word));
        findings.extend(found.map(|word| format!("{} names {word}", path.display())));
    }
    none(
        "crate::clock tells the time, so that a simulated clock can drift",
        &findings,
    );
}

#[test]
fn crates_that_may_be_replaced_stay_behind_one_module_each() {
    let mut findings = Vec::new();
    for path in files("src", &["rs"]) {
        let code = shipped(&path);
        for (name, home) in [
            ("backoff::", "src/retry.rs"),
            ("kube_leader_election::", "src/lease"),
            ("opentelemetry::", "src/report/traces.rs"),
            ("opentelemetry_http::", "src/report/traces.rs"),
            ("opentelemetry_otlp::", "src/report/traces.rs"),
            ("opentelemetry_proto::", "src/report/traces.rs"),
            ("opentelemetry_sdk::", "src/report/traces.rs"),
            ("tracing_opentelemetry::", "src/report/traces.rs"),
        ] {
            let used = code
                .match_indices(name)
                .any(|(at, _)| !code[..at].ends_with(['_', ':']));
            if used && !path.starts_with(home) {
                findings.push(format!("{} uses {name} outside of {home}", path.display()));
            }
        }
    }
    none(
        "a crate that may have to be replaced has one user",
        &findings,
    );
}

#[test]
fn nothing_shipped_panics_on_purpose() {
    let words = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "unreachable!(",
        "dbg!(",
    ];
    let mut findings = Vec::new();
    for path in files("src", &["rs"]) {
        for (number, line) in (1..).zip(shipped(&path).lines()) {
            let found = words.iter().filter(|word| line.contains(**word));
            findings.extend(found.map(|word| format!("{}:{number}: {word}", path.display())));
        }
    }
    none("errors are returned", &findings);
}

/// Returns `provider/aws/stack` for `src/provider/aws/stack.rs`.
pub fn module(path: &Path) -> String {
    path.strip_prefix("src")
        .unwrap()
        .with_extension("")
        .to_str()
        .unwrap()
        .trim_end_matches("/mod")
        .to_owned()
}

/// Whether `name` is `prefix`, or continues after it with the separator.
fn begins(name: &str, prefix: &str, separator: char) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

#[test]
fn uses_are_found() {
    let code = "use crate::a::B; use crate::a::{self, b::C};\n use crate::{x, y::Z}; let q = crate::f(); $crate::no";
    assert_eq!(
        imports(code, "m"),
        ["a::B", "a", "a::b::C", "x", "y::Z", "f"]
    );
    assert!(begins("lease::term::Term", "lease::term", ':') && !begins("leases", "lease", ':'));
}
