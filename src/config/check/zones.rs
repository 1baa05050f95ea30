//! Zones and their NAT subnets.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::super::flags::{Options, StackOptions};
use super::super::form;
use super::{Check, split};
use crate::model::base::ids::Zone;
use crate::model::desired;

const MAX_ZONES: usize = 20;

impl Check {
    pub(super) fn zones(&mut self, options: &Options, needed: bool) -> BTreeMap<Zone, Ipv4Net> {
        let names = split(&options.aws.aws_az, &['\n', ',']);
        let cidrs = split(&options.aws.aws_nat_cidr_block, &['\n', ',']);
        if names.is_empty() && cidrs.is_empty() && !needed {
            return desired::example_zones();
        }
        if names.len() != cidrs.len() {
            let problem = format!("{} zones, but {} NAT CIDR blocks", names.len(), cidrs.len());
            let remedy = "give one --aws-nat-cidr-block for each --aws-az, in the same order";
            self.mistake("aws-nat-cidr-block", problem, remedy);
        } else if names.is_empty() && needed {
            let remedy =
                "give --aws-az and --aws-nat-cidr-block for each zone that is to have a static IP";
            self.mistake("aws-az", "--provider=aws needs at least one zone", remedy);
        }
        if names.len() > MAX_ZONES {
            self.mistake(
                "aws-az",
                format!("{} zones are too many", names.len()),
                format!("give at most {MAX_ZONES}"),
            );
            return BTreeMap::new();
        }
        let names: Vec<Option<Zone>> = names
            .iter()
            .map(|text| self.given("aws-az", form::zone(text)))
            .collect();
        let cidrs: Vec<Option<Ipv4Net>> = cidrs
            .iter()
            .take(MAX_ZONES)
            .map(|text| self.given("aws-nat-cidr-block", form::nat_cidr(text)))
            .collect();
        self.disjoint(&cidrs);
        let mut zones = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            if names[..index].contains(&Some(name.clone())) {
                self.mistake(
                    "aws-az",
                    format!("{name} is given twice"),
                    "a zone has one NAT gateway: give it once",
                );
            }
            if let Some(Some(cidr)) = cidrs.get(index) {
                zones.insert(name.clone(), *cidr);
            }
        }
        zones
    }

    /// The zones that are named to be removed: no zone that is only missing loses its static IP.
    pub(super) fn remove_zones(
        &mut self,
        stack: &StackOptions,
        options: &Options,
    ) -> BTreeSet<Zone> {
        let blanket = stack.allow_zone_removal.as_deref().map(str::trim);
        if blanket.is_some_and(|value| value != "false") {
            self.mistake(
                "allow-zone-removal",
                "it is gone, since with it a typo in --aws-az cost a static IP",
                "name each zone that is to be removed with --remove-zone=ZONE; for a route table that is no longer the workers' set \
                 its tag AvailabilityZone to none",
            );
        }
        let given = split(&options.aws.aws_az, &['\n', ',']);
        let mut zones = BTreeSet::new();
        for name in split(&stack.remove_zone, &['\n', ','])
            .iter()
            .take(MAX_ZONES)
        {
            if given.iter().any(|zone| zone == name) {
                self.mistake(
                    "remove-zone",
                    format!("{name} is given with --aws-az as well"),
                    "take the zone and its NAT CIDR block out of --aws-az and --aws-nat-cidr-block, or keep it",
                );
            }
            zones.extend(self.given("remove-zone", form::zone(name)));
        }
        zones
    }

    fn disjoint(&mut self, cidrs: &[Option<Ipv4Net>]) {
        for (index, a) in cidrs.iter().enumerate() {
            for (a, b) in cidrs[..index].iter().filter_map(|b| Some(((*a)?, (*b)?))) {
                if a.contains(&b) || b.contains(&a) {
                    let remedy = "give subnets that share no address";
                    self.mistake("aws-nat-cidr-block", format!("{b} and {a} overlap"), remedy);
                }
            }
        }
    }
}
