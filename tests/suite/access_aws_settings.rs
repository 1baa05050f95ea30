//! The settings besides credentials that the AWS CLI documents. deploy/docs/access.md names these tests.

use std::path::Path;

use serde_json::json;

use crate::account::{Account, ROLE, key, keys_of};
use crate::forward_proxy::proxy;
use crate::standin::REGION;
use crate::testbed::Testbed;

#[test]
fn the_region_is_found_where_the_aws_cli_finds_it() {
    let account = Account::open("regions");
    let config = format!(
        "[default]\n{}region = eu-west-1\n[profile dev]\n{}region = eu-west-2\n",
        keys_of(1),
        keys_of(1)
    );
    account.write(".aws/config", &config);
    let url = account.url();
    for (environment, region) in [
        (&[][..], "eu-west-1"),
        (&[("AWS_PROFILE", "dev")], "eu-west-2"),
        (&[("AWS_DEFAULT_REGION", "eu-west-3")], "eu-west-3"),
        (
            &[
                ("AWS_DEFAULT_REGION", "eu-west-3"),
                ("AWS_REGION", "eu-north-1"),
            ],
            "eu-north-1",
        ),
    ] {
        let told = account.plan(&[&[("AWS_ENDPOINT_URL", url.as_str())], environment].concat());
        let regions = told.of("DescribeVpcs", |call| call.region.clone());
        assert_eq!(
            regions.first(),
            Some(&Some(region.to_owned())),
            "{}",
            told.text
        );
    }
    account.write(".aws/config", &format!("[default]\n{}", keys_of(1)));
    let told = account.plan(&[
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    assert!(
        told.code == Some(1) && told.text.contains("set AWS_REGION"),
        "{}",
        told.text
    );
}

/// Returns the hosts to which `plan` would connect.
fn hosts(account: &Account, environment: &[(&str, &str)]) -> Vec<String> {
    let (port, heads) = proxy();
    let proxy = format!("http://127.0.0.1:{port}");
    account.plan(
        &[
            &[("HTTPS_PROXY", proxy.as_str()), ("AWS_REGION", REGION)],
            environment,
        ]
        .concat(),
    );
    let host = |head: String| {
        head.split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_end_matches(":443")
            .to_owned()
    };
    let mut hosts: Vec<String> = heads.all().into_iter().map(host).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

#[test]
fn endpoints_are_found_where_the_aws_cli_finds_them() {
    let account = Account::open("endpoints");
    let url = account.url();
    let config = format!(
        "[default]\n{keys}[profile all]\n{keys}endpoint_url = {url}\n\
         [profile each]\n{keys}endpoint_url = http://127.0.0.1:1\nservices = here\n\
         [services here]\nec2 =\n  endpoint_url = {url}\ncloudformation =\n  endpoint_url = {url}\n\
         service_quotas =\n  endpoint_url = {url}\n\
         [profile fips]\n{keys}use_fips_endpoint = true\n[profile dual]\n{keys}use_dualstack_endpoint = true\n\
         [profile role]\nrole_arn = {ROLE}\nsource_profile = default\nsts_regional_endpoints = legacy\n",
        keys = keys_of(1)
    );
    account.write(".aws/config", &config);
    let services =
        ["EC2", "CLOUDFORMATION", "SERVICE_QUOTAS"].map(|name| format!("AWS_ENDPOINT_URL_{name}"));
    let mut by_service: Vec<(&str, &str)> = services
        .iter()
        .map(|name| (name.as_str(), url.as_str()))
        .collect();
    by_service.push(("AWS_ENDPOINT_URL", "http://127.0.0.1:1"));
    let ignored = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
    ];
    for environment in [
        &[("AWS_ENDPOINT_URL", url.as_str())][..],
        &by_service,
        &[("AWS_PROFILE", "all")],
        &[("AWS_PROFILE", "each")],
    ] {
        let told = account.plan(&[&[("AWS_REGION", REGION)], environment].concat());
        assert_eq!(told.code, Some(2), "{environment:?}: {}", told.text);
    }
    // Calls to EC2 and CloudFormation run side by side, so the plan may fail before the second one.
    for (environment, part, suffix) in [
        (&[][..], "ec2.", ".eu-central-1.amazonaws.com"),
        (&ignored, "ec2.", ".eu-central-1.amazonaws.com"),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "true")],
            "ec2-fips.",
            "-fips.eu-central-1.amazonaws.com",
        ),
        (
            &[("AWS_PROFILE", "fips")],
            "ec2-fips.",
            "-fips.eu-central-1.amazonaws.com",
        ),
        (
            &[("AWS_USE_DUALSTACK_ENDPOINT", "true")],
            "ec2.",
            ".eu-central-1.api.aws",
        ),
        (&[("AWS_PROFILE", "dual")], "ec2.", ".eu-central-1.api.aws"),
        (
            &[("AWS_PROFILE", "role")],
            "sts.",
            "sts.eu-central-1.amazonaws.com",
        ),
    ] {
        let hosts = hosts(&account, environment);
        let named = hosts.iter().any(|host| host.starts_with(part));
        assert!(
            named && hosts.iter().all(|host| host.ends_with(suffix)),
            "{environment:?}: {hosts:?}"
        );
    }
}

