//! Where the AWS CLI finds credentials, by its documents. deploy/docs/access.md names these tests.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::account::{Account, ROLE, key, keys_of, server};
use crate::agent::AGENT;
use crate::forward_proxy::proxy;
use crate::standin::REGION;

fn in_an_hour() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

/// Session keys, as the services of a node give them.
fn session(number: u32) -> String {
    let keys = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": Timestamp::now().to_string(),
        "AccessKeyId": key(number), "SecretAccessKey": "secret", "Token": "session",
        "Expiration": in_an_hour().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    keys.to_string()
}

#[test]
fn keys_and_profiles_are_found_where_the_aws_cli_finds_them() {
    let account = Account::open("keys");
    let config = format!(
        "[default]\n{}[profile dev]\n{}aws_session_token = session\n",
        keys_of(1),
        keys_of(2)
    );
    account.write(".aws/config", &config);
    let other = account.write("other-config", &format!("[default]\n{}", keys_of(3)));
    let shared = account.write("other-credentials", &format!("[dev]\n{}", keys_of(4)));
    let own = key(9);
    let of_variables = [
        ("AWS_ACCESS_KEY_ID", own.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
        ("AWS_PROFILE", "dev"),
    ];
    account.works("the default profile", &key(1), &[]);
    account.works("an empty name", &key(1), &[("AWS_PROFILE", "")]);
    account.works("a profile", &key(2), &[("AWS_PROFILE", "dev")]);
    account.works("the older name", &key(2), &[("AWS_DEFAULT_PROFILE", "dev")]);
    account.works("another file", &key(3), &[("AWS_CONFIG_FILE", &other)]);
    let files = [
        ("AWS_PROFILE", "dev"),
        ("AWS_SHARED_CREDENTIALS_FILE", &shared),
    ];
    account.works("keys of the credentials file come first", &key(4), &files);
    account.works("variables come before profiles", &own, &of_variables);
}

/// A session's keys are worth nothing without the token.
#[test]
fn the_session_token_is_sent() {
    let account = Account::open("session");
    let (port, heads) = server(Vec::new());
    let (url, own) = (format!("http://127.0.0.1:{port}"), key(1));
    account.write(
        ".aws/credentials",
        &format!("[dev]\n{}aws_session_token = of-profile\n", keys_of(2)),
    );
    let common = [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_REGION", REGION)];
    let of_variables = [
        ("AWS_ACCESS_KEY_ID", own.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "of-variable"),
    ];
    for (environment, token) in [
        (&of_variables[..], "of-variable"),
        (&[("AWS_PROFILE", "dev")], "of-profile"),
    ] {
        account.plan(&[&common, environment].concat());
        let sent = format!("x-amz-security-token: {token}");
        let heads = heads.all();
        assert!(heads.iter().any(|head| head.contains(&sent)), "{heads:?}");
    }
}

#[test]
fn a_role_is_assumed_with_the_keys_of_its_source() {
    let account = Account::open("roles");
    let role = format!("role_arn = {ROLE}\n");
    let config = format!(
        "[profile base]\n{}[profile dev]\n{role}source_profile = base\nexternal_id = partner\nrole_session_name = me\n\
         duration_seconds = 900\nsts_regional_endpoints = legacy\n[profile far]\n{role}source_profile = dev\n\
         [profile variables]\n{role}credential_source = Environment\n\
         [profile token]\n{role}web_identity_token_file = {}\nrole_session_name = me\n",
        keys_of(1),
        account.home.join("token").display(),
    );
    account.write(".aws/config", &config);
    let told = account.works("source_profile", "ASIA", &[("AWS_PROFILE", "dev")]);
    let calls = told.of("AssumeRole", |call| {
        (call.access_key.clone(), call.params.clone())
    });
    let [(used, params)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(used.as_deref(), Some(key(1).as_str()));
    let sent = ["RoleArn", "ExternalId", "RoleSessionName"]
        .map(|name| params[name].as_str().unwrap_or_default());
    assert_eq!(sent, [ROLE, "partner", "me"]);
    let told = account.works("a chain of roles", "ASIA", &[("AWS_PROFILE", "far")]);
    assert_eq!(told.of("AssumeRole", |_| ()).len(), 2);
    // Keys in variables come before a profile, so only a profile of another tool names this source.
    let own = key(2);
    let variables = [
        ("AWS_ACCESS_KEY_ID", own.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_PROFILE", "variables"),
    ];
    account.works("credential_source = Environment", &own, &variables);
    let token = account.home.join("token");
    let irsa = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_SESSION_NAME", "me"),
    ];
    for (what, environment) in [
        ("variables", &irsa[..]),
        ("a profile", &[("AWS_PROFILE", "token")]),
    ] {
        let told = account.works(what, "ASIA", environment);
        let names = told.of("AssumeRoleWithWebIdentity", |call| {
            call.params["RoleSessionName"].clone()
        });
        assert_eq!(names, ["me"], "{what}");
    }
}

#[test]
fn a_role_that_requires_a_code_is_told_with_a_remedy() {
    let account = Account::open("mfa");
    let config = format!(
        "[profile base]\n{}[profile dev]\nrole_arn = {ROLE}\nsource_profile = base\n\
         mfa_serial = arn:aws:iam::123456789012:mfa/me\n",
        keys_of(1)
    );
    account.write(".aws/config", &config);
    account.works(
        "a role that requires no code",
        "ASIA",
        &[("AWS_PROFILE", "dev")],
    );
    account
        .aws
        .fault(json!({ "kind": "access_denied", "action": "AssumeRole" }));
    let url = account.url();
    let told = account.plan(&[
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_REGION", REGION),
        ("AWS_PROFILE", "dev"),
    ]);
    for part in [
        "mfa_serial",
        "aws configure export-credentials --profile dev",
        "credential_process",
    ] {
        assert!(
            told.code == Some(1) && told.text.contains(part),
            "{part}: {}",
            told.text
        );
    }
}

/// Sets all variables for proxies. The proxy of the environment is for the internet.
fn with_proxy(
    proxy: &str,
    environment: &[(&'static str, &str)],
    check: impl FnOnce(&[(&str, &str)]),
) {
    let names = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "ALL_PROXY",
    ];
    let proxies = names.map(|name| (name, proxy));
    check(&[&proxies[..], environment].concat());
}

/// A proxy would see the pod's token and its keys.
#[test]
fn pod_identity_gives_keys_and_no_proxy_sees_the_token() {
    let account = Account::open("pod-identity");
    let (port, seen) = server(vec![("/v1/credentials", session(1))]);
    let full = format!("http://127.0.0.1:{port}/v1/credentials");
    let token = account.write("pod-token", "pod-identity");
    let role =
        format!("[profile container]\nrole_arn = {ROLE}\ncredential_source = EcsContainer\n");
    account.write(".aws/config", &role);
    let (port, heads) = proxy();
    let proxy = format!("http://127.0.0.1:{port}");
    let address = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str());
    let file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str());
    let value = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-identity");
    let role = ("AWS_PROFILE", "container");
    for (what, environment, begin) in [
        ("a token in a file", &[address, file][..], key(1)),
        ("a token by value", &[address, value], key(1)),
        ("EcsContainer", &[address, file, role], "ASIA".to_owned()),
    ] {
        with_proxy(&proxy, environment, |all| {
            drop(account.works(what, &begin, all))
        });
    }
    assert_eq!(heads.all(), [""; 0]);
    let seen = seen.all();
    let fits =
        |head: &String| head.contains("authorization: pod-identity\r\n") && head.contains(AGENT);
    assert!(seen.len() == 3 && seen.iter().all(fits), "{seen:?}");
}

#[test]
fn the_instance_gives_keys_and_region_without_a_proxy() {
    let account = Account::open("node");
    let (port, seen) = server(vec![
        ("/latest/api/token", "node".to_owned()),
        (
            "/latest/meta-data/iam/security-credentials/",
            "role".to_owned(),
        ),
        (
            "/latest/meta-data/iam/security-credentials/role",
            session(2),
        ),
        ("/latest/meta-data/placement/region", REGION.to_owned()),
    ]);
    let here = format!("http://127.0.0.1:{port}");
    let role = format!(
        "[profile node]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n\
         ec2_metadata_service_endpoint = {here}\n"
    );
    account.write(".aws/config", &role);
    let (port, heads) = proxy();
    let proxy = format!("http://127.0.0.1:{port}");
    let node = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", here.as_str()),
        // The AWS CLI would give up at once. The SDK has its own limits.
        ("AWS_METADATA_SERVICE_TIMEOUT", "0"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "0"),
        ("AWS_EC2_METADATA_V1_DISABLED", "true"),
    ];
    let role = [("AWS_PROFILE", "node")];
    with_proxy(&proxy, &node, |all| {
        drop(account.works("the instance's role", &key(2), all))
    });
    with_proxy(&proxy, &role, |all| {
        drop(account.works("Ec2InstanceMetadata", "ASIA", all))
    });

    let url = account.url();
    let there = ("AWS_ENDPOINT_URL", url.as_str());
    let told = account.plan(&[&node[..], &[there]].concat());
    assert_eq!(told.code, Some(2), "{}", told.text);
    let disabled = [
        there,
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_REGION", REGION),
    ];
    let told = account.plan(&[&node[..], &disabled].concat());
    let named = told.text.contains("give the pod a role");
    assert!(told.code == Some(1) && named, "{}", told.text);
    assert_eq!(heads.all(), [""; 0]);
    let seen = seen.all();
    assert!(seen.iter().all(|head| head.contains(AGENT)), "{seen:?}");
    let mut tokens = seen
        .iter()
        .filter(|head| head.contains("/latest/api/token"));
    assert!(tokens.all(|head| head.starts_with("PUT ")), "{seen:?}");
}

#[test]
fn a_login_of_sso_is_used_and_renewed() {
    let account = Account::open("sso");
    let expiry = in_an_hour().as_millisecond();
    let keys = json!({ "roleCredentials": {
        "accessKeyId": key(1), "secretAccessKey": "secret", "sessionToken": "session", "expiration": expiry,
    }});
    let renewed = json!({ "accessToken": "renewed", "tokenType": "Bearer", "expiresIn": 3600, "refreshToken": "next" });
    let (port, heads) = server(vec![
        ("/federation/credentials", keys.to_string()),
        ("/token", renewed.to_string()),
    ]);
    let start = "https://corp.awsapps.com/start";
    let role = "sso_account_id = 123456789012\nsso_role_name = egress\n";
    let place = format!("sso_region = eu-central-1\nsso_start_url = {start}\n");
    account.write(
        ".aws/config",
        &format!("[profile dev]\nsso_session = corp\n{role}[sso-session corp]\n{place}[profile old]\n{role}{place}"),
    );
    let token = |access: &str, minutes: i64| {
        let at = |minutes: i64| {
            (Timestamp::now() + SignedDuration::from_mins(minutes))
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
        };
        let token = json!({
            "accessToken": access, "expiresAt": at(minutes), "startUrl": start, "region": REGION, "refreshToken": "once",
            "clientId": "client", "clientSecret": "secret", "registrationExpiresAt": at(600),
        });
        token.to_string()
    };
    // The AWS CLI names the file by the SHA-1 of the session's name, or of the start URL.
    let of_session = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    let of_url = ".aws/sso/cache/a51746d4aa793ae07b25e90c3a5db96fc7832bd7.json";
    let url = format!("http://127.0.0.1:{port}");
    for (profile, file, minutes, sent) in [
        ("dev", of_session, 60, "valid"),
        ("dev", of_session, 1, "renewed"),
        ("old", of_url, 60, "valid"),
    ] {
        account.write(file, &token("valid", minutes));
        let environment = [
            ("AWS_PROFILE", profile),
            ("AWS_ENDPOINT_URL_SSO", &url),
            ("AWS_ENDPOINT_URL_SSO_OIDC", &url),
        ];
        account.works(profile, &key(1), &environment);
        let head = heads
            .all()
            .into_iter()
            .rfind(|head| head.contains("/federation/credentials"))
            .unwrap();
        let sent = format!("x-amz-sso_bearer_token: {sent}\r\n");
        assert!(heads.all().iter().all(|head| head.contains(AGENT)));
        assert!(
            head.contains(&sent) && head.contains("role_name=egress"),
            "{head}"
        );
    }
}
