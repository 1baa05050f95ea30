//! Applies what the controller did in a recording of `tests/aws/run` to the account in memory, and says where the two differ: in the status
//! at rest, in the resources, in the changes that change sets announce, in the routes of each table, and in NAT gateways and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube_static_egress_controller::lease::{Election, NoElection, Term};
use kube_static_egress_controller::model::cloud::live::{Change, Effect, Live, Stack};
use kube_static_egress_controller::model::cloud::network::{Network, Route, WorkerTable};
use kube_static_egress_controller::model::cloud::observed::Health;
use kube_static_egress_controller::model::cloud::status::Phase;
use kube_static_egress_controller::model::desired::template::{Size, Template};
use kube_static_egress_controller::model::plan::types::Action;
use kube_static_egress_controller::provider::Provider;
use kube_static_egress_controller::provider::memory::MemoryProvider;
use serde_json::Value;

/// What one of the two implementations shows after a call of the controller, by what it is about.
type Shown = BTreeMap<&'static str, String>;

/// The differences, and the number of comparisons.
pub struct Outcome {
    pub differences: Vec<String>,
    pub compared: usize,
}

/// A mutating call of the controller, and the answers until its next one.
struct Step<'a> {
    call: &'a Value,
    answers: Vec<&'a Value>,
}

/// Replays a recording. The runtime's clock is paused, so operations in memory take no time.
pub fn replay(recording: &str) -> Outcome {
    let lines: Vec<Value> = recording
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(in_memory(&lines))
}

async fn in_memory(lines: &[Value]) -> Outcome {
    let mine = lines
        .iter()
        .filter(|line| line["who"] == "controller" && line["status"].as_u64() < Some(400));
    let mine: Vec<&Value> = mine.collect();
    let provider = MemoryProvider::new(network(&mine));
    let mut election = NoElection::new();
    let term = election.campaign().await;
    let mut outcome = Outcome {
        differences: Vec::new(),
        compared: 0,
    };
    for (number, step) in steps(&mine).iter().enumerate() {
        let name = format!("{} {}", number + 1, text(&step.call["action"]));
        if let Err(error) = carry_out(&provider, &term, step.call, number).await {
            outcome
                .differences
                .push(format!("{name}: {error} in memory"));
            break;
        }
        let (recorded, here) = (step.shown(), in_memory_now(&provider, step).await);
        for (about, recorded) in recorded {
            outcome.compared += 1;
            let here = here.get(about).map_or("nothing", String::as_str);
            if recorded != here {
                let text = format!("{name}: {about}: {recorded} recorded, {here} in memory");
                outcome.differences.push(text);
            }
        }
    }
    outcome
}

/// Returns the VPC as the controller saw it first.
fn network(lines: &[&Value]) -> Network {
    let answer = |action: &str| {
        let mut of_action = lines.iter().filter(|line| line["action"] == action);
        let found = of_action.next();
        &found.unwrap_or_else(|| panic!("no {action} in the recording"))["answer"]
    };
    let vpc = &answer("DescribeVpcs")["Vpcs"][0];
    let gateways = &answer("DescribeInternetGateways")["InternetGateways"][0];
    let tables = list(&answer("DescribeRouteTables")["RouteTables"]);
    let worker = |table: &&Value| {
        let mut tags = list(&table["Tags"]);
        let tag = tags.find(|tag| tag["Key"] == "AvailabilityZone")?;
        let target = Route {
            target: text(&gateways["InternetGatewayId"]),
            blackhole: false,
        };
        let worker = WorkerTable {
            zone: text(&tag["Value"]),
            routes: BTreeMap::from([("0.0.0.0/0".parse().unwrap(), target)]),
            ..WorkerTable::default()
        };
        Some((text(&table["RouteTableId"]), worker))
    };
    Network {
        vpc_id: text(&vpc["VpcId"]),
        vpc_cidrs: vec![text(&vpc["CidrBlock"]).parse().unwrap()],
        internet_gateway_id: text(&gateways["InternetGatewayId"]),
        worker_tables: tables
            .collect::<Vec<_>>()
            .iter()
            .filter_map(worker)
            .collect(),
        ..Network::default()
    }
}

