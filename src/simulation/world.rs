//! The state of a history, as an observer outside all replicas knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bugs::Bug;
use super::config_maps::{ConfigMaps, Edit, covered};
use super::ec2_faults::Reverting;
use super::excuses::{Excuses, put_off};
use super::flags::Flags;
use super::gaps::Gap;
use super::invariants::{FIRM, Invariant, Violation};
use super::network_faults::NetworkFaults;
use super::other_account::OtherAccount;
use super::replaced_ips::OwnIps;
use super::script::{REPLICAS, Script, Stage};
use super::source_view::SourceFaults;
use super::standing::Standing;
use super::zone_flags::ZoneFlags;
use crate::lease::TermGuard;
use crate::lease::tests::fake::FakeApi;
use crate::lease::tests::process::Process;
use crate::model::base::ids::{EntryId, ObjectId, TableId};
use crate::model::input::request::{Object, Snapshot};
use crate::provider::memory::MemoryProvider;
use crate::provider::memory::account_view::Stamp;
use crate::provider::memory::quota_faults::{ROUTES, refusable};
use crate::report::status_publisher::{StatusPublisher, StatusSnapshot};

/// The maximum time that a request takes to the account.
const SLOWEST: Duration = Duration::from_secs(10);
pub struct World {
    pub bug: Bug,
    pub api: FakeApi,
    /// The ledger's ConfigMap.
    pub ledger: FakeApi,
    pub account: MemoryProvider,
    pub other: OtherAccount,
    /// Whether a second cluster may run beside the stack.
    pub may_have_second: bool,
    maps: Mutex<ConfigMaps>,
    network_faults: Mutex<NetworkFaults>,
    source_faults: Mutex<SourceFaults>,
    /// Notified in the order of waiting. A watch channel would wake in another order.
    pub edited: Notify,
    pub start: Instant,
    pub faults_until: Instant,
    /// How many seconds each replica's wall clock is ahead.
    pub ahead: [i64; REPLICAS],
    /// The duration of an operation.
    pub pace: Duration,
    /// The maximum time that a request takes to the account, less than the duration of any operation.
    pub slowest: Duration,
    /// Whether epochs may start again at zero, because the Lease is deleted by hand.
    pub epochs_lost: bool,
    /// Whether the ledger may lack requests.
    pub ledger_lost: bool,
    /// The result of change sets that revert drift.
    pub reverting: Reverting,
    pub flags: Flags,
    /// Whether each process that starts has another value of `--prefix-lists`.
    pub moves_lists: bool,
    pub eips: (u8, u8),
    shared: Mutex<Shared>,
}

#[derive(Default)]
pub struct Shared {
    /// The gaps in EC2's answers, and when each ends.
    pub gaps: Vec<(Gap, Instant)>,
    pub history: Vec<String>,
    pub wrong: Option<Violation>,
    /// The true state that each replica last received.
    pub shown: [Snapshot; REPLICAS],
    /// The same at the start of its pass.
    pub basis: [Snapshot; REPLICAS],
    /// The true state at the start of its pass, or when it last read all sources again.
    pub truth: [BTreeMap<ObjectId, Object>; REPLICAS],
    /// The next operation fails, and its rollback as well if the value is true.
    pub spoilt: Option<bool>,
    /// The stage at which each replica will freeze, and for how long.
    pub trips: [Option<(Stage, Duration)>; REPLICAS],
    /// The number of terms begun, calls accepted and operations failed.
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// The number of passes begun.
    pub passes: usize,
    /// Whether no call may be sent any more.
    pub quiet: bool,
    terms_of: [Option<LeaderTerm>; REPLICAS],
    publishers: [StatusPublisher; REPLICAS],
    sent_epoch: u64,
    pub operation_epoch: u64,
    /// The static IPs by their outputs.
    pub ips: BTreeMap<String, String>,
    /// Static IPs of deleted stacks and removed zones, until these are back, by output.
    pub kept: BTreeMap<String, String>,
    pub entries: BTreeMap<EntryId, Standing>,
    /// All networks that each entry has ever requested.
    pub ever: BTreeMap<EntryId, BTreeSet<Ipv4Net>>,
    pub excuses: Excuses,
    pub zone_flags: ZoneFlags,
    pub own_ips: OwnIps,
    /// Networks that AWS has ever refused.
    pub refused: BTreeSet<Ipv4Net>,
    /// Tables that were full, and the time until which each may lack new routes.
    pub full: BTreeMap<TableId, Instant>,
    /// Networks of the routes that the failing operation adds.
    pub adds: BTreeSet<Ipv4Net>,
    /// Networks whose addition failed: the number of failures, and the time until which they may wait.
    failed: BTreeMap<Ipv4Net, (u32, Instant)>,
    /// The failed operation that the history named last.
    noted_failure: Option<u64>,
    /// The time until which entries may wait for room.
    tight_until: Option<Instant>,
    /// The last change of the room in the tables by other principals.
    pub crowded_at: Option<Instant>,
    /// The account at the last check; None if there is another reason to check.
    pub stamp: Option<Stamp>,
}

