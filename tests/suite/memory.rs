//! The controller's memory with the maximum number of entries.

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::replica::Replica;
use crate::stage::Stage;
use crate::{helm, wait};

const CONFIG_MAPS: u32 = 1_000;
const ENTRIES: u32 = 20;
/// The part of the chart's limit that must stay free.
const RESERVE: f64 = 0.25;

/// Returns entries of which no two are neighbours, so that each is one route.
pub fn entries(number: u32) -> Vec<(String, String)> {
    let entry = |key: u32| {
        let [_, b, c, d] = ((number * ENTRIES + key) * 2).to_be_bytes();
        (format!("partner-{key:02}"), format!("20.{b}.{c}.{d}"))
    };
    (0..ENTRIES).map(entry).collect()
}

async fn ask(stage: &Stage, number: u32) {
    let data = entries(number);
    let data: Vec<(&str, &str)> = data
        .iter()
        .map(|(key, cidr)| (key.as_str(), cidr.as_str()))
        .collect();
    stage.config_map(&format!("team-{number:04}"), &data).await;
}

pub fn status(replica: &Replica) -> Result<Value, String> {
    let answer = replica.get("/api/status")?;
    serde_json::from_str::<Value>(&answer.body)
        .map(|mut all| all["status"].take())
        .map_err(|error| format!("{error}: {}", answer.status))
}

/// Returns the chart's memory limit in MiB.
fn limit() -> f64 {
    let objects = helm::render(&json!({})).unwrap();
    let deployment = helm::find(&objects, "Deployment", "");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
    limit.strip_suffix("Mi").unwrap().parse().unwrap()
}

/// Most of these entries have no room, so each has its own reason and remedy. This takes the most memory.
#[tokio::test]
async fn as_many_entries_as_there_may_be_fit_into_the_chart_s_memory() {
    let stage = Stage::open("memory").await;
    let made = futures::stream::iter(0..CONFIG_MAPS).map(|number| ask(&stage, number));
    made.buffer_unordered(20).collect::<Vec<()>>().await;
    let mut replica = stage
        .replica("r1")
        .flag("provider", "in-memory")
        .flag("log-level", "info")
        .start();
    let all = u64::from(CONFIG_MAPS * ENTRIES);
    let is = wait::until("all have been looked at, and some are routed", || {
        let is = status(&replica)?;
        let (entries, routed) = (&is["counts"]["entries"], &is["counts"]["routed"]);
        let done = *entries == all && routed.as_u64() > Some(50);
        wait::check(done, || is["counts"].to_string())?;
        Ok(is)
    })
    .await;
    // Includes the published objects, and the requests of several users of the page.
    wait::until("Events and the status are written", || {
        let count = |object: &str| {
            let name = "kube_static_egress_controller_cluster_writes_total";
            replica.metric(&format!("{name}{{object=\"{object}\",result=\"ok\"}}"))
        };
        let done = count("event") >= Some(30.0) && count("status") >= Some(2.0);
        wait::check(done, || {
            format!("{:?} {:?}", count("event"), count("status"))
        })
    })
    .await;
    for _ in 0..10 {
        replica.answers("/").unwrap();
        status(&replica).unwrap();
    }
    let (now, most) = (replica.memory("VmRSS"), replica.memory("VmHWM"));
    let limit = limit();
    wait::measured(&format!(
        "{all} entries in {CONFIG_MAPS} ConfigMaps ({}): {now:.0} MiB of memory, {most:.0} at most; the chart's limit is {limit}",
        is["counts"]
    ));
    assert!(most < limit * (1.0 - RESERVE), "{most:.0} of {limit} MiB");
    replica.assert_well();
}

/// An API server returns them on one page, of which the controller holds one object at a time.
#[tokio::test]
async fn fifty_config_maps_of_a_megabyte_fit_into_the_chart_s_memory() {
    const LARGE: u32 = 50;
    let stage = Stage::open("large").await;
    for number in 0..LARGE {
        let value = format!("20.0.{number}.2{}", " ".repeat(1_000_000));
        stage
            .config_map(&format!("large-{number}"), &[("partner", &value)])
            .await;
    }
    let mut replica = stage.replica("r1").flag("provider", "in-memory").start();
    wait::until("all are routed", || {
        let is = status(&replica)?;
        let done = is["counts"]["routed"] == LARGE;
        wait::check(done, || is["counts"].to_string())
    })
    .await;
    let (most, limit) = (replica.memory("VmHWM"), limit());
    wait::measured(&format!(
        "{LARGE} ConfigMaps of 1 MB: {most:.0} MiB of memory at most; the chart's limit is {limit}"
    ));
    assert!(most < limit * (1.0 - RESERVE), "{most:.0} of {limit} MiB");
    replica.assert_well();
}
