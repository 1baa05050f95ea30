//! Changes a live stack by a change set, which is prepared, checked and executed.
//!
//! Tenants edit entries while CloudFormation computes a change set. A tenant who edits one entry every few seconds must not delay other
//! tenants. So a change set is executed if all its changes are safe, even if the request has changed since. The alternative, to let an
//! entry wait while it keeps changing, needs a record of all entries with times, and delays honest edits.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::change_set_name::{fingerprint_of, is_revert, short, zones_of};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect, Stack};
use crate::model::desired::template::{self, Template};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::decision::Decision;
use crate::model::plan::diff::{Difference, Kind, is_protected};
use crate::model::plan::list_edits::ListEdits;
use crate::model::plan::patched_template::next_change;
use crate::model::plan::types::{Action, Plan, World, discard};
use crate::model::plan::{capacity, diff};

/// The input of a template for the whole request.
pub(in crate::model) struct Whole<'a> {
    world: &'a World<'a>,
    layout: &'a Layout,
    /// The zones that [`Plan::taken`] returned.
    taken: BTreeSet<Zone>,
}

impl<'a> Whole<'a> {
    pub fn new(world: &'a World<'a>, layout: &'a Layout, taken: BTreeSet<Zone>) -> Self {
        Self {
            world,
            layout,
            taken,
        }
    }
}

/// A change of the live stack that the controller could make.
pub(in crate::model) struct Proposal<'a> {
    pub template: Template,
    pub differences: Vec<Difference>,
    /// The logical ids of resources that the change may replace or remove.
    pub renewed: BTreeSet<String>,
    /// The input of the template, if it is for the whole request and not for a single step such as a repair.
    pub whole: Option<Whole<'a>>,
}

impl Proposal<'_> {
    /// Returns a single step that replaces and removes nothing.
    pub fn step(template: Template, differences: Vec<Difference>) -> Self {
        Self {
            template,
            differences,
            renewed: BTreeSet::new(),
            whole: None,
        }
    }

    /// Returns a step of this change.
    fn decision(self, action: Action, why: impl Into<String>) -> Decision {
        Decision {
            differences: self.differences,
            renewed: self.renewed,
            ..Decision::new(action, why)
        }
    }

    fn differs(&self, id: &str) -> bool {
        self.differences.iter().any(|it| it.id == id)
    }

    /// Whether the change may remove or replace a live resource.
    fn allows(&self, plan: &Plan, names: &Names, id: &str) -> bool {
        self.renewed.contains(id) || plan.may_go(names, id)
    }
}

impl Plan {
    /// Returns the next step of a change. Every change is a change set: CloudFormation announces its changes before it makes them, and
    /// executes it only on the stack that it was made for.
    pub(in crate::model) fn change(
        &self,
        stack: &Stack,
        names: &Names,
        mut proposal: Proposal<'_>,
    ) -> Decision {
        if let Some(found) = set_for(stack, &proposal.template) {
            return self.go_on(stack, found, names, proposal);
        }
        if let Some((action, why)) = self.use_earlier(stack, names, &proposal) {
            return proposal.decision(action, why);
        }
        if let Some((template, differences)) = self.sparing(&proposal, stack, names) {
            (proposal.template, proposal.differences) = (template, differences);
            if let Some(found) = set_for(stack, &proposal.template) {
                return self.go_on(stack, found, names, proposal);
            }
        }
        let new = self.desired.routes.iter();
        let new = new.filter(|route| !names.routes.contains_key(route));
        let count = proposal.differences.len();
        let why = format!("{count} differences between the stack and the request");
        Decision {
            planned: new.map(|(_, cidr)| *cidr).collect(),
            differences: proposal.differences,
            renewed: proposal.renewed,
            ..Decision::new(Action::Prepare(proposal.template), why)
        }
    }

    /// Returns the next step for the change set that was made for this exact template.
    fn go_on(
        &self,
        stack: &Stack,
        found: &ChangeSet,
        names: &Names,
        proposal: Proposal<'_>,
    ) -> Decision {
        match &found.state {
            ChangeSetState::Pending => {
                proposal.decision(Action::Wait, "CloudFormation is computing the change set")
            }
            ChangeSetState::NoChanges => {
                let text = "CloudFormation sees nothing to change, though the stack differs from the request (see the differences); \
                            if routes are missing, delete the change set, then the controller creates it again";
                let subject = Subject::Stack(stack.name.clone());
                let reason = Reason::NotSeenByCloudFormation;
                let why = "CloudFormation sees no difference in the resources";
                Decision {
                    problems: vec![Problem::warning(subject, reason, text.to_owned())],
                    ..proposal.decision(Action::Keep, why)
                }
            }
            ChangeSetState::Dead(reason) => {
                let why = format!("the change set cannot be executed: {reason}");
                Decision {
                    setback: Some(reason.clone()),
                    ..proposal.decision(discard(found), why)
                }
            }
            ChangeSetState::Executed => {
                let cause = stack.cause.clone();
                let cause = cause.unwrap_or_else(|| "its execution changed nothing".to_owned());
                let why = "the change set was executed without the intended effect";
                Decision {
                    setback: Some(cause),
                    ..proposal.decision(discard(found), why)
                }
            }
            ChangeSetState::Ready => {
                let allowed = |id: &str| proposal.allows(self, names, id);
                match diff::unplanned(&found.changes, &proposal.differences, allowed) {
                    Some(text) => {
                        let text = format!(
                            "{text}; read the change set in CloudFormation, and delete it, then the controller creates it again"
                        );
                        Decision {
                            differences: proposal.differences,
                            renewed: proposal.renewed,
                            ..Decision::refuse(&stack.name, Reason::UnplannedChange, text)
                        }
                    }
                    None => {
                        let change_set = found.name.clone();
                        let why =
                            format!("{} resource changes, all as planned", found.changes.len());
                        proposal.decision(Action::Execute { change_set }, why)
                    }
                }
            }
        }
    }

