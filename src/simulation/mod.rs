//! Simulates whole controllers on virtual time. Replicas of the real loop, the real CAS layer and the real lease crate run over a Lease API in
//! this process and one account in memory, while faults happen at random moments.
//!
//! All faults of a history are drawn from a seed as a list of events ([`script::Event`]). Each event can be left out, so a failure is
//! shrunk to the events that cause it. tests/README.md says how to replay and to lengthen histories.
//!
//! The invariants ([`invariants::Invariant`]) are checked when a call is sent or accepted, when an operation ends and when ConfigMaps are
//! edited:
//!
//! 1. `OneWriter`: when a replica starts a term or sends a call, no other replica's term lasts, by that other machine's clock.
//! 2. `TermCovers`: a replica that sends a call has a term with the epoch of the call.
//! 3. `EpochsGrow`: epochs grow in the order of sending and, for calls that start an operation, in the order of acceptance. This is not
//!    checked if the Lease is deleted by hand, because then no replica may know the last epoch.
//! 4. `StaticIpsStay`: no operation replaces or releases a static IP. Each stays in the stack and in EC2, unless another principal releases
//!    it, or the flags of the replica that sends the operation name its zone for removal, or name the zone and another address for a
//!    replacement. A replaced or removed static IP stays in EC2.
//! 5. `RoutesStay`: an entry that has stood unchanged for [`invariants::FIRM`], that a pass has read as long ago and that is routed stays
//!    routed in every table until it is removed or changed to another valid network, even while it cannot be parsed. No operation removes a
//!    route of an entry that the replica had read. Routes that other principals delete in EC2 are excused until a while after they are back.
//! 6. `NothingForgotten`: every template has a route for every entry that the replica had read. Exceptions are a repair, the replacement of
//!    a static IP, a zone that is damaged or could not be created yet, a network that AWS has refused, and a while after a failed
//!    operation. No route is required in the worker tables of a zone that is named for removal, or not created again yet. While there is no
//!    room, or a worker table has lost its tags, only the routes that the stack already has are required.
//! 7. `NoBlindRemoval`: no operation removes a route while a source of the replica is missing or stale, including before its first full list.
//! 8. `NobodyAsks`: the stack is deleted, or its last route removed, only if no ConfigMap requested any of its routes when the replica last
//!    read all sources.
//! 9. `WithinLimits`: no operation fails for lack of room in a route table that was full when it was planned, or, with prefix lists, before
//!    any other principal has used up room.
//! 10. `Settles`: at most [`history::SETTLED`] after the faults have stopped, the tables match the ConfigMaps, EC2 matches the stack, the
//!     stack has all configured zones and no zone that is named for removal, the stack is protected, no operation runs and no change set is
//!     left. Excused are a zone whose static IP another principal released and AWS gave to another account, and resources that were
//!     repaired three times without success. A zone whose static IP AWS gives back has that static IP again. A network that AWS refuses
//!     must be served within [`history::SETTLED`] and the longest backoff after AWS accepts it again.
//!     Without a ledger, routes that may be for a typo stay, and may leave no room for others.
//! 11. `StaysQuiet`: from then on no call is sent, for a minute, and in one of a hundred histories for an hour.
//! 12. `NoPanic`: no process panics.
//! 13. `OneOwner`: a replica that has read that the stack belongs to another cluster decides on no call. A second cluster's controller
//!     decides on none for this stack.
//! 14. `Progress`: an entry that does not change is served within a bound, whatever other users edit in the meantime. This is checked in
//!     one of four histories, after it has settled.
//! 15. `Paced`: when there is nothing to do, passes are few.
//! 16. `Reported`: after a history has settled, the leader's status says of each entry whether it is routed, and if it is not, why. It
//!     reports each ConfigMap that is too large to be read completely. It lists exactly those static IPs as kept that former zones and
//!     stacks left and that no stack uses.
//! 17. `Recorded`: an entry that a leader publishes as routed is in the ledger at that time, with the same network. If the ledger has no
//!     room for the entry, it has the network, and the namespace as one that lacks lines. This is not checked
//!     while the ledger has no content or the status says that it is not available.
//! 18. `ListsStay`: no template changes the size of a prefix list, moves an entry from one list to another, changes more entries of a list
//!     than EC2 changes in one call, or adds a route from a table to a list by the NAT gateway of another zone. Of two routes to a network,
//!     direct and by a list, none leaves while EC2 has this one only.
//!
//! The simulation covers:
//!
//! - processes that freeze, also in the middle of a pass, crash and stop;
//! - machines whose clock rates differ by just less than a twentieth, and whose wall clocks are off by an hour;
//! - partitions between a replica and the API server or the account, in one direction or both, and messages that are slow, lost,
//!   unanswered, repeated or refused; an API server that restarts;
//! - clusters that cannot be listed, watches that go silent, late events, selectors that find nothing for less than the grace period, and
//!   clusters that are restored from a backup;
//! - operations that fail, rollbacks that get stuck, and change sets with `REVERT_DRIFT` that are refused, fail, see nothing, do nothing or would
//!   do too much;
//! - edits of the Lease by hand; a ledger that is deleted, overwritten or not accessible;
//! - ConfigMaps edited at any moment, typos in entries that have been served for long, ConfigMaps all emptied, permanently or for a moment,
//!   edits faster than change sets are computed, and wide entries that come and go with more inside them than fits;
//! - other principals that delete, retarget, detach, release, fail and retag the stack's resources in EC2, once, repeatedly, or
//!   permanently; that use up routes, static IPs and the quota of NAT gateways, with or without the account showing it; that delete the
//!   stack, switch its protection off or replace its policy; and another cluster that takes the stack over and gives it back;
//! - answers of EC2 that lack static IPs, NAT gateways, NAT subnets or route tables for a while;
//! - worker tables that come, go and lose their tags for a while; routes that AWS refuses, for a while or permanently;
//! - ConfigMaps that become too large to be read completely, by keys or by bytes, are edited meanwhile, and become smaller again;
//! - a ledger without room for all entries; credentials of another account for a while; and a controller of another cluster with the same
//!   stack name;
//! - additional static IPs, by `--aws-eips-per-zone` and `--aws-eips-in-use-per-zone`;
//! - flags that can cost a static IP: `--on-empty=delete`, no grace period or a long one, `--allow-new-eips`; zones that a rolling update removes
//!   from the flags, with or without `--remove-zone`, and adds again; and addresses that a rolling update names for a zone, with or without
//!   `--replace-static-ip`, and removes from the flags again.

mod bugs;
mod churn;
mod config_maps;
mod director;
mod draw;
pub(crate) mod ec2_faults;
mod election_wrapper;
mod excuses;
mod flags;
mod full_ledger;
mod gaps;
mod history;
mod invariants;
mod late_typo;
mod list_laws;
mod manual_edits;
mod more_ips;
mod network_faults;
mod other_account;
mod oversized;
mod planted;
mod planted_lists;
mod provider_wrapper;
mod rare;
mod recording;
mod replaced_ips;
pub(crate) mod replica;
mod reporting;
pub(crate) mod script;
mod second_cluster;
mod shift_laws;
mod shrink;
mod source_view;
mod standing;
mod tests;
mod world;
mod zone_flags;
