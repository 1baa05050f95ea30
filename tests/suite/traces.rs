//! Traces of passes and AWS calls, as a collector receives them. A failing collector delays nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::collector::{Collector, Manner, Span};
use crate::helm;
use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{Entry, REGION};
use crate::testbed::Testbed;
use crate::wait;

/// A replica that sends its traces to this endpoint, more often than by default.
fn traced(stage: &Stage, endpoint: &str) -> Launch {
    let replica = stage.replica("r1").flag("otlp-endpoint", endpoint);
    replica.env("OTEL_BSP_SCHEDULE_DELAY", "100")
}

/// Returns how often each call was sent to AWS, from the stand-in's log.
fn sent(log: &[Entry]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.of_replica()) {
        *counts.entry(entry.action.clone()).or_default() += 1;
    }
    counts
}

/// Returns how often each call was sent to AWS, from the spans.
fn told(spans: &[Span]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind == SpanKind::Client) {
        let again = span.get("http.request.resend_count");
        let again: usize = again.parse().unwrap_or_default();
        *counts.entry(span.get("rpc.method").to_owned()).or_default() += 1 + again;
    }
    counts
}

/// Returns the ancestors of a span, from its parent up to the root of its trace.
fn above<'a>(spans: &'a [Span], span: &Span) -> Vec<&'a Span> {
    let mut found: Vec<&Span> = Vec::new();
    let (mut parent, mut inner) = (span.parent.clone(), (span.start, span.end));
    while !parent.is_empty() {
        let is = |other: &&Span| other.id == parent && other.trace == span.trace;
        let next = spans.iter().find(is);
        let next = next.unwrap_or_else(|| panic!("{span:?} has a parent that is not there"));
        assert!(
            next.start <= inner.0 && inner.1 <= next.end,
            "{span:?} is not within {next:?}"
        );
        found.push(next);
        (parent, inner) = (next.parent.clone(), (next.start, next.end));
    }
    found
}

#[tokio::test]
async fn a_trace_of_each_pass_has_each_call_to_aws() {
    let stage = Stage::open("traces").await;
    let collector = Collector::start(Manner::Takes).await;
    // One call that is sent twice, and one that is refused.
    let once = |kind: &str, action: &str| json!({ "kind": kind, "action": action, "times": 1 });
    stage.aws.fault(once("error500", "DescribeRouteTables"));
    stage.aws.fault(once("access_denied", "CreateStack"));
    let mut replica = traced(&stage, &collector.url)
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=all,x-all=1")
        // The variable for traces takes precedence.
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-scope=one%20two")
        .flag("log-format", "json")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.two_more_looks().await;
    wait::until("a trace of the last look", || {
        let (sent, told) = (sent(&stage.aws.log_since(0)), told(&collector.spans()));
        wait::check(sent == told, || format!("sent {sent:?}, told {told:?}"))
    })
    .await;
    assert!(replica.terminate().await.0.success());

    let spans = collector.spans();
    assert_eq!(told(&spans), sent(&stage.aws.log_since(0)));
    assert_eq!(collector.header("x-scope"), "one two");
    assert_eq!(collector.header("x-all"), "");
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.id.as_slice()).collect();
    assert_eq!(ids.len(), spans.len());
    for span in &spans {
        let is = |key: &str| span.resource.get(key).map_or("", String::as_str);
        assert_eq!(is("service.name"), "kube-static-egress-controller");
        assert_eq!(is("service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(is("service.instance.id"), "r1");
        assert_eq!(is("deployment.environment"), "tests");
    }
    calls_are_below_passes(&spans);
    passes_say_how_they_ended(&spans);
    nothing_of_config_maps_or_credentials_is_told(&spans, &replica);
    the_log_is_what_it_is_without_traces(&replica);
}

fn the_log_is_what_it_is_without_traces(replica: &Replica) {
    let log = replica.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let ours = |line: &Value| {
        let target = line["target"].as_str().unwrap();
        target.starts_with("kube_static_egress_controller")
    };
    let lines: Vec<Value> = lines.filter(ours).collect();
    let within = lines.iter().filter(|line| line["message"] == "AWS call");
    assert!(within.count() > 5, "{log}");
    for line in lines {
        assert!(line["span"].is_null() && line["spans"].is_null(), "{line}");
    }
}

fn calls_are_below_passes(spans: &[Span]) {
    let mut steps = BTreeSet::new();
    for span in spans.iter().filter(|span| span.kind == SpanKind::Client) {
        let above = above(spans, span);
        assert_eq!(above.last().unwrap().name, "pass", "{span:?}");
        steps.insert(above[0].name.as_str());
        let (service, method) = (span.get("rpc.service"), span.get("rpc.method"));
        assert_eq!(span.name, format!("{service}.{method}"));
        let known = ["EC2", "CloudFormation", "Service Quotas"];
        assert!(known.contains(&service), "{span:?}");
        assert_eq!(span.get("rpc.system"), "aws-api");
        assert_eq!(span.get("cloud.region"), REGION);
        assert!(!span.get("aws.request_id").is_empty(), "{span:?}");
        let status = span.get("http.response.status_code");
        assert_eq!(span.failed, status != "200", "{span:?}");
        assert_eq!(span.failed, !span.get("error.type").is_empty(), "{span:?}");
    }
    for step in [
        "read network",
        "read stack",
        "look for drift",
        "ask for quotas",
        "ask for tagged static IPs",
        "apply",
    ] {
        assert!(steps.remove(step), "no call below of {step}");
    }
    assert!(steps.is_empty(), "{steps:?}");
    let denied = |span: &&Span| span.failed && span.name == "CloudFormation.CreateStack";
    let denied = spans.iter().find(denied).unwrap();
    assert_eq!(denied.get("error.type"), "AccessDenied");
    assert_eq!(denied.get("http.response.status_code"), "403");
    let again = |span: &&Span| !span.get("http.request.resend_count").is_empty();
    let again: Vec<&Span> = spans.iter().filter(again).collect();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0].name, "EC2.DescribeRouteTables");
    assert!(!again[0].failed);
}

