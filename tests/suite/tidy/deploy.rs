//! The chart and the manifests match the program and each other.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};
use kube_static_egress_controller::config::{Cli, Config, Facts, ProviderConfig, Purpose};

use super::code::is_test_file;
use super::{files, none, read};
use crate::helm::{self, CHART};

/// Returns the chart, rendered with the example values.
fn rendered() -> String {
    helm::run(&[
        "template",
        "kube-static-egress-controller",
        CHART,
        "--namespace=static-egress",
        "--values=deploy/example-values.yaml",
        "--skip-tests",
    ])
    .unwrap()
}

#[test]
fn the_manifests_are_the_rendered_chart() {
    let manifests = read("deploy/manifests.yaml");
    // The head of the file says how to render it.
    let at = manifests.find("---\n").expect("documents begin with ---");
    assert!(manifests[..at].lines().all(|line| line.starts_with('#')));
    let rendered = rendered();
    for (number, (is, should)) in (1..).zip(manifests[at..].lines().zip(rendered.lines())) {
        assert_eq!(
            is, should,
            "line {number} after the head of deploy/manifests.yaml: render it again as its head says"
        );
    }
    assert_eq!(
        manifests[at..].lines().count(),
        rendered.lines().count(),
        "render deploy/manifests.yaml again"
    );
}

#[test]
fn the_program_accepts_the_chart_s_arguments() {
    let manifests = read("deploy/manifests.yaml");
    let args = manifests
        .lines()
        .skip_while(|line| line.trim() != "args:")
        .skip(1);
    let args: Vec<&str> = args
        .map_while(|line| line.trim().strip_prefix("- \"")?.strip_suffix('"'))
        .collect();
    assert!(args.len() > 10, "{args:?}");
    let cli = Cli::try_parse_from([&["kube-static-egress-controller"], args.as_slice()].concat())
        .unwrap();
    let facts = Facts {
        pod_name: Some("p".into()),
        pod_namespace: Some("static-egress".into()),
        ..Facts::default()
    };
    let config = Config::check(&cli.options, &facts, Purpose::Run).unwrap();
    assert!(matches!(config.provider, ProviderConfig::Aws(_)));
    assert_eq!(config.settings.zones.len(), 3);
    let lease = config.leader_election.unwrap();
    assert!(
        manifests.contains(&format!("resourceNames: [\"{}\"]", lease.name)),
        "the Role must be for the Lease"
    );
    let ledger = config.ledger.unwrap();
    assert!(
        manifests.contains(&format!("resourceNames: [\"{}\"]", ledger.name)),
        "and another for the ledger"
    );
}

#[test]
fn one_version_everywhere() {
    let chart = read(format!("{CHART}/Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", env!("CARGO_PKG_VERSION"));
        assert!(
            chart.lines().any(|is| is == line),
            "Chart.yaml must have {line}"
        );
    }
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md").contains(&heading),
        "CHANGELOG.md must have {heading}"
    );
}

#[test]
fn the_policies_allow_the_calls_that_the_code_makes() {
    let mut calls = BTreeSet::new();
    for path in files("src/provider/aws", &["rs"]) {
        if is_test_file(&path) {
            continue;
        }
        for (service, name) in [
            ("CloudFormation", "cloudformation"),
            ("Ec2", "ec2"),
            ("S3", "s3"),
            ("Quotas", "servicequotas"),
        ] {
            // Matches `calls.read(Service::Ec2, "DescribeVpcs", …`
            let text = read(&path);
            let shipped = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            for call in shipped.split(&format!("Service::{service},")).skip(1) {
                let action = call
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next());
                calls.extend(action.map(|action| format!("{name}:{action}")));
            }
        }
    }
    assert!(calls.len() > 10, "{calls:?}");
    // CloudFormation reads the template with its caller's permissions.
    calls.insert("s3:GetObject".to_owned());
    // DescribeStacks without a stack name needs this permission.
    calls.insert("cloudformation:ListStacks".to_owned());
    for policy in ["iam-policy", "iam-policy-with-cfn-role"] {
        let policy: serde_json::Value =
            serde_json::from_str(&read(format!("deploy/{policy}.json"))).unwrap();
        let ours = [
            "FindTheStack",
            "StartOperations",
            "ManageTheStack",
            "ReadWhyAChangeSetFailed",
            "ReadTheNetwork",
            "LargeTemplates",
        ];
        let statements = policy["Statement"].as_array().unwrap().iter();
        let statements =
            statements.filter(|statement| ours.iter().any(|sid| statement["Sid"] == *sid));
        let actions = statements.flat_map(|statement| statement["Action"].as_array().unwrap());
        let allowed: BTreeSet<String> = actions
            .map(|action| action.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(allowed, calls);
    }
}

