//! Draws a script from a seed.

use std::time::Duration;

use fastrand::Rng;

use super::config_maps::{CLUSTERS, ConfigMaps, Edit};
use super::ec2_faults::{Ec2Fault, Reverting};
use super::flags::Lists;
use super::script::{
    Endpoint, Event, LeaseEdit, LedgerEdit, MessageFault, REPLICAS, Script, StackEdit, Stage,
};
use super::{
    churn, ec2_faults, flags, gaps, late_typo, more_ips, oversized, replaced_ips, zone_flags,
};
use crate::lease::tests::secs;
use crate::model::base::ids::ObjectId;

/// The maximum error of a clock's rate: two rates differ by less than a twentieth.
const DRIFT: f64 = 0.0243;

/// Draws one event.
type Kind = fn(&mut Rng) -> Event;

impl Script {
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let length = one(&mut rng, &[60.0, 90.0, 150.0, 300.0]);
        let mut events = setting(&mut rng.fork());
        // Each kind has its own random source, so that a change of one kind changes no other.
        let kinds: [(f64, Kind); 7] = [
            (12.0, process),
            (25.0, cut),
            (8.0, foul),
            (40.0, sight),
            (60.0, |rng| Event::Spoil {
                stuck: rng.u8(0..3) == 0,
            }),
            (150.0, |rng| Event::Restart {
                lasts: secs(rng.f64() * 20.0),
            }),
            (400.0, |rng| Event::Lease(hand(rng))),
        ];
        // The frequency of each kind differs between histories, and some histories lack a kind.
        for (gap, kind) in kinds {
            let mut rng = rng.fork();
            let gap = gap * one(&mut rng, &[0.5, 1.0, 2.0, 1e3]);
            for at in moments(&mut rng, gap, length) {
                events.push((at, kind(&mut rng)));
            }
        }
        roll(&mut rng.fork(), length, &mut events);
        let pace = Self::pace_of(&events).as_secs_f64();
        edits(&mut rng.fork(), length, pace, &mut events);
        harms(&mut rng.fork(), length, &mut events);
        limits(&mut rng.fork(), length, &mut events);
        hands(&mut rng.fork(), length, &mut events);
        tables(&mut rng.fork(), length, &mut events);
        flags::draw(&mut rng.fork(), length, &mut events);
        wide(&mut rng.fork(), length, &mut events);
        ec2_faults::refusals(&mut rng.fork(), length, &mut events);
        churn::draw(&mut rng.fork(), pace, &mut events);
        ec2_faults::taken(&mut rng.fork(), length, &mut events);
        late_typo::draw(&mut rng.fork(), &mut events);
        gaps::draw(&mut rng.fork(), length, &mut events);
        oversized::draw(&mut rng.fork(), length, &mut events);
        zone_flags::draw(&mut rng.fork(), length, &mut events);
        replaced_ips::draw(&mut rng.fork(), length, &mut events);
        more_ips::draw(&mut rng.fork(), &mut events);
        events.sort_by_key(|(at, _)| *at);
        let quiet = if seed.is_multiple_of(100) {
            3_600.0
        } else {
            60.0
        };
        Self {
            seed,
            events,
            quiet: secs(quiet),
            lists: Lists::Never,
        }
    }
}

pub fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(0..of.len())]
}

/// Draws moments, on average one in `gap` seconds.
pub fn moments(rng: &mut Rng, gap: f64, length: f64) -> Vec<Duration> {
    let mut moments = Vec::new();
    let mut at = rng.f64() * gap * 2.0;
    while at < length {
        moments.push(secs(at));
        at += rng.f64() * gap * 2.0;
    }
    moments
}

fn who(rng: &mut Rng) -> usize {
    rng.usize(0..REPLICAS)
}

fn setting(rng: &mut Rng) -> Vec<(Duration, Event)> {
    let pace = secs(one(rng, &[1.5, 6.0, 30.0, 90.0]));
    let mut events = vec![Event::Join(1), Event::Pace(pace)];
    if rng.u8(0..3) > 0 {
        events.push(Event::Join(2));
    }
    for who in 0..REPLICAS {
        let drift = one(rng, &[-1.0, 1.0, 2.0 * rng.clone().f64() - 1.0]) * DRIFT;
        let ahead = one(rng, &[0, 20, -20, 3_600, -3_600]);
        let rate = 1.0 + drift;
        events.push(Event::Clock { who, rate, ahead });
    }
    events
        .into_iter()
        .map(|event| (Duration::ZERO, event))
        .collect()
}