fn passes_say_how_they_ended(spans: &[Span]) {
    let roots = spans.iter().filter(|span| span.parent.is_empty());
    let (passes, others): (Vec<&Span>, Vec<&Span>) = roots.partition(|span| span.name == "pass");
    let others: Vec<&str> = others.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(others, ["takeover"]);
    let traces: BTreeSet<&[u8]> = passes.iter().map(|span| span.trace.as_slice()).collect();
    assert_eq!(traces.len(), passes.len(), "a trace each");
    let mut ends = BTreeSet::new();
    for pass in &passes {
        assert_eq!(pass.get("egress.epoch"), "1");
        ends.insert((pass.get("egress.action"), pass.get("egress.outcome")));
        assert_eq!(pass.failed, pass.get("egress.outcome").is_empty());
    }
    for end in [("CreateStack", "applied"), ("Keep", "settled"), ("", "")] {
        assert!(ends.contains(&end), "{ends:?} has no {end:?}");
    }
    let failed = passes.iter().find(|pass| pass.failed).unwrap();
    assert_eq!(failed.get("error.type"), "AccessDenied");
    for (step, root) in [
        ("plan", "pass"),
        ("read ledger", "pass"),
        ("write ledger", "pass"),
        ("read sources", "takeover"),
    ] {
        let step = spans.iter().find(|span| span.name == step).unwrap();
        assert_eq!(above(spans, step)[0].name, root);
    }
}

fn nothing_of_config_maps_or_credentials_is_told(spans: &[Span], replica: &Replica) {
    let secrets = [
        "8.8.8",
        "google",
        "egress-t1",
        "secret",
        &replica.access_key,
    ];
    for span in spans {
        for secret in secrets {
            let hides = |value: &String| !value.contains(secret);
            assert!(span.attributes.values().all(hides), "{span:?}");
        }
    }
}

#[test]
fn the_network_policy_opens_the_port_of_the_collector() {
    let ports = |endpoint: &str| {
        let values =
            json!({ "networkPolicy": { "enabled": true }, "traces": { "endpoint": endpoint } });
        let objects = helm::render(&values).unwrap();
        let mut objects = objects.into_iter();
        let policy = objects.find(|object| object["kind"] == "NetworkPolicy");
        let rules = policy.unwrap()["spec"]["egress"].clone();
        let rules: Vec<Value> = serde_json::from_value(rules).unwrap();
        let open = rules.iter().filter(|rule| rule["to"].is_null());
        let ports = open.flat_map(|rule| rule["ports"].as_array().unwrap());
        let ports: Vec<u64> = ports.filter_map(|port| port["port"].as_u64()).collect();
        ports
    };
    let without = ports("");
    for (endpoint, port) in [
        ("http://collector.observability:4318", 4318),
        ("http://[fd00::1]:4319/base", 4319),
        ("http://collector", 80),
        ("https://collector.example/otlp", 443),
    ] {
        let open: BTreeSet<u64> = ports(endpoint).into_iter().collect();
        let expected: BTreeSet<u64> = without.iter().copied().chain([port]).collect();
        assert_eq!(open, expected);
    }
}

const LOST: &str = "traces are lost";

