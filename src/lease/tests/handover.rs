//! The next holder of the Lease, the time of the handover, and its cost in requests.

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::super::{Election, identity};
use super::fake::{Ask, FakeApi, Fate};
use super::{TTL, lead, rival, secs};

fn held() -> serde_json::Value {
    json!({
        "holderIdentity": "gone", "leaseDurationSeconds": 15, "leaseTransitions": 41,
        "acquireTime": "2026-08-01T00:00:00.000000Z", "renewTime": "2026-08-01T00:00:10.000000Z",
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_lease_gets_one_of_many_candidates_in_time() {
    let api = FakeApi::with(held());
    let start = Instant::now();
    let rivals: Vec<_> = (0..5)
        .map(|n| rival(api.replica(&format!("r{n}")).0))
        .collect();
    sleep(secs(14.9)).await;
    assert_eq!(
        api.holder(),
        "gone",
        "a Lease was taken before its duration had passed"
    );
    sleep(secs(0.6)).await;
    assert!(api.holder().starts_with('r'));
    sleep(secs(120.0)).await;
    let mut winners = Vec::new();
    for rival in rivals {
        if rival.is_finished() {
            winners.push(rival.await.unwrap());
        }
    }
    let [(_, term, when)] = winners.as_slice() else {
        panic!("{} winners", winners.len());
    };
    assert!(*when - start <= TTL + secs(0.5));
    assert_eq!(term.epoch(), 42);
    assert!(!term.is_over(), "two minutes of renewals");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let api = FakeApi::with(held());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    let second = rival(api.replica("second").0);
    sleep(secs(33.3)).await;
    assert!(!second.is_finished());

    let released = Instant::now();
    let guard = term.guard();
    first.release(term).await;
    assert!(guard.is_over());
    let (_, term, when) = second.await.unwrap();
    assert!(when - released < secs(0.02), "{:?}", when - released);
    assert_eq!(term.epoch(), 43);
}

/// In a rolling update, an old replica would have to hand over again.
#[tokio::test(start_paused = true)]
async fn a_released_lease_goes_to_the_youngest_standby() {
    let api = FakeApi::with(held());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    let _old: Vec<_> = (0..2)
        .map(|n| rival(api.replica(&format!("old{n}")).0))
        .collect();
    sleep(secs(300.0)).await;
    let young = rival(api.replica("young").0);
    sleep(secs(5.0)).await;
    let before = api.count();
    first.release(term).await;
    sleep(secs(1.0)).await;
    assert!(young.is_finished(), "{} was faster", api.holder());
    let writes = api.count()[&Ask::Patch] - before[&Ask::Patch];
    assert_eq!(writes, 2, "the others do not even try");
}

#[tokio::test(start_paused = true)]
async fn several_standbys_of_a_released_lease_make_one_leader() {
    let api = FakeApi::with(held());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    let others: Vec<_> = (0..4)
        .map(|n| rival(api.replica(&format!("r{n}")).0))
        .collect();
    sleep(secs(20.0)).await;
    let before = api.count();
    first.release(term).await;
    sleep(secs(2.0)).await;
    assert_eq!(others.iter().filter(|other| other.is_finished()).count(), 1);
    let writes = api.count()[&Ask::Patch] - before[&Ask::Patch];
    assert!(writes <= 6, "{writes} writes for one handover");
    assert_eq!(api.spec()["leaseTransitions"], 43);
}

#[tokio::test(start_paused = true)]
async fn the_first_lease_waits_for_a_holder_that_may_have_been() {
    let api = FakeApi::new();
    let (mut first, _) = api.replica("first");
    let (term, took) = lead(&mut first).await;
    assert!(took >= TTL && took <= TTL + secs(0.5), "{took:?}");
    assert_eq!(term.epoch(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_of_three_replicas_costs_less_than_1000_requests() {
    let api = FakeApi::with(held());
    let rivals: Vec<_> = (0..3)
        .map(|n| rival(api.replica(&format!("r{n}")).0))
        .collect();
    sleep(secs(20.0)).await;
    let before: u64 = api.count().values().sum();
    sleep(secs(3600.0)).await;
    let count = api.count();
    let requests = count.values().sum::<u64>() - before;
    assert!((840..1000).contains(&requests), "{requests}: {count:?}");
    assert_eq!(rivals.iter().filter(|rival| rival.is_finished()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_term_is_renewed_no_more() {
    let api = FakeApi::with(held());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    sleep(secs(12.0)).await;
    drop(term);
    let version = api.version();
    sleep(secs(60.0)).await;
    assert_eq!(api.version(), version);
    // A replica takes its own Lease back immediately, as a new term.
    let (term, took) = lead(&mut first).await;
    assert!(took < secs(0.5));
    assert_eq!(term.epoch(), 43);
}

#[tokio::test(start_paused = true)]
async fn a_new_campaign_ends_the_term_before_it() {
    let api = FakeApi::with(held());
    let (mut first, _) = api.replica("first");
    let (old, _) = lead(&mut first).await;
    let (new, took) = lead(&mut first).await;
    assert!(old.is_over() && !new.is_over());
    assert!(took < secs(0.5));
    let version = api.version();
    sleep(secs(60.0)).await;
    assert!(api.version() - version <= 15, "two tasks renew");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_campaign_leaves_nothing_that_renews() {
    let api = FakeApi::with(held());
    let (mut first, net) = api.replica("first");
    // The claim takes effect, but its response never arrives.
    net.set(|ask| Fate {
        answer_lost: ask == Ask::Patch,
        ..Fate::default()
    });
    assert!(timeout(secs(16.0), first.campaign()).await.is_err());
    assert_eq!(api.holder(), "first");
    let version = api.version();
    sleep(secs(60.0)).await;
    assert_eq!(api.version(), version);
}

#[tokio::test(start_paused = true)]
async fn no_renewal_lands_after_a_release() {
    let api = FakeApi::with(held());
    let (mut first, net) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    // The next renewal takes three seconds to arrive.
    let mut slow = true;
    net.set(move |ask| Fate {
        before: secs(if ask == Ask::Patch && std::mem::take(&mut slow) {
            3.0
        } else {
            0.0
        }),
        ..Fate::default()
    });
    sleep(secs(5.5)).await;
    let start = Instant::now();
    first.release(term).await;
    assert!(start.elapsed() < secs(1.5));
    assert_eq!(api.holder(), "");
    let version = api.version();
    sleep(secs(60.0)).await;
    assert_eq!((api.version(), api.holder().as_str()), (version, ""));
}

#[tokio::test(start_paused = true)]
async fn a_release_into_a_dead_network_takes_no_longer_than_allowed() {
    let api = FakeApi::with(held());
    let (mut first, net) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    net.set(|_| Fate::LOST);
    let start = Instant::now();
    first.release(term).await;
    assert!(start.elapsed() <= secs(1.5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_view_tells_what_is_known() {
    let api = FakeApi::with(held());
    let (mut first, net) = api.replica("first");
    let (second, _) = api.replica("second");
    let (view, other) = (first.view(), second.view());
    assert_eq!(
        (view.borrow().us.as_str(), view.borrow().leading),
        ("first", false)
    );
    let (term, _) = lead(&mut first).await;
    let second = rival(second);
    sleep(secs(31.0)).await;
    {
        let (view, other) = (view.borrow(), other.borrow());
        assert!(view.leading && !other.leading);
        assert_eq!((view.epoch, other.epoch), (42, 42));
        assert_eq!(view.holder.as_deref(), Some("first"));
        assert_eq!(view.holder, other.holder);
        assert_eq!((view.renewals_ok, view.renewals_failed), (7, 0));
        assert_eq!((view.transitions_seen, other.transitions_seen), (1, 0));
        assert!(view.last_renewal.is_some() && view.last_renewal_latency.is_some());
        assert_eq!(view.last_error, None);
    }
    net.set(|_| Fate::status(500));
    sleep(secs(5.0)).await;
    assert_eq!(view.borrow().renewals_failed, 1);
    assert!(
        view.borrow()
            .last_error
            .as_ref()
            .unwrap()
            .contains("fake 500")
    );
    term.ended().await;
    let _second = second.await.unwrap();
    assert_eq!(other.borrow().transitions_seen, 1);
    assert!(other.borrow().leading && !view.borrow().leading);
}

#[test]
fn identities_are_unique_and_short_enough_for_a_field_manager() {
    let (one, two) = (
        identity("egress-7d9f8-x2x4z"),
        identity("egress-7d9f8-x2x4z"),
    );
    assert!(one.starts_with("egress-7d9f8-x2x4z_"));
    assert_ne!(one, two);
    assert_eq!(identity(&"ä".repeat(253)).len(), 128);
}
