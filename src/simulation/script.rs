//! The events of a history as data, so that they can be printed, replayed and left out one by one.

use std::fmt;
use std::time::Duration;

use super::churn::Habit;
use super::config_maps::Edit;
use super::ec2_faults::{Ec2Fault, Reverting};
use super::flags::Flags;
use super::gaps::Gap;
pub use super::manual_edits::{LeaseEdit, LedgerEdit, StackEdit};
use super::replaced_ips::OwnIp;
use super::zone_flags::Unconfigured;

/// At most so many replicas. The first is always there.
pub const REPLICAS: usize = 3;

/// One event. Each can be left out, and the others stay the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// There is one more replica, from the beginning.
    Join(usize),
    /// The replica's machine has clocks of its own: seconds shown in each second, and how far the wall clock is ahead.
    Clock { who: usize, rate: f64, ahead: i64 },
    /// How long an operation on the stack takes.
    Pace(Duration),
    /// The process stops in the middle of whatever it does, and goes on after this long.
    Freeze { who: usize, lasts: Duration },
    /// The process stops in its next pass, at a certain point, and goes on after this long.
    Trip {
        who: usize,
        stage: Stage,
        lasts: Duration,
    },
    /// The process ends without a word, and a new one starts.
    Crash(usize),
    /// The process gets its signal, and a new one starts.
    Stop(usize),
    /// Messages in one direction, or both, get lost.
    Cut {
        who: usize,
        place: Endpoint,
        requests: bool,
        answers: bool,
        lasts: Duration,
    },
    /// Some messages have bad luck.
    MessageFault {
        who: usize,
        place: Endpoint,
        foul: MessageFault,
        lasts: Duration,
    },
    /// The API server is away: all watches are cut, and what it remembered for them is gone.
    Restart { lasts: Duration },
    /// The replica cannot list a cluster.
    Blind {
        who: usize,
        cluster: &'static str,
        lasts: Duration,
    },
    /// News of ConfigMaps is slow.
    Late { who: usize, lasts: Duration },
    /// After the history has settled, a user edits this often.
    Churn { habit: Habit, gap: Duration },
    /// After the history has settled, an entry that is served gets this value.
    LateTypo(&'static str),
    /// The next operation fails, and so does the rollback of a change if it is stuck.
    Spoil { stuck: bool },
    /// A fault in a zone in EC2, injected again whenever it is repaired, for this long; None means for ever.
    Ec2Fault {
        harm: Ec2Fault,
        zone: usize,
        lasts: Option<Duration>,
    },
    /// Others have so many routes in a worker table.
    Crowd {
        table: usize,
        count: u8,
        lasts: Duration,
    },
    /// The account may have only so many more static IPs.
    Scarce { free: usize, lasts: Duration },
    /// A zone takes no more NAT gateways than it has, which the account tells or not.
    Full {
        zone: usize,
        told: bool,
        lasts: Duration,
    },
    /// AWS refuses to route a network; None: until all else has come to rest.
    Refuse { net: usize, lasts: Option<Duration> },
    /// A worker table is without its tags.
    Untag { table: usize, lasts: Duration },
    /// A zone has one more worker table; None: for good.
    Grow {
        zone: usize,
        lasts: Option<Duration>,
    },
    /// The stack is edited by hand.
    Stack(StackEdit),
    /// The ledger is edited by hand.
    Ledger(LedgerEdit),
    /// How the operator has set the flags that can cost a static IP, from the beginning.
    Flags(Flags),
    /// The operator takes a zone out of the flags, or puts it back; processes that start from now on have that.
    Zones(Option<Unconfigured>),
    /// The operator names another address for a zone, or takes it out of the flags.
    OwnIp(Option<OwnIp>),
    /// All watches go silent.
    Deaf { lasts: Duration },
    /// Answers of EC2 lack some of what there is.
    Gap { gap: Gap, lasts: Duration },
    /// The label selector finds nothing, though it is asked of everything.
    Blank { lasts: Duration },
    /// Another cluster has taken the stack over.
    Taken { lasts: Duration },
    /// The result of change sets with `REVERT_DRIFT`, for the whole history.
    Reverting(Reverting),
    /// The Lease is edited by hand.
    Lease(LeaseEdit),
    /// A ConfigMap is edited.
    Edit(Edit),
}

