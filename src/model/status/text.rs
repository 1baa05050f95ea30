//! A status as text: the output of the subcommands `status` and `check`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::model::base::plain::plain;
use crate::model::cloud::static_ip::KeptIp;
use crate::model::plan::types::Action;
use crate::model::status::routes::RouteState;
use crate::model::status::{Entry, State, Status, joined};

/// How traffic to an address leaves the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub address: String,
    /// Whether a live route covers the address.
    pub routed: bool,
    /// The most specific live route, else the future one.
    pub route: Option<String>,
    /// The prefix list that has the route's destination as an entry: its id, or its name in the stack until the id is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_list: Option<String>,
    /// The static IPs from which its traffic leaves; empty if it is not routed.
    pub static_ips: Vec<String>,
    /// The entries that request it.
    pub entries: Vec<Entry>,
    /// The number of entries that the status omits.
    pub omitted: usize,
    /// Set if the address itself is a static IP that the account keeps without a NAT gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_ip: Option<KeptIp>,
}

impl Status {
    /// Returns the status with the entries of one namespace, of ConfigMaps with one name, or of both.
    pub fn only(mut self, namespace: Option<&str>, name: Option<&str>) -> Self {
        self.entries.retain(|entry| {
            namespace.is_none_or(|namespace| entry.namespace == namespace)
                && name.is_none_or(|name| entry.name == name)
        });
        self
    }

    /// Whether every shown entry is routed, and no problem concerns the whole.
    pub fn is_well(&self) -> bool {
        let routed = |entry: &Entry| entry.state == State::Routed;
        self.entries.iter().all(routed)
            && self.failure.is_none()
            && self.plan.action != Action::Refuse.name()
    }

    /// Returns the status as a table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let stack = self.stack.status.as_deref().unwrap_or("there is none yet");
        let plan = &self.plan;
        let mut line = |title: &str, value: &str| {
            let _written = writeln!(text, "{title:<12}{}", plain(value));
        };
        let progress = self.stack.progress.map(|it| format!(", {it}"));
        let progress = progress.unwrap_or_default();
        line("stack", &format!("{} {stack}{progress}", self.stack.name));
        line("plan", &format!("{}: {}", plan.action, plan.why));
        for (zone, ip) in self.exits() {
            line("static IP", &format!("{ip} {zone}"));
        }
        for kept in &self.kept_ips {
            line("kept IP", &kept_text(kept));
        }
        for list in &self.prefix_lists {
            line("prefix list", &list.to_string());
        }
        let leader = &self.leader;
        line(
            "leader",
            &format!("{} epoch {}", leader.identity, leader.epoch),
        );
        line("as of", &self.time);
        if let Some(failure) = &self.failure {
            let since = &failure.since;
            line(
                "failing",
                &format!("{} since {since}: {}", failure.reason, failure.message),
            );
        }
        if let Some(setback) = &self.setback {
            line("setback", setback);
        }
        for problem in self.drift.iter().chain(&self.problems) {
            let message = joined(&problem.message, Some(&problem.remedy));
            line(
                "problem",
                &format!("{}: {message} ({})", problem.subject, problem.reason),
            );
        }
        text.push('\n');
        text + &rows(&self.entries) + &left_out(self.omitted.entries)
    }

    /// Returns how traffic to one address leaves.
    pub fn check(&self, address: Ipv4Addr) -> Answer {
        let net = Ipv4Net::from(address);
        let contains = |text: &str| text.parse().is_ok_and(|wide: Ipv4Net| wide.contains(&net));
        let asks = |entry: &&Entry| contains(entry.cidr.as_ref().unwrap_or(&entry.asked));
        let mut routes: Vec<_> = self
            .routes
            .iter()
            .filter(|route| contains(&route.cidr))
            .collect();
        let length = |cidr: &str| cidr.parse().map_or(0, |net: Ipv4Net| net.prefix_len());
        routes.sort_by_key(|route| {
            (
                route.state == RouteState::Pending,
                std::cmp::Reverse(length(&route.cidr)),
            )
        });
        let route = routes.first();
        let routed = route.is_some_and(|route| route.state != RouteState::Pending);
        let entries: Vec<Entry> = self.entries.iter().filter(asks).cloned().collect();
        let of_entries: BTreeSet<&String> = entries
            .iter()
            .filter(|entry| entry.state == State::Routed)
            .flat_map(|entry| &entry.static_ips)
            .collect();
        let ips: Vec<String> = match of_entries.is_empty() {
            true => self.exits().map(|(_, ip)| ip.clone()).collect(),
            false => of_entries.into_iter().cloned().collect(),
        };
        let ip = address.to_string();
        let list = route.and_then(|route| route.prefix_list.as_ref());
        let named = |name: &String| {
            let mut lists = self.prefix_lists.iter();
            let known = lists.find(|list| list.name == *name);
            let id = known.and_then(|list| list.prefix_list_id.clone());
            id.unwrap_or_else(|| name.clone())
        };
        let mut kept = self.kept_ips.iter();
        Answer {
            kept_ip: kept.find(|kept| kept.ip == ip).cloned(),
            address: ip,
            routed,
            route: route.map(|route| route.cidr.clone()),
            prefix_list: list.map(named),
            static_ips: if routed { ips } else { Vec::new() },
            entries,
            omitted: self.omitted.entries,
        }
    }
}

