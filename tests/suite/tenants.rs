//! Attacks of a tenant who may only write ConfigMaps in one namespace. The tenant of another namespace is still served within a bound.
//!
//! | attack | test |
//! |---|---|
//! | objects that typed clients cannot read, before a start, while a leader runs, written again and again | `poison::an_odd_object_…` |
//! | one value edited faster than change sets are made | `pace::who_edits_faster_…` |
//! | more keys than memory, more megabytes than memory | `poison::sixty_thousand_keys_…`, `memory::…`, `memory_limit::…` |
//! | more ConfigMaps than are read | `configmaps_without_number_hide_nobody_else` |
//! | keys beyond the limits, in a namespace that sorts first | `keys_beyond_the_limits_refuse_nobody_else` |
//! | all the room that routes have, and what stays after it was given back | `room_…` (two) |
//! | all the places of the port | `connections_that_fill_the_port_fail_no_probe`, `floods::readers_…` |
//! | the whole internet, private ranges, a network inside of another's route | `nobody_takes_what_others_routes_reach` |
//! | edits that only cost calls of AWS | `edits_of_what_is_refused_…`, `flaps_of_a_label_…`, `pace::two_hundred_edits_…` |
//! | edits that only cost lines of the log, and Events of others | `floods::a_flood_of_mistakes_…` |
//! | a full ledger | `a_full_ledger_freezes_nobody_s_removals` |
//! | edits that only cost writes of etcd | `pace::two_hundred_edits_…` |
//! | names that forge lines | `floods::names_in_manifests_…` |
//!
//! `rights::…` covers a stolen token of the pod, and `tests/standin/test_iam.py` covers a stolen AWS role.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::Method;
use serde_json::{Map, Value, json};

use crate::replica::Replica;
use crate::stage::Stage;
use crate::town::{HONEST, HOSTILE, PATIENCE, SOON, Town};
use crate::wait;

/// Waits until at least this many problems have this reason.
async fn told(replica: &Replica, reason: &str, least: f64) {
    let name = format!("kube_static_egress_controller_problems{{reason=\"{reason}\"}}");
    wait::until(&format!("{reason} is told"), || {
        let count = replica.metric(&name);
        wait::check(count >= Some(least), || format!("{count:?}"))
    })
    .await;
}

/// Checks that the honest tenant's edits are served by this leader, and by the next one after a crash. Returns the next leader.
async fn serves_over_a_failover(town: &Town, leader: &mut Replica, what: &str) -> Replica {
    town.swaps_within(PATIENCE, what, "9.9.9.9", "9.9.9.10")
        .await;
    leader.kill();
    let next = town.launch("r2").start();
    let what = format!("{what} and a failover");
    town.swaps_within(PATIENCE, &what, "9.9.9.10", "9.9.9.11")
        .await;
    next
}

fn entries(count: usize, entry: impl Fn(usize) -> (String, String)) -> Value {
    let all = (0..count).map(entry);
    let all: Map<String, Value> = all.map(|(key, value)| (key, value.into())).collect();
    all.into()
}

/// Returns single addresses of which no two are neighbours.
fn apart(count: usize, first: u8) -> Value {
    entries(count, |n| {
        let address = format!("20.{first}.{}.{}", n / 100, n % 100 * 2);
        (format!("k{n:04}"), address)
    })
}

/// In the end there are more entries than the global limit, for which a program without optimization takes a minute.
#[tokio::test]
async fn keys_beyond_the_limits_refuse_nobody_else() {
    let town = Town::open("tenant-keys").await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    let key = |n: usize| (format!("k{n:05}"), "20.0.0.1".to_owned());
    town.hostile("huge", entries(20_001, key)).await;
    let (more, limits) = if wait::is_long() { (21, 2.0) } else { (1, 1.0) };
    for number in 0..more {
        let name = format!("many-{number:02}");
        town.hostile(&name, entries(1_000, key)).await;
    }
    told(&replica, "TooManyEntries", limits).await;
    let what = format!("{} keys", 20_001 + more * 1_000);
    let mut next = serves_over_a_failover(&town, &mut replica, &what).await;
    let refused = format!("refused: ConfigMap {HONEST}");
    for replica in [&replica, &next] {
        assert!(replica.said(&[&refused]).is_err());
    }
    next.assert_well();
}

#[tokio::test]
async fn room_has_a_bound_for_each_namespace_where_operators_set_one() {
    let town = Town::open("tenant-share").await;
    town.stage.ask(HOSTILE, "all", apart(200, 0)).await;
    let mut replica = town
        .launch("r1")
        .flag("max-networks-per-namespace", "30")
        .start();
    town.routes("9.9.9.9/32", true).await;
    town.swaps("200 networks", "9.9.9.9", "9.9.9.10").await;
    told(&replica, "NamespaceFull", 170.0).await;
    replica.assert_well();
}

