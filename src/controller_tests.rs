//! The whole loop on virtual time: manifests in, an account in memory out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::lease::Alone;
use crate::model::desired::{OnEmpty, example_zones};
use crate::model::live::Live;
use crate::provider::memory::MemoryProvider;
use crate::report::chronicle::Chronicle;
use crate::report::metrics::Metrics;
use crate::report::scribe::Scribe;

/// A directory with one ConfigMap, gone at the end.
struct Manifests(PathBuf);

impl Manifests {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn ask(&self, entries: &str) {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels:\n    egress: static\ndata: {{{entries}}}\n"
        );
        std::fs::write(self.0.join("one.yaml"), text).expect("a file");
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("one.yaml")).expect("it was there");
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        // Whatever is left is a file in the temporary directory.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a controller and returns its account.
fn start(manifests: &Manifests, on_empty: OnEmpty) -> MemoryProvider {
    telling(manifests, on_empty, Teller::new(Metrics::new(), false))
}

fn telling(manifests: &Manifests, on_empty: OnEmpty, teller: Teller) -> MemoryProvider {
    let settings = Settings {
        stack_name: "egress".to_owned(),
        zones: example_zones(),
        on_empty,
        max_removal: 50,
        route_table_quota: 500,
        ..Settings::default()
    };
    let provider = MemoryProvider::new(MemoryProvider::network_for(&settings.zones));
    let conduct = Conduct {
        settings,
        empty_grace_period: Duration::from_secs(600),
        resync_interval: Duration::from_secs(300),
        drift_interval: None,
        dry_run: false,
    };
    let source = Source::Manifests(manifests.0.clone());
    let pulse = Pulse::new(Duration::from_secs(60));
    let controller = Controller::new(
        provider.clone(),
        Alone::new(),
        source,
        conduct,
        Book::nowhere(),
        teller,
        pulse,
    );
    tokio::spawn(controller.run(std::future::pending()));
    provider
}

/// NAT routes of the first worker table.
async fn routes(provider: &MemoryProvider) -> Vec<String> {
    let network = provider.network().await.expect("a network");
    let routes = network.worker_tables["rtb-1"].routes.iter();
    routes
        .filter(|(_, route)| route.target.starts_with("nat-"))
        .map(|(cidr, _)| cidr.to_string())
        .collect()
}

async fn ips(provider: &MemoryProvider) -> Vec<String> {
    match provider.live(None, None).await.expect("an answer") {
        Live::Ours(stack) => stack.outputs.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Polls on virtual time: an hour of it passes in no time.
async fn until_routes(provider: &MemoryProvider, expected: &[&str]) {
    for _ in 0..3_600 {
        if routes(provider).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{:?} instead of {expected:?}", routes(provider).await);
}

#[tokio::test(start_paused = true)]
async fn routes_appear_change_and_go_and_static_ips_stay() {
    let manifests = Manifests::new("appear");
    manifests.ask("dns: 8.8.8.8");
    let provider = start(&manifests, OnEmpty::Keep);
    until_routes(&provider, &["8.8.8.8/32"]).await;
    let before = ips(&provider).await;
    assert_eq!(before.len(), 3);
    manifests.ask("dns: 8.8.8.8, more: 9.9.9.0/24");
    until_routes(&provider, &["8.8.8.8/32", "9.9.9.0/24"]).await;
    manifests.ask("dns: nonsense");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(
        routes(&provider).await.len(),
        2,
        "a typo takes nothing away"
    );
    manifests.ask("more: 9.9.9.0/24");
    until_routes(&provider, &["9.9.9.0/24"]).await;
    manifests.clear();
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(
        routes(&provider).await.len(),
        1,
        "the grace period is not over"
    );
    until_routes(&provider, &[]).await;
    assert_eq!(ips(&provider).await, before);
}

#[tokio::test(start_paused = true)]
async fn the_stack_goes_when_nobody_asks_and_that_is_wanted() {
    let manifests = Manifests::new("goes");
    manifests.ask("dns: 8.8.8.8");
    let provider = start(&manifests, OnEmpty::Delete);
    until_routes(&provider, &["8.8.8.8/32"]).await;
    manifests.clear();
    until_routes(&provider, &[]).await;
    assert!(ips(&provider).await.is_empty());
    manifests.ask("dns: 8.8.8.8");
    until_routes(&provider, &["8.8.8.8/32"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_holds_up_no_route() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let silent = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<http::Response<kube::client::Body>, tower::BoxError>>()
    });
    let client = kube::Client::new(silent, "default");
    let chronicle = Chronicle::new(false);
    tokio::spawn(chronicle.clone().keep());
    let scribe = Scribe::new(client, "default", "lease", BTreeMap::new());
    let teller = Teller::new(Metrics::new(), false).with(chronicle, Some(scribe));
    let manifests = Manifests::new("silent");
    manifests.ask("dns: 8.8.8.8");
    let provider = telling(&manifests, OnEmpty::Keep, teller);
    let before = Instant::now();
    until_routes(&provider, &["8.8.8.8/32"]).await;
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=20).contains(&asked), "{asked} requests in ten minutes");
}
