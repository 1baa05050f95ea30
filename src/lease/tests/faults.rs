//! Faults of the Lease, the network and the clocks, one at a time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::super::{Election, ElectionConfig, LeaseElection, Term};
use super::fake::{Ask, FakeApi, Fate, Net};
use super::{TTL, lead, rival, secs};

fn released() -> Value {
    json!({
        "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 41,
        "acquireTime": "2026-08-01T00:00:00.000000Z", "renewTime": "2026-08-01T00:00:00.000000Z",
    })
}

/// A leader with its Term and its network, and a standby that has observed a renewal.
struct Pair {
    api: FakeApi,
    first: LeaseElection,
    net: Net,
    term: Term,
    second: tokio::task::JoinHandle<Term>,
}

async fn pair() -> Pair {
    let api = FakeApi::with(released());
    let (mut first, net) = api.replica("first");
    let (term, took) = lead(&mut first).await;
    assert!(took < secs(0.1), "a released Lease is free");
    let guard = term.guard();
    let (mut standby, _) = api.replica("second");
    let second = tokio::spawn(async move {
        let (term, _) = lead(&mut standby).await;
        assert!(guard.is_over(), "two terms at once");
        // The standby stays alive as long as the test.
        tokio::spawn(async move {
            let _keep = standby;
            sleep(secs(1e6)).await;
        });
        term
    });
    // Just after a renewal, so that the leader sends no request for the longest time.
    sleep(secs(10.001)).await;
    Pair {
        api,
        first,
        net,
        term,
        second,
    }
}