impl Answer {
    /// Returns the answer as text.
    pub fn text(&self) -> String {
        let address = &self.address;
        let route = plain(self.route.as_deref().unwrap_or_default());
        let head = if self.routed {
            let ips = self.static_ips.join(", ");
            let list = self.prefix_list.as_deref();
            let list = list.map(|list| format!(" in prefix list {}", plain(list)));
            format!(
                "{address} leaves from {} by the route to {route}{}\n",
                plain(&ips),
                list.unwrap_or_default()
            )
        } else if !route.is_empty() {
            format!("{address} has no static IP yet: the route to {route} does not exist yet\n")
        } else if self.entries.is_empty() {
            format!("{address} has no static IP: no ConfigMap asks for it\n")
        } else {
            format!("{address} has no static IP: see why below\n")
        };
        let rows = match self.entries.is_empty() {
            true => String::new(),
            false => format!("\n{}", rows(&self.entries)),
        };
        let kept = match &self.kept_ip {
            Some(kept) => format!(
                "it is a static IP that is kept: {}\n",
                plain(&kept_text(kept))
            ),
            None => String::new(),
        };
        head + &kept + &rows + &left_out(self.omitted)
    }
}

/// Returns `198.51.100.3 eu-central-1c: not in use; aws ec2 release-address … releases it`.
fn kept_text(kept: &KeptIp) -> String {
    let KeptIp { ip, zone, .. } = kept;
    match (kept.release(), &kept.held_by) {
        (Some(command), _) => format!("{ip} {zone}: not in use; to give it up: {command}"),
        (None, holder) => format!(
            "{ip} {zone}: {} has it",
            holder.as_deref().unwrap_or_default()
        ),
    }
}

fn left_out(entries: usize) -> String {
    match entries {
        0 => String::new(),
        _ => format!("{entries} routed entries are left out for lack of room\n"),
    }
}

fn rows(entries: &[Entry]) -> String {
    let head = ["STATE", "CONFIGMAP", "KEY", "ASKED", "ROUTE", "STATIC IPS"].map(str::to_owned);
    let cells = |entry: &Entry| {
        let cluster = match entry.cluster.as_str() {
            "" => String::new(),
            cluster => format!("{cluster}/"),
        };
        [
            entry.state.name().to_owned(),
            plain(&format!("{cluster}{}/{}", entry.namespace, entry.name)).into_owned(),
            plain(&entry.key).into_owned(),
            plain(&entry.asked).into_owned(),
            plain(entry.route.as_deref().unwrap_or("-")).into_owned(),
            plain(&entry.static_ips.join(",")).into_owned(),
        ]
    };
    let table: Vec<[String; 6]> = std::iter::once(head)
        .chain(entries.iter().map(cells))
        .collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| {
            table
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let why = |entry: &Entry| {
        let (reason, message) = (entry.reason.as_ref()?, entry.message.as_ref()?);
        let told = joined(message, entry.remedy.as_deref());
        Some(format!("  {}: {}\n", plain(reason), plain(&told)))
    };
    let mut text = String::new();
    for (number, row) in table.iter().enumerate() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
        let entry = number.checked_sub(1).map(|number| &entries[number]);
        text += &entry.and_then(why).unwrap_or_default();
    }
    text
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
