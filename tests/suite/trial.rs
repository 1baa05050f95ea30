//! The provider `in-memory` on a cluster: each start has a new account, and the ledger has the static IPs of the last one.

use crate::memory::status;
use crate::stage::Stage;
use crate::wait;

#[tokio::test]
async fn after_a_restart_in_memory_no_zone_waits_for_a_static_ip_of_the_last_process() {
    let stage = Stage::open("trial").await;
    stage.config_map("egress-t1", &[("dns", "8.8.8.8")]).await;
    let mut accounts = Vec::new();
    for _ in 0..2 {
        let mut replica = stage.replica("r1").flag("provider", "in-memory").start();
        wait::until("it is routed", || {
            let is = status(&replica)?;
            wait::check(is["counts"]["routed"] == 1, || is.to_string())
        })
        .await;
        let account = wait::until_async("the ledger has its static IPs", async || {
            let ledger = stage.ledger().await?;
            let account = ledger["account"].as_str().unwrap_or_default().to_owned();
            let is_new = account.starts_with("in-memory-") && !accounts.contains(&account);
            let done = is_new && ledger["staticIps"].is_object();
            wait::check(done, || ledger.to_string())?;
            Ok(account)
        })
        .await;
        accounts.push(account);
        let is = status(&replica).unwrap();
        assert_eq!(is["problems"].as_array().map(Vec::len), Some(0), "{is}");
        let (ended, _) = replica.terminate().await;
        assert!(ended.success());
    }
}
