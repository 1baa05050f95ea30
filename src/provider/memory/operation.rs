//! Operations in EC2. An operation creates, updates and deletes only the resources that the template changes. It ignores drift, unless it
//! reverts drift.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::account::Account;
use super::changes::layout;
use super::ec2::{Ec2, State};
use super::refusal::Refusal;
use super::wish::{Made, Wish};
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{Change, Effect};
use crate::model::cloud::observed::{IdKind, Observed};

/// EC2 after an operation, and the stack's resources by logical id.
type Done = (Ec2, BTreeMap<String, Made>);

impl Account {
    /// Returns EC2 and the stack's resources after the template is applied, or why the operation fails.
    pub(super) fn bring(&self, layout: &Layout, revert: bool) -> Result<Done, Refusal> {
        let (mut ec2, mut made) = (self.ec2.clone(), self.made.clone());
        let mut left = Vec::new();
        let mut resources: Vec<_> = layout.resources.iter().collect();
        resources.sort_by_key(|(_, resource)| Wish::rank(&resource.kind));
        for (logical, resource) in resources {
            let wish = Wish::new(resource, &made);
            let refused = |why| Refusal::of(logical, why);
            let Some(old) = made.get(logical).cloned() else {
                let id = ec2.make(&wish).map_err(refused)?;
                made.insert(logical.clone(), Made::new(wish, id));
                continue;
            };
            let state = match revert {
                true => ec2.state(&old),
                false => State::Well,
            };
            let is_gateway = wish.kind == "AWS::EC2::NatGateway" && state == State::Well;
            let keeps_ids = old.wish.becomes(&wish) && (can_be_changed(&wish) || is_gateway);
            let id = match state {
                State::Well if old.wish == wish => continue,
                State::Gone => ec2.make(&wish).map_err(refused)?,
                _ if keeps_ids => {
                    ec2.change(&old, &wish).map_err(refused)?;
                    old.id
                }
                _ => {
                    // An association is deleted before its replacement is created; other resources are deleted last.
                    if Wish::rank(&wish.kind) == Wish::rank("") {
                        ec2.remove(&old);
                    }
                    left.push(old);
                    ec2.make(&wish).map_err(refused)?
                }
            };
            made.insert(logical.clone(), Made::new(wish, id));
        }
        for (logical, made) in &mut made {
            if layout.resources.contains_key(logical) {
                made.retained = layout.is_retained(logical);
            }
        }
        let gone = |logical: &&String| !layout.resources.contains_key(*logical);
        let gone: Vec<String> = made.keys().filter(gone).cloned().collect();
        left.extend(gone.iter().filter_map(|logical| made.remove(logical)));
        left.sort_by_key(|made| Reverse(Wish::rank(&made.wish.kind)));
        for made in left.iter().filter(|made| !made.retained) {
            ec2.remove(made);
        }
        Ok((ec2, made))
    }

    /// Returns the changes that a change set announces if it reverts drift.
    pub(super) fn reversions(&self) -> Vec<Change> {
        let change = |(logical, made): (&String, &Made)| {
            let effect = match self.ec2.state(made) {
                State::Well => return None,
                State::Gone => Effect::Add,
                State::Changed if can_be_changed(&made.wish) => Effect::Modify,
                State::Changed => Effect::MayReplace,
            };
            Some(Change {
                logical_id: logical.clone(),
                resource_type: made.wish.kind.clone(),
                effect,
                dynamic_on: Vec::new(),
            })
        };
        self.made.iter().filter_map(change).collect()
    }

    pub(super) fn settle(&mut self, revert: bool) -> Result<(), Refusal> {
        let Some(stack) = &mut self.stack else {
            return Ok(());
        };
        let layout = layout(stack);
        let done = self.bring(&layout, revert)?;
        (self.ec2, self.made) = done;
        self.tag_addresses();
        let eips = self.made.iter();
        let eips = eips.filter(|(_, made)| made.wish.kind == "AWS::EC2::EIP");
        let outputs = eips.map(|(logical, made)| (logical.clone(), made.id.clone()));
        let literals = layout.outputs.iter();
        let literals =
            literals.filter_map(|(id, value)| Some((id.clone(), value.as_str()?.to_owned())));
        if let Some(stack) = &mut self.stack {
            stack.outputs = outputs.chain(literals).collect();
        }
        Ok(())
    }

    /// Sets CloudFormation's tags on the static IPs. They stay when the stack no longer has the IP.
    fn tag_addresses(&mut self) {
        let name = self.stack.as_ref().map(|stack| stack.name.clone());
        for (logical, made) in &self.made {
            if made.wish.kind == "AWS::EC2::EIP" {
                let tags = [("stack-name", name.as_ref()), ("logical-id", Some(logical))];
                let tags = tags.map(|(key, value)| {
                    let value = value.cloned().unwrap_or_default();
                    (format!("aws:cloudformation:{key}"), value)
                });
                (self.ec2.address_tags).insert(made.id.clone(), tags.into());
            }
        }
    }

    /// Deletes the stack's resources.
    pub(super) fn clear(&mut self) {
        let mut made: Vec<Made> = std::mem::take(&mut self.made).into_values().collect();
        made.sort_by_key(|made| Reverse(Wish::rank(&made.wish.kind)));
        for made in made.iter().filter(|made| !made.retained) {
            self.ec2.remove(made);
        }
    }

    /// Returns the stack's resources as EC2 shows them.
    pub(super) fn observed(&self) -> Observed {
        let named = |(logical, made): (&String, &Made)| {
            let has_id = made.wish.kind != "AWS::EC2::Route";
            has_id.then(|| (logical.clone(), made.id.clone()))
        };
        let is_shown = |(_, ip): &(&String, &String)| IdKind::of(ip) == Some(IdKind::Address);
        let outputs = self.stack.iter().flat_map(|stack| &stack.outputs);
        let outputs = outputs.filter(is_shown);
        let mut ids: BTreeMap<_, _> = outputs.map(|(id, ip)| (id.clone(), ip.clone())).collect();
        ids.extend(self.made.iter().filter_map(named));
        Observed {
            ids,
            gateways: self.ec2.gateways.clone(),
            addresses: self.ec2.addresses.clone(),
            subnets: self.ec2.subnets.clone(),
            lists: self.ec2.shown_lists(&self.made),
            ..Observed::default()
        }
    }
}

/// Whether drift of this resource can be reverted in place.
fn can_be_changed(wish: &Wish) -> bool {
    matches!(
        wish.kind.as_str(),
        "AWS::EC2::PrefixList" | "AWS::EC2::Route" | "AWS::EC2::Subnet" | "AWS::EC2::RouteTable"
    )
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
