//! Measures how planning grows with entries and route tables, from parsing entries to checking a change set. `cargo bench --bench plan`
//!
//! The bench fails if a step takes more than a second, or grows much faster than its input.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use kube_static_egress_controller::model::base::ids::{ObjectId, Zone};
use kube_static_egress_controller::model::base::settings::{PrefixLists, Settings};
use kube_static_egress_controller::model::cloud::change_set_name::change_set_name;
use kube_static_egress_controller::model::cloud::limits::Limits;
use kube_static_egress_controller::model::cloud::live::{
    Change, ChangeSet, ChangeSetState, Effect, Live, Stack,
};
use kube_static_egress_controller::model::cloud::network::{Network, Route, WorkerTable};
use kube_static_egress_controller::model::cloud::network_lists::SIZE;
use kube_static_egress_controller::model::cloud::status::Status;
use kube_static_egress_controller::model::desired::template::Template;
use kube_static_egress_controller::model::drift::tracker::Watch;
use kube_static_egress_controller::model::input::request::Snapshot;
use kube_static_egress_controller::model::persisted::grace::Grace;
use kube_static_egress_controller::model::persisted::recall::Recall;
use kube_static_egress_controller::model::plan::diff::Kind;
use kube_static_egress_controller::model::plan::plan;
use kube_static_egress_controller::model::plan::types::{Action, Plan, World};
use kube_static_egress_controller::model::status::from_plan::survey;

const ENTRIES: [u32; 4] = [100, 1_000, 10_000, 20_000];
const TABLES: [usize; 3] = [3, 9, 27];
/// The maximum number of entries of one ConfigMap.
const OF_ONE: u32 = 1_000;
const MOST: Duration = Duration::from_secs(1);
/// The number of runs, of which the fastest counts: the machine's noise only adds time.
const RUNS: usize = 3;
/// The maximum growth from 10,000 to 20,000 entries. A quadratic step grows by a factor of four.
const MOST_GROWTH: f64 = 3.0;

/// The positions of the requested networks.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// No network is adjacent to another, so that each needs a route and most of them wait.
    Apart,
    /// The same networks, by network lists.
    Listed,
    /// All networks are inside of a few wide ones, which all have routes.
    Nested,
}

struct Bench {
    snapshot: Snapshot,
    network: Network,
    live: Live,
    settings: Settings,
}

impl Bench {
    fn new(shape: Shape, entries: u32, tables: usize) -> Self {
        let zones: BTreeMap<Zone, Ipv4Net> = ["a", "b", "c"]
            .into_iter()
            .zip([0, 16, 32])
            .map(|(zone, last)| {
                let net = Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 64, last), 28);
                (zone.to_owned(), net)
            })
            .collect();
        let everywhere = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        let gateway = Route {
            target: "igw-1".to_owned(),
            blackhole: false,
        };
        let table = |(number, zone): (usize, &Zone)| {
            let table = WorkerTable {
                zone: zone.clone(),
                routes: BTreeMap::from([(everywhere, gateway.clone())]),
                ..WorkerTable::default()
            };
            (format!("rtb-0123456789abcde{number:02}"), table)
        };
        let cycle = zones.keys().cycle().take(tables);
        let mut bench = Self {
            snapshot: Snapshot::default(),
            network: Network {
                vpc_id: "vpc-1".to_owned(),
                vpc_cidrs: vec![Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 0, 0), 16)],
                internet_gateway_id: "igw-1".to_owned(),
                worker_tables: cycle.enumerate().map(table).collect(),
                limits: Limits {
                    routes: Some(1_000),
                    ..Limits::default()
                },
                ..Network::default()
            },
            live: Live::Absent,
            settings: Settings {
                stack_name: "egress".to_owned(),
                zones: zones.clone(),
                template_bucket: true,
                max_removal: 100,
                prefix_lists: match shape {
                    Shape::Listed => PrefixLists::Always,
                    Shape::Apart | Shape::Nested => PrefixLists::Never,
                },
                ..Settings::default()
            },
        };
        bench.ask((0..entries).map(|number| (number, network(shape, number))));
        bench
    }

    fn ask(&mut self, entries: impl Iterator<Item = (u32, Ipv4Net)>) {
        self.snapshot.objects.clear();
        for (number, net) in entries {
            let id = ObjectId {
                cluster: String::new(),
                namespace: format!("team-{:02}", number / OF_ONE),
                name: "egress".to_owned(),
            };
            let object = self.snapshot.objects.entry(id).or_default();
            object.data.insert(format!("k{number:05}"), net.to_string());
        }
    }

    fn plan(&self) -> Plan {
        plan(&World {
            snapshot: &self.snapshot,
            network: &self.network,
            live: &self.live,
            settings: &self.settings,
            grace: Grace::default(),
            ledger: Recall::Nowhere,
            watch: &Watch::default(),
        })
    }

    fn stack(&mut self, template: &Template) -> &mut Stack {
        let lists = template.text.matches("AWS::EC2::PrefixList").count();
        for table in self.network.worker_tables.values_mut() {
            table.listed = lists * SIZE;
        }
        self.live = Live::Ours(Box::new(Stack {
            name: template.stack_name.clone(),
            id: "arn:egress".to_owned(),
            status: Status::read("CREATE_COMPLETE"),
            template: template.text.clone(),
            parameters: template.parameters.clone(),
            tags: template.tags.clone(),
            ..Stack::default()
        }));
        match &mut self.live {
            Live::Ours(stack) => stack,
            _ => unreachable!("it is ours"),
        }
    }
}

