//! The account as its owner sees it, for checks, and switches for faults.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use std::time::Duration;

use super::{Action, Ending, Ipv4Net, MemoryProvider, ProviderError, status};
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{ChangeSet, ChangeSetState};
use crate::model::cloud::observed::Health;
use crate::model::cloud::status::Phase;
use crate::model::desired::template::{OWNER, Template};
use crate::model::input::request::Request;
use crate::model::plan::diff;

/// The number of operations so far, and the end of the operation under way.
pub(crate) type Stamp = (u64, Option<Instant>);

/// The state of the account that the checks use.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountView {
    /// The networks that each worker table sends to available NAT gateways, by direct routes and by routes to prefix lists.
    pub(crate) tables: BTreeMap<TableId, BTreeSet<Ipv4Net>>,
    /// Static IPs by output, once the stack was created.
    pub(crate) ips: BTreeMap<String, String>,
    /// All static IPs in EC2.
    pub(crate) addresses: BTreeSet<String>,
    /// The status of the stack; empty if there is no stack.
    pub(crate) status: String,
    pub(crate) change_sets: usize,
    pub(crate) at_rest: bool,
}

/// Returns the routes that a template contains.
pub(crate) fn routes_of(template: &Template) -> BTreeSet<(TableId, Ipv4Net)> {
    let layout = Layout::read(&template.text, &template.parameters).expect("our own template");
    layout.names().routes.into_keys().collect()
}

impl MemoryProvider {
    pub(crate) fn sight(&self) -> AccountView {
        let account = self.account();
        let is_well = |gateway: &str| {
            let gateway = account.ec2.gateways.get(gateway);
            gateway.is_some_and(|gateway| gateway.health == Health::Well)
        };
        let table = |(id, table): (&TableId, &crate::model::cloud::network::WorkerTable)| {
            let routes = table.routes.iter();
            let nat = routes.filter(|(_, route)| is_well(&route.target));
            let lists = table.list_routes.iter();
            let lists = lists.filter(|(_, route)| is_well(&route.target));
            let lists = lists.filter_map(|(list, _)| account.ec2.lists.get(list));
            let listed = lists.flat_map(|list| &list.entries);
            // A static route comes before one to a list with the same network.
            let listed = listed.filter(|cidr| !table.routes.contains_key(*cidr));
            let all = nat.map(|(cidr, _)| *cidr).chain(listed.copied());
            (id.clone(), all.collect())
        };
        let stack = account.stack.as_ref();
        let made = |status: &str| status == "CREATE_COMPLETE" || status.starts_with("UPDATE_");
        AccountView {
            tables: account
                .ec2
                .network
                .worker_tables
                .iter()
                .map(table)
                .collect(),
            ips: stack
                .filter(|stack| made(stack.status.word()))
                .map(|stack| stack.outputs.clone())
                .unwrap_or_default()
                .into_iter()
                .filter(|(output, _)| output != OWNER)
                .collect(),
            addresses: account.ec2.addresses.keys().cloned().collect(),
            status: stack
                .map(|stack| stack.status.to_string())
                .unwrap_or_default(),
            change_sets: account.change_sets.len(),
            at_rest: stack.is_none_or(|stack| stack.status.phase() == Phase::Settled),
        }
    }

    /// Returns the zones of the worker tables.
    pub(crate) fn zones(&self) -> BTreeMap<TableId, Zone> {
        let account = self.account();
        let tables = account.ec2.network.worker_tables.iter();
        tables
            .map(|(id, table)| (id.clone(), table.zone.clone()))
            .collect()
    }

    /// Whether the stack has any resource in EC2.
    pub(crate) fn has_made(&self) -> bool {
        !self.account().made.is_empty()
    }

    /// Returns the stack's template; an empty one if there is no stack.
    pub(crate) fn layout(&self) -> Layout {
        let account = self.account();
        let layout = account.stack.as_ref().map(super::changes::layout);
        layout.unwrap_or_default()
    }

    /// Returns the routes that the stack's template contains.
    pub(crate) fn asked(&self) -> BTreeSet<(TableId, Ipv4Net)> {
        self.layout().names().routes.into_keys().collect()
    }

    /// Returns the names of all change sets in alphabetical order.
    pub(crate) fn prepared(&self) -> Vec<String> {
        self.account().change_sets.keys().cloned().collect()
    }

    /// Delivers a call to the account, whichever replica sent it.
    pub(crate) fn lands(
        &self,
        by: (u64, Option<&str>),
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        self.carry_out(by, stack, action)
    }

    /// Returns a change set of an earlier template that is ready and contains only changes that are still needed, but perhaps not all.
    pub(crate) fn still_wanted(&self, template: &Template) -> Option<String> {
        let account = self.account();
        let stack = account.stack.as_ref()?;
        let layout = Layout::read(&stack.template, &stack.parameters).ok()?;
        let wanted = diff::between(&layout, template, &Request::default());
        let mut sets = account.change_sets().into_iter().rev();
        let useful = |set: &ChangeSet| {
            let mut changes = set.changes.iter();
            set.state == ChangeSetState::Ready
                && !set.changes.is_empty()
                && changes.all(|change| wanted.iter().any(|it| it.id == change.logical_id))
                && diff::unplanned(&set.changes, &wanted, |_| false).is_none()
        };
        sets.find(useful).map(|set| set.name)
    }

    /// Returns the routes that a change set adds.
    pub(crate) fn added_by(&self, name: &str) -> BTreeSet<(TableId, Ipv4Net)> {
        let before = self.asked();
        let account = self.account();
        let Some(prepared) = account.change_sets.get(name) else {
            return BTreeSet::new();
        };
        let mut routes = routes_of(&prepared.template);
        routes.retain(|route| !before.contains(route));
        routes
    }

    /// Whether a change set adds a route that none of these entries requests.
    pub(crate) fn adds_more(&self, name: &str, asked: &BTreeMap<EntryId, Ipv4Net>) -> bool {
        self.added_by(name).into_iter().any(|(_, cidr)| {
            let mut asked = asked.values();
            !asked.any(|net| net.contains(&cidr) || cidr.contains(net))
        })
    }

    /// Returns the number of operations so far, and the end of the operation under way. Equal stamps mean equal routes.
    pub(crate) fn stamp(&self) -> Stamp {
        let account = self.account();
        let ends = account.ends.as_ref().map(|(at, _)| *at);
        (account.generation, ends)
    }

    pub(crate) fn set_pace(&self, pace: Duration) {
        self.account().pace = pace;
    }

    /// Sets the cause for which the next operation fails and is rolled back.
    pub(crate) fn spoil(&self, cause: Option<&str>) {
        self.account().mishap = cause.map(str::to_owned);
    }

    /// Whether an operation will still fail. False once an operation has failed.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.account().mishap.is_some()
    }

    /// Makes the rollback under way fail as well.
    pub(crate) fn get_stuck(&self) {
        if let Some((_, Ending::Become(end))) = &mut self.account().ends {
            *end = status("UPDATE_ROLLBACK_FAILED");
        }
    }

    /// Makes every change set count as created for the current version of the stack.
    pub(crate) fn forget_to_compare(&self) {
        let mut account = self.account();
        let now = account.generation;
        for prepared in account.change_sets.values_mut() {
            prepared.generation = now;
        }
    }
}