/// Flags that a pod does not need: it is in a cluster, and its namespace is the Lease's.
const NOT_IN_A_POD: [&str; 4] = [
    "kubeconfig",
    "context",
    "manifests",
    "leader-elect-resource-namespace",
];

#[test]
fn every_flag_has_its_value() {
    let helpers = read(format!("{CHART}/templates/_helpers.tpl"));
    let given = |flag: &str| {
        let variable = flag.to_uppercase().replace('-', "_");
        helpers.contains(&format!("KUBE_STATIC_EGRESS_CONTROLLER_{variable}\n"))
            || helpers.contains(&format!("\"--{flag}="))
            || helpers.contains(&format!("\"{flag}\" $v."))
    };
    let command = Cli::command();
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let flags = shown.filter_map(|arg| arg.get_long());
    let missing: Vec<String> = flags
        .filter(|flag| given(flag) == NOT_IN_A_POD.contains(flag))
        .map(|flag| format!("--{flag}"))
        .collect();
    none("a flag is a value of the chart, or not for a pod", &missing);
}

/// Three quarters of the help are flags of the connection. Those of the subcommand come before them.
#[test]
fn the_help_of_a_subcommand_shows_its_own_flags_first() {
    let mut command = Cli::command();
    for (name, own) in [
        ("plan", "Plan:"),
        ("status", "Status and check:"),
        ("check", "Status and check:"),
    ] {
        let subcommand = command.find_subcommand_mut(name).unwrap();
        let help = subcommand.render_long_help().to_string();
        let headings: Vec<&str> = help
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '))
            .filter(|line| !["Arguments:", "Options:"].contains(line))
            .collect();
        assert!(
            headings.first() == Some(&own) && headings.contains(&"Sources:"),
            "{name}: {headings:?}"
        );
    }
}

/// The bot proposes updates only for directories that its configuration names.
#[test]
fn the_dependency_bot_knows_every_directory_with_dependencies() {
    let bot: serde_json::Value = serde_saphyr::from_str(&read(".github/dependabot.yml")).unwrap();
    let mut known = BTreeSet::new();
    for update in bot["updates"].as_array().unwrap() {
        let kind = update["package-ecosystem"].as_str().unwrap();
        let several = update["directories"].as_array().into_iter().flatten();
        for directory in several.chain(update.get("directory")) {
            known.insert((kind, directory.as_str().unwrap().to_owned()));
        }
    }
    let mut needed = BTreeSet::from([
        ("cargo", "/".to_owned()),
        ("github-actions", "/".to_owned()),
        ("docker", "/deploy/image".to_owned()),
    ]);
    for (kind, extension) in [("gomod", "mod"), ("pip", "txt")] {
        let of_kind = files("tests", &[extension]).into_iter();
        // Python's dependencies are pinned by hashes.
        let of_kind =
            of_kind.filter(|path| kind == "gomod" || read(path).contains("--hash=sha256:"));
        needed.extend(of_kind.map(|path| (kind, format!("/{}", path.parent().unwrap().display()))));
    }
    assert!(needed.len() >= 10, "{needed:?}");
    assert_eq!(known, needed);
}