fn network(shape: Shape, number: u32) -> Ipv4Net {
    match shape {
        Shape::Apart | Shape::Listed => {
            Ipv4Net::new_assert(Ipv4Addr::from(0x1400_0000 + number * 512), 24)
        }
        // Each /32 lies in one of ten /16, which the first ten entries request.
        Shape::Nested if number < 10 => {
            Ipv4Net::new_assert(Ipv4Addr::from(0x1400_0000 + number * 0x2_0000), 16)
        }
        Shape::Nested => {
            let wide = 0x1400_0000 + number % 10 * 0x2_0000;
            Ipv4Net::new_assert(Ipv4Addr::from(wide + number), 32)
        }
    }
}

fn best<T>(mut work: impl FnMut() -> T) -> (T, Duration) {
    let mut best: Option<(T, Duration)> = None;
    for _ in 0..RUNS {
        let started = Instant::now();
        let made = black_box(work());
        let took = started.elapsed();
        if best.as_ref().is_none_or(|(_, least)| took < *least) {
            best = Some((made, took));
        }
    }
    best.expect("there is a run")
}

/// Returns the change set as CloudFormation computes it.
fn computed(plan: &Plan, template: &Template) -> ChangeSet {
    let changes = plan.differences.iter().map(|difference| Change {
        logical_id: difference.id.clone(),
        resource_type: difference.resource_type.clone(),
        effect: match difference.kind {
            Kind::Add => Effect::Add,
            Kind::Modify => Effect::Modify,
            Kind::Remove => Effect::Remove,
        },
        dynamic_on: Vec::new(),
    });
    ChangeSet {
        name: change_set_name(&template.content(), 3, 0, None),
        state: ChangeSetState::Ready,
        changes: changes.collect(),
        lists: None,
    }
}

/// Measures the steps: a new stack, an edit of the routed entries, the check of its change set, and the status.
fn measure(shape: Shape, entries: u32, tables: usize) -> [(&'static str, Duration); 4] {
    let mut bench = Bench::new(shape, entries, tables);
    let (created, create) = best(|| bench.plan());
    let Action::Create(template) = &created.action else {
        panic!("{}", created.summary())
    };
    let size = template.size;
    bench.stack(template);
    let at = |number| (number, network(shape, number));
    match shape {
        // Half of the routed networks are removed.
        Shape::Apart | Shape::Listed => {
            let half = u32::try_from(created.desired.routes.len() / tables / 2);
            let half = half.unwrap_or(u32::MAX);
            bench.ask((half..entries + half).map(at));
        }
        // One more network is routed. Without a wide network, those inside of it would not fit.
        Shape::Nested => {
            let more = Ipv4Net::new_assert(Ipv4Addr::new(64, 0, 0, 0), 16);
            let last = entries - 1;
            bench.ask((0..last).map(at).chain([(last, more)]));
        }
    }
    let (edited, edit) = best(|| bench.plan());
    let Action::Prepare(next) = &edited.action else {
        panic!("{}", edited.summary())
    };
    let set = computed(&edited, next);
    let changes = set.changes.len();
    let Action::Create(template) = &created.action else {
        unreachable!("it was created")
    };
    bench.stack(template).change_sets = vec![set];
    let (checked, check) = best(|| bench.plan());
    assert_eq!(checked.action.name(), "ExecuteChangeSet");
    let (_, status) = best(|| survey(&checked, &bench.snapshot, None));
    println!(
        "measured: {shape:?} {entries} entries x {tables} tables: {} resources, {} bytes, {changes} changes; new {create:.1?}, edit \
         {edit:.1?}, check {check:.1?}, status {status:.1?}",
        size.resources, size.bytes
    );
    [
        ("new", create),
        ("edit", edit),
        ("check", check),
        ("status", status),
    ]
}

fn main() {
    let mut slow = Vec::new();
    for shape in [Shape::Apart, Shape::Listed, Shape::Nested] {
        for tables in TABLES {
            let all = ENTRIES.map(|entries| measure(shape, entries, tables));
            for step in 0..all[0].len() {
                let times = all.each_ref().map(|of| of[step].1.as_secs_f64());
                let ratios = times.map(|time| format!("{:.1}", time / times[0]));
                let name = all[0][step].0;
                println!(
                    "measured: {shape:?} x {tables} tables, {name}: {}",
                    ratios.join(" : ")
                );
                let growth = times[3] / times[2];
                if times[3] > MOST.as_secs_f64() || (times[2] > 0.01 && growth > MOST_GROWTH) {
                    slow.push(format!("{shape:?} x {tables}, {name}: {:.2} s", times[3]));
                }
            }
        }
    }
    assert!(slow.is_empty(), "too slow: {slow:?}");
}
