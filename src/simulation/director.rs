//! Makes the deeds of a script happen, each in its moment.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use super::maps::Edit;
use super::replica::{CLUSTER, Order, RIVAL};
use super::script::{Deed, Hand, LedgerHand, Script};
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::ledger;

pub struct Director {
    pub world: Arc<World>,
    pub processes: Vec<Process>,
    pub orders: Vec<mpsc::Sender<Order>>,
}

impl Director {
    pub async fn direct(self, script: Script) {
        for (at, deed) in script.deeds {
            sleep_until(self.world.start + at).await;
            self.world.note(&deed.to_string());
            self.act(deed);
            // What can be seen may be another now.
            self.world.edited.notify_waiters();
        }
    }

    fn act(&self, deed: Deed) {
        let world = &self.world;
        match deed {
            // They are so from the beginning.
            Deed::Join(_)
            | Deed::Clock { .. }
            | Deed::Pace(_)
            | Deed::Reverting(_)
            | Deed::Flags(_) => {}
            // It is when all is well.
            Deed::Churn { .. } => {}
            Deed::Deaf { lasts } => world.news().deaf(lasts),
            Deed::Freeze { who, lasts } => self.processes[who].stop(lasts),
            Deed::Trip { who, stage, lasts } => world.shared().trips[who] = Some((stage, lasts)),
            Deed::Crash(who) => self.order(who, Order::Crash),
            Deed::Stop(who) => self.order(who, Order::Stop),
            Deed::Cut {
                who,
                place,
                requests,
                answers,
                lasts,
            } => world.weather().cut(who, place, requests, answers, lasts),
            Deed::Foul {
                who,
                place,
                foul,
                lasts,
            } => world.weather().foul(who, place, foul, lasts),
            Deed::Restart { lasts } => {
                world.api.restart(lasts);
                world.ledger.restart(lasts);
                world.news().away(lasts);
            }
            Deed::Blind {
                who,
                cluster,
                lasts,
            } => world.news().blind(who, cluster, lasts),
            Deed::Late { who, lasts } => world.news().late(who, lasts),
            Deed::Spoil { stuck } => world.shared().spoilt = Some(stuck),
            Deed::Harm { harm, zone, lasts } => world.harm(harm, zone, lasts),
            Deed::Stack(hand) => world.have_a_hand(hand),
            Deed::Ledger(LedgerHand::Deletes) => world.ledger.delete(),
            Deed::Ledger(LedgerHand::Writes(text)) => world.ledger.scribble(ledger::KEY, text),
            Deed::Ledger(LedgerHand::Shuts(lasts)) => world.ledger.restart(lasts),
            Deed::Blank { lasts } => {
                world.news().blank(lasts);
                world.edited.notify_waiters();
            }
            Deed::Lease(hand) => self.edit_lease(hand),
            Deed::Edit(edit) => {
                if matches!(edit, Edit::Wide(_) | Edit::Many(_)) {
                    // What is inside may wait for its own routes, as long as it does not fit.
                    world.is_tight_for(secs(120.0));
                }
                world.edit(&edit);
            }
            for_a_time => self.for_a_time(for_a_time),
        }
    }

    /// What others take up or change in the account, until they leave it again.
    fn for_a_time(&self, deed: Deed) {
        let world = &self.world;
        match deed {
            Deed::Crowd {
                table,
                count,
                lasts,
            } => {
                world.account.crowd(table, count);
                self.in_time(lasts, move |world| world.account.disperse());
            }
            Deed::Scarce { free, lasts } => {
                world.account.leave_addresses(Some(free));
                self.in_time(lasts, |world| world.account.leave_addresses(None));
            }
            Deed::Untag { table, lasts } => {
                if let Some((id, zone)) = world.account.untag(table) {
                    self.in_time(lasts, move |world| {
                        world.account.tag(&id, &zone);
                        world.owes_nothing_in(&id);
                    });
                }
            }
            Deed::Grow { zone, lasts } => {
                let id = format!("rtb-grown-{}", world.start.elapsed().as_millis());
                world.account.grow(&id, zone);
                world.owes_nothing_in(&id);
                match lasts {
                    Some(lasts) => self.in_time(lasts, move |world| world.account.fell(&id)),
                    None => world.is_tight_for(Duration::ZERO),
                }
            }
            Deed::Refuse { net, lasts } => {
                world.refuse(net);
                if let Some(lasts) = lasts {
                    self.in_time(lasts, move |world| world.account.take(net));
                }
            }
            Deed::Taken { lasts } if world.account.pass_to(RIVAL) => {
                tokio::spawn(give_back(Arc::clone(world), lasts));
            }
            Deed::Full { zone, told, lasts } => {
                world.account.leave_gateways(zone, told);
                self.in_time(lasts, |world| world.account.raise_gateways());
            }
            _ => {}
        }
    }

    /// A limit is reached, perhaps, until it is lifted.
    fn in_time(&self, lasts: Duration, lift: impl Fn(&World) + Send + 'static) {
        let world = Arc::clone(&self.world);
        world.is_tight_for(lasts);
        tokio::spawn(async move {
            sleep(lasts).await;
            world.note("there is room again");
            lift(&world);
        });
    }

    fn order(&self, who: usize, order: Order) {
        // One that is about to end anyway takes no more orders.
        let _full = self.orders[who].try_send(order);
    }

    fn edit_lease(&self, hand: Hand) {
        let api = &self.world.api;
        if api.spec().is_null() {
            return;
        }
        match hand {
            Hand::Deletes => api.delete(),
            Hand::Empties => api.put(json!({})),
            Hand::Dates(time) => api.edit(json!({ "renewTime": time })),
            Hand::Lasts(seconds) => api.edit(json!({ "leaseDurationSeconds": seconds })),
            Hand::Frees => api.edit(json!({ "holderIdentity": "" })),
        }
    }
}

/// As soon as nothing is under way.
async fn give_back(world: Arc<World>, lasts: Duration) {
    sleep(lasts).await;
    while !world.account.pass_to(CLUSTER) {
        sleep(Duration::from_secs(1)).await;
    }
    world.note("the stack is the first cluster's again");
    world.edited.notify_waiters();
}
