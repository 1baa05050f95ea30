//! How often the ledger is written.

use ipnet::Ipv4Net;

use super::tests::Bench;
use super::*;
use crate::lease::tests::fake::Fate;
use crate::lease::tests::secs;
use crate::model::base::ids::ObjectId;
use crate::model::input::request::{Request, Snapshot};
use crate::model::persisted::ledger::Tries;

/// Returns a ledger that differs from others only in records that affect waiting times.
fn patient(number: u64) -> Option<Ledger> {
    let mut ledger = Ledger::new("egress");
    let tries = Tries {
        times: 1,
        not_before: number,
    };
    ledger.tries.insert("a template".to_owned(), tries);
    Some(ledger)
}

/// Returns a ledger with this many entries, of which the first has the network of this number.
fn asking(entries: u32, number: u32) -> Option<Ledger> {
    let (mut snapshot, mut request) = (Snapshot::default(), Request::default());
    for entry in 0..entries {
        let object = ObjectId::default();
        let key = format!("{entry:0>2000}");
        let address = if entry == 0 { number } else { 1_000 + entry };
        let net = Ipv4Net::new_assert((0x0800_0000 + address).into(), 32);
        let data = &mut snapshot.objects.entry(object.clone()).or_default().data;
        data.insert(key.clone(), net.to_string());
        request.entries.insert(EntryId { object, key }, net);
    }
    let none: [Ipv4Net; 0] = [];
    let ledger = Ledger::new("egress");
    Some(
        ledger
            .after(&snapshot, &request, Some(none.iter()), false)
            .0,
    )
}

#[tokio::test(start_paused = true)]
async fn what_only_costs_patience_is_written_at_a_pace() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    assert!(store.write(&bench.term, patient(0), false).await);
    assert_eq!(
        (bench.writes(), store.flush_due()),
        (1, None),
        "the first at once"
    );
    for number in 1..50 {
        assert!(store.write(&bench.term, patient(number), false).await);
    }
    let known = |store: &LedgerStore| store.cache.ledger.clone();
    assert_eq!((bench.writes(), known(&store)), (1, patient(49)));
    assert_eq!(store.flush_due(), Some(PACE));
    // A change that a step depends on is written immediately, together with the deferred ones.
    assert!(store.write(&bench.term, patient(49), true).await);
    assert_eq!((bench.writes(), store.flush_due()), (2, None));
    assert_eq!(bench.store().read().await.cloned(), patient(49));
    // Deferred changes are kept when the ledger is read again, unless another writer has changed it.
    assert!(store.write(&bench.term, patient(50), false).await);
    store.cache.asked = None;
    store.read().await;
    assert_eq!(
        (known(&store), store.flush_due()),
        (patient(50), Some(PACE))
    );
    bench.edit(|text| text.replace(":49}", ":490}")).await;
    store.cache.asked = None;
    store.read().await;
    assert_eq!((known(&store), store.flush_due()), (patient(490), None));
    assert!(store.write(&bench.term, patient(51), false).await);
    tokio::time::sleep(PACE).await;
    assert_eq!(store.flush_due(), Some(Duration::ZERO), "its time has come");
    let writes = bench.writes();
    assert!(store.write(&bench.term, patient(51), false).await);
    assert_eq!((bench.writes(), store.flush_due()), (writes + 1, None));
    assert_eq!(bench.store().read().await.cloned(), patient(51));
}

#[tokio::test(start_paused = true)]
async fn what_the_next_leader_must_know_is_written_as_fast_as_its_size_allows() {
    const MINUTE: u32 = 60;
    for (entries, most) in [(1, 60), (320, 8)] {
        let bench = Bench::new();
        let mut store = bench.store();
        store.read().await;
        assert!(store.write(&bench.term, asking(entries, 0), false).await);
        assert!(store.unrecorded().is_empty());
        let before = bench.writes();
        // One pass per second, each with another network.
        for number in 1..=MINUTE {
            tokio::time::sleep(secs(1.0)).await;
            assert!(
                store
                    .write(&bench.term, asking(entries, number), false)
                    .await
            );
            let is_stored = bench.store().read().await.cloned() == asking(entries, number);
            assert_eq!(store.unrecorded().is_empty(), is_stored);
            assert_eq!(store.flush_due().is_none(), is_stored);
        }
        let (writes, text) = (bench.writes() - before, asking(entries, 0).unwrap().text());
        let megabytes = text.len() as f64 * writes as f64 / 1e6;
        println!("{entries} entries: {writes} writes, {megabytes:.2} MB in a minute");
        assert!((3..=most).contains(&writes) && megabytes < 4.5);
        tokio::time::sleep(store.flush_due().unwrap_or_default()).await;
        assert!(
            store
                .write(&bench.term, asking(entries, MINUTE), false)
                .await
        );
        assert_eq!(bench.store().read().await.cloned(), asking(entries, MINUTE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_not_repeated_in_each_pass() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.read().await;
    assert!(store.write(&bench.term, asking(1, 0), false).await);
    assert!(store.write(&bench.term, asking(1, 1), false).await);
    assert!(store.flush_due().is_some_and(|due| due < secs(1.0)));
    bench.net.set(|_| Fate::status(500));
    tokio::time::sleep(secs(1.0)).await;
    assert!(!store.write(&bench.term, asking(1, 1), false).await);
    assert_eq!(store.flush_due(), Some(PACE));
    assert_eq!(store.unrecorded().len(), 1);
    bench.net.set(|_| Fate::default());
    tokio::time::sleep(PACE).await;
    assert!(store.write(&bench.term, asking(1, 1), false).await);
    assert!(store.unrecorded().is_empty() && store.flush_due().is_none());
    assert_eq!(bench.store().read().await.cloned(), asking(1, 1));
}
