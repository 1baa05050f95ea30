//! Valid and invalid sets of options, as data. Every flag has an environment variable.

use clap::{CommandFactory, Parser};

use super::*;

mod table;

const PREFIX: &str = "KUBE_STATIC_EGRESS_CONTROLLER_";
const ZONES: &str = "--aws-az=eu-west-1a --aws-az=eu-west-1b --aws-nat-cidr-block=172.31.64.0/28 \
                     --aws-nat-cidr-block=172.31.64.16/28";

fn facts() -> Facts {
    Facts {
        pod_name: Some("controller-7d9c".to_owned()),
        pod_namespace: Some("kube-system".to_owned()),
        ..Facts::default()
    }
}

/// Parses flags. The provider is `in-memory` unless the line names one.
fn options(line: &str) -> Options {
    match line.contains("--provider") {
        true => given(line),
        false => given(&format!("{line} --provider=in-memory")),
    }
}

fn given(line: &str) -> Options {
    let line = line.replace("ZONES", ZONES);
    // `_` stands for a blank within a value, `|` for a line break.
    let words = line
        .split_whitespace()
        .map(|word| word.replace('_', " ").replace('|', "\n"));
    Cli::try_parse_from(std::iter::once("x".to_owned()).chain(words))
        .expect("flags")
        .options
}

fn run(line: &str) -> Result<Config, Vec<Mistake>> {
    Config::check(&options(line), &facts(), Purpose::Run)
}

#[test]
fn every_mistake_is_found_and_nothing_else() {
    for (line, expected) in table::TABLE {
        let found = run(line).map_or_else(|mistakes| mistakes, |_| Vec::new());
        let flags: Vec<&str> = found.iter().map(|mistake| mistake.flag).collect();
        assert_eq!(flags, *expected, "{line}: {found:#?}");
        for mistake in found {
            assert!(
                !mistake.problem.is_empty() && !mistake.remedy.is_empty(),
                "{mistake}"
            );
            assert_eq!(mistake.to_string().lines().count(), 1, "{mistake}");
        }
    }
}

#[test]
fn switches_are_off_as_the_go_controller_has_it() {
    let read = |line: &str| Cli::read(std::iter::once("x").chain(line.split(' ')).map(Into::into));
    let cli = read("--no-stack-termination-protection --no-dry-run --no-use-platform-credentials");
    let options = cli.expect("switches").options;
    assert_eq!(options.stack.stack_termination_protection, "false");
    assert_eq!(options.stack.dry_run, "false");
    assert_eq!(options.sources.use_platform_credentials, "false");
    // The same holds for a default of true, and after a subcommand.
    let options = read("--no-leader-elect").expect("a switch").options;
    assert_eq!(options.election.leader_elect.as_deref(), Some("false"));
    let plan = read("plan --no-status-page").expect("a switch").command;
    assert_eq!(plan.expect("plan").options().process.status_page, "false");
    for wrong in [
        "--no-provider",
        "--no-dry-run=true",
        "--no-dry-run --dry-run",
        "--no-",
    ] {
        read(wrong).expect_err(wrong);
    }
}

#[test]
fn too_many_tags() {
    let tags = |n: usize| {
        (0..n)
            .map(|i| format!("--additional-stack-tags=t{i}=x "))
            .collect::<String>()
    };
    assert_eq!(run(&tags(48)).expect("48 tags").settings.tags.len(), 49);
    assert_eq!(
        run(&tags(49)).expect_err("49 tags")[0].flag,
        "additional-stack-tags"
    );
}

/// A forgotten flag must not show invented static IPs to the tenants of a cluster.
#[test]
fn a_cluster_needs_a_provider_and_a_directory_does_not() {
    let check = |line: &str, purpose| Config::check(&given(line), &facts(), purpose);
    for (line, purpose) in [
        ("", Purpose::Run),
        ("", Purpose::Plan),
        ("--provider=", Purpose::Run),
        ("--master=https://a --dry-run", Purpose::Run),
    ] {
        let mistakes = check(line, purpose).expect_err("no provider");
        let [mistake] = mistakes.as_slice() else {
            panic!("{line}: {mistakes:?}")
        };
        assert_eq!(mistake.flag, "provider");
        for choice in ["aws", "in-memory", "noop"] {
            assert!(mistake.remedy.contains(choice), "{mistake}");
        }
    }
    for (line, purpose) in [
        ("--manifests=dir", Purpose::Run),
        ("--manifests=dir", Purpose::Plan),
        ("", Purpose::Read),
    ] {
        let config = check(line, purpose).expect(line);
        assert_eq!(config.provider, ProviderConfig::InMemory);
    }
    check("--manifests=dir --provider=gcp", Purpose::Plan).expect_err("unknown");
}

