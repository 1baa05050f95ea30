//! A user edits all the time: the cost of the edits, and that they delay no other user.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::stage::Stage;
use crate::wait;

/// The number of concurrent writers. Each has its own ConfigMap, because the API server serialises writes of one object.
const WRITERS: usize = 8;

/// Edits one entry of one ConfigMap every `gap` until `stop` is set.
async fn edits(stage: &Stage, name: &str, gap: Duration, stop: &AtomicBool, count: &AtomicUsize) {
    let path = format!("{}/{name}", stage.path("", "configmaps"));
    let mut tick = tokio::time::interval(gap);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let number = count.fetch_add(1, Ordering::Relaxed) % 250;
        let patch = json!({ "data": { "value": format!("198.51.100.{number}/32") } });
        let kind = "application/merge-patch+json";
        let sent = stage.request(Method::PATCH, &path, kind, &patch);
        sent.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_edits_a_second_cost_few_calls_and_little_of_etcd() {
    const MINUTE: Duration = Duration::from_secs(60);
    let stage = Stage::alone("pace").await;
    let (kube, aws) = stage.links();
    let linked = stage.behind(kube, aws, stage.replica("r1"));
    // A ledger that is nearly full: 3,000 entries with long keys, most of which wait for room.
    for map in 0..3 {
        let line = |number: usize| {
            let key = format!("{number:0>200}");
            (
                key,
                format!("20.{map}.{}.{}/32", number / 120, 2 * (number % 120)),
            )
        };
        let lines: Vec<(String, String)> = (0..1_000).map(line).collect();
        let data: Vec<(&str, &str)> = lines
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        stage.config_map(&format!("many-{map}"), &data).await;
    }
    wait::until("a first stack", || {
        let stacks = stage.aws.stacks();
        let rests = !stacks.is_empty() && stacks.values().all(|is| is.ends_with("_COMPLETE"));
        wait::check(rests, || format!("{stacks:?}"))
    })
    .await;
    // The minimum duration of an operation on AWS.
    stage
        .aws
        .settings(json!({ "operation_ms": 15_000, "changeset_ms": 5_000 }));
    let names: Vec<String> = (0..WRITERS).map(|one| format!("edited-{one}")).collect();
    for name in &names {
        stage.config_map(name, &[]).await;
    }
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mark, sent, start) = (stage.aws.mark(), linked.kube.sent(), Instant::now());
    let end = async {
        tokio::time::sleep(MINUTE).await;
        stop.store(true, Ordering::Relaxed);
    };
    let gap = Duration::from_millis(5) * u32::try_from(WRITERS).unwrap();
    let writers = names
        .iter()
        .map(|name| edits(&stage, name, gap, &stop, &count));
    tokio::join!(futures::future::join_all(writers), end);
    let calls = stage.aws.log_since(mark);
    let calls = calls.iter().filter(|entry| entry.of_replica()).count();
    let seconds = start.elapsed().as_secs_f64();
    let rate = calls as f64 / seconds;
    let megabytes = (linked.kube.sent() - sent) as f64 / 1e6 / seconds * 60.0;
    let edited = count.load(Ordering::Relaxed) as f64 / seconds;
    wait::measured(&format!(
        "{edited:.0} edits a second: {rate:.2} calls of AWS a second, {megabytes:.2} MB a minute sent to the API server"
    ));
    // A busy machine is slower.
    assert!(edited > 50.0, "{edited} edits a second are no stream");
    // One pass in three seconds makes four calls, because the tables have three pages. Change sets and reads for drift come on top.
    assert!(
        rate <= 2.0 && megabytes <= 10.0,
        "{rate} calls a second, {megabytes} MB a minute"
    );
}

#[tokio::test]
async fn who_edits_faster_than_change_sets_are_made_starves_nobody() {
    let stage = Stage::open("starved").await;
    let _replica = stage.replica("r1").start();
    stage
        .config_map("edited", &[("value", "198.51.100.251/32")])
        .await;
    stage.config_map("removed", &[("old", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32", "198.51.100.251/32"]).await;
    stage
        .aws
        .settings(json!({ "operation_ms": 2_000, "changeset_ms": 8_000 }));
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let victim = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let start = Instant::now();
        stage.config_map("victim", &[("new", "8.8.8.8")]).await;
        stage.delete_config_map("removed").await;
        wait::until("the new route, and the old one gone", || {
            let routes = stage.aws.routes();
            let done = routes.values().all(|routes| {
                routes.contains_key("8.8.8.8/32") && !routes.contains_key("9.9.9.9/32")
            });
            wait::check(done, || format!("{routes:?}"))
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        start.elapsed()
    };
    let (took, ()) = tokio::join!(
        victim,
        edits(&stage, "edited", Duration::from_secs(4), &stop, &count)
    );
    wait::measured(&format!(
        "edits every 4 s, change sets that take 8 s: somebody else is served after {:.1} s",
        took.as_secs_f64()
    ));
    assert!(took < Duration::from_secs(60), "{took:?}");
}
