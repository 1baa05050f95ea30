//! Bugs that are planted to see whether the simulation finds them. None of them is in shipped code: each is put in where the
//! simulation stands in for the world, such that the controller behaves as if it had the bug.

/// What is wrong with all the replicas of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// What has not been listed yet is taken for empty.
    EmptyTrusted,
    /// An entry that cannot be read is taken for removed.
    TyposDropped,
    /// A change of a ConfigMap is not told, every other time.
    EditsMissed,
    /// A call that was begun goes on when its pass and its term are over.
    TermUnchecked,
    /// Once a leader, always a leader: the controller never hears of the end of its term.
    LeaderCached,
    /// The end of a term is a flag that a task sets five seconds later.
    LeaderPolled,
    /// The Lease is given up first, and then the work stops.
    ReleasedFirst,
    /// Writes of the Lease replace any version.
    LeaseNotCompared,
    /// A change set that was left over is executed as it is, on any stack.
    StaleExecuted,
    /// A Lease that has expired by the wall clock is taken.
    WallClock,
    /// Clocks are a tenth apart, more than the lease is made for.
    ClocksApart,
    /// An earlier change set is executed though it takes a route out before what is to stand for it.
    GapLeft,
    /// A zone that one replica's flags do not name is removed.
    ZoneForgotten,
    /// What is live never looks like what is asked for.
    NeverContent,
    /// What others do in EC2 is not looked for.
    DriftUnseen,
    /// A drift looks like another one each time, so that its repairs are never counted.
    RepairedForEver,
    /// A change set that reverts drift is executed whatever it does to static IPs.
    ReversionUnread,
    /// A NAT gateway that is made anew gets another static IP.
    IpMadeAnew,
    /// A route to a NAT gateway that is gone is asked for all the same.
    DeadEndTaken,
    /// Where there is no room for all, those that are served wait as well.
    ServedWait,
    /// How much room there is, is not looked at.
    LimitsUnseen,
    /// A worker table that has lost its tags is taken for gone.
    TableDropped,
    /// That a change has failed is not looked at: the same is tried again, with whatever else is asked for meanwhile.
    FailureUnread,
    /// That nobody asks for anything any more is believed at once.
    GraceSkipped,
    /// A request of which nothing fits is taken for one that is empty.
    FullIsEmpty,
    /// What a source said last is taken for what it would say now.
    StaleTrusted,
    /// The sources are not read again before what cannot be undone.
    Unconfirmed,
    /// Whose stack it is, is not looked at.
    OwnerNotCompared,
    /// An earlier change set is not executed if it has anything in it that is not wanted any more.
    Starved,
    /// All is looked at again every second.
    Restless,
}

impl Bug {
    /// Each with the number of histories that are enough to find it.
    pub const PLANTED: [(Self, u64); 30] = [
        (Self::EmptyTrusted, 500),
        (Self::TyposDropped, 800),
        (Self::EditsMissed, 200),
        (Self::TermUnchecked, 200),
        (Self::LeaderCached, 20),
        (Self::LeaderPolled, 400),
        (Self::ReleasedFirst, 20),
        (Self::LeaseNotCompared, 80),
        (Self::StaleExecuted, 800),
        (Self::WallClock, 80),
        (Self::ClocksApart, 200),
        (Self::GapLeft, 1_000),
        (Self::ZoneForgotten, 20),
        (Self::NeverContent, 20),
        (Self::DriftUnseen, 100),
        (Self::RepairedForEver, 200),
        (Self::ReversionUnread, 300),
        (Self::IpMadeAnew, 300),
        (Self::DeadEndTaken, 200),
        (Self::ServedWait, 100),
        (Self::LimitsUnseen, 1_000),
        (Self::TableDropped, 800),
        (Self::FailureUnread, 600),
        (Self::GraceSkipped, 800),
        (Self::FullIsEmpty, 400),
        (Self::StaleTrusted, 600),
        (Self::Unconfirmed, 1_500),
        (Self::OwnerNotCompared, 100),
        (Self::Starved, 400),
        (Self::Restless, 20),
    ];
}