/// Damages the Lease while a replica leads. The leader campaigns again after it has lost the Lease. Returns the next term's epoch, and the
/// time until it started.
async fn under_a_leader(harm: impl FnOnce(&FakeApi)) -> (u64, Duration) {
    let Pair {
        api,
        mut first,
        term,
        second,
        ..
    } = pair().await;
    assert_eq!(term.epoch(), 42);
    let start = Instant::now();
    harm(&api);
    let again = async {
        term.ended().await;
        drop(term);
        lead(&mut first).await.0
    };
    let next = tokio::select! {
        term = again => term,
        term = second => term.unwrap(),
    };
    (next.epoch(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_emptied_lease_is_waited_for_and_taken() {
    let (epoch, took) = under_a_leader(|api| api.put(json!({}))).await;
    assert!(took >= TTL && took <= TTL + secs(0.5), "{took:?}");
    assert_eq!(
        epoch, 43,
        "epochs go on although the Lease has forgotten them"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_its_holder_was_not_released() {
    let (epoch, took) = under_a_leader(|api| api.edit(json!({ "holderIdentity": "" }))).await;
    assert!(took >= TTL && took <= TTL + secs(0.5), "{took:?}");
    assert_eq!(epoch, 43);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_and_waited_for() {
    let (epoch, took) = under_a_leader(FakeApi::delete).await;
    assert!(took >= TTL && took <= TTL + secs(0.5), "{took:?}");
    assert_eq!(
        epoch, 43,
        "epochs go on although the Lease has forgotten them"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_to_a_standby_by_hand_is_not_its_own() {
    let (epoch, took) = under_a_leader(|api| api.edit(json!({ "holderIdentity": "second" }))).await;
    assert!(took >= TTL && took <= TTL + secs(0.5), "{took:?}");
    assert_eq!(epoch, 43);
}

#[tokio::test(start_paused = true)]
async fn an_absurd_duration_or_count_does_not_block_for_ever() {
    let (epoch, took) = under_a_leader(|api| {
        api.edit(json!({ "holderIdentity": "nobody", "leaseDurationSeconds": i32::MAX, "leaseTransitions": i32::MAX }));
    })
    .await;
    assert!(took <= TTL + secs(3.0), "{took:?}");
    assert_eq!(epoch, u64::from(i32::MAX.unsigned_abs()));
}

/// The first time is out of range, and the second is not a time.
#[tokio::test(start_paused = true)]
async fn a_time_that_nobody_can_read_does_not_block_for_ever() {
    for time in ["9999-12-31T23:59:59.999999Z", "soon"] {
        let (epoch, took) = under_a_leader(|api| {
            api.edit(json!({ "holderIdentity": "nobody\n\u{202e}", "renewTime": time, "acquireTime": time }));
        })
        .await;
        assert!(took <= TTL + secs(3.0), "{time}: {took:?}");
        assert_eq!(epoch, 43);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_extend_anothers_lease() {
    let Pair { api, term, .. } = pair().await;
    api.edit(json!({ "holderIdentity": "thief", "renewTime": "2026-08-01T00:00:07.000000Z" }));
    let stolen = api.spec();
    sleep(secs(14.0)).await;
    assert!(term.is_over());
    assert_eq!(api.spec(), stolen);
}

#[tokio::test(start_paused = true)]
async fn stepping_down_does_not_evict_a_new_leader() {
    let Pair {
        api,
        mut first,
        term,
        ..
    } = pair().await;
    // The leader does not know this yet, and tries to release its own Lease.
    api.edit(json!({ "holderIdentity": "thief" }));
    let stolen = api.spec();
    first.release(term).await;
    assert_eq!(api.spec(), stolen);
}

#[tokio::test(start_paused = true)]
async fn wall_clocks_do_not_matter() {
    for hours in [-1, 1] {
        let api = FakeApi::with(released());
        // Another replica's clock is wrong by an hour. It renews every 5 s.
        let renew = |n: i32| {
            let time = Timestamp::now()
                + SignedDuration::from_hours(hours)
                + SignedDuration::from_millis(n.into());
            api.edit(json!({
                "holderIdentity": "skewed", "leaseDurationSeconds": 15,
                "acquireTime": "2026-08-01T00:00:00.000000Z", "renewTime": time.to_string(),
            }));
        };
        renew(0);
        let ours = rival(api.replica("ours").0);
        for n in 1..20 {
            sleep(secs(5.0)).await;
            renew(n);
        }
        assert!(!ours.is_finished(), "a live Lease was taken");
        let start = Instant::now();
        let (_, _, when) = ours.await.unwrap();
        assert!(
            when - start >= TTL && when - start <= TTL + secs(0.5),
            "{:?}",
            when - start
        );
    }
}

#[tokio::test(start_paused = true)]
async fn errors_shorter_than_the_deadline_change_nothing() {
    for fate in [Fate::status(500), Fate::status(429), Fate::LOST] {
        // At different times before the next renewal.
        for early in 0..4 {
            let Pair {
                api,
                first,
                net,
                term,
                second,
                ..
            } = pair().await;
            let view = first.view();
            let renewed = view.borrow().last_renewal.unwrap();
            sleep_until(renewed + secs(4.2 - f64::from(early))).await;
            net.set(move |_| fate);
            sleep(secs(7.9)).await;
            net.set(|_| Fate::default());
            sleep(secs(30.0)).await;
            assert!(!term.is_over() && !second.is_finished());
            assert_eq!(term.epoch(), 42);
            assert!(view.borrow().renewals_failed > 0);
            assert_eq!(api.spec()["leaseTransitions"], 42);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_gives_up_at_the_renew_deadline() {
    let api = FakeApi::with(released());
    let net = Net::good();
    let config = ElectionConfig {
        lease_duration: secs(60.0),
        ..ElectionConfig::new("egress", "default", "first")
    };
    let mut first = api.replica_with(config, &net, Arc::new(tokio::spawn));
    let (term, _) = lead(&mut first).await;
    net.set(|_| Fate::status(500));
    let start = Instant::now();
    term.ended().await;
    // The first renewal fails after 20 s, and the renew deadline is 10 s.
    assert!(
        start.elapsed() >= secs(29.9) && start.elapsed() <= secs(32.1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_term_ends_before_another_can_have_the_lease() {
    for fate in [Fate::status(500), Fate::LOST] {
        let Pair {
            api,
            mut first,
            net,
            term,
            mut second,
        } = pair().await;
        let start = Instant::now();
        net.set(move |_| fate);
        term.ended().await;
        assert!(
            start.elapsed() >= secs(9.9) && start.elapsed() <= secs(14.25),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(api.holder(), "first");
        let next = (&mut second).await.unwrap();
        assert!(start.elapsed() <= secs(15.5), "{:?}", start.elapsed());
        assert_eq!(next.epoch(), 43);

        // The replica continues as a standby, and leads again later.
        net.set(|_| Fate::default());
        drop(term);
        let next = next;
        let first = tokio::spawn(async move { lead(&mut first).await.0.epoch() });
        sleep(secs(60.0)).await;
        assert!(!first.is_finished() && !next.is_over());
        drop(next);
        assert_eq!(first.await.unwrap(), 44);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_gives_a_term_that_counts_from_the_request() {
    let api = FakeApi::with(released());
    let (mut first, net) = api.replica("first");
    net.set(|ask| Fate {
        after: secs(if ask == Ask::Patch { 4.0 } else { 0.0 }),
        ..Fate::default()
    });
    let (term, took) = lead(&mut first).await;
    assert!(took >= secs(4.0));
    assert!(term.remaining() <= secs(10.25), "{:?}", term.remaining());
    // Renewals that take this long are sufficient.
    sleep(secs(120.0)).await;
    assert!(!term.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_made_again() {
    let api = FakeApi::with(released());
    let (mut first, net) = api.replica("first");
    let mut lost = 0;
    net.set(move |ask| {
        lost += i32::from(ask == Ask::Patch);
        Fate {
            answer_lost: ask == Ask::Patch && lost == 1,
            ..Fate::default()
        }
    });
    let (term, took) = lead(&mut first).await;
    assert!(took < secs(8.0), "{took:?}");
    assert_eq!(term.epoch(), 43, "each term has an epoch of its own");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_silent_is_noticed() {
    let api = FakeApi::with(released());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    let (second, net) = api.replica("second");
    let mut events = 0;
    net.set(move |ask| {
        events += i32::from(ask == Ask::Event);
        Fate {
            answer_lost: ask == Ask::Event && events % 5 == 0,
            ..Fate::default()
        }
    });
    let guard = term.guard();
    let second = rival(second);
    sleep(secs(300.0)).await;
    assert!(!second.is_finished() && !term.is_over());
    net.set(|_| Fate::default());
    sleep(secs(30.0)).await;
    let start = Instant::now();
    first.release(term).await;
    let (_, _next, when) = second.await.unwrap();
    assert!(guard.is_over());
    assert!(
        when - start < secs(0.02),
        "the watch was not begun again: {:?}",
        when - start
    );
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_may_not_watch_reads() {
    let api = FakeApi::with(released());
    let (mut first, _) = api.replica("first");
    let (term, _) = lead(&mut first).await;
    let (second, net) = api.replica("second");
    net.set(|ask| {
        if ask == Ask::Watch {
            Fate::status(403)
        } else {
            Fate::default()
        }
    });
    let second = rival(second);
    sleep(secs(300.0)).await;
    assert!(!second.is_finished());
    let start = Instant::now();
    first.release(term).await;
    let (_, _, when) = second.await.unwrap();
    assert!(when - start <= secs(2.6), "{:?}", when - start);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_disappears_is_replaced_in_time() {
    let Pair {
        first,
        term,
        second,
        ..
    } = pair().await;
    let renewed = first.view().borrow().last_renewal.unwrap();
    // The Term is neither ended nor renewed, as if the process was killed.
    std::mem::forget(term);
    drop(first);
    let _next = second.await.unwrap();
    let after = renewed.elapsed();
    assert!(after >= TTL && after <= TTL + secs(0.5), "{after:?}");
}
