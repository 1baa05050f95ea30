//! Whole controllers on virtual time: replicas of the real loop, the real guard and the real lease crate over a Lease API in this
//! process and one account in memory, while everything goes wrong that a seed can think of.
//!
//! What goes wrong is drawn up front as a list of deeds ([`script::Deed`]), each of which can be left out: a failure is shrunk to
//! the deeds that it takes. The README tells how to replay and to lengthen.
//!
//! What is checked ([`laws::Law`]), when a call is sent, when it is accepted, when an operation ends and when ConfigMaps are edited:
//!
//! 1. `OneWriter`: when a replica begins a term or sends a call, no other replica's term lasts, by the clock of that replica's own
//!    machine.
//! 2. `TermCovers`: whoever sends a call has a term, of the epoch that it says.
//! 3. `EpochsGrow`: in the order of sending and, for what starts an operation, in the order of acceptance. Not where somebody
//!    deletes the Lease: then nobody may be left who knows the last epoch.
//! 4. `StaticIpsStay`: a static IP that was there once stays, as it is, in the stack and in EC2, unless others release it: no operation
//!    replaces or releases one.
//! 5. `RoutesStay`: an entry that has stood unchanged for [`laws::FIRM`] and is routed stays routed, in every table, also when it
//!    cannot be read any more, until it is changed to something that can or is removed; and no operation takes out a route of an
//!    entry that whoever starts it was shown. What others take away in EC2 is excused until a while after it is back.
//! 6. `NothingForgotten`: every template has a route for every entry that whoever sends it was shown; a repair, and what is asked of
//!    a zone that is harmed or could not be made yet, of a network that AWS has refused, for a while after an operation has failed, or
//!    while there is no room or a worker table has lost its tags, for those that the stack had.
//! 7. `NoBlindRemoval`: no operation takes a route out while a source of whoever starts it is missing or stale, so also before its first full
//!    list.
//! 8. `NobodyAsks`: the stack is deleted, or its last route taken out, only when nobody requests any of it, in truth, when whoever does it
//!    has last read everything.
//! 9. `WithinLimits`: no operation fails for want of room in a route table that was full when it was planned.
//! 10. `Settles`: [`history::SETTLED`] after the faults have stopped, at the latest, the tables are what the ConfigMaps ask for, EC2 is
//!     what the stack says, the stack is protected, nothing is under way and no change set is left over. Excused is a zone whose
//!     static IP others have released, and what was repaired three times in vain; a network that AWS still refuses has to be served
//!     [`history::SETTLED`] and the longest patience after it does not any more.
//! 11. `StaysQuiet`: from then on no call is sent: for a minute, and in one of a hundred histories for an hour.
//! 12. `NoPanic`: no process panics.
//! 13. `OneOwner`: no call is decided on by whoever was shown that the stack belongs to another cluster.
//! 14. `Progress`: an entry that stays the same is served within a bound, whatever others edit meanwhile; asked in one of four
//!     histories, once all is as asked for.
//! 15. `Paced`: when nothing is to be done, passes are few.
//!
//! What is simulated of the world: processes that freeze, also in the middle of a pass, crash and stop; machines whose clocks drift
//! apart, by just less than a twentieth, and whose wall clocks are off by an hour; cuts between a replica and the API server or the
//! account, in one direction or both; messages that are slow, lost, unanswered, repeated or refused; an API server that restarts;
//! clusters that cannot be listed, and late news; operations that fail, and rollbacks that get stuck; the Lease edited by hand;
//! ConfigMaps edited at any moment; others who delete, retarget, detach, release, fail and retag what the stack has made in EC2, once,
//! again and again for a while, or for ever; and change sets that revert drift which are refused, fail, see nothing, do nothing or
//! would do too much; others who take up routes, static IPs and the quota of NAT gateways, which the account tells or not, and leave them
//! again; worker tables that come, go and lose their tags for a while; routes that AWS refuses, for a while or to the end; others who
//! delete the stack, switch its protection off or replace its policy; another cluster that takes the stack over and gives it back; a
//! ledger that is deleted, overwritten or shut; a selector that finds nothing for less
//! than the grace period; flags that can cost a static IP: `--on-empty=delete`, no grace period or a long one, `--allow-new-eips`; everybody
//! who has had enough, for good or for a moment; watches that say nothing and lists that fail; wide entries that come and go with more inside
//! of them than fit; clusters that are restored from a backup; and somebody who edits faster than change sets are made.

mod bent;
mod bugs;
mod churn;
mod director;
mod draw;
mod feed;
mod flags;
mod hands;
pub(crate) mod harms;
mod history;
mod laws;
mod link;
mod maps;
mod replica;
mod scars;
pub(crate) mod script;
mod seat;
mod shrink;
mod tests;
mod weather;
mod world;