fn process(rng: &mut Rng) -> Event {
    let (who, most) = (who(rng), one(rng, &[20.0, 60.0]));
    match rng.u8(0..8) {
        0..2 => Event::Freeze {
            who,
            lasts: secs(rng.f64() * most),
        },
        2..4 => Event::Trip {
            who,
            stage: one(rng, &[Stage::Reading, Stage::Sending, Stage::Waiting]),
            lasts: secs(rng.f64() * most),
        },
        4..6 => Event::Crash(who),
        _ => Event::Stop(who),
    }
}

fn cut(rng: &mut Rng) -> Event {
    let (requests, answers) = one(rng, &[(true, true), (true, false), (false, true)]);
    Event::Cut {
        who: who(rng),
        place: one(rng, &[Endpoint::Api, Endpoint::Account]),
        requests,
        answers,
        lasts: secs(rng.f64() * 60.0),
    }
}

fn foul(rng: &mut Rng) -> Event {
    Event::MessageFault {
        who: who(rng),
        place: one(rng, &[Endpoint::Api, Endpoint::Account, Endpoint::Account]),
        foul: one(
            rng,
            &[
                MessageFault::Slow,
                MessageFault::Slow,
                MessageFault::Lossy,
                MessageFault::Twice,
                MessageFault::Errors,
            ],
        ),
        lasts: secs(rng.f64() * 60.0),
    }
}

fn sight(rng: &mut Rng) -> Event {
    let (who, lasts) = (who(rng), secs(rng.f64() * 60.0));
    match rng.bool() {
        true => Event::Late { who, lasts },
        false => Event::Blind {
            who,
            cluster: one(rng, &CLUSTERS),
            lasts,
        },
    }
}

fn hand(rng: &mut Rng) -> LeaseEdit {
    match rng.u8(0..5) {
        0 => LeaseEdit::Deletes,
        1 => LeaseEdit::Empties,
        2 => LeaseEdit::Dates(one(
            rng,
            &["1990-01-01T00:00:00.000000Z", "2190-01-01T00:00:00.000000Z"],
        )),
        3 => LeaseEdit::Lasts(one(rng, &[1, 5, 60])),
        _ => LeaseEdit::Frees,
    }
}

/// Draws a rolling update, in one of three histories.
fn roll(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let mut at = rng.f64() * length;
    if rng.u8(0..3) == 0 {
        for who in 0..REPLICAS {
            events.push((secs(at), Event::Stop(who)));
            at += rng.f64() * 15.0;
        }
    }
}

/// Draws edits: single ones, bursts, and edits that are reverted while the change is under way.
fn edits(rng: &mut Rng, length: f64, pace: f64, events: &mut Vec<(Duration, Event)>) {
    let gap = one(rng, &[6.0, 15.0, 40.0]);
    let mut maps = ConfigMaps::default();
    let mut edit = |at: f64, edit: Edit| {
        maps.edit(&edit);
        events.push((secs(at), Event::Edit(edit)));
        maps.wide()
    };
    for _ in 0..3 {
        edit(0.0, Edit::draw(rng));
    }
    for at in moments(rng, gap, length) {
        let mut at = at.as_secs_f64();
        let wide = edit(at, Edit::draw(rng));
        match (rng.u8(0..8), wide) {
            (0, _) => {
                for _ in 0..rng.u8(1..5) {
                    at += rng.f64();
                    edit(at, Edit::draw(rng));
                }
            }
            (1, _) => {
                edit(at + rng.f64() * (5.0 + 2.0 * pace), Edit::Back);
            }
            // The part replaces the whole soon after.
            (2, Some((id, key, _, part))) => {
                edit(at, Edit::Remove(id.clone(), key.clone()));
                edit(at + rng.f64() * (1.0 + pace), Edit::Set(id, key, part));
            }
            // The part is added, the whole is removed, and the whole is added again.
            (3, Some((id, key, whole, part))) => {
                let id_of_part = ObjectId {
                    name: "part".to_owned(),
                    ..id.clone()
                };
                edit(at, Edit::Set(id_of_part, key.clone(), part));
                at += 2.0 * rng.f64();
                edit(at, Edit::Remove(id.clone(), key.clone()));
                at += rng.f64() * (3.0 + 2.0 * pace);
                edit(at, Edit::Set(id, key, whole));
            }
            _ => {}
        }
    }
    // In every other history a typo stays to the end.
    if rng.bool() {
        edit(length, Edit::Mend);
    }
}

