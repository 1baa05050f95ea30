//! The log shows no secret, not even at the level trace.

use serde_json::Value;

use crate::replica::{Launch, SECRET, TOKEN};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};

const SESSION: &str = "unmistakable-session-token";
const HEADER: &str = "unmistakable-header";

fn tracing(launch: Launch) -> Launch {
    launch.flag("log-level", "trace")
}

#[tokio::test]
async fn a_log_at_level_trace_has_no_secret() {
    let stage = Stage::open("secrets").await;
    let kubeconfig = std::fs::read_to_string(stage.dir.join("kubeconfig")).unwrap();
    let kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    let bearer = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();
    assert!(bearer.len() > 100);
    let launch = tracing(stage.replica("r1"))
        .flag("otlp-endpoint", "http://127.0.0.1:1")
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("authorization={HEADER}"),
        )
        .env("AWS_SESSION_TOKEN", SESSION);
    let mut with_key = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    with_key.terminate().await;
    let mut with_role = tracing(stage.replica("r2").role()).start();
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    stage.routed(&EXAMPLE_CIDRS[..1]).await;
    with_role.terminate().await;
    for replica in [&with_key, &with_role] {
        let log = replica.log();
        // Libraries log less than the controller itself, whatever the level.
        assert!(log.contains(" DEBUG "), "{}", replica.name);
        for secret in [bearer, SECRET, SESSION, HEADER, TOKEN] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{} logs {secret}", replica.name);
        }
    }
}
