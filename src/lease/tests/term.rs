use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::task::Poll;

use tokio::time::{Instant, advance, sleep};

use super::super::{Election, NoElection, Term, TermGuard, TermOver};
use super::secs;

fn assert_shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn bound_drops_work_when_the_term_ends() {
    let (term, _tenure) = Term::begin(7, Instant::now() + secs(5.0));
    let start = Instant::now();
    assert_eq!(term.bound(async { 3 }).await, Ok(3));
    assert_eq!(term.bound(pending::<()>()).await, Err(TermOver));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(term.is_over());
    assert_eq!(term.epoch(), 7);
}

#[tokio::test(start_paused = true)]
async fn bound_never_polls_work_once_the_term_is_over() {
    let (term, handle) = Term::begin(1, Instant::now() + secs(5.0));
    let polls = Cell::new(0);
    // The future is polled once. Then the clock passes the end before a timer has fired, as after the process was stopped.
    let work = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let mut bound = std::pin::pin!(term.bound(work));
    assert!(futures::poll!(bound.as_mut()).is_pending());
    advance(secs(5.0)).await;
    assert_eq!(futures::poll!(bound.as_mut()), Poll::Ready(Err(TermOver)));
    assert_eq!(polls.get(), 1);

    assert!(
        !handle.extend(Instant::now() + secs(60.0)),
        "an ended Term came back"
    );
    assert_eq!(term.bound(async { polls.set(9) }).await, Err(TermOver));
    assert_eq!(polls.get(), 1);
}

#[tokio::test]
async fn bound_asks_the_clock_and_not_a_timer() {
    let (term, _tenure) = Term::begin(1, Instant::now() + secs(0.02));
    let polls = Cell::new(0);
    let work = poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::<()>::Pending
    });
    let mut bound = std::pin::pin!(term.bound(work));
    assert!(futures::poll!(bound.as_mut()).is_pending());
    // The whole process stops, and no timer has fired when it continues.
    std::thread::sleep(secs(0.04));
    assert_eq!(futures::poll!(bound.as_mut()), Poll::Ready(Err(TermOver)));
    assert_eq!(polls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_extended_term_ends_later_and_never_earlier() {
    let start = Instant::now();
    let (term, handle) = Term::begin(1, start + secs(5.0));
    let guard = term.guard();
    assert_shared::<TermGuard>(&guard);
    let later = tokio::spawn(async move {
        sleep(secs(4.0)).await;
        assert!(handle.extend(start + secs(9.0)));
        assert!(handle.extend(start + secs(8.0)));
    });
    term.ended().await;
    later.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 9);
    assert!(guard.is_over() && guard.remaining().is_zero());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_term_ends_it_for_its_guards() {
    let (term, handle) = Term::begin(1, Instant::now() + secs(5.0));
    let guard = term.guard();
    assert!(!guard.is_over());
    drop(term);
    assert!(guard.is_over());
    assert!(!handle.extend(Instant::now() + secs(60.0)));
}

#[tokio::test(start_paused = true)]
async fn alone_leads_until_it_releases() {
    let mut alone = NoElection::new();
    let view = alone.view();
    let term = alone.campaign().await;
    let first = term.epoch();
    advance(secs(1e7)).await;
    assert!(!term.is_over() && view.borrow().leading);
    let guard = term.guard();
    alone.release(term).await;
    assert!(guard.is_over() && !view.borrow().leading);
    assert!(alone.campaign().await.epoch() > first);
}