/// A replica's latest term.
struct LeaderTerm {
    epoch: u64,
    guard: TermGuard,
    process: Process,
}

impl LeaderTerm {
    /// Whether the term is over on the clock of the replica's own machine.
    fn is_over(&self) -> bool {
        self.process.by_its_clock(|| self.guard.is_over())
    }
}

impl World {
    pub fn new(bug: Bug, account: MemoryProvider, script: &Script) -> Self {
        let pace = script.pace();
        account.set_pace(pace);
        account.set_route_quota(ROUTES);
        account.set_reverts(script.reverting() != Reverting::Refused);
        let start = Instant::now();
        let api = FakeApi::new();
        if bug == Bug::LeaseNotCompared {
            api.forget_to_compare();
        }
        Self {
            bug,
            api,
            ledger: FakeApi::new(),
            other: OtherAccount::new(&account, script),
            may_have_second: !script.may_delete(),
            account,
            maps: Mutex::default(),
            network_faults: Mutex::new(NetworkFaults::new(script.seed)),
            source_faults: Mutex::new(SourceFaults::new()),
            edited: Notify::new(),
            start,
            faults_until: start + script.length(),
            ahead: std::array::from_fn(|who| script.clock_of(who).1),
            pace,
            slowest: pace.min(SLOWEST),
            epochs_lost: script.loses_epochs(),
            ledger_lost: script.loses_ledger(),
            reverting: script.reverting(),
            flags: script.flags(bug),
            moves_lists: script.moves_lists(bug),
            eips: script.eips(bug),
            shared: Mutex::default(),
        }
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub fn maps(&self) -> MutexGuard<'_, ConfigMaps> {
        self.maps.lock().unwrap()
    }

