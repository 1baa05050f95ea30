//! The chart and the manifests fit the program and each other.

use std::process::Command;

use clap::Parser as _;
use kube_static_egress_controller::config::{Cli, Config, Facts, ProviderConfig, Purpose};

use super::{read, root};

const CHART: &str = "charts/kube-static-egress-controller";

/// The rendered chart with the example values.
fn rendered() -> String {
    let helm = std::env::var("KSEC_HELM")
        .expect("KSEC_HELM must name a helm 4: run tests/run, or set it from `tests/testbed/install helm`");
    let output = Command::new(&helm)
        .current_dir(root())
        .args(["template", "kube-static-egress-controller", CHART])
        .args(["--namespace", "kube-system", "--values", "deploy/example-values.yaml"])
        .output()
        .unwrap_or_else(|error| panic!("{helm}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm template failed: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_manifests_are_the_rendered_chart() {
    let manifests = read("deploy/manifests.yaml");
    // Its head says how it is made.
    let at = manifests.find("---\n").expect("documents begin with ---");
    assert!(manifests[..at].lines().all(|line| line.starts_with('#')));
    let rendered = rendered();
    for (number, (is, should)) in (1..).zip(manifests[at..].lines().zip(rendered.lines())) {
        assert_eq!(is, should, "line {number} after the head of deploy/manifests.yaml: render it again as its head says");
    }
    assert_eq!(manifests[at..].lines().count(), rendered.lines().count(), "render deploy/manifests.yaml again");
}

#[test]
fn the_program_accepts_the_chart_s_arguments() {
    let manifests = read("deploy/manifests.yaml");
    let args = manifests.lines().skip_while(|line| line.trim() != "args:").skip(1);
    let args: Vec<&str> = args.map_while(|line| line.trim().strip_prefix("- \"")?.strip_suffix('"')).collect();
    assert!(args.len() > 10, "{args:?}");
    let cli = Cli::try_parse_from([&["kube-static-egress-controller"], args.as_slice()].concat()).unwrap();
    let facts = Facts { pod_name: Some("p".into()), pod_namespace: Some("kube-system".into()), ..Facts::default() };
    let config = Config::check(&cli.options, &facts, Purpose::Run).unwrap();
    assert!(matches!(config.provider, ProviderConfig::Aws(_)));
    assert_eq!(config.settings.zones.len(), 3);
    let lease = config.leader_election.unwrap();
    assert!(manifests.contains(&format!("resourceNames: [\"{}\"]", lease.name)), "the Role must be for the Lease");
}

#[test]
fn one_version_everywhere() {
    let chart = read(format!("{CHART}/Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|is| is == line), "Chart.yaml must have {line}");
    }
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&heading), "CHANGELOG.md must have {heading}");
}
