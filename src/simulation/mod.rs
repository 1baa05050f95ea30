//! Whole controllers on virtual time: replicas of the real loop, the real guard and the real lease crate over a Lease API in this
//! process and one account in memory, while everything goes wrong that a seed can think of.
//!
//! `SEED=7 cargo test --lib simulation::` replays one history and prints it; `HISTORIES=10000` runs that many.
//!
//! What is checked, and when:
//!
//! 1. Calls are sent under one term at a time, and epochs only grow, in the order of sending and, for what starts an operation,
//!    in the order of acceptance ([`world::World::sent`], [`world::World::accepted`]).
//! 2. A static IP that was there once stays, as it is.
//! 3. An entry that has stood unchanged for [`world::FIRM`] and is routed stays routed, in every table, also when it cannot be read
//!    any more, until it is changed to something that can or is removed.
//! 4. No change set that is executed removes a route while a source of whoever executes it is missing.
//! 5. [`history::SETTLED`] after the faults have stopped, at the latest, the tables are what the ConfigMaps ask for, nothing is
//!    under way and no change set is left over.
//! 6. From then on an hour passes without a mutating call.

mod bugs;
mod faults;
mod feed;
mod history;
mod link;
mod maps;
mod replica;
mod seat;
mod tests;
mod world;
