//! The workers' route tables and their routes, read from EC2.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, RouteOrigin, RouteState, RouteTable};
use ipnet::Ipv4Net;

use super::calls::Calls;
use super::ec2_values::{parse_cidr, tag, tags};
use super::kind::Service;
use super::pages::{List, Pages};
use super::prefix_lists::Sizes;
use super::vpc::VpcInfo;
use crate::model::cloud::network::{OtherTable, Route, Target, WorkerTable, ZONE_TAG};
use crate::model::cloud::prefix_list::ListId;
use crate::provider::ProviderError;

/// Route tables per page: the most that EC2 allows.
const PAGE_SIZE: i32 = 100;

/// Returns the VPC's route tables, the workers' with their routes: one call per hundred tables. All tables are read, to distinguish a
/// worker table that lost its tag from a deleted one.
pub async fn read(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    vpc_id: &str,
    filters: &[(String, String)],
) -> Result<Tables, ProviderError> {
    let (mut tables, mut pages) = (Tables::default(), Pages::of(List::RouteTables));
    while let Some(token) = pages.turn() {
        let request = ec2
            .describe_route_tables()
            .filters(Filter::builder().name("vpc-id").values(vpc_id).build())
            .max_results(PAGE_SIZE)
            .set_next_token(token);
        let answer = calls
            .read(Service::Ec2, "DescribeRouteTables", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        for table in answer.route_tables() {
            tables.take(table, filters);
        }
        pages.note(answer.next_token);
    }
    pages.end().map_err(|long| {
        let remedy = format!("delete those in {vpc_id} that are not needed");
        long.error("TooManyRouteTables", &remedy)
    })?;
    if tables.workers.is_empty() {
        return Err(no_tables(vpc_id, filters));
    }
    Ok(tables)
}

/// The route tables of a VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub workers: BTreeMap<String, WorkerTable>,
    pub others: BTreeMap<String, OtherTable>,
    /// The route table of each associated subnet.
    pub associations: BTreeMap<String, String>,
}

impl Tables {
    /// Returns the prefix lists that the workers' tables have routes to.
    pub fn lists(&self) -> BTreeSet<ListId> {
        let lists = self.workers.values();
        let lists = lists.flat_map(|table| table.list_routes.keys());
        lists.cloned().collect()
    }

    /// Sets how many routes the prefix lists in each worker table count as.
    pub fn count_lists(&mut self, sizes: &Sizes) {
        for table in self.workers.values_mut() {
            let lists = table.list_routes.keys();
            let sizes = lists.map(|list| sizes.get(list).copied().unwrap_or(1));
            table.listed = sizes.sum();
        }
    }

    fn take(&mut self, table: &RouteTable, filters: &[(String, String)]) {
        let Some(id) = table.route_table_id() else {
            return;
        };
        for association in table.associations() {
            if let Some(subnet) = association.subnet_id() {
                self.associations.insert(subnet.to_owned(), id.to_owned());
            }
        }
        match worker_table(table, filters) {
            Some((id, worker)) => {
                self.workers.insert(id, worker);
            }
            None => {
                let other = OtherTable {
                    routes: fixed(table).filter_map(route).collect(),
                    list_routes: fixed(table).filter_map(list_route).collect(),
                    tags: tags(table.tags()),
                };
                self.others.insert(id.to_owned(), other);
            }
        }
    }

    /// Whether the tables contradict the known VPC: every table has a route to `local` for each CIDR of the VPC, and a route to a detached
    /// gateway is a blackhole.
    pub fn contradict(&self, vpc: &VpcInfo) -> bool {
        let workers = self.workers.values().map(|table| &table.routes);
        let tables = workers.chain(self.others.values().map(|table| &table.routes));
        let routes: Vec<(&Ipv4Net, &Route)> = tables.flatten().collect();
        let local = routes
            .iter()
            .filter(|(_, route)| route.leads_to() == Target::Local);
        let local: BTreeSet<&Ipv4Net> = local.map(|(cidr, _)| *cidr).collect();
        let known: BTreeSet<&Ipv4Net> = vpc.vpc_cidrs.iter().collect();
        let gateway = &vpc.internet_gateway_id;
        let detached = |route: &Route| route.blackhole && route.target == *gateway;
        (!local.is_empty() && local != known) || routes.iter().any(|(_, route)| detached(route))
    }
}