/// A stack without a cluster id is reported only on AWS, where other clusters may use the same name.
#[test]
fn without_a_cluster_id_the_stack_is_nameless() {
    let nameless = |line: &str| run(line).expect(line).settings.nameless;
    assert!(nameless("ZONES --provider=aws") && nameless("ZONES --provider=aws --cluster-id="));
    assert!(!nameless("ZONES --provider=aws --cluster-id=a") && !nameless(""));
}

#[test]
fn defaults() {
    let config = run("").expect("defaults");
    assert_eq!(config.source, SourceConfig::Kubernetes(Clusters::default()));
    assert_eq!(config.address.to_string(), "[::]:8080");
    assert_eq!(
        (config.dry_run, config.log.json, config.log.level),
        (false, false, tracing::Level::INFO)
    );
    assert_eq!(config.resync_interval, Duration::from_secs(300));
    assert_eq!(config.empty_grace_period, Duration::from_secs(600));
    assert_eq!(config.settings.drift, OnDrift::Repair);
    assert_eq!(config.drift_interval(), Some(Duration::from_secs(300)));
    assert!(config.settings.new_eips.is_empty());
    assert!(!config.annotate_configmaps);
    let off = run("--drift-detection=off").expect("no drift detection");
    assert_eq!(off.drift_interval(), None);
    let election = config.leader_election.expect("leader election");
    assert_eq!(
        (election.name.as_str(), election.namespace.as_str()),
        ("kube-static-egress-controller", "kube-system")
    );
    assert_eq!(election.identity, "controller-7d9c");
    let seconds = [
        election.lease_duration,
        election.renew_deadline,
        election.retry_period,
    ]
    .map(|d| d.as_secs());
    assert_eq!(seconds, [15, 10, 2]);
}

#[test]
fn only_a_leader_annotates() {
    let config = run("--annotate-configmaps").expect("with leader election");
    assert!(config.annotate_configmaps);
    for alone in ["--leader-elect=false", "--manifests=."] {
        let mistakes = run(&format!("--annotate-configmaps {alone}")).expect_err(alone);
        assert_eq!(mistakes[0].flag, "annotate-configmaps");
    }
}

#[test]
fn ownership_tags_follow_the_cluster_id() {
    let tags = |line| {
        run(line)
            .expect("tags")
            .settings
            .ownership
            .into_iter()
            .collect::<Vec<_>>()
    };
    let application = (
        "kubernetes:application".to_owned(),
        "kube-static-egress-controller".to_owned(),
    );
    assert_eq!(tags(""), vec![application.clone()]);
    let owned = ("zalando.org/cluster/kube-1".to_owned(), "owned".to_owned());
    assert_eq!(
        tags("--cluster-id=kube-1 --cluster-id-tag-prefix=zalando.org/cluster/"),
        [application, owned]
    );
    let config = run("--cluster-id=kube-1 --additional-stack-tags=team=a=b").expect("tags");
    assert_eq!(config.settings.tags["team"], "a=b");
    assert_eq!(config.settings.tags.len(), 3);
    assert_eq!(config.settings.stack_name, "egress-static-nat-kube-1");
}

#[test]
fn noop_never_writes() {
    assert!(run("--provider=noop").expect("noop").dry_run);
    assert!(!run("--provider=in-memory").expect("in-memory").dry_run);
}

#[test]
fn a_program_without_aws_refuses_aws_and_nothing_else() {
    let without = Facts {
        without_aws: true,
        ..facts()
    };
    let check = |line, purpose| Config::check(&options(line), &without, purpose);
    for purpose in [Purpose::Run, Purpose::Plan, Purpose::Read] {
        let mistakes = check("--provider=aws --cluster-id=x ZONES", purpose).expect_err("aws");
        let [mistake] = mistakes.as_slice() else {
            panic!("{mistakes:?}")
        };
        assert_eq!(mistake.flag, "provider");
        assert!(mistake.remedy.contains("--no-default-features"));
        for line in ["--provider=in-memory", "--provider=noop"] {
            assert!(check(line, purpose).is_ok());
        }
    }
}

#[test]
fn the_namespace_of_the_lease_must_be_known() {
    let check = |line, purpose| Config::check(&options(line), &Facts::default(), purpose);
    let mistakes = check("", Purpose::Run).expect_err("no namespace");
    assert_eq!(
        mistakes.iter().map(|m| m.flag).collect::<Vec<_>>(),
        ["leader-elect-resource-namespace"]
    );
    assert!(
        check("", Purpose::Plan)
            .expect("plan")
            .leader_election
            .is_none()
    );
    assert!(
        check("--leader-elect=false", Purpose::Run)
            .expect("alone")
            .leader_election
            .is_none()
    );
    assert!(
        check("--manifests=x", Purpose::Run)
            .expect("manifests")
            .leader_election
            .is_none()
    );
    let given = check("--leader-elect-resource-namespace=here", Purpose::Run).expect("given");
    assert_eq!(given.leader_election.expect("election").namespace, "here");
    let file = Facts {
        service_account_namespace: Some("kube-system\n".to_owned()),
        ..Facts::default()
    };
    let read = Config::check(&options(""), &file, Purpose::Run).expect("from the file");
    assert_eq!(
        read.leader_election.expect("election").namespace,
        "kube-system"
    );
}