    pub fn network_faults(&self) -> MutexGuard<'_, NetworkFaults> {
        self.network_faults.lock().unwrap()
    }

    pub fn source_faults(&self) -> MutexGuard<'_, SourceFaults> {
        self.source_faults.lock().unwrap()
    }

    pub fn note(&self, what: &str) {
        let line = format!("{:10.3} {what}", self.start.elapsed().as_secs_f64());
        self.shared().history.push(line);
    }

    /// Records a violation. Only the first one counts.
    pub fn fail(&self, law: Invariant, text: String) {
        self.note(&format!("WRONG: {text}"));
        self.shared().wrong.get_or_insert(Violation { law, text });
    }

    pub fn edit(&self, edit: &Edit) {
        self.note_owed();
        self.maps().edit(edit);
        self.shared().stamp = None;
        self.judge();
    }

    /// Records the start of a term that the Lease confirms.
    pub fn leads(&self, who: usize, process: &Process, epoch: u64, guard: TermGuard) {
        self.note(&format!("replica {who} leads in epoch {epoch}"));
        self.alone(who, &format!("its epoch {epoch} began"));
        let mut shared = self.shared();
        shared.terms += 1;
        shared.terms_of[who] = Some(LeaderTerm {
            epoch,
            guard,
            process: process.clone(),
        });
    }

    /// Records where a process publishes its status.
    pub fn publishes(&self, who: usize, publisher: StatusPublisher) {
        self.shared().publishers[who] = publisher;
    }

    /// Whether the term of a replica lasts.
    pub fn is_leader(&self, who: usize) -> bool {
        let shared = self.shared();
        let term = shared.terms_of[who].as_ref();
        term.is_some_and(|it| !it.is_over())
    }

    /// Returns the status that the leader has published.
    pub fn published(&self) -> Option<Arc<StatusSnapshot>> {
        let mut leaders = (0..REPLICAS).filter(|who| self.is_leader(*who));
        leaders.find_map(|who| self.shared().publishers[who].latest())
    }

    /// Fails if another replica's term lasts.
    fn alone(&self, who: usize, when: &str) {
        let shared = self.shared();
        let others = (0..REPLICAS).filter(|other| *other != who);
        let rival = others
            .filter_map(|other| shared.terms_of[other].as_ref().map(|term| (other, term)))
            .find(|(_, term)| !term.is_over())
            .map(|(other, term)| (other, term.epoch));
        drop(shared);
        if let Some((other, epoch)) = rival {
            let text = format!(
                "two writers: replica {other} led in epoch {epoch} when replica {who} acted: {when}"
            );
            self.fail(Invariant::OneWriter, text);
        }
    }

    /// Checks a mutating call that has left a replica. It cannot be cancelled from here on.
    pub fn sent(&self, who: usize, epoch: u64, call: &str) {
        self.note(&format!("replica {who} sends {call} in epoch {epoch}"));
        self.alone(who, &format!("{call} was sent"));
        let mut shared = self.shared();
        let (latest, quiet) = (shared.sent_epoch, shared.quiet);
        let lasts = shared.terms_of[who]
            .as_ref()
            .is_some_and(|term| term.epoch == epoch && !term.is_over());
        shared.sent_epoch = latest.max(epoch);
        drop(shared);
        if epoch < latest && !self.epochs_lost {
            let text =
                format!("replica {who} sent {call} in epoch {epoch} after one of epoch {latest}");
            self.fail(Invariant::EpochsGrow, text);
        }
        if !lasts {
            let text = format!("replica {who} sent {call} when its term, epoch {epoch}, was over");
            self.fail(Invariant::TermCovers, text);
        }
        if quiet {
            let text = format!("replica {who} sent {call} although there was nothing to do");
            self.fail(Invariant::StaysQuiet, text);
        }
    }

    /// Records that a worker table was added or is back. Routes that it lacks are not owed.
    pub fn owes_nothing_in(&self, table: &TableId) {
        let sight = self.account.sight();
        let astray = self.account.astray().into_values();
        let mut shared = self.shared();
        shared.stamp = None;
        let theirs = astray
            .flat_map(|stray| stray.routes)
            .filter(|(of, _)| of == table);
        shared.excuses.took(theirs);
        let Some(routes) = sight.tables.get(table) else {
            return;
        };
        for standing in shared.entries.values_mut() {
            if !covered(standing.net, routes) {
                (standing.routed, standing.owed) = (false, false);
                standing.since = Instant::now();
            }
        }
    }

    /// Excuses missing routes until after `lasts`, because a replica may act on an earlier observation.
    pub fn is_tight_for(&self, lasts: Duration) {
        let until = Some(Instant::now() + lasts + FIRM + self.pace);
        let mut shared = self.shared();
        shared.tight_until = until.max(shared.tight_until);
        shared.crowded_at = Some(Instant::now());
    }

    /// Records that AWS refuses a network. A plan may leave it out for a while after AWS accepts it again.
    pub fn refuse(&self, net: usize) {
        self.account.refuse(net);
        self.shared().refused.insert(refusable(net));
    }

    /// Whether a network whose addition has failed may still be tried again.
    pub fn is_retry_due(&self) -> bool {
        let shared = self.shared();
        let mut waiting = shared.failed.values();
        waiting.any(|(_, until)| *until > Instant::now())
    }

    /// Whether AWS has ever refused a route for this network, or a change that adds one has failed a while ago.
    pub fn was_refused(&self, net: &Ipv4Net) -> bool {
        let shared = self.shared();
        let waiting = shared.failed.iter();
        let waiting = waiting.filter(|(_, (_, until))| *until > Instant::now());
        let mut refused = shared.refused.iter().chain(waiting.map(|(other, _)| other));
        refused.any(|other| other.contains(net) || net.contains(other))
    }

    /// Excuses missing routes while a change is made in parts. Returns for how long.
    pub fn expects_parts(&self) -> Duration {
        let parts = FIRM + 7 * self.pace;
        let until = Some(Instant::now() + parts);
        let mut shared = self.shared();
        shared.tight_until = shared.tight_until.max(until);
        parts
    }

    /// Records the excuses after a failed operation: routes may be added in parts, and a full table waits.
    pub fn excuse_failure(&self) {
        let Some((cause, table)) = self.account.failure() else {
            return;
        };
        let operation = self.account.stamp().0;
        if self.shared().noted_failure.replace(operation) != Some(operation) {
            self.note(&format!("the operation fails: {cause}"));
        }
        let (parts, now) = (self.expects_parts(), Instant::now());
        let mut shared = self.shared();
        let patience = Duration::from_secs(400);
        let Shared { failed, full, .. } = &mut *shared;
        let waiting = failed.values_mut().map(|(_, until)| until);
        put_off(waiting.chain(full.values_mut()), now + parts);
        for net in std::mem::take(&mut shared.adds) {
            let (times, until) = shared.failed.entry(net).or_insert((0, now));
            *times += 1;
            *until = now + parts + *times * patience;
        }
        if let Some(table) = table {
            shared.full.insert(table, now + parts + patience);
        }
    }

    /// Whether entries may wait for room.
    pub fn is_tight(&self) -> bool {
        let until = self.shared().tight_until;
        until.is_some_and(|until| until > Instant::now())
    }
}