/// The SDK would panic on these values.
#[test]
fn the_number_of_attempts_is_the_controllers_own() {
    let account = Account::open("attempts");
    account.write(
        ".aws/config",
        &format!(
            "[default]\n{}max_attempts = 0\nretry_mode = legacy\n",
            keys_of(1)
        ),
    );
    for (attempts, mode) in [("", ""), ("0", "adaptive"), ("many", "legacy")] {
        account
            .aws
            .fault(json!({ "kind": "error500", "action": "DescribeVpcs", "times": 2 }));
        let environment = [("AWS_MAX_ATTEMPTS", attempts), ("AWS_RETRY_MODE", mode)];
        let told = account.works(
            mode,
            &key(1),
            if attempts.is_empty() {
                &[]
            } else {
                &environment
            },
        );
        assert_eq!(told.of("DescribeVpcs", |_| ()).len(), 3, "{}", told.text);
        account.aws.clear_faults();
    }
}

/// The API server stands in for an AWS endpoint with a private certificate authority. It refuses what AWS would accept.
#[test]
fn an_authority_of_a_profile_is_trusted() {
    let (account, server) = (Account::open("bundle"), Testbed::shared());
    let missing = account.home.join("missing.pem");
    let profile = |bundle: &Path| {
        format!(
            "[default]\n{}ca_bundle = {}\n",
            keys_of(1),
            bundle.display()
        )
    };
    let plan = |config: &str, environment: &[(&str, &str)]| {
        account.write(".aws/config", config);
        let common = [
            ("AWS_ENDPOINT_URL", server.url.as_str()),
            ("AWS_REGION", REGION),
        ];
        account.plan(&[&common, environment].concat()).text
    };
    let told = plan(&format!("[default]\n{}", keys_of(1)), &[]);
    assert!(
        told.contains("certificate") && told.contains("AWS_CA_BUNDLE"),
        "{told}"
    );
    let told = plan(&profile(Path::new(&server.ca)), &[]);
    assert!(told.contains("no answer of AWS"), "{told}");
    let told = plan(&profile(&missing), &[]);
    assert!(
        told.contains("ca_bundle of the AWS profile") && told.contains("missing.pem"),
        "{told}"
    );
    let told = plan(&profile(&missing), &[("AWS_CA_BUNDLE", &server.ca)]);
    assert!(told.contains("no answer of AWS"), "{told}");
}

#[test]
fn what_only_concerns_the_output_of_the_aws_cli_changes_nothing() {
    let account = Account::open("output");
    let config = format!(
        "[default]\n{}output = table\ncli_pager = less\ncli_timestamp_format = iso8601\ncli_auto_prompt = on\n\
         parameter_validation = false\ns3 =\n  max_concurrent_requests = 1\n",
        keys_of(1)
    );
    account.write(".aws/config", &config);
    let environment = [
        ("AWS_PAGER", "less"),
        ("AWS_DEFAULT_OUTPUT", "yaml"),
        ("AWS_CLI_AUTO_PROMPT", "on"),
    ];
    account.works("settings of the CLI", &key(1), &environment);
}
