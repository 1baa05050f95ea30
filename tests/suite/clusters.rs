//! ConfigMaps of several clusters in one stack.

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::testbed::Testbed;
use crate::wait;

/// Nothing listens there.
const AWAY: &str = "https://127.0.0.1:1";

#[tokio::test]
async fn a_cluster_that_is_away_takes_nothing_from_the_other() {
    let stage = Stage::open("clusters").await;
    let here = Testbed::shared().url.clone();
    // The same API server under its other name: for the controller a cluster of its own.
    let twin = here.replace("127.0.0.1", "localhost");
    let replica = |second: &str| {
        let launch = stage.replica("r1").flag("empty-grace-period", "0s");
        launch
            .arg(&format!("--master={here}"))
            .arg(&format!("--master={second}"))
            .start()
    };
    stage.config_map("egress-t1", &EXAMPLE).await;

    let mut one_away = replica(AWAY);
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("told", || {
        one_away.said(&["SourceNotLoaded", "127.0.0.1:1"])
    })
    .await;
    stage
        .config_map("egress-t1", &[("google-dns", "8.8.8.8/32")])
        .await;
    let mark = stage.aws.mark();
    assert!(stage.writes_at_rest(mark).await.is_empty());
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let more = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    assert_eq!(stage.routed(&more).await, exits, "adding goes on");
    let (status, _) = one_away.terminate().await;
    assert!(status.success(), "{status}");

    let _both = replica(&twin);
    let left = ["8.8.8.8/32", "9.9.9.9/32"];
    assert_eq!(
        stage.routed(&left).await,
        exits,
        "now it is known to be gone"
    );
}