/// A tenant used all the room and removes the ConfigMap. Its routes stay for the grace period, unless other entries need the room.
#[tokio::test]
async fn room_that_is_only_kept_gives_way() {
    let town = Town::open("tenant-kept").await;
    let mut replica = town.launch("r1").flag("max-removal", "50").start();
    town.routes("9.9.9.9/32", true).await;
    town.stage.ask(HOSTILE, "all", apart(200, 0)).await;
    told(&replica, "LimitReached", 1.0).await;
    town.routes("20.0.0.0/32", true).await;
    town.honest(json!({ "old": "9.9.9.9", "new": "9.9.9.10" }))
        .await;
    town.stage.ask(HOSTILE, "all", json!({})).await;
    let start = Instant::now();
    town.routes("9.9.9.10/32", true).await;
    let took = start.elapsed();
    wait::measured(&format!(
        "all room kept for nobody: another tenant is served after {took:.1?}"
    ));
    assert!(took < SOON, "{took:?}");
    told(&replica, "LargeRemovalWaits", 1.0).await;
    town.routes("9.9.9.9/32", true).await;
    replica.assert_well();
}

#[tokio::test]
async fn nobody_takes_what_others_routes_reach() {
    let town = Town::open("tenant-ranges").await;
    let ((table, _), _) = town.stage.aws.routes().into_iter().next().unwrap();
    let gateway = town
        .stage
        .aws
        .call("ec2", "CreateTransitGateway", &[("Description", "office")]);
    let (_, gateway) = gateway.split_once("<transitGatewayId>").unwrap();
    let (gateway, _) = gateway.split_once('<').unwrap();
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "20.0.0.0/8"),
        ("TransitGatewayId", gateway),
    ];
    town.stage.aws.call("ec2", "CreateRoute", &route);
    let all = entries(222, |n| {
        (format!("net-{}", n + 1), format!("{}.0.0.0/8", n + 1))
    });
    town.stage.ask(HOSTILE, "internet", all).await;
    let taken = [
        ("office", "20.1.0.0/16"),
        ("private", "10.20.0.0/16"),
        ("shared", "100.64.1.0/24"),
    ];
    let data = entries(3, |n| (taken[n].0.to_owned(), taken[n].1.to_owned()));
    town.stage.ask(HOSTILE, "others", data).await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    town.swaps("the whole internet", "9.9.9.9", "9.9.9.10")
        .await;
    told(&replica, "TooManyAddresses", 200.0).await;
    told(&replica, "PrivateRange", 2.0).await;
    told(&replica, "RoutedElsewhere", 1.0).await;
    let ours = town.stage.aws.exits();
    for routes in town.stage.aws.routes().values() {
        let targets = routes.iter().filter(|(_, target)| {
            let mut gateways = ours.values().map(|exit| &exit.gateway);
            gateways.any(|gateway| gateway == *target)
        });
        let targets: Vec<&String> = targets.map(|(cidr, _)| cidr).collect();
        assert!(targets.len() <= 2, "one /8 and one address: {targets:?}");
    }
    replica.assert_well();
}

/// Returns the calls of replicas per second, in total and those that change something, while a tenant edits. Then another tenant must be
/// served.
async fn cost(town: &Town, edit: impl AsyncFn(usize), gap: Duration) -> (f64, f64) {
    let stop = AtomicBool::new(false);
    let edits = async {
        let mut tick = tokio::time::interval(gap);
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            tick.tick().await;
            edit(number).await;
            number += 1;
        }
        number
    };
    let served = async {
        let (mark, start) = (town.stage.aws.mark(), Instant::now());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let seconds = start.elapsed().as_secs_f64();
        let log = town.stage.aws.log_since(mark);
        let calls = log.iter().filter(|entry| entry.of_replica()).count() as f64 / seconds;
        let writes = town.stage.aws.writes_since(mark).len() as f64 / seconds;
        town.swaps("edits without end", "9.9.9.9", "9.9.9.10").await;
        stop.store(true, Ordering::Relaxed);
        (calls, writes)
    };
    let (number, (calls, writes)) = tokio::join!(edits, served);
    wait::measured(&format!(
        "{number} edits, one every {gap:?}: {calls:.2} calls of AWS a second, {writes:.2} of them change something"
    ));
    (calls, writes)
}

#[tokio::test]
async fn edits_of_what_is_refused_cost_two_calls_of_aws_a_second() {
    let town = Town::open("tenant-refused").await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    let slow = json!({ "kind": "delay", "action": "*", "ms": 150 });
    town.stage.aws.fault(slow);
    let edit = async |number| {
        let data = json!({ "bad": format!("10.0.0.0/{number}") });
        town.stage.ask(HOSTILE, "refused", data).await;
    };
    let (calls, writes) = cost(&town, edit, Duration::from_millis(100)).await;
    // A read for drift falls into this time.
    assert!(calls <= 2.5 && writes == 0.0, "{calls}, {writes}");
    replica.assert_well();
}

