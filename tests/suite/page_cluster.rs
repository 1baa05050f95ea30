//! The status page of a leader and of a standby, in a cluster.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::page::{ROWS, STATE, open, shows};
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::Exit;
use crate::wait;

#[tokio::test]
async fn a_leader_in_a_cluster_shows_what_ec2_holds_and_a_follower_who_leads() {
    let stage = Stage::open("page-live").await;
    let leader = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("r1 leads", || leader.said(&["this replica leads"])).await;
    let follower = stage.replica("r2").start();
    let browser = Browser::open();
    open(&browser, &leader).await;
    shows(&browser, STATE, json!("all is as asked for")).await;
    let ips = browser.value("[...document.querySelectorAll('#ips b')].map(ip => ip.textContent)");
    let held: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    assert_eq!(ips, json!(held));
    let loop_text = browser.text("document.getElementById('loop').textContent");
    for part in [
        "2 entries",
        "2 accepted",
        "2 destinations",
        "in 3 route tables",
        "CREATE_COMPLETE",
    ] {
        assert!(loop_text.contains(part), "{loop_text}");
    }
    let timeline = browser.text("document.getElementById('time').textContent");
    assert!(
        timeline.contains("CreateStack: there is no stack yet"),
        "{timeline}"
    );
    // Changes appear without a reload.
    stage
        .config_map("egress-t2", &[("vpc", "172.31.9.0/24")])
        .await;
    shows(&browser, STATE, json!("1 entry refused")).await;
    let row = browser.text("document.querySelector('#entries tr.entry').textContent");
    assert!(
        row.contains("InsideVpc") && row.contains("remove the entry"),
        "{row}"
    );
    browser.shot("live");
    let gateway = "document.querySelector('#zones a[href^=\"#nat-\"]') !== null";
    shows(&browser, gateway, json!(true)).await;
    way_out(&browser, &exits);
    assert_eq!(browser.inaccessible(), [""; 0]);

    stands_by(&browser, &follower).await;
}

/// The standby shows the status that the leader wrote into the status ConfigMap, and says so.
async fn stands_by(browser: &Browser, follower: &Replica) {
    browser.go(&follower.url("/"));
    wait::until("the follower names the leader", || {
        let text = browser.text("document.getElementById('standby').textContent");
        wait::check(text.contains("The leader is r1_"), || text)
    })
    .await;
    shows(browser, STATE, json!("standby: 1 entry refused")).await;
    shows(browser, ROWS, json!(3)).await;
    let banner = browser.text("document.getElementById('standby').textContent");
    assert!(
        banner.contains("what the leader last wrote")
            && banner.contains("kubectl port-forward pod/r1 8080"),
        "{banner}"
    );
    assert_eq!(browser.inaccessible(), [""; 0]);
    browser.shot("standby");
    let answer: Value = serde_json::from_str(&follower.get("/api/status").unwrap().body).unwrap();
    assert_eq!(answer["leading"], json!(false));
    assert!(answer["leader"].as_str().unwrap().starts_with("r1_"));
    assert!(
        answer["status"]["leader"]["identity"]
            .as_str()
            .unwrap()
            .starts_with("r1_")
    );
}

/// Each zone's outgoing path is on the page, and each part of it links to its entries and to the AWS console.
fn way_out(browser: &Browser, exits: &BTreeMap<String, Exit>) {
    let cells = "[...document.querySelectorAll('#zones tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))";
    let rows = browser.value(cells);
    assert_eq!(rows.as_array().unwrap().len(), exits.len());
    for (row, (zone, exit)) in rows.as_array().unwrap().iter().zip(exits) {
        let text = |at: usize| row[at].as_str().unwrap();
        assert!(
            text(0).starts_with(zone.as_str()) && text(0).contains("Live"),
            "{row}"
        );
        assert!(
            text(1).starts_with("rtb-") && text(2).starts_with("nat-"),
            "{row}"
        );
        assert!(
            text(3).starts_with(exit.ip.as_str()) && text(4) == "2 networks",
            "{row}"
        );
    }
    let links = "[...document.querySelectorAll('a.console')].map(link => link.href)";
    let links = browser.value(links);
    let links: Vec<&str> = links
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link.as_str().unwrap())
        .collect();
    let domain = "https://eu-central-1.console.aws.amazon.com/";
    assert!(
        links.iter().all(|link| link.starts_with(domain)),
        "{links:?}"
    );
    for part in [
        "NatGatewayDetails:natGatewayId=nat-",
        "RouteTableDetails:RouteTableId=rtb-",
        "Addresses:PublicIp=",
        "stackinfo?stackId=arn",
    ] {
        assert!(
            links.iter().any(|link| link.contains(part)),
            "{part}: {links:?}"
        );
    }
}
