//! The events of a history as data, so that they can be printed, replayed and left out one by one.

use std::fmt;
use std::time::Duration;

use super::churn::Habit;
use super::config_maps::Edit;
use super::ec2_faults::{Ec2Fault, Reverting};
use super::flags::{Flags, Lists};
use super::gaps::Gap;
pub use super::manual_edits::{LeaseEdit, LedgerEdit, StackEdit};
use super::rare::Rare;
use super::replaced_ips::OwnIp;
use super::zone_flags::Unconfigured;

/// The maximum number of replicas. The first one always exists.
pub const REPLICAS: usize = 3;

/// One event. Each can be left out without changing the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Adds a replica, from the start of the history.
    Join(usize),
    /// Sets the clocks of a replica's machine: the rate, and how many seconds the wall clock is ahead.
    Clock { who: usize, rate: f64, ahead: i64 },
    /// Sets the duration of operations on the stack.
    Pace(Duration),
    /// Stops the process at once, and lets it continue after this time.
    Freeze { who: usize, lasts: Duration },
    /// Stops the process in its next pass, at a certain stage, and lets it continue after this time.
    Trip {
        who: usize,
        stage: Stage,
        lasts: Duration,
    },
    /// Kills the process, and starts a new one.
    Crash(usize),
    /// Sends the process its stop signal, and starts a new one.
    Stop(usize),
    /// Drops all messages in one direction, or in both.
    Cut {
        who: usize,
        place: Endpoint,
        requests: bool,
        answers: bool,
        lasts: Duration,
    },
    /// Affects some messages.
    MessageFault {
        who: usize,
        place: Endpoint,
        foul: MessageFault,
        lasts: Duration,
    },
    /// Restarts the API server: all watches end, and the API server forgets their state.
    Restart { lasts: Duration },
    /// Prevents the replica from listing a cluster.
    Blind {
        who: usize,
        cluster: &'static str,
        lasts: Duration,
    },
    /// Delays events of ConfigMaps.
    Late { who: usize, lasts: Duration },
    /// Lets a user edit this often, after the history has settled.
    Churn { habit: Habit, gap: Duration },
    /// Gives a served entry this value, after the history has settled.
    LateTypo(&'static str),
    /// Makes the next operation fail, and the rollback of a change as well if `stuck`.
    Spoil { stuck: bool },
    /// Injects a fault in a zone in EC2 whenever it is repaired, for this time; None means permanently.
    Ec2Fault {
        harm: Ec2Fault,
        zone: usize,
        lasts: Option<Duration>,
    },
    /// Adds this many foreign routes to a worker table.
    Crowd {
        table: usize,
        count: u8,
        lasts: Duration,
    },
    /// Limits the number of further static IPs.
    Scarce { free: usize, lasts: Duration },
    /// Limits a zone to the NAT gateways that it has, with or without the account showing it.
    Full {
        zone: usize,
        told: bool,
        lasts: Duration,
    },
    /// Makes AWS refuse a network; None: until the rest of the history has settled.
    Refuse { net: usize, lasts: Option<Duration> },
    /// Removes the tags of a worker table.
    Untag { table: usize, lasts: Duration },
    /// Adds a worker table to a zone; None: permanently.
    Grow {
        zone: usize,
        lasts: Option<Duration>,
    },
    /// Edits the stack by hand.
    Stack(StackEdit),
    /// Edits the ledger by hand.
    Ledger(LedgerEdit),
    /// Sets the flags that can cost a static IP, from the start of the history.
    Flags(Flags),
    /// `--aws-eips-per-zone` and `--aws-eips-in-use-per-zone`.
    Eips { exist: u8, used: u8 },
    /// Removes a zone from the flags, or puts it back. Processes that start later get these flags.
    Zones(Option<Unconfigured>),
    /// Names another address for a zone, or removes it from the flags.
    OwnIp(Option<OwnIp>),
    /// Silences all watches.
    Deaf { lasts: Duration },
    /// Makes answers of EC2 incomplete.
    Gap { gap: Gap, lasts: Duration },
    /// Makes the label selector find nothing, in lists as well.
    Blank { lasts: Duration },
    /// Makes another cluster the owner of the stack.
    Taken { lasts: Duration },
    /// Sets the result of change sets with `REVERT_DRIFT`, for the whole history.
    Reverting(Reverting),
    /// Edits the Lease by hand.
    Lease(LeaseEdit),
    /// Edits a ConfigMap.
    Edit(Edit),
    /// An event that few histories have.
    Rare(Rare),
}

