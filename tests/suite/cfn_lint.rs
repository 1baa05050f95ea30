//! Checks the templates with cfn-lint, which knows CloudFormation's resource types.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser as _;
use kube_static_egress_controller::config::{Cli, Config, Facts, Purpose, SourceConfig};
use kube_static_egress_controller::model::plan::types::Action;
use kube_static_egress_controller::plan_command;
use kube_static_egress_controller::source::Source;

use crate::{scenarios, standin, testbed};

/// Returns the template of the stack that a scenario requests; None if it requests none.
fn template(folder: &Path) -> Option<String> {
    let (network, flags) = scenarios::setting(folder);
    let flags = flags.iter().map(String::as_str);
    let manifests = ["x", "--manifests=manifests.yaml"].into_iter();
    let cli = Cli::try_parse_from(manifests.chain(flags)).unwrap();
    let mut config = Config::check(&cli.options, &Facts::default(), Purpose::Plan).unwrap();
    let (manifests, network) = (folder.join("manifests.yaml"), folder.join(network));
    config.source = SourceConfig::Manifests(manifests.clone());
    let source = Source::Manifests(manifests);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let plan = plan_command::offline(&config, &source, Some(&network));
    let plan = runtime.block_on(plan).unwrap();
    match plan.action {
        Action::Create(template) => Some(template.text),
        _ => None,
    }
}

/// Returns the templates that documents print.
fn printed() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/routing.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let templates = blocks.filter(|text| text.starts_with("AWSTemplateFormatVersion"));
    templates.map(str::to_owned).collect()
}

#[test]
fn cfn_lint_has_nothing_to_say() {
    let dir = testbed::directory("templates");
    let folders = scenarios::folders();
    let templates: BTreeSet<String> = folders.iter().filter_map(|it| template(it)).collect();
    assert!(templates.len() >= 10, "{}", templates.len());
    let printed = printed();
    assert_eq!(printed.len(), 1, "the alarm of deploy/docs/routing.md");
    for (number, text) in printed.iter().enumerate() {
        std::fs::write(dir.join(format!("printed-{number}.yaml")), text).unwrap();
    }
    // A misspelt property proves that cfn-lint reports errors.
    let misspelt = templates.iter().max_by_key(|text| text.len()).unwrap();
    let misspelt = misspelt.replace("DestinationCidrBlock", "DestinationCidrBlok");
    std::fs::write(dir.join("misspelt.json"), misspelt).unwrap();
    let misspelt = printed[0].replace("MetricName", "MetricNam");
    std::fs::write(dir.join("misspelt.yaml"), misspelt).unwrap();
    for (number, text) in templates.into_iter().enumerate() {
        std::fs::write(dir.join(format!("{number}.json")), text).unwrap();
    }
    // W3010 demands that CloudFormation chooses the zones; here the operator chooses them.
    let program = Path::new(standin::python()).with_file_name("cfn-lint");
    let output = Command::new(program)
        .args([
            "--regions=eu-central-1",
            "--format=parseable",
            "--ignore-checks=W3010",
        ])
        .arg(dir.join("*.json"))
        .arg(dir.join("*.yaml"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/iam.cloudformation.yaml"
        ))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (wanted, found): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.contains("misspelt."));
    assert_eq!(found, [""; 0]);
    for name in ["DestinationCidrBlok", "MetricNam'"] {
        let told = wanted.iter().any(|line| line.contains(name));
        assert!(told, "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