/// Returns a worker's table, by its id. None if it is not a worker's.
fn worker_table(table: &RouteTable, filters: &[(String, String)]) -> Option<(String, WorkerTable)> {
    let zone = tag(table.tags(), ZONE_TAG)?.trim().to_owned();
    let has = |(key, value): &(String, String)| tag(table.tags(), key) == Some(value.as_str());
    if !filters.iter().all(has) {
        return None;
    }
    let id = table.route_table_id()?.to_owned();
    let propagated = table.routes().iter().filter(is_propagated);
    Some((
        id,
        WorkerTable {
            zone,
            routes: fixed(table).filter_map(route).collect(),
            propagated: propagated.filter_map(route).collect(),
            list_routes: fixed(table).filter_map(list_route).collect(),
            listed: 0,
            tags: tags(table.tags()),
        },
    ))
}

/// The static routes of a table.
fn fixed(table: &RouteTable) -> impl Iterator<Item = &aws_sdk_ec2::types::Route> {
    let routes = table.routes().iter();
    routes.filter(|route| !is_propagated(route))
}

fn is_propagated(route: &&aws_sdk_ec2::types::Route) -> bool {
    matches!(
        route.origin(),
        Some(RouteOrigin::EnableVgwRoutePropagation | RouteOrigin::Advertisement)
    )
}

/// Returns a route by its destination. None for prefix lists, and for IPv6 destinations, which never conflict with ours.
fn route(route: &aws_sdk_ec2::types::Route) -> Option<(Ipv4Net, Route)> {
    let destination = parse_cidr(route.destination_cidr_block()?)?;
    Some((destination, leading(route)))
}

/// Returns a route to a prefix list, by the list's id.
fn list_route(route: &aws_sdk_ec2::types::Route) -> Option<(ListId, Route)> {
    let list = route.destination_prefix_list_id()?;
    Some((list.to_owned(), leading(route)))
}

/// Returns where a route leads.
fn leading(route: &aws_sdk_ec2::types::Route) -> Route {
    let target = [
        route.nat_gateway_id(),
        route.gateway_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.instance_id(),
        route.network_interface_id(),
        route.local_gateway_id(),
        route.carrier_gateway_id(),
        route.core_network_arn(),
        route.odb_network_arn(),
        route.egress_only_internet_gateway_id(),
        route.ip_address(),
    ];
    let target = target
        .into_iter()
        .flatten()
        .find(|target| !target.is_empty())
        .unwrap_or("unknown")
        .to_owned();
    Route {
        target,
        blackhole: route.state() == Some(&RouteState::Blackhole),
    }
}

