//! Runs the events of a script, each at its time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use super::config_maps::Edit;
use super::rare::Rare;
use super::replica::{CLUSTER, Order, RIVAL};
use super::script::{Event, LeaseEdit, LedgerEdit, Script};
use super::world::World;
use super::{other_account, second_cluster};
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::ledger_store;

pub struct Director {
    pub world: Arc<World>,
    pub processes: Vec<Process>,
    pub orders: Vec<mpsc::Sender<Order>>,
}

impl Director {
    pub async fn direct(self, script: Script) {
        for (at, event) in script.events {
            sleep_until(self.world.start + at).await;
            self.world.note(&event.to_string());
            self.act(event);
            // The edit may change what replicas can observe.
            self.world.edited.notify_waiters();
        }
    }

    fn act(&self, event: Event) {
        let world = &self.world;
        match event {
            // These events apply from the start of the history.
            Event::Join(_)
            | Event::Clock { .. }
            | Event::Pace(_)
            | Event::Reverting(_)
            | Event::Flags(_)
            | Event::Eips { .. } => {}
            // These events follow after the history has settled.
            Event::Churn { .. } | Event::LateTypo(_) => {}
            Event::Gap { gap, lasts } => world.leave_gap(gap, lasts),
            Event::Zones(flags) => world.set_zone_flags(flags),
            Event::OwnIp(own) => world.set_own_ip(own),
            Event::Deaf { lasts } => world.source_faults().deaf(lasts),
            Event::Freeze { who, lasts } => self.processes[who].stop(lasts),
            Event::Trip { who, stage, lasts } => world.shared().trips[who] = Some((stage, lasts)),
            Event::Crash(who) => self.order(who, Order::Crash),
            Event::Stop(who) => self.order(who, Order::Stop),
            Event::Cut {
                who,
                place,
                requests,
                answers,
                lasts,
            } => world
                .network_faults()
                .cut(who, place, requests, answers, lasts),
            Event::MessageFault {
                who,
                place,
                foul,
                lasts,
            } => world.network_faults().foul(who, place, foul, lasts),
            Event::Restart { lasts } => {
                world.api.restart(lasts);
                world.ledger.restart(lasts);
                world.source_faults().away(lasts);
            }
            Event::Blind {
                who,
                cluster,
                lasts,
            } => world.source_faults().blind(who, cluster, lasts),
            Event::Late { who, lasts } => world.source_faults().late(who, lasts),
            Event::Spoil { stuck } => world.shared().spoilt = Some(stuck),
            Event::Ec2Fault { harm, zone, lasts } => world.harm(harm, zone, lasts),
            Event::Stack(hand) => world.edit_stack(hand),
            Event::Ledger(LedgerEdit::Deletes) => world.ledger.delete(),
            Event::Ledger(LedgerEdit::Writes(text)) => {
                world.ledger.scribble(ledger_store::KEY, text)
            }
            Event::Ledger(LedgerEdit::Shuts(lasts)) => world.ledger.restart(lasts),
            Event::Blank { lasts } => {
                world.source_faults().blank(lasts);
                world.edited.notify_waiters();
            }
            Event::Lease(hand) => self.edit_lease(hand),
            Event::Edit(edit) => {
                if matches!(edit, Edit::Wide(_) | Edit::Many(_)) {
                    // Networks inside the wide one may wait for their own routes until they fit.
                    world.is_tight_for(secs(120.0));
                }
                world.edit(&edit);
            }
            for_a_time => self.for_a_time(for_a_time),
        }
    }

    /// Applies a change of the account or of AWS for a limited time.
    fn for_a_time(&self, event: Event) {
        let world = &self.world;
        match event {
            Event::Crowd {
                table,
                count,
                lasts,
            } => {
                world.account.crowd(table, count);
                self.in_time(lasts, move |world| world.account.disperse());
            }
            Event::Scarce { free, lasts } => {
                world.account.leave_addresses(Some(free));
                self.in_time(lasts, |world| world.account.leave_addresses(None));
            }
            Event::Untag { table, lasts } => {
                if let Some((id, zone)) = world.account.untag(table) {
                    let mut shared = world.shared();
                    let untagged = &mut shared.zone_flags.untagged;
                    untagged.insert(id.clone(), zone.clone());
                    drop(shared);
                    self.in_time(lasts, move |world| {
                        world.account.tag(&id, &zone);
                        world.shared().zone_flags.untagged.remove(&id);
                        world.owes_nothing_in(&id);
                    });
                }
            }
            Event::Grow { zone, lasts } => {
                let id = format!("rtb-grown-{}", world.start.elapsed().as_millis());
                world.account.grow(&id, zone);
                world.owes_nothing_in(&id);
                match lasts {
                    Some(lasts) => self.in_time(lasts, move |world| world.account.fell(&id)),
                    None => world.is_tight_for(Duration::ZERO),
                }
            }
            Event::Refuse { net, lasts } => {
                world.refuse(net);
                if let Some(lasts) = lasts {
                    self.in_time(lasts, move |world| world.account.take(net));
                }
            }
            Event::Taken { lasts } if world.account.pass_to(RIVAL) => {
                tokio::spawn(give_back(Arc::clone(world), lasts));
            }
            Event::Full { zone, told, lasts } => {
                world.account.leave_gateways(zone, told);
                self.in_time(lasts, |world| world.account.raise_gateways());
            }
            Event::Rare(rare) => match rare {
                // The ledger has this room from the start of the history.
                Rare::SmallLedger(_) => {}
                Rare::OtherAccount { lasts } => other_account::switch(world, lasts),
                Rare::SecondCluster { lasts } => second_cluster::run(world, lasts),
            },
            _ => {}
        }
    }

    /// Reaches a limit that is lifted after this time.
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
        // A process that is about to end accepts no further order.
        let _full = self.orders[who].try_send(order);
    }

    fn edit_lease(&self, hand: LeaseEdit) {
        let api = &self.world.api;
        if api.spec().is_null() {
            return;
        }
        match hand {
            LeaseEdit::Deletes => api.delete(),
            LeaseEdit::Empties => api.put(json!({})),
            LeaseEdit::Dates(time) => api.edit(json!({ "renewTime": time })),
            LeaseEdit::Lasts(seconds) => api.edit(json!({ "leaseDurationSeconds": seconds })),
            LeaseEdit::Frees => api.edit(json!({ "holderIdentity": "" })),
        }
    }
}

/// Returns the stack to its owner as soon as no operation is under way.
async fn give_back(world: Arc<World>, lasts: Duration) {
    sleep(lasts).await;
    while !world.account.pass_to(CLUSTER) {
        sleep(Duration::from_secs(1)).await;
    }
    world.note("the stack is the first cluster's again");
    world.edited.notify_waiters();
}