/// Returns the controller's calls that change the stack, each with the answers after it.
fn steps<'a>(lines: &[&'a Value]) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    for line in lines {
        let action = text(&line["action"]);
        let reads = ["Describe", "List", "Get", "Detect"];
        if !reads.iter().any(|start| action.starts_with(start)) {
            let answers = Vec::new();
            steps.push(Step {
                call: line,
                answers,
            });
        } else if let Some(step) = steps.last_mut() {
            step.answers.push(line);
        }
    }
    steps
}

impl Step<'_> {
    /// Returns the last answer to an action of which this is true.
    fn last(&self, action: &str, holds: impl Fn(&Value) -> bool) -> Option<&Value> {
        let of_action = self.answers.iter().rev();
        let of_action = of_action.filter(|line| line["action"] == action);
        of_action.map(|line| &line["answer"]).find(|it| holds(it))
    }

    /// Returns what the recording shows at rest.
    fn shown(&self) -> Shown {
        let mut shown = Shown::new();
        if self.call["action"] == "CreateChangeSet" {
            let done = |set: &Value| set["Status"] == "CREATE_COMPLETE";
            if let Some(set) = self.last("DescribeChangeSet", done) {
                shown.insert("changes", changes(list(&set["Changes"]).map(recorded)));
            }
            return shown;
        }
        let rests = |stacks: &Value| {
            let status = &stacks["Stacks"][0]["StackStatus"];
            text(status).ends_with("_COMPLETE")
        };
        if let Some(stacks) = self.last("DescribeStacks", rests) {
            let status = text(&stacks["Stacks"][0]["StackStatus"]);
            shown.insert("status", status);
        }
        if let Some(all) = self.last("ListStackResources", |_| true) {
            let all = list(&all["StackResourceSummaries"]);
            let all = all.filter(|it| it["ResourceType"] != "AWS::EC2::Route");
            let ids = all.map(|it| text(&it["LogicalResourceId"]));
            shown.insert("resources", format!("{:?}", ids.collect::<BTreeSet<_>>()));
        }
        if let Some(all) = self.last("DescribeNatGateways", |_| true) {
            let all = list(&all["NatGateways"]);
            let count = all.filter(|it| it["State"] == "available").count();
            shown.insert("NAT gateways", count.to_string());
        }
        if let Some(all) = self.last("DescribeAddresses", |_| true) {
            let used = list(&all["Addresses"]).filter(|it| it["AssociationId"].is_string());
            shown.insert("addresses in use", used.count().to_string());
        }
        if let Some(all) = self.last("DescribeRouteTables", |_| true) {
            let tables = list(&all["RouteTables"]).filter_map(routes);
            shown.insert(
                "routes",
                format!("{:?}", tables.collect::<BTreeMap<_, _>>()),
            );
        }
        shown
    }
}

/// Returns the networks that a table routes to NAT gateways. None if there are none.
fn routes(table: &Value) -> Option<(String, BTreeSet<String>)> {
    let routes = list(&table["Routes"]).filter(|route| route["NatGatewayId"].is_string());
    let cidrs: BTreeSet<String> = routes.map(|it| text(&it["DestinationCidrBlock"])).collect();
    (!cidrs.is_empty()).then(|| (text(&table["RouteTableId"]), cidrs))
}

/// Returns the effect of a recorded change, as `provider/aws` reads it.
fn recorded(change: &Value) -> (String, &'static str) {
    let change = &change["ResourceChange"];
    let only_tags = list(&change["Scope"]).all(|it| it != "Properties");
    let effect = match (&*text(&change["Action"]), &*text(&change["Replacement"])) {
        ("Add", _) => "Add",
        ("Remove", _) => "Remove",
        ("Modify", "False") if only_tags => "Tags",
        ("Modify", "False") => "Modify",
        ("Modify", _) => "MayReplace",
        _ => "Other",
    };
    (text(&change["LogicalResourceId"]), effect)
}