/// The receiver of messages. The API server has the Lease and the ConfigMaps of the first cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Api,
    Account,
}

/// The stage of a pass at which a process freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The process has read the network, and not yet the stack.
    Reading,
    /// The process is about to send a call.
    Sending,
    /// The process waits for the response to a call.
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    Slow,
    Lossy,
    /// Requests arrive, and arrive a second time later.
    Twice,
    /// Errors 409, 429, 500 and 503; throttling and internal failures.
    Errors,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub seed: u64,
    /// The events with their times, in order.
    pub events: Vec<(Duration, Event)>,
    /// How long no call may be sent at the end.
    pub quiet: Duration,
    pub lists: Lists,
}

impl Event {
    fn lasts(&self) -> Duration {
        match self {
            Self::Freeze { lasts, .. }
            | Self::Trip { lasts, .. }
            | Self::Cut { lasts, .. }
            | Self::MessageFault { lasts, .. }
            | Self::Restart { lasts }
            | Self::Blind { lasts, .. }
            | Self::Late { lasts, .. }
            | Self::Blank { lasts }
            | Self::Deaf { lasts }
            | Self::Crowd { lasts, .. }
            | Self::Scarce { lasts, .. }
            | Self::Untag { lasts, .. }
            | Self::Taken { lasts }
            | Self::Gap { lasts, .. }
            | Self::Full { lasts, .. } => *lasts,
            Self::Ec2Fault { lasts, .. }
            | Self::Grow { lasts, .. }
            | Self::Refuse { lasts, .. } => lasts.unwrap_or_default(),
            Self::Ledger(LedgerEdit::Shuts(lasts)) => *lasts,
            Self::Rare(rare) => rare.lasts(),
            _ => Duration::ZERO,
        }
    }
}

impl Script {
    /// Returns the time at which all faults have ended, from the start of the history.
    pub fn length(&self) -> Duration {
        let ends = self.events.iter().map(|(at, event)| *at + event.lasts());
        ends.max().unwrap_or_default()
    }

    /// Returns the script with these events only.
    pub fn only(&self, kept: &[usize]) -> Self {
        let events = kept.iter().filter_map(|index| self.events.get(*index));
        Self {
            events: events.cloned().collect(),
            ..*self
        }
    }

    pub fn clock_of(&self, who: usize) -> (f64, i64) {
        let clock = self.events.iter().find_map(|(_, event)| match event {
            Event::Clock {
                who: of,
                rate,
                ahead,
            } if *of == who => Some((*rate, *ahead)),
            _ => None,
        });
        clock.unwrap_or((1.0, 0))
    }

    pub fn has(&self, who: usize) -> bool {
        who == 0
            || self
                .events
                .iter()
                .any(|(_, event)| *event == Event::Join(who))
    }

    pub fn pace(&self) -> Duration {
        Self::pace_of(&self.events)
    }

    pub fn pace_of(events: &[(Duration, Event)]) -> Duration {
        let pace = events.iter().find_map(|(_, event)| match event {
            Event::Pace(pace) => Some(*pace),
            _ => None,
        });
        pace.unwrap_or(Duration::from_millis(1_500))
    }

    pub fn reverting(&self) -> Reverting {
        let how = self.events.iter().find_map(|(_, event)| match event {
            Event::Reverting(how) => Some(*how),
            _ => None,
        });
        how.unwrap_or_default()
    }

    /// Whether any event changes EC2.
    pub fn harms(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|(_, event)| matches!(event, Event::Ec2Fault { .. }))
    }

    /// Returns how often AWS refuses a network.
    pub fn refusals(&self) -> u32 {
        let refused = |(_, event): &&(Duration, Event)| matches!(event, Event::Refuse { .. });
        let count = self.events.iter().filter(refused).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether the ledger may lack a request, because it is damaged or could not be written.
    pub fn loses_ledger(&self) -> bool {
        self.events.iter().any(|(_, event)| match event {
            Event::Ledger(_) | Event::Restart { .. } => true,
            Event::MessageFault { place, .. } | Event::Cut { place, .. } => *place == Endpoint::Api,
            _ => false,
        })
    }
}

