//! An API server whose etcd was restored from a backup shows an older state than the controller has seen.

use std::time::Instant;

use crate::stage::Stage;
use crate::testbed::Testbed;
use crate::wait;

#[tokio::test]
async fn after_a_restore_the_cache_is_what_the_cluster_has() {
    let testbed = Testbed::start("restore");
    let stage = Stage::on(&testbed, "restore").await;
    let mut replica = stage.replica("r1").flag("resync-interval", "30s").start();
    stage.config_map("old", &[("dns", "8.8.8.8")]).await;
    stage.routed(&["8.8.8.8/32"]).await;
    testbed.etcd_state("save");
    // These ConfigMaps are newer than the backup. Many edits make their versions much greater than the backup's.
    for number in 0..100 {
        let address = format!("9.9.9.{number}");
        stage.config_map("lost", &[("web", &address)]).await;
    }
    stage.routed(&["8.8.8.8/32", "9.9.9.99/32"]).await;
    testbed.etcd_state("restore");
    let restored = Instant::now();
    wait::until("it is reported", || {
        replica.said(&["SourceWentBack", "backup"])
    })
    .await;
    wait::measured(&format!(
        "a restore is seen after {:.1?}",
        restored.elapsed()
    ));
    // Routes that the backup lacks stay for now, and new entries are served.
    stage.config_map("new", &[("web", "20.0.0.1")]).await;
    let all = ["8.8.8.8/32", "9.9.9.99/32", "20.0.0.1/32"];
    stage.routed(&all).await;
    replica.assert_well();
}
