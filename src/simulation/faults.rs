//! What happens to processes and ConfigMaps, at moments that the seed chooses.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::maps::Maps;
use super::replica::Order;
use super::world::{REPLICAS, World};
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;

/// Stops, crashes and replaces processes.
pub async fn processes(
    world: Arc<World>,
    processes: Vec<Process>,
    orders: Vec<mpsc::Sender<Order>>,
) {
    while world.faulty() {
        sleep(secs(fastrand::f64() * 60.0)).await;
        if !world.faulty() {
            return;
        }
        let who = fastrand::usize(0..REPLICAS);
        match fastrand::u8(0..8) {
            0..4 => {
                let pause = secs(fastrand::f64() * 60.0);
                world.note(&format!("replica {who} is frozen for {pause:.1?}"));
                processes[who].stop(pause);
            }
            4..6 => order(&world, &orders, who, Order::Crash),
            6 => order(&world, &orders, who, Order::Stop),
            // A rolling update.
            _ => {
                for who in 0..REPLICAS {
                    order(&world, &orders, who, Order::Stop);
                    sleep(secs(fastrand::f64() * 15.0)).await;
                }
            }
        }
    }
}

fn order(world: &World, orders: &[mpsc::Sender<Order>], who: usize, order: Order) {
    world.note(&format!("replica {who} is to end: {order:?}"));
    // One that is about to end anyway takes no more orders.
    let _full = orders[who].try_send(order);
}

/// Edits ConfigMaps: one by one, in bursts, and taken back at once.
pub async fn edits(world: Arc<World>) {
    for _ in 0..3 {
        world.edit(Maps::edit);
    }
    while world.faulty() {
        match fastrand::u8(0..4) {
            0..2 => world.edit(Maps::edit),
            2 => {
                for _ in 0..fastrand::u8(2..6) {
                    world.edit(Maps::edit);
                    sleep(secs(fastrand::f64())).await;
                }
            }
            _ => {
                let before = world.maps().clone();
                world.edit(Maps::edit);
                sleep(secs(fastrand::f64() * 10.0)).await;
                world.edit(|maps| {
                    *maps = before;
                    "the last edit is taken back".to_owned()
                });
            }
        }
        sleep(secs(fastrand::f64() * 150.0)).await;
    }
    // In every other world somebody leaves a typo behind.
    if fastrand::bool() {
        world.edit(|maps| {
            maps.mend();
            "every typo is mended".to_owned()
        });
    }
}