    /// Returns the execution of a change set for an earlier template if all its changes are safe, or the wait for one, with the reason.
    /// Otherwise a stream of edits, each of which outdates the change set before, would block all of them.
    ///
    /// CloudFormation does not announce which static IP a NAT gateway gets. So a change set that alters a zone is used only if its template
    /// had the same zones.
    ///
    /// A change is safe if it is still wanted, or adds a route that was requested when the change set was made: such a route does no harm
    /// until the next change removes it.
    fn use_earlier(
        &self,
        stack: &Stack,
        names: &Names,
        proposal: &Proposal<'_>,
    ) -> Option<(Action, String)> {
        let mut sets = stack.change_sets.iter().rev();
        if sets.clone().any(|set| set.state == ChangeSetState::Pending) {
            let why = "CloudFormation is computing a change set".to_owned();
            return Some((Action::Wait, why));
        }
        let whole = proposal.whole.as_ref();
        // A drift that nobody repairs must not block all changes: only a route to a NAT gateway that does not exist would fail.
        let dead = whole.map(|whole| self.dead_zones(whole.world, stack, names));
        let dead = dead.unwrap_or_default();
        let passing = match whole {
            Some(_) => self.passing(proposal, &dead),
            None => BTreeSet::new(),
        };
        // After a failure, a change adds few networks. Any success raises that number, even with networks that nobody requests any more.
        let is_limited =
            |whole: &Whole<'_>| whole.world.network.headroom.refused.additions.is_some();
        let tries = whole.is_some_and(is_limited);
        let allowed = |id: &str| proposal.allows(self, names, id);
        let edits = ListEdits::new(self, names);
        let useful = |set: &&ChangeSet| {
            let Some(lists) = edits.judge(set, &dead) else {
                return false;
            };
            let passes = |change: &&Change| {
                let id = &change.logical_id;
                let adds = change.effect == Effect::Add;
                adds && (passing.contains(id) || lists.passing.contains(id))
                    || lists.judged.contains(id)
            };
            let wanted: Vec<Change> = set
                .changes
                .iter()
                .filter(|it| !passes(it))
                .cloned()
                .collect();
            let is_wanted = |change: &Change| proposal.differs(&change.logical_id);
            set.state == ChangeSetState::Ready
                && (tries || !wanted.is_empty() || lists.helps)
                && !is_revert(&set.name)
                && (makes_same_zones(set, &proposal.template)
                    || !set.changes.iter().any(alters_zone))
                && diff::unplanned(&wanted, &proposal.differences, allowed).is_none()
                && wanted.iter().all(is_wanted)
                && !self.leaves_a_gap(set, names)
        };
        let set = sets.find(useful)?;
        let (change_set, count) = (set.name.clone(), set.changes.len());
        let why = format!("{count} resource changes of an earlier plan, all of them harmless");
        Some((Action::Execute { change_set }, why))
    }

    /// Returns the logical ids of routes for networks that were requested before, in the tables where routes can be made.
    fn passing(&self, proposal: &Proposal<'_>, dead: &BTreeSet<Zone>) -> BTreeSet<String> {
        let former = self.ledger.iter().flat_map(Ledger::former);
        let tables = self.desired.tables.iter();
        let tables = tables
            .filter(|(_, zone)| !dead.contains(*zone))
            .map(|(table, _)| table);
        let ids = |net: &Ipv4Net| {
            let id = |table: &TableId| template::route_name(table, *net);
            tables.clone().map(id).collect::<Vec<_>>()
        };
        former
            .flat_map(ids)
            .filter(|id| !proposal.differs(id))
            .collect()
    }