#[test]
fn where_platform_credentials_are_read() {
    let token = |line: &str, dir: Option<&str>| {
        let facts = Facts {
            credentials_dir: dir.map(str::to_owned),
            ..facts()
        };
        match Config::check(&options(line), &facts, Purpose::Run)
            .expect("config")
            .source
        {
            SourceConfig::Kubernetes(clusters) => clusters.token_file,
            SourceConfig::Manifests(_) => None,
        }
    };
    let file = |dir: &str| {
        Some(PathBuf::from(format!(
            "{dir}/kube-static-egress-controller-token-secret"
        )))
    };
    assert_eq!(token("", Some("/env")), None);
    assert_eq!(
        token("--use-platform-credentials", None),
        file("/meta/credentials")
    );
    assert_eq!(
        token("--use-platform-credentials", Some("/env")),
        file("/env")
    );
    assert_eq!(
        token(
            "--use-platform-credentials --credentials-dir=/flag",
            Some("/env")
        ),
        file("/flag")
    );
}

#[test]
fn masters_have_distinct_names() {
    let config =
        run("--master=https://One:6443/ --master=two/k8s/a --master=two/k8s/b").expect("masters");
    let SourceConfig::Kubernetes(clusters) = config.source else {
        panic!("no clusters")
    };
    let names: Vec<&str> = clusters
        .masters
        .iter()
        .map(|master| master.name.as_str())
        .collect();
    assert_eq!(names, ["one:6443", "two:443/k8s/a", "two:443/k8s/b"]);
    assert_eq!(clusters.masters[1].url.to_string(), "https://two/k8s/a");
}

#[test]
fn plan_has_the_same_options_and_its_own() {
    let cli = Cli::try_parse_from([
        "x",
        "plan",
        "--manifests=dir",
        "--network=net.yaml",
        "--output=json",
        "--template",
    ]);
    let Some(Command::Plan(plan)) = cli.expect("plan").command else {
        panic!("no plan")
    };
    assert_eq!((plan.output, plan.template), (Output::Json, true));
    assert_eq!(plan.network, Some(PathBuf::from("net.yaml")));
    assert_eq!(plan.options.sources.manifests.as_deref(), Some("dir"));
    // Flags before the subcommand would be ignored, so they are refused.
    assert!(Cli::try_parse_from(["x", "--manifests=dir", "plan"]).is_err());
}

#[test]
fn every_flag_is_there_grouped_explained_and_in_the_environment() {
    let reference = "master kubeconfig use-platform-credentials credentials-dir provider cluster-id \
        cluster-id-tag-prefix controller-id vpc-id cf-template-bucket aws-nat-cidr-block aws-az \
        stack-termination-protection additional-stack-tags resync-interval dry-run log-level namespace address";
    let own = "context manifests log-format aws-route-table-tag aws-cfn-role-arn leader-elect \
        leader-elect-lease-duration leader-elect-renew-deadline leader-elect-retry-period leader-elect-resource-name \
        leader-elect-resource-namespace remove-zone on-empty empty-grace-period max-removal drift-detection \
        drift-interval allow-new-eips aws-eip-allocation-id aws-eips-per-zone aws-eips-in-use-per-zone replace-static-ip allow-private-ranges max-networks-per-namespace aws-route-table-quota prefix-lists stack-policy status-page annotate-configmaps otlp-endpoint
        take-over-stack-from";
    let mut expected: Vec<&str> = reference
        .split_whitespace()
        .chain(own.split_whitespace())
        .collect();
    expected.sort_unstable();
    let command = Cli::command();
    command.clone().debug_assert();
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg
            .get_long()
            .filter(|name| !arg.is_hide_set() && !["help", "version"].contains(name))
        else {
            continue;
        };
        found.push(name);
        let variable = format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(
            arg.get_env().and_then(|env| env.to_str()),
            Some(variable.as_str()),
            "{name}"
        );
        assert!(arg.get_help_heading().is_some(), "{name} has no heading");
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let told = !arg.get_default_values().is_empty()
            || help.contains("Default: ")
            || help.contains("Needed with")
            || help.contains("one for each");
        assert!(told, "--{name} does not tell its default: {help}");
    }
    found.sort_unstable();
    assert_eq!(found, expected);
}
