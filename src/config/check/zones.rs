//! Checks of zones and their NAT subnets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::flags::{Options, StackOptions};
use super::super::form::{self, Judged};
use super::{Check, split};
use crate::model::base::ids::Zone;
use crate::model::cloud::more_ips;
use crate::model::desired;

const MAX_ZONES: usize = 20;

/// Refuses a zone of a kind without NAT gateways. Most Local Zones have none, but only EC2 knows which.
fn has_nat_gateways(zone: Zone) -> Judged<Zone> {
    let parts = || zone.split('-');
    let is_wavelength = |part: &str| {
        let rest = part.strip_prefix("wl");
        rest.is_some_and(|rest| rest == "z" || rest.bytes().all(|it| it.is_ascii_digit()))
    };
    if parts().any(is_wavelength) {
        let problem = format!("{zone} is a Wavelength Zone, where AWS has no NAT gateways");
        return Err((problem, "take it out, with its NAT CIDR block".to_owned()));
    }
    let is_group = zone.ends_with(|it: char| it.is_ascii_digit());
    if is_group {
        let problem = format!("{zone} is a group of Local Zones");
        let remedy = format!("give the zone's name, such as {zone}a");
        return Err((problem, remedy));
    }
    Ok(zone)
}

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
            .map(|text| self.given("aws-az", form::zone(text).and_then(has_nat_gateways)))
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

    /// Returns the zones that are to be removed. A zone that is only missing from `--aws-az` keeps its static IP.
    pub(super) fn remove_zones(
        &mut self,
        stack: &StackOptions,
        options: &Options,
    ) -> BTreeSet<Zone> {
        let blanket = stack.allow_zone_removal.as_deref().map(str::trim);
        if blanket.is_some_and(|value| value != "false") {
            self.mistake(
                "allow-zone-removal",
                "the flag was removed, because with it a typo in --aws-az cost a static IP",
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

    /// Returns the zones that get a new static IP, each with its lost one, so that the flag has no effect on a later loss.
    pub(super) fn new_eips(&mut self, stack: &StackOptions) -> BTreeSet<(Zone, String)> {
        const FLAG: &str = "allow-new-eips";
        const FORM: &str = "name a zone and the static IP that it has lost, such as --allow-new-eips=eu-west-1a=203.0.113.7; repeat \
                            the flag for more";
        let given = split(&stack.allow_new_eips, &['\n', ',']);
        if given.len() > MAX_ZONES {
            let problem = format!("{} static IPs are too many", given.len());
            self.mistake(FLAG, problem, format!("give at most {MAX_ZONES}"));
            return BTreeSet::new();
        }
        let mut lost = BTreeSet::new();
        // In earlier versions this value switched the flag off.
        for text in given.iter().filter(|text| *text != "false") {
            if text == "true" {
                let problem = "it no longer applies to all zones, since one wrong answer of EC2 then cost every static IP";
                self.mistake(FLAG, problem, FORM);
                continue;
            }
            let parts = text.split_once('=');
            let ip = parts.and_then(|(_, ip)| ip.trim().parse::<Ipv4Addr>().ok());
            let (Some((zone, _)), Some(ip)) = (parts, ip) else {
                let problem = format!("{} is not a zone with a static IP", form::quote(text));
                self.mistake(FLAG, problem, FORM);
                continue;
            };
            let zone = self.given(FLAG, form::zone(zone.trim()));
            lost.extend(zone.map(|zone| (zone, ip.to_string())));
        }
        lost
    }

    /// Returns the allocation ids of the static IPs that zones get: the first one of each zone, and the others in their order. `eips`: how
    /// many static IPs each zone has.
    pub(super) fn allocations(
        &mut self,
        stack: &StackOptions,
        eips: u8,
    ) -> (BTreeMap<Zone, String>, BTreeMap<Zone, Vec<String>>) {
        const FLAG: &str = "aws-eip-allocation-id";
        const FORM: &str = "name a zone and the allocation id of its static IP, such as \
                            --aws-eip-allocation-id=eu-west-1a=eipalloc-0123456789abcdef0; repeat the flag for more zones, and for more \
                            static IPs of a zone";
        let given = split(&stack.aws_eip_allocation_id, &['\n', ',']);
        let most = MAX_ZONES * usize::from(more_ips::MAX);
        if given.len() > most {
            let problem = format!("{} allocation ids are too many", given.len());
            self.mistake(FLAG, problem, format!("give at most {most}"));
            return (BTreeMap::new(), BTreeMap::new());
        }
        let mut all: BTreeSet<&str> = BTreeSet::new();
        let mut allocations: BTreeMap<Zone, String> = BTreeMap::new();
        let mut more: BTreeMap<Zone, Vec<String>> = BTreeMap::new();
        for text in &given {
            let parts = text.split_once('=');
            let parts = parts.map(|(zone, id)| (zone.trim(), id.trim()));
            let Some((zone, id)) = parts.filter(|(_, id)| is_allocation_id(id)) else {
                let problem = format!("{} is not a zone with an allocation id", form::quote(text));
                self.mistake(FLAG, problem, FORM);
                continue;
            };
            let Some(zone) = self.given(FLAG, form::zone(zone)) else {
                continue;
            };
            if !all.insert(id) {
                let problem = format!("{} names an allocation id once more", form::quote(text));
                self.mistake(FLAG, problem, "give each allocation id once");
            }
            match allocations.entry(zone) {
                Entry::Vacant(first) => _ = first.insert(id.to_owned()),
                Entry::Occupied(first) => {
                    let others = more.entry(first.key().clone()).or_default();
                    others.push(id.to_owned());
                }
            }
        }
        for (zone, others) in &more {
            let named = others.len() + 1;
            if named > usize::from(eips) {
                let problem = format!(
                    "{named} static IPs are named for {zone}, and --aws-eips-per-zone is {eips}"
                );
                let remedy = "name one for each static IP of the zone, or set --aws-eips-per-zone to their number";
                self.mistake(FLAG, problem, remedy);
            }
        }
        (allocations, more)
    }

    /// Returns the zones whose static IP is replaced. Each needs a named address: the controller replaces a static IP only by one that the
    /// operator has chosen. A zone with several static IPs may use fewer of them without one.
    pub(super) fn replaced(&mut self, stack: &StackOptions, options: &Options) -> BTreeSet<Zone> {
        const FLAG: &str = "replace-static-ip";
        let configured = split(&options.aws.aws_az, &['\n', ',']);
        let named = split(&stack.aws_eip_allocation_id, &['\n', ',']);
        let named = named.iter().filter_map(|text| text.split_once('='));
        let named: BTreeSet<&str> = named.map(|(zone, _)| zone.trim()).collect();
        let has_one = form::number(&stack.aws_eips_per_zone, 2, u16::from(more_ips::MAX)).is_err();
        let mut zones = BTreeSet::new();
        for name in split(&stack.replace_static_ip, &['\n', ','])
            .iter()
            .take(MAX_ZONES)
        {
            let Some(zone) = self.given(FLAG, form::zone(name)) else {
                continue;
            };
            if !configured.is_empty() && !configured.contains(&zone) {
                let problem = format!("{zone} is not given with --aws-az");
                self.mistake(FLAG, problem, "name a zone of --aws-az, or take it out");
            }
            if has_one && !named.contains(zone.as_str()) {
                let problem =
                    format!("no address is named that is to replace the static IP of {zone}");
                let remedy = format!(
                    "allocate an Elastic IP address, and name it with --aws-eip-allocation-id={zone}=ID, or take {zone} out"
                );
                self.mistake(FLAG, problem, remedy);
            }
            zones.insert(zone);
        }
        zones
    }

    /// How many static IPs each zone has, and how many of them carry traffic.
    pub(super) fn eips(&mut self, stack: &StackOptions) -> (u8, u8) {
        const FLAG: &str = "aws-eips-in-use-per-zone";
        let number = |text: &str| form::number(text, 1, u16::from(more_ips::MAX));
        let exist = self.value("aws-eips-per-zone", number(&stack.aws_eips_per_zone), 1);
        let used = self.value(FLAG, number(&stack.aws_eips_in_use_per_zone), 1);
        if used > exist {
            let problem = format!("{used} static IPs are more than the {exist} that a zone has");
            let remedy = format!(
                "set --aws-eips-per-zone={used} first, and let partners allow the new IPs before they are used"
            );
            self.mistake(FLAG, problem, remedy);
        }
        let number = |number: u16| u8::try_from(number).unwrap_or(1);
        (number(exist), number(used))
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

/// Whether a text is the allocation id of an Elastic IP address.
fn is_allocation_id(text: &str) -> bool {
    let number = text.strip_prefix("eipalloc-");
    number.is_some_and(|number| {
        (8..=17).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_hexdigit())
    })
}