/// Each change is requested by an entry, but changes are made at most once a second, and polled while they last.
#[tokio::test]
async fn flaps_of_a_label_cost_few_calls_of_aws() {
    let town = Town::open("tenant-flaps").await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    town.stage.ask(HOSTILE, "flaps", apart(20, 0)).await;
    town.routes("20.0.0.0/32", true).await;
    let times = json!({ "operation_ms": 3_000, "changeset_ms": 1_000 });
    town.stage.aws.settings(times);
    let path = format!("/api/v1/namespaces/{HOSTILE}/configmaps/flaps");
    let edit = async |number: usize| {
        let label = if number.is_multiple_of(2) {
            "none"
        } else {
            "static"
        };
        let patch = json!({ "metadata": { "labels": { "egress": label } } });
        let kind = "application/merge-patch+json";
        let sent = town.stage.request(Method::PATCH, &path, kind, &patch);
        sent.await.unwrap();
    };
    let (calls, writes) = cost(&town, edit, Duration::from_millis(50)).await;
    assert!(calls <= 4.0 && writes <= 1.0, "{calls}, {writes}");
    replica.assert_well();
}

/// A list of 5,200 ConfigMaps has more than a hundred pages. An entry of a ConfigMap that is not read keeps its route.
#[tokio::test]
async fn configmaps_without_number_hide_nobody_else() {
    let town = Town::open("tenant-crowd").await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    town.hostile("zz-late", json!({ "key": "20.0.0.1" })).await;
    town.routes("20.0.0.1/32", true).await;
    let names = futures::stream::iter((0..5_200).map(|number| format!("n{number:04}")));
    names
        .for_each_concurrent(16, async |name| town.hostile(&name, json!({})).await)
        .await;
    told(&replica, "TooManyEntries", 1.0).await;
    let mut replica = serves_over_a_failover(&town, &mut replica, "5,200 ConfigMaps").await;
    town.routes("20.0.0.1/32", true).await;
    told(&replica, "TooManyEntries", 1.0).await;
    replica.assert_well();
}

#[tokio::test]
async fn a_full_ledger_freezes_nobody_s_removals() {
    let town = Town::open("tenant-ledger").await;
    let mut replica = town.launch("r1").start();
    town.routes("9.9.9.9/32", true).await;
    for map in 0..3 {
        // All entries have one network: the keys fill the ledger.
        let key = |n: usize| (format!("{n:0>245}"), "20.0.0.1".to_owned());
        let data = entries(1_000, key);
        town.hostile(&format!("long-{map}"), data).await;
    }
    told(&replica, "LedgerFull", 1.0).await;
    town.stage
        .ask(HOSTILE, "typo", json!({ "bank": "20.1.1.1/33" }))
        .await;
    told(&replica, "NotACidr", 1.0).await;
    let mut replica = serves_over_a_failover(&town, &mut replica, "a full ledger").await;
    replica.assert_well();
}

/// Each connection has received one response and stays open. Further connections send nothing.
#[tokio::test]
async fn connections_that_fill_the_port_fail_no_probe() {
    let stage = Stage::open("tenant-port").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("honest", &[("dns", "8.8.8.8")]).await;
    stage.routed(&["8.8.8.8/32"]).await;
    for (kept, idle) in [(64, 0), (0, 300), (200, 100)] {
        let held: Vec<TcpStream> = (0..kept + idle)
            .map(|number| connection(&replica, number < kept))
            .collect();
        for _ in 0..10 {
            replica.answers("/healthz").unwrap();
            replica.answers("/readyz").unwrap();
            replica.answers("/metrics").unwrap();
        }
        drop(held);
    }
    replica.assert_well();
}

/// Half of the connections send a request and stay open, the others send nothing.
#[tokio::test]
async fn connections_take_no_files_that_calls_of_aws_need() {
    let stage = Stage::open("tenant-files").await;
    let mut replica = stage.replica("r1").open_files(40).start();
    stage.config_map("honest", &[("dns", "8.8.8.8")]).await;
    stage.routed(&["8.8.8.8/32"]).await;
    let held: Vec<TcpStream> = (0..300)
        .map(|number| connection(&replica, number % 2 == 0))
        .collect();
    stage.config_map("honest", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    replica.assert_well();
    for lack in ["no connection to AWS", "open files", "open no more files"] {
        replica.said(&[lack]).unwrap_err();
    }
    drop(held);
}

fn connection(replica: &Replica, asks: bool) -> TcpStream {
    let mut stream = replica.connect();
    if asks {
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let _ = stream.write_all(request);
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).unwrap();
        // A connection may also be closed to make room.
        let _ = stream.read(&mut [0; 512]);
    }
    stream
}
