//! The CAS layer alone: the requests that it forwards, and the Lease that it shows to the crate.

use http::{Request, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use tower::{Layer, Service};

use super::super::cas_layer::{CasLayer, CasService};
use super::super::observation::{LeaseState, Role};
use super::fake::{FakeApi, Net, Transport};
use super::{TTL, secs};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/egress";
const NOW: &str = "2026-08-02T00:00:00.000000+00:00";

struct Guarded {
    api: FakeApi,
    known: LeaseState,
    fence: CasService<Transport>,
}

impl Guarded {
    fn new(api: FakeApi) -> Self {
        let known = LeaseState::new("us", TTL);
        let fence =
            CasLayer::new("default", "egress", known.clone()).layer(api.transport(&Net::good()));
        Self { api, known, fence }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value), String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/merge-patch+json");
        let request = request
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap();
        let answer = self
            .fence
            .call(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn read(&mut self) -> Value {
        self.send("GET", LEASE, Value::Null).await.unwrap().1["spec"].clone()
    }

    async fn take(&mut self) -> Result<u16, String> {
        let spec = json!({ "holderIdentity": "us", "acquireTime": NOW, "renewTime": NOW, "leaseTransitions": 42, "leaseDurationSeconds": 15 });
        self.send("PATCH", LEASE, json!({ "metadata": {}, "spec": spec }))
            .await
            .map(|answer| answer.0)
    }

    async fn renew(&mut self, time: &str) -> Result<u16, String> {
        let spec = json!({ "renewTime": time });
        self.send("PATCH", LEASE, json!({ "metadata": {}, "spec": spec }))
            .await
            .map(|answer| answer.0)
    }

    async fn step_down(&mut self) -> Result<u16, String> {
        let spec = json!({ "holderIdentity": "", "acquireTime": NOW, "renewTime": NOW, "leaseDurationSeconds": 1 });
        self.send("PATCH", LEASE, json!({ "metadata": {}, "spec": spec }))
            .await
            .map(|answer| answer.0)
    }

    /// Creates a holder of the Lease, after its wait.
    async fn holding() -> Self {
        let mut this = Self::new(FakeApi::with(held()));
        this.read().await;
        advance(TTL).await;
        this.read().await;
        assert_eq!(this.take().await, Ok(200));
        this.known.become_a(Role::Holder);
        this
    }
}

fn held() -> Value {
    json!({ "holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": 41, "acquireTime": NOW, "renewTime": NOW })
}

fn year(spec: &Value) -> &str {
    spec["renewTime"]
        .as_str()
        .unwrap()
        .split('-')
        .next()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn only_requests_for_this_lease_pass() {
    let mut guarded = Guarded::new(FakeApi::with(held()));
    let other = format!("{LEASES}/other");
    let elsewhere = LEASE.replace("default", "elsewhere");
    let any = format!("{LEASES}?watch=true");
    let others = format!("{LEASES}?watch=true&fieldSelector=metadata.name%3Dother");
    for (method, path) in [
        ("GET", other.as_str()),
        ("GET", &elsewhere),
        ("GET", LEASES),
        ("GET", &any),
        ("GET", &others),
        ("PUT", LEASE),
        ("DELETE", LEASE),
        ("GET", "/api/v1/namespaces/default/secrets"),
    ] {
        let refused = guarded.send(method, path, json!({})).await;
        assert!(
            refused
                .as_ref()
                .is_err_and(|error| error.contains("is not a request for the Lease")),
            "{method} {path}: {refused:?}"
        );
    }
    assert!(guarded.api.count().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_verdict_comes_from_the_local_clock() {
    let mut guarded = Guarded::new(FakeApi::with(held()));
    assert_eq!(year(&guarded.read().await), "9000");
    advance(TTL - secs(0.001)).await;
    assert_eq!(year(&guarded.read().await), "9000");
    advance(secs(0.001)).await;
    assert_eq!(year(&guarded.read().await), "1970");
    guarded.api.edit(json!({ "leaseDurationSeconds": 60 }));
    assert_eq!(
        year(&guarded.read().await),
        "9000",
        "another version begins anew"
    );
    advance(secs(59.9)).await;
    assert_eq!(
        year(&guarded.read().await),
        "9000",
        "the Lease's own duration counts if it is longer"
    );
    advance(secs(0.1)).await;
    assert_eq!(year(&guarded.read().await), "1970");
}

#[tokio::test(start_paused = true)]
async fn missing_fields_are_filled_in() {
    let mut guarded = Guarded::new(FakeApi::with(json!({})));
    let spec = guarded.read().await;
    assert_eq!(spec["holderIdentity"], "");
    assert_eq!(spec["leaseTransitions"], 0);
    assert_eq!(spec["leaseDurationSeconds"], 15);
    assert_eq!(year(&spec), "9000", "empty is not released");
}

#[tokio::test(start_paused = true)]
async fn a_claim_needs_a_look_of_its_own_at_a_dead_lease() {
    let mut guarded = Guarded::new(FakeApi::with(held()));
    assert!(guarded.take().await.is_err(), "never looked");
    guarded.read().await;
    assert!(guarded.take().await.is_err(), "alive");
    advance(TTL).await;
    assert!(guarded.take().await.is_err(), "that permission was used up");
    guarded.read().await;
    assert_eq!(guarded.take().await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_claim_loses_against_a_write_in_between() {
    let mut guarded = Guarded::new(FakeApi::with(held()));
    guarded.read().await;
    advance(TTL).await;
    guarded.read().await;
    guarded
        .api
        .edit(json!({ "renewTime": "2026-08-02T00:00:15.000000Z" }));
    assert_eq!(guarded.take().await, Ok(409));
    assert_eq!(guarded.api.holder(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_holder_never_claims_and_a_candidate_never_renews_or_steps_down() {
    let mut guarded = Guarded::new(FakeApi::with(held()));
    guarded.read().await;
    advance(TTL).await;
    guarded.read().await;
    assert!(guarded.renew(NOW).await.is_err());
    guarded.read().await;
    assert!(guarded.step_down().await.is_err());
    guarded.known.become_a(Role::Holder);
    assert_eq!(year(&guarded.read().await), "9000");
    assert!(guarded.take().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_holder_reads_its_own_write_without_asking() {
    let mut guarded = Guarded::holding().await;
    let asked = guarded.api.count()[&super::fake::Ask::Get];
    for second in 1..4 {
        assert!(
            guarded.renew(NOW).await.is_err(),
            "each write needs a permission"
        );
        assert_eq!(guarded.read().await["holderIdentity"], "us");
        assert_eq!(
            guarded
                .renew(&format!("2026-08-02T00:00:0{second}.000000Z"))
                .await,
            Ok(200)
        );
    }
    assert_eq!(guarded.api.count()[&super::fake::Ask::Get], asked);
    // After a conflict, the holder reads the Lease again.
    guarded.api.edit(json!({ "holderIdentity": "thief" }));
    assert_eq!(guarded.read().await["holderIdentity"], "us");
    assert_eq!(guarded.renew("2026-08-02T00:00:05.000000Z").await, Ok(409));
    assert_eq!(guarded.read().await["holderIdentity"], "thief");
    assert!(guarded.renew("2026-08-02T00:00:06.000000Z").await.is_err());
    guarded.read().await;
    assert!(guarded.step_down().await.is_err());
    assert_eq!(guarded.api.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_changes_nothing_is_none() {
    let mut guarded = Guarded::holding().await;
    guarded.read().await;
    let refused = guarded.renew(NOW).await;
    assert!(
        refused.as_ref().is_err_and(|error| error.contains("clock")),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_holder_gave_up_is_free_at_once() {
    let mut guarded = Guarded::holding().await;
    guarded.read().await;
    assert_eq!(guarded.step_down().await, Ok(200));
    let mut other = Guarded::new(guarded.api.clone());
    assert_eq!(year(&other.read().await), "1970");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_without_a_holder_and_by_candidates_only() {
    let mut guarded = Guarded::new(FakeApi::new());
    let lease = json!({ "metadata": { "name": "egress" }, "spec": { "holderIdentity": "us", "acquireTime": NOW } });
    assert_eq!(
        guarded.send("POST", LEASES, lease.clone()).await.unwrap().0,
        200
    );
    assert_eq!(
        guarded.api.spec(),
        json!({ "leaseDurationSeconds": 15, "leaseTransitions": 0 })
    );
    sleep(TTL - secs(0.1)).await;
    assert_eq!(year(&guarded.read().await), "9000");
    guarded.known.become_a(Role::Holder);
    guarded.api.delete();
    assert!(guarded.send("POST", LEASES, lease).await.is_err());
    assert_eq!(guarded.api.spec(), Value::Null);
}