/// A collector that fails in this manner is reported once, with its message, and once more when it works again.
async fn fails(name: &str, manner: Manner, why: &str) {
    let stage = Stage::open(name).await;
    let collector = Collector::start(manner).await;
    let mut replica = traced(&stage, "")
        // The variable for traces takes precedence.
        .without("otlp-endpoint")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.url),
        )
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let mut round = 0;
    while collector.requests() < 4 {
        stage
            .config_map("nudge", &[("n", &format!("9.9.9.{round}"))])
            .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        round += 1;
        assert!(round < 100, "{} requests", collector.requests());
    }
    wait::until("told", || {
        replica.said(&["WARN", LOST, why, "check --otlp-endpoint"])
    })
    .await;
    assert_eq!(replica.when(&[LOST]).len(), 1);
    assert_eq!(collector.spans().len(), 0);
    collector.behave(Manner::Takes);
    stage.two_more_looks().await;
    wait::until("told", || replica.said(&["traces are accepted again"])).await;
    replica.assert_well();
    assert!(replica.terminate().await.0.success());
    assert_eq!(replica.when(&[LOST]).len(), 1);
    assert!(!collector.spans().is_empty());
}

#[tokio::test]
async fn a_collector_that_refuses_is_told_of_once() {
    fails("traces-refused", Manner::Refuses, "503 Service Unavailable").await;
}

#[tokio::test]
async fn a_collector_that_rejects_spans_is_told_of_once() {
    fails("traces-rejected", Manner::Rejects, "too many for this plan").await;
}

#[tokio::test]
async fn a_collector_that_is_too_slow_is_told_of_once() {
    fails("traces-slow", Manner::Hangs, "no answer within 200ms").await;
}

/// Only the program itself ends the wait.
#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_routes_nor_the_end() {
    let stage = Stage::open("traces-hang").await;
    let collector = Collector::start(Manner::Hangs).await;
    let mut replica = traced(&stage, &collector.url)
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "8")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.two_more_looks().await;
    assert_eq!(collector.requests(), 1, "one at a time");
    replica.assert_well();
    let (status, took) = replica.terminate().await;
    assert!(status.success());
    assert!(took < Duration::from_secs(20), "{took:?}");
    let lease = stage.lease().await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "given up: {lease}");
}

#[tokio::test]
async fn the_last_pass_is_told_although_the_end_cuts_it_off() {
    let stage = Stage::open("traces-end").await;
    let collector = Collector::start(Manner::Takes).await;
    let mut replica = traced(&stage, &collector.url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("at rest", || replica.said(&["Keep: "])).await;
    let slow = json!({ "kind": "delay", "action": "DescribeRouteTables", "ms": 15_000 });
    stage.aws.fault(slow);
    let mark = stage.aws.mark();
    stage.config_map("nudge", &[]).await;
    wait::until("a call under way", || {
        let calls = stage.aws.count_since(mark, "DescribeRouteTables");
        wait::check(calls == 1, || format!("{calls} calls"))
    })
    .await;
    assert_eq!(collector.requests(), 0, "nothing is sent before the end");
    assert!(replica.terminate().await.0.success());
    let spans = collector.spans();
    assert_eq!(told(&spans), sent(&stage.aws.log_since(0)));
    let unanswered = |span: &&Span| {
        span.kind == SpanKind::Client && span.get("http.response.status_code").is_empty()
    };
    let cut: Vec<&Span> = spans.iter().filter(unanswered).collect();
    assert_eq!(cut.len(), 1, "{cut:?}");
    let pass = *above(&spans, cut[0]).last().unwrap();
    assert_eq!(
        (pass.name.as_str(), pass.get("egress.outcome")),
        ("pass", "")
    );
}

/// A second attempt would delay the end of the process.
#[tokio::test]
async fn spans_that_a_collector_refuses_are_not_sent_again() {
    let stage = Stage::open("traces-once").await;
    let collector = Collector::start(Manner::Refuses).await;
    let mut replica = traced(&stage, &collector.url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert!(replica.terminate().await.0.success());
    assert_eq!(collector.requests(), 1);
}

/// The API server stands in for a collector with TLS: a client that receives a response has trusted its certificate.
#[tokio::test]
async fn a_collector_with_tls_has_to_be_trusted() {
    let stage = Stage::open("traces-tls").await;
    let ca = &Testbed::shared().ca;
    for (name, trusted, why) in [
        ("r1", true, ["it answers 40", "check --otlp-endpoint"]),
        ("r2", false, ["invalid peer certificate", "UnknownIssuer"]),
    ] {
        let mut replica = stage
            .replica(name)
            .flag("otlp-endpoint", &stage.url)
            .env("OTEL_BSP_SCHEDULE_DELAY", "100");
        if trusted {
            replica = replica.env("SSL_CERT_FILE", ca);
        }
        let mut replica = replica.start();
        wait::until("told", || replica.said(&["WARN", LOST, why[0], why[1]])).await;
        assert!(replica.terminate().await.0.success());
    }
}

/// The collector may start later than the program, or never.
#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once() {
    let stage = Stage::open("traces-away").await;
    let mut replica = traced(&stage, "http://127.0.0.1:1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.two_more_looks().await;
    assert!(replica.terminate().await.0.success());
    assert!(replica.said(&["WARN", LOST, "Connection refused"]).is_ok());
    assert_eq!(replica.when(&[LOST]).len(), 1);
}