    /// Returns the change without removals that a tenant may revoke again. A change set that removes a route which is wanted again is of no
    /// use, so a tenant who repeats such edits at the right times could block all changes. Therefore the next change set removes only what
    /// the one before would also remove, and the one after that removes nothing while there is something to add. The other removals follow
    /// later. None if no removal is left out, or the result would not fit.
    fn sparing(
        &self,
        proposal: &Proposal<'_>,
        stack: &Stack,
        names: &Names,
    ) -> Option<(Template, Vec<Difference>)> {
        let whole = proposal.whole.as_ref()?;
        let removes = |id: &str| {
            let mut differences = proposal.differences.iter();
            differences.any(|it| it.kind == Kind::Remove && it.id == id)
        };
        let removed_by = |set: &ChangeSet| -> BTreeSet<String> {
            let changes = set.changes.iter();
            let removed = changes.filter(|change| change.effect == Effect::Remove);
            removed.map(|change| change.logical_id.clone()).collect()
        };
        let edits = ListEdits::new(self, names);
        let ready = stack.change_sets.iter();
        let ready = ready.filter(|set| set.state == ChangeSetState::Ready);
        let called_off: Vec<(BTreeSet<String>, BTreeSet<Ipv4Net>)> = ready
            .map(|set| (removed_by(set), edits.removed_by(set)))
            .filter(|(ids, nets)| {
                ids.iter().any(|id| !removes(id)) || nets.iter().any(|net| !edits.removes(net))
            })
            .collect();
        let mut differences = proposal.differences.iter();
        let adds = differences.any(|it| it.kind != Kind::Remove);
        let nothing = called_off.len() > 1 && adds;
        let stays = |((table, net), id): &(&(TableId, Ipv4Net), &String)| {
            let is_listed = names.list_routes.contains_key(*id);
            let by_all = called_off.iter().all(|(ids, nets)| match is_listed {
                true => nets.contains(net),
                false => ids.contains(*id),
            });
            let goes = removes(id) || (is_listed && edits.removes(net));
            self.desired.tables.contains_key(table) && goes && (nothing || !by_all)
        };
        let spared: Vec<_> = names.routes.iter().filter(stays).collect();
        if spared.is_empty() {
            return None;
        }
        let (world, layout, taken) = (whole.world, whole.layout, whole.taken.clone());
        let mut desired = self.passable(world, stack, names, taken).into_owned();
        desired
            .routes
            .extend(spared.into_iter().map(|(route, _)| route.clone()));
        if capacity::overflows(world, &desired, names, layout) {
            return None;
        }
        let bucket = world.settings.template_bucket;
        let template = template::render(&desired, names, layout, bucket).ok()?;
        let (template, differences) = next_change(stack, layout, template, &self.request);
        // CloudFormation may not see a change of the owner alone, and such a change would delay the removals that are left out.
        (!differences.iter().all(Difference::names_owner)).then_some((template, differences))
    }

    /// Whether a change set removes a route without adding the wanted routes that overlap it. Such a change set is older than the request
    /// for these routes.
    fn leaves_a_gap(&self, set: &ChangeSet, names: &Names) -> bool {
        let has = |effect, id: &str| {
            let mut changes = set.changes.iter();
            changes.any(|change| change.effect == effect && change.logical_id == id)
        };
        let removed = names
            .routes
            .iter()
            .filter(|(_, id)| has(Effect::Remove, id));
        removed.into_iter().any(|((table, route), _)| {
            let mut parts =
                self.desired.routes.iter().filter(|(of, part)| {
                    of == table && (route.contains(part) || part.contains(route))
                });
            parts.any(|(table, part)| {
                !names.routes.contains_key(&(table.clone(), *part))
                    && !has(Effect::Add, &template::route_name(table, *part))
            })
        })
    }

    /// Whether every change may remove or replace a live resource, since its zone is removed. [`desired::build`] removes a zone only if the
    /// operator allowed that.
    pub(in crate::model) fn may_go(&self, names: &Names, id: &str) -> bool {
        let zone = names
            .parts
            .iter()
            .find(|(_, name)| name.as_str() == id)
            .map(|((zone, _), _)| zone);
        zone.is_some_and(|zone| !self.desired.zones.contains_key(zone))
    }
}

/// Returns the discarding of a change set that is left over, or the wait for it: CloudFormation does not delete a pending one, which may be
/// needed again by then.
pub(in crate::model) fn tidy_up(left: &ChangeSet) -> Decision {
    let action = match left.state {
        ChangeSetState::Pending => Action::Wait,
        _ => discard(left),
    };
    let why = "the stack is as it should be; an unused change set is left over";
    Decision::new(action, why)
}

/// Whether a change creates, modifies or removes a resource that a static IP depends on.
fn alters_zone(change: &Change) -> bool {
    is_protected(&change.resource_type) && !matches!(change.effect, Effect::Tags | Effect::Record)
}

/// Whether a change set was made from a template with the same static IPs, NAT gateways and NAT subnets. An earlier plan chose these,
/// perhaps by flags that have changed since.
fn makes_same_zones(set: &ChangeSet, template: &Template) -> bool {
    zones_of(&set.name) == Some(short(&template.zones))
}

/// Returns the newest change set that was made from this template.
pub(in crate::model::plan) fn set_for<'a>(
    stack: &'a Stack,
    template: &Template,
) -> Option<&'a ChangeSet> {
    let ours = |set: &&ChangeSet| fingerprint_of(&set.name) == Some(short(&template.fingerprint));
    stack.change_sets.iter().rev().find(ours)
}