impl Event {
    /// Formats the events that change the account, the ledger or the selector.
    fn of_others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec2Fault { harm, zone, lasts } => {
                write!(f, "a fault in zone {zone} for {lasts:.1?}: {harm}")
            }
            Self::Crowd {
                table,
                count,
                lasts,
            } => write!(
                f,
                "other principals have {count} routes in table {table} for {lasts:.1?}"
            ),
            Self::Scarce { free, lasts } => {
                write!(
                    f,
                    "only {free} more static IPs can be allocated for {lasts:.1?}"
                )
            }
            Self::Untag { table, lasts } => {
                write!(f, "table {table} is without its tags for {lasts:.1?}")
            }
            Self::Grow { zone, lasts } => {
                write!(f, "zone {zone} has one more table for {lasts:.1?}")
            }
            Self::Refuse { net, lasts } => {
                write!(f, "AWS refuses network {net} for {lasts:.1?}")
            }
            Self::Full { zone, told, lasts } => {
                let how = if *told { "visibly" } else { "invisibly" };
                write!(
                    f,
                    "no more NAT gateways in zone {zone}, {how}, for {lasts:.1?}"
                )
            }
            Self::Stack(hand) => write!(f, "the stack is edited by hand: {hand:?}"),
            Self::Ledger(hand) => write!(f, "the ledger is edited by hand: {hand:?}"),
            Self::Blank { lasts } => {
                write!(f, "the label selector finds nothing for {lasts:.1?}")
            }
            Self::Gap { gap, lasts } => write!(f, "answers of EC2 lack {gap:?} for {lasts:.1?}"),
            Self::Deaf { lasts } => write!(f, "watches deliver no edits for {lasts:.1?}"),
            Self::Eips { exist, used } => write!(f, "each zone is to use {used} of {exist} IPs"),
            Self::Flags(flags) => write!(f, "the operator has set {flags:?}"),
            Self::OwnIp(own) => write!(f, "the operator names {own:?}"),
            Self::Zones(None) => f.write_str("the operator configures all zones"),
            Self::Zones(Some(out)) => write!(f, "the operator configures all zones but {out:?}"),
            Self::Taken { lasts } => {
                write!(f, "another cluster owns the stack for {lasts:.1?}")
            }
            Self::Reverting(how) => write!(f, "reverting drift: {how:?}"),
            Self::LateTypo(value) => write!(f, "an entry will get a typo: {value}"),
            Self::Churn { habit, gap } => {
                write!(f, "a user will edit every {gap:.1?}: {habit:?}")
            }
            // The caller formats all other events.
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(who) => write!(f, "replica {who} is there"),
            Self::Clock { who, rate, ahead } => {
                write!(
                    f,
                    "replica {who}'s clock runs at {rate:.4}, {ahead} s ahead"
                )
            }
            Self::Pace(pace) => write!(f, "operations take {pace:?}"),
            Self::Freeze { who, lasts } => write!(f, "replica {who} is frozen for {lasts:.1?}"),
            Self::Trip { who, stage, lasts } => {
                write!(
                    f,
                    "replica {who} will freeze for {lasts:.1?} when it is {stage:?}"
                )
            }
            Self::Crash(who) => write!(f, "replica {who} crashes"),
            Self::Stop(who) => write!(f, "replica {who} gets its stop signal"),
            Self::Cut {
                who,
                place,
                requests,
                answers,
                lasts,
            } => {
                let what = match (requests, answers) {
                    (true, true) => "is cut off",
                    (true, false) => "sends requests that are lost",
                    _ => "gets no responses",
                };
                write!(f, "replica {who} {what}, {place:?}, for {lasts:.1?}")
            }
            Self::MessageFault {
                who,
                place,
                foul,
                lasts,
            } => write!(
                f,
                "replica {who}'s messages to {place:?} are faulty for {lasts:.1?}: {foul:?}"
            ),
            Self::Restart { lasts } => write!(f, "the API server is away for {lasts:.1?}"),
            Self::Blind { who, cluster, .. } => {
                let lasts = self.lasts();
                write!(f, "replica {who} cannot see {cluster} for {lasts:.1?}")
            }
            Self::Late { who, lasts } => {
                write!(f, "replica {who} gets events late for {lasts:.1?}")
            }
            Self::Spoil { stuck: false } => f.write_str("the next operation will fail"),
            Self::Spoil { stuck: true } => {
                f.write_str("the next operation will fail and get stuck")
            }
            Self::Lease(hand) => write!(f, "the Lease is edited by hand: {hand:?}"),
            Self::Edit(edit) => write!(f, "edit: {edit}"),
            Self::Rare(rare) => write!(f, "{rare}"),
            others => others.of_others(f),
        }
    }
}