fn changes(all: impl Iterator<Item = (String, &'static str)>) -> String {
    format!("{:?}", all.collect::<BTreeSet<_>>())
}

/// Sends the same call to the account in memory, and waits until it is at rest.
async fn carry_out(
    provider: &MemoryProvider,
    term: &Term,
    call: &Value,
    number: usize,
) -> Result<(), String> {
    let given = |key: &str| text(&call["parameters"][key]);
    let live = stack(provider).await;
    let name = live.as_ref().map_or(given("StackName"), |it| it.id.clone());
    let sets = live.map(|live| live.change_sets).unwrap_or_default();
    let change_set = sets.last().map(|set| set.name.clone());
    let action = match &*text(&call["action"]) {
        "CreateStack" => Action::Create(template(call, number)),
        "CreateChangeSet" => Action::Prepare(template(call, number)),
        "ExecuteChangeSet" => Action::Execute {
            change_set: change_set.ok_or("no change set")?,
        },
        "DeleteChangeSet" => Action::Discard {
            change_set: change_set.unwrap_or_default(),
        },
        "UpdateTerminationProtection" => {
            Action::Protect(given("EnableTerminationProtection") == "true")
        }
        "DeleteStack" => Action::Delete {
            retain: BTreeSet::new(),
        },
        other => return Err(format!("{other} is not known")),
    };
    let sent = provider.apply(term, None, &name, &action).await;
    sent.map_err(|error| error.to_string())?;
    // Longer than any operation in memory takes.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

fn template(call: &Value, number: usize) -> Template {
    let given = &call["parameters"];
    let pairs = |list: &str, key: &str, value: &str| {
        let pair = |number: usize| {
            let part = |name: &str| given.get(format!("{list}.member.{number}.{name}"));
            Some((text(part(key)?), text(part(value)?)))
        };
        (1..).map_while(pair).collect::<BTreeMap<_, _>>()
    };
    Template {
        stack_name: text(&given["StackName"]),
        text: text(&given["TemplateBody"]),
        parameters: pairs("Parameters", "ParameterKey", "ParameterValue"),
        tags: pairs("Tags", "Key", "Value"),
        termination_protection: given["EnableTerminationProtection"] == "true",
        stack_policy: given["StackPolicyBody"].is_string(),
        fingerprint: format!("{number:016x}"),
        zones: String::new(),
        size: Size::default(),
    }
}

async fn stack(provider: &MemoryProvider) -> Option<Box<Stack>> {
    match provider.live(None, None).await.unwrap() {
        Live::Ours(stack) => Some(stack),
        _ => None,
    }
}

/// Returns what the account in memory shows at rest.
async fn in_memory_now(provider: &MemoryProvider, step: &Step<'_>) -> Shown {
    let mut shown = Shown::new();
    let Some(stack) = stack(provider).await else {
        return shown;
    };
    if step.call["action"] == "CreateChangeSet" {
        let set = stack.change_sets.last();
        let all = set.into_iter().flat_map(|set| &set.changes);
        shown.insert("changes", changes(all.map(effect)));
        return shown;
    }
    assert_ne!(stack.status.phase(), Phase::Busy, "at rest");
    shown.insert("status", stack.status.to_string());
    let seen = provider.observe(&stack, &BTreeSet::new()).await.unwrap();
    let ids: BTreeSet<&String> = seen.ids.keys().collect();
    shown.insert("resources", format!("{ids:?}"));
    let gateways = seen.gateways.values();
    let well = gateways.filter(|it| it.health == Health::Well).count();
    shown.insert("NAT gateways", well.to_string());
    let addresses = seen.addresses.values();
    let used = addresses.filter(|it| it.held_by.is_some()).count();
    shown.insert("addresses in use", used.to_string());
    let network = provider.network().await.unwrap();
    let routes = |(id, table): (&String, &WorkerTable)| {
        let ours = table.routes.iter().filter(|(_, route)| route.serves());
        let cidrs: BTreeSet<String> = ours.map(|(cidr, _)| cidr.to_string()).collect();
        (!cidrs.is_empty()).then(|| (id.clone(), cidrs))
    };
    let tables = network.worker_tables.iter().filter_map(routes);
    shown.insert(
        "routes",
        format!("{:?}", tables.collect::<BTreeMap<_, _>>()),
    );
    shown
}

fn effect(change: &Change) -> (String, &'static str) {
    let effect = match change.effect {
        Effect::Add => "Add",
        Effect::Remove => "Remove",
        Effect::Modify => "Modify",
        Effect::Tags => "Tags",
        Effect::MayReplace => "MayReplace",
        Effect::Record | Effect::Other => "Other",
    };
    (change.logical_id.clone(), effect)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