/// Draws faults in EC2: none in one of three histories, and rare ones in most of the others.
fn harms(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let how = one(
        rng,
        &[
            Reverting::Works,
            Reverting::Works,
            Reverting::Refused,
            Reverting::Fails,
            Reverting::Blind,
            Reverting::Vain,
            Reverting::Greedy,
        ],
    );
    let gap = one(rng, &[15.0, 40.0, 40.0, 90.0, 1e3, 1e3]);
    events.push((Duration::ZERO, Event::Reverting(how)));
    for at in moments(rng, gap, length) {
        let harm = Ec2Fault::draw(rng);
        let long = secs(5.0 + rng.f64() * 60.0);
        let lasts = match rng.u8(0..40) {
            0 => None,
            1..5 => Some(long),
            _ if harm.is_theirs() => Some(long),
            _ => Some(Duration::ZERO),
        };
        let zone = rng.usize(0..2);
        events.push((at, Event::Ec2Fault { harm, zone, lasts }));
    }
}

/// Draws limits. Every other history has room for all entries.
fn limits(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let gap = one(rng, &[40.0, 100.0, 1e3, 1e3]);
    for at in moments(rng, gap, length) {
        let lasts = secs(rng.f64() * 100.0);
        let event = match rng.u8(0..8) {
            0 => Event::Scarce {
                free: rng.usize(0..2),
                lasts,
            },
            1..3 => Event::Full {
                zone: rng.usize(0..2),
                told: rng.bool(),
                lasts,
            },
            _ => Event::Crowd {
                table: rng.usize(0..2),
                count: rng.u8(5..12),
                lasts,
            },
        };
        // The first static IPs are allocated in the first minute.
        let at = match event {
            Event::Scarce { .. } | Event::Full { .. } => at / 4,
            _ => at,
        };
        events.push((at, event));
    }
}

/// Draws edits of the Lease, the stack and the ledger by hand.
fn hands(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    for at in moments(rng, 200.0, length) {
        let event = match rng.u8(0..8) {
            0 => Event::Stack(StackEdit::Deletes),
            1..3 => Event::Stack(StackEdit::Unprotects),
            3..5 => Event::Stack(StackEdit::Repolicies),
            5 => Event::Ledger(LedgerEdit::Deletes),
            6 => Event::Ledger(LedgerEdit::Writes(one(rng, &["nonsense", "{}", ""]))),
            _ => Event::Ledger(LedgerEdit::Shuts(secs(rng.f64() * 60.0))),
        };
        events.push((at, event));
    }
    // At most once, because a list that stays empty for longer than the grace period takes effect.
    if rng.u8(0..4) == 0 {
        let lasts = secs(rng.f64() * 40.0);
        events.push((secs(rng.f64() * length), Event::Blank { lasts }));
    }
}

/// Draws a wide entry, more entries inside it than fit, and the removal of both.
fn wide(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..3) > 0 {
        return;
    }
    let mut at = rng.f64() * length;
    for (edit, most) in [
        (Edit::Wide(true), 40.0),
        (Edit::Many(rng.u8(9..15)), 40.0),
        (Edit::Wide(false), 60.0),
        (Edit::Many(rng.u8(0..3)), 0.0),
    ] {
        events.push((secs(at), Event::Edit(edit)));
        at += 5.0 + rng.f64() * most;
    }
}

/// Draws worker tables that come and go, and tags that are removed.
fn tables(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let gap = one(rng, &[60.0, 150.0, 1e3, 1e3]);
    for at in moments(rng, gap, length) {
        let lasts = secs(rng.f64() * 60.0);
        let event = match rng.u8(0..4) {
            0 => Event::Grow {
                zone: rng.usize(0..2),
                lasts: Some(lasts).filter(|_| rng.bool()),
            },
            _ => Event::Untag {
                table: rng.usize(0..2),
                lasts,
            },
        };
        events.push((at, event));
    }
}