fn no_tables(vpc_id: &str, filters: &[(String, String)]) -> ProviderError {
    let mut wanted = vec![format!("tag {ZONE_TAG}")];
    wanted.extend(filters.iter().map(|(key, value)| format!("{key}={value}")));
    let remedy = match filters {
        [] => format!("tag each worker's route table with {ZONE_TAG}=<its zone>"),
        _ => format!(
            "tag each worker's route table with {ZONE_TAG}=<its zone>, or correct --aws-route-table-tag"
        ),
    };
    ProviderError::after_fix(
        "NoRouteTables",
        format!(
            "VPC {vpc_id} has no route table with {}; {remedy}",
            wanted.join(" and ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::Route as Ec2Route;

    use aws_sdk_ec2::types::Tag;

    use super::*;

    #[test]
    fn routes_by_destination_whatever_the_target() {
        let to = |cidr: &str| Ec2Route::builder().destination_cidr_block(cidr);
        let table = RouteTable::builder()
            .route_table_id("rtb-1")
            .tags(Tag::builder().key(ZONE_TAG).value(" eu-west-1a").build())
            .routes(to("10.0.0.0/16").gateway_id("local").build())
            .routes(
                to("0.0.0.0/0")
                    .instance_id("i-1")
                    .network_interface_id("eni-1")
                    .build(),
            )
            .routes(
                to("8.8.8.8/32")
                    .nat_gateway_id("nat-1")
                    .state(RouteState::Blackhole)
                    .build(),
            )
            .routes(
                to("9.9.9.9/24")
                    .transit_gateway_id("tgw-1")
                    .state(RouteState::Active)
                    .build(),
            )
            .routes(to("7.7.7.7/32").build())
            .routes(
                Ec2Route::builder()
                    .destination_ipv6_cidr_block("::/0")
                    .gateway_id("igw-1")
                    .build(),
            )
            .routes(
                Ec2Route::builder()
                    .destination_prefix_list_id("pl-1")
                    .gateway_id("vpce-1")
                    .build(),
            )
            .build();
        let (id, table) = worker_table(&table, &[]).unwrap();
        assert_eq!((id.as_str(), table.zone.as_str()), ("rtb-1", "eu-west-1a"));
        let routes: Vec<String> = table
            .routes
            .iter()
            .map(|(to, route)| format!("{to} {} {}", route.target, route.blackhole))
            .collect();
        let lists: Vec<String> = table
            .list_routes
            .iter()
            .map(|(to, route)| format!("{to} {}", route.target))
            .collect();
        assert_eq!(lists, ["pl-1 vpce-1"]);
        assert_eq!(
            routes,
            [
                "0.0.0.0/0 i-1 false",
                "7.7.7.7/32 unknown false",
                "8.8.8.8/32 nat-1 true",
                "9.9.9.0/24 tgw-1 false",
                "10.0.0.0/16 local false",
            ]
        );
    }

    #[test]
    fn a_propagated_route_stands_beside_a_static_one() {
        let to = |target: &str, origin: RouteOrigin| {
            let route = Ec2Route::builder().destination_cidr_block("8.8.8.8/32");
            route.gateway_id(target).origin(origin).build()
        };
        let fixed = to("nat-1", RouteOrigin::CreateRoute);
        for origin in [
            RouteOrigin::EnableVgwRoutePropagation,
            RouteOrigin::Advertisement,
        ] {
            let propagated = to("vgw-1", origin);
            for both in [
                [fixed.clone(), propagated.clone()],
                [propagated.clone(), fixed.clone()],
            ] {
                let table = RouteTable::builder()
                    .route_table_id("rtb-1")
                    .tags(Tag::builder().key(ZONE_TAG).value("a").build())
                    .set_routes(Some(both.into()));
                let (_, table) = worker_table(&table.build(), &[]).unwrap();
                let target = |routes: &BTreeMap<Ipv4Net, Route>| {
                    let targets = routes.values().map(|route| route.target.clone());
                    targets.collect::<Vec<_>>()
                };
                assert_eq!(target(&table.routes), ["nat-1"]);
                assert_eq!(target(&table.propagated), ["vgw-1"]);
            }
        }
    }

    #[test]
    fn filters_with_and_without_values() {
        let filters = [
            ("Type".to_owned(), "dmz".to_owned()),
            ("Worker".to_owned(), String::new()),
        ];
        let table = |tags: &[(&str, &str)]| {
            let tags = tags
                .iter()
                .map(|(key, value)| Tag::builder().key(*key).value(*value).build())
                .collect();
            RouteTable::builder()
                .route_table_id("rtb-1")
                .set_tags(Some(tags))
                .build()
        };
        assert!(
            worker_table(
                &table(&[(ZONE_TAG, "a"), ("Type", "dmz"), ("Worker", "")]),
                &filters
            )
            .is_some()
        );
        assert!(
            worker_table(
                &table(&[(ZONE_TAG, "a"), ("Type", "dmz"), ("Worker", "x")]),
                &filters
            )
            .is_none()
        );
        let without = table(&[(ZONE_TAG, "a"), ("Worker", "")]);
        assert!(worker_table(&without, &filters).is_none());
        let mut tables = Tables::default();
        tables.take(&without, &filters);
        assert!(tables.workers.is_empty() && tables.others.contains_key("rtb-1"));
        // A table with an empty zone stays: the plan reports that no NAT gateway serves it.
        assert_eq!(
            worker_table(&table(&[(ZONE_TAG, "")]), &[]).unwrap().1.zone,
            ""
        );
        let error = no_tables("vpc-1", &filters);
        assert!(
            error.message.contains("AvailabilityZone and Type=dmz")
                && error.message.contains("vpc-1"),
            "{error}"
        );
    }

    #[test]
    fn tables_contradict_a_vpc_that_has_changed() {
        let vpc = VpcInfo {
            account: None,
            vpc_id: "vpc-1".to_owned(),
            vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            internet_gateway_id: "igw-1".to_owned(),
        };
        let contradicts = |routes: &[(&str, &str, RouteState)]| {
            let route = |(to, target, state): &(&str, &str, RouteState)| {
                let route = Ec2Route::builder().destination_cidr_block(*to);
                route.gateway_id(*target).state(state.clone()).build()
            };
            let routes = routes.iter().map(route).collect();
            let table = RouteTable::builder()
                .route_table_id("rtb-1")
                .set_routes(Some(routes));
            let mut tables = Tables::default();
            tables.take(&table.build(), &[]);
            tables.contradict(&vpc)
        };
        let local = ("10.0.0.0/16", "local", RouteState::Active);
        let more = ("10.1.0.0/16", "local", RouteState::Active);
        let out = |state| ("0.0.0.0/0", "igw-1", state);
        assert!(!contradicts(&[local.clone(), out(RouteState::Active)]));
        assert!(contradicts(&[local.clone(), more]));
        assert!(contradicts(&[local, out(RouteState::Blackhole)]));
        assert!(!contradicts(&[]), "a VPC that cannot be told by its tables");
    }
}
