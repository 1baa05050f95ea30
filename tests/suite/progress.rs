//! While a long operation runs, status and page show its progress.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::memory::status;
use crate::page;
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

/// Returns what a replica reports about its own stack.
fn stack(replica: &Replica, name: &str) -> Result<Value, String> {
    let mut status = status(replica)?;
    let leader = status["leader"]["identity"].as_str().unwrap_or_default();
    let leads = leader.starts_with(&format!("{name}_"));
    wait::check(leads, || status.to_string()).map(|()| status["stack"].take())
}

/// Waits until a replica's status counts resources. Returns how many are done, and how many there are.
async fn counted(replica: &Replica, name: &str) -> (u64, Option<u64>) {
    wait::until("resources are counted", || {
        let stack = stack(replica, name)?;
        let progress = &stack["progress"];
        let done = progress["done"].as_u64().filter(|done| *done > 0);
        let count = done.map(|done| (done, progress["total"].as_u64()));
        count.ok_or_else(|| stack.to_string())
    })
    .await
}

#[tokio::test]
async fn a_long_operation_shows_how_far_it_has_come() {
    let stage = Stage::open("progress").await;
    stage.aws.settings(json!({ "operation_ms": 45_000 }));
    let mut first = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let (done, total) = counted(&first, "r1").await;
    let total = total.expect("the leader has started it");
    assert!(done < total, "{done} of {total}");
    let browser = Browser::open();
    browser.go(&first.url("/"));
    let bar = "document.querySelector('#plan progress')?.max";
    page::shows(&browser, bar, json!(total)).await;
    let text = browser.text("document.getElementById('running').textContent");
    assert!(
        text.contains(&format!(" of {total} resources done")),
        "{text}"
    );
    assert_eq!(browser.inaccessible(), [""; 0]);
    browser.shot("operation");
    // The next leader reads the same events, but does not know the planned number of changes.
    let second = stage.replica("r2").start();
    first.terminate().await;
    let (after, unknown) = counted(&second, "r2").await;
    assert!(after >= done && unknown.is_none(), "{after} {unknown:?}");
    stage.aws.settings(json!({ "operation_ms": 150 }));
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("nothing runs", || {
        let stack = stack(&second, "r2")?;
        let at_rest = stack["status"] == "CREATE_COMPLETE";
        wait::check(at_rest && stack.get("progress").is_none(), || {
            stack.to_string()
        })
    })
    .await;
}
