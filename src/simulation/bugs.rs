//! Planted bugs, which prove that the simulation finds such bugs. None of them is in shipped code. Each is planted where the simulation
//! replaces the outside world, so that the controller behaves as if it had the bug.

/// The bug that all replicas of a history have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A source that has not been listed yet counts as empty.
    EmptyTrusted,
    /// An entry that cannot be parsed counts as removed.
    TyposDropped,
    /// Unread entries of an oversized ConfigMap count as removed.
    OversizedDropped,
    /// Every other change of a ConfigMap is not delivered.
    EditsMissed,
    /// A call in flight continues after its pass and its term are over.
    TermUnchecked,
    /// The controller never learns that its term has ended.
    LeaderCached,
    /// The end of a term is a flag that a task sets five seconds later.
    LeaderPolled,
    /// The Lease is released before the work stops.
    ReleasedFirst,
    /// Writes of the Lease replace any version.
    LeaseNotCompared,
    /// A leftover change set is executed on any version of the stack.
    StaleExecuted,
    /// A Lease that has expired by the wall clock is taken.
    WallClock,
    /// Clock rates differ by a tenth, more than the lease allows.
    ClocksApart,
    /// An earlier change set is executed although it removes a route before its replacement exists.
    GapLeft,
    /// A zone that one replica's flags do not name is removed.
    ZoneForgotten,
    /// A zone that is not configured is removed, whether or not `--remove-zone` names it.
    RemovedZoneUnnamed,
    /// The static IP of a zone is replaced although `--replace-static-ip` does not name the zone.
    ReplacedUnnamed,
    /// The live stack never looks like the requested one.
    NeverContent,
    /// Drift in EC2 is not detected.
    DriftUnseen,
    /// A drift has a different key at each read, so its repairs are never counted.
    RepairedForEver,
    /// A change set that reverts drift is executed without checking its effect on static IPs.
    ReversionUnread,
    /// A NAT gateway that is replaced gets another static IP.
    IpMadeAnew,
    /// EIPs lack the attributes that retain them when their stack is deleted.
    EipReleased,
    /// A released static IP is replaced although AWS would give it back.
    OldIpNotAsked,
    /// A zone that is added gets a new static IP although the account has its former one.
    FormerIpIgnored,
    /// An additional static IP that comes back is a new one.
    MoreIpMadeAnew,
    /// No more than one static IP of a zone carries traffic.
    SecondIpUnused,
    /// An additional static IP is used by the change that adds it.
    UsedUnannounced,
    /// A route to a deleted NAT gateway is requested.
    DeadEndTaken,
    /// If not all entries fit, routed entries wait as well.
    ServedWait,
    /// Quotas are ignored.
    LimitsUnseen,
    /// A worker table without its tags counts as deleted.
    TableDropped,
    /// A failed change is ignored: it is retried at once, together with later edits.
    FailureUnread,
    /// An empty request takes effect without a grace period.
    GraceSkipped,
    /// A request of which nothing fits counts as empty.
    FullIsEmpty,
    /// A stale source counts as current.
    StaleTrusted,
    /// The sources are not listed again before an irreversible call. The bug matters only if all watches fall silent in the last seconds of
    /// a grace period, an entry comes back then, and the leader acts within the eight seconds after which it notices the silence. This is
    /// rare.
    Unconfirmed,
    /// Entries that change nothing are written to the ledger as late as all other deferred changes, and the status does not wait for the
    /// write.
    LedgerLate,
    /// The owner of the stack is ignored.
    OwnerNotCompared,
    /// An earlier change set is discarded if it contains any change that is no longer needed.
    Starved,
    /// The status does not name the entries that wait.
    SilentWait,
    /// The status lists a static IP that is in use as one that may be released.
    LiveIpListed,
    /// The status does not list the static IPs that are kept.
    KeptIpHidden,
    /// A pass runs every second.
    Restless,
    /// A resource that EC2's answer lacks counts as deleted.
    AbsenceTrusted,
    /// An entry of a prefix list moves to another list in one change.
    EntryMoved,
    /// A change of a prefix list changes its size as well.
    ListResized,
    /// The entries of a prefix list are compared in their order.
    OrderCompared,
    /// A prefix list takes the room of its entries only.
    ListRoomUnderrated,
    /// The routes to a prefix list lead to the NAT gateway of one zone.
    ListAcrossZones,
    /// Networks leave their direct routes with any change, before EC2 shows that their list serves them.
    DirectRoutesLeaveEarly,
    /// A ledger without room for all entries is a doubt about all requests.
    FullLedgerFreezes,
    /// The ledger does not say which namespaces lack lines.
    ShortnessForgotten,
    /// The ledger does not say whose account its static IPs are in.
    AccountHidden,
    /// The controller of a second cluster ignores the owner of the stack.
    SecondUnaware,
}

impl Bug {
    /// All bugs, each with the number of histories that find it.
    pub const PLANTED: [(Self, u64); 53] = [
        (Self::EmptyTrusted, 500),
        (Self::TyposDropped, 100),
        (Self::OversizedDropped, 100),
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
        (Self::RemovedZoneUnnamed, 100),
        (Self::ReplacedUnnamed, 100),
        (Self::NeverContent, 20),
        (Self::DriftUnseen, 100),
        (Self::RepairedForEver, 200),
        (Self::ReversionUnread, 300),
        (Self::IpMadeAnew, 300),
        (Self::EipReleased, 100),
        (Self::OldIpNotAsked, 20),
        (Self::FormerIpIgnored, 100),
        (Self::MoreIpMadeAnew, 300),
        (Self::SecondIpUnused, 40),
        (Self::UsedUnannounced, 40),
        (Self::DeadEndTaken, 200),
        (Self::ServedWait, 100),
        (Self::LimitsUnseen, 1_000),
        (Self::TableDropped, 800),
        (Self::FailureUnread, 600),
        (Self::GraceSkipped, 800),
        (Self::FullIsEmpty, 400),
        (Self::StaleTrusted, 600),
        (Self::LedgerLate, 100),
        (Self::OwnerNotCompared, 100),
        (Self::Starved, 400),
        (Self::SilentWait, 200),
        (Self::LiveIpListed, 20),
        (Self::KeptIpHidden, 400),
        (Self::Restless, 20),
        (Self::AbsenceTrusted, 800),
        (Self::EntryMoved, 20),
        (Self::ListResized, 20),
        (Self::OrderCompared, 20),
        (Self::ListRoomUnderrated, 400),
        (Self::ListAcrossZones, 20),
        (Self::DirectRoutesLeaveEarly, 100),
        (Self::FullLedgerFreezes, 100),
        (Self::ShortnessForgotten, 400),
        (Self::AccountHidden, 400),
        (Self::SecondUnaware, 40),
    ];

    /// Whether the bug concerns prefix lists, which its histories then use.
    pub fn is_of_lists(self) -> bool {
        matches!(
            self,
            Self::EntryMoved
                | Self::ListResized
                | Self::OrderCompared
                | Self::ListRoomUnderrated
                | Self::ListAcrossZones
        )
    }

    /// Bugs that take too many histories for each run of the tests. They are planted with `KSEC_LONG=1`, or by name with `BUG=`.
    pub const RARE: [(Self, u64); 1] = [(Self::Unconfirmed, 10_000)];
}