/// Where messages go. The API server has the Lease and the ConfigMaps of the first cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Api,
    Account,
}

/// Where a process is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has the network and not yet the stack.
    Reading,
    /// It is about to send a call.
    Sending,
    /// It waits for the answer to a call.
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    Slow,
    Lossy,
    /// Requests arrive, and arrive again later.
    Twice,
    /// 409, 429, 500 and 503; throttling and internal failures.
    Errors,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub seed: u64,
    /// With the moment of each, in its order.
    pub events: Vec<(Duration, Event)>,
    /// How long nothing may be written in the end.
    pub quiet: Duration,
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
            _ => Duration::ZERO,
        }
    }
}

impl Script {
    /// When all is as it should be again, from the beginning on.
    pub fn length(&self) -> Duration {
        let ends = self.events.iter().map(|(at, event)| *at + event.lasts());
        ends.max().unwrap_or_default()
    }

    /// With only these of its events.
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

    /// Whether anybody does anything in EC2.
    pub fn harms(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|(_, event)| matches!(event, Event::Ec2Fault { .. }))
    }

    /// Whether AWS refuses routes.
    pub fn refuses(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|(_, event)| matches!(event, Event::Refuse { .. }))
    }

    /// Whether the ledger may say less than was asked for: it is harmed, or could not be written.
    pub fn loses_ledger(&self) -> bool {
        self.events.iter().any(|(_, event)| match event {
            Event::Ledger(_) | Event::Restart { .. } => true,
            Event::MessageFault { place, .. } | Event::Cut { place, .. } => *place == Endpoint::Api,
            _ => false,
        })
    }

    /// Whether epochs may start again at zero, because no replica may know the earlier ones.
    pub fn loses_epochs(&self) -> bool {
        let lost = |hand: &LeaseEdit| matches!(hand, LeaseEdit::Deletes | LeaseEdit::Empties);
        self.events
            .iter()
            .any(|(_, event)| matches!(event, Event::Lease(hand) if lost(hand)))
    }
}

impl Event {
    /// What others do to the account, the ledger and the selector, as it is shown.
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
                "others have {count} routes in table {table} for {lasts:.1?}"
            ),
            Self::Scarce { free, lasts } => {
                write!(
                    f,
                    "only {free} more static IPs are to be had for {lasts:.1?}"
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
            Self::Deaf { lasts } => write!(f, "nobody hears of edits for {lasts:.1?}"),
            Self::Flags(flags) => write!(f, "the operator has set {flags:?}"),
            Self::OwnIp(own) => write!(f, "the operator names {own:?}"),
            Self::Zones(None) => f.write_str("the operator configures all zones"),
            Self::Zones(Some(out)) => write!(f, "the operator configures without {out:?}"),
            Self::Taken { lasts } => {
                write!(f, "another cluster owns the stack for {lasts:.1?}")
            }
            Self::Reverting(how) => write!(f, "reverting drift: {how:?}"),
            Self::LateTypo(value) => write!(f, "an entry will get a typo: {value}"),
            Self::Churn { habit, gap } => {
                write!(f, "a user will edit every {gap:.1?}: {habit:?}")
            }
            // Everything else is named where this is called.
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
            Self::Stop(who) => write!(f, "replica {who} gets its signal"),
            Self::Cut {
                who,
                place,
                requests,
                answers,
                lasts,
            } => {
                let what = match (requests, answers) {
                    (true, true) => "is cut off",
                    (true, false) => "sends into the void",
                    _ => "gets no answers",
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
                "replica {who}'s way to {place:?} is foul for {lasts:.1?}: {foul:?}"
            ),
            Self::Restart { lasts } => write!(f, "the API server is away for {lasts:.1?}"),
            Self::Blind { who, cluster, .. } => {
                let lasts = self.lasts();
                write!(f, "replica {who} cannot see {cluster} for {lasts:.1?}")
            }
            Self::Late { who, lasts } => write!(f, "replica {who} gets news late for {lasts:.1?}"),
            Self::Spoil { stuck: false } => f.write_str("the next operation will fail"),
            Self::Spoil { stuck: true } => {
                f.write_str("the next operation will fail and get stuck")
            }
            Self::Lease(hand) => write!(f, "the Lease is edited by hand: {hand:?}"),
            Self::Edit(edit) => write!(f, "edit: {edit}"),
            others => others.of_others(f),
        }
    }
}
