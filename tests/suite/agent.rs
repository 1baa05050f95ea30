//! Every request that the program sends names program and version. `access` has the requests to API servers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::collector::{Collector, Manner};
use crate::forward_proxy::{Heads, serve};
use crate::replica::PROGRAM;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::Entry;
use crate::wait;

pub const AGENT: &str = concat!("kube-static-egress-controller/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn requests_to_aws_and_to_a_collector_name_the_program() {
    let stage = Stage::open("agents").await;
    let collector = Collector::start(Manner::Takes).await;
    let replica = stage.replica("r1").role();
    let replica = replica.flag("otlp-endpoint", &collector.url);
    let _replica = replica.env("OTEL_BSP_SCHEDULE_DELAY", "100").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let log = stage.aws.log_since(0);
    let sts = log
        .iter()
        .find(|call| call.action.starts_with("AssumeRole"));
    assert!(sts.unwrap().user_agent.starts_with(AGENT), "{sts:?}");
    // The SDK's own text follows, with the replica's name.
    for call in log.iter().filter(|call| Entry::of_replica(call)) {
        let agent = &call.user_agent;
        let named = agent.starts_with(&format!("{AGENT} aws-sdk-rust/"));
        assert!(named && agent.contains("app/r1"), "{call:?}");
    }
    wait::until("traces", || {
        wait::check(collector.requests() > 0, || "none yet".to_owned())
    })
    .await;
    assert_eq!(collector.header("user-agent"), AGENT);
}

#[test]
fn the_status_command_names_the_program() {
    let heads = Heads::default();
    let port = serve(&heads, |mut stream, heads| {
        heads.read(&mut stream);
        let _ = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    let output = Command::new(PROGRAM)
        .env_clear()
        .arg("status")
        .arg(format!("--server=http://127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let head = heads.all().pop().unwrap_or_else(|| panic!("{output:?}"));
    assert!(
        head.to_lowercase()
            .contains(&format!("user-agent: {AGENT}\r\n")),
        "{head}"
    );
}
