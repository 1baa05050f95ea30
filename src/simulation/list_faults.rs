//! Changes of prefix lists by other principals. Extends EC2 in memory.

use ipnet::Ipv4Net;

use super::ec2::Ec2;
use crate::model::base::ids::TableId;
use crate::model::cloud::network::Route;
use crate::model::cloud::prefix_list::ListId;

impl Ec2 {
    /// Returns the list through which a table serves this network.
    fn list_with(&self, table: &str, cidr: &Ipv4Net) -> Option<ListId> {
        let has = |id: &&ListId| {
            let list = self.lists.get(*id);
            list.is_some_and(|list| list.entries.contains(cidr))
        };
        let mut routes = self.network.list_routes(table)?.keys();
        routes.find(has).cloned()
    }

    /// Deletes the route to the list with this network, or changes its target. Returns whether the route changed.
    pub(super) fn lead_list(&mut self, table: &str, cidr: &Ipv4Net, target: Option<&str>) -> bool {
        let Some(list) = self.list_with(table, cidr) else {
            return false;
        };
        let Some(routes) = self.list_routes(table) else {
            return false;
        };
        let was = routes.remove(&list);
        let route = target.map(|target| Route {
            target: target.to_owned(),
            blackhole: false,
        });
        routes.extend(route.clone().map(|route| (list, route)));
        route != was
    }

    /// Removes the network from its list. Returns whether a list had the network.
    pub(super) fn drop_entry(&mut self, (table, cidr): &(TableId, Ipv4Net)) -> bool {
        let list = self.list_with(table, cidr);
        let list = list.and_then(|list| self.lists.get_mut(&list));
        list.is_some_and(|list| {
            list.version += 1;
            list.entries.remove(cidr)
        })
    }

    /// Deletes the list with this network and all routes to the list. Returns whether there was a list.
    pub(super) fn drop_list(&mut self, (table, cidr): &(TableId, Ipv4Net)) -> bool {
        let Some(list) = self.list_with(table, cidr) else {
            return false;
        };
        for table in self.users(&list) {
            let routes = self.list_routes(&table).into_iter();
            routes.for_each(|routes| _ = routes.remove(&list));
        }
        self.lists.remove(&list).is_some()
    }
}

#[test]
fn others_delete_a_list_an_entry_or_a_route_to_the_list() {
    use std::collections::BTreeSet;

    use crate::model::cloud::network::{Network, WorkerTable};
    use crate::model::cloud::prefix_list::PrefixList;

    let net = |text: &str| -> Ipv4Net { text.parse().expect("a network") };
    let route = Route {
        target: "nat-1".to_owned(),
        blackhole: false,
    };
    let worker = WorkerTable {
        list_routes: [("pl-1".to_owned(), route)].into(),
        ..WorkerTable::default()
    };
    let mut ec2 = Ec2::new(Network {
        worker_tables: [("rtb-1".to_owned(), worker)].into(),
        ..Network::default()
    });
    let list = PrefixList {
        entries: BTreeSet::from([net("8.8.8.8/32"), net("9.9.9.9/32")]),
        ..PrefixList::default()
    };
    ec2.lists.insert("pl-1".to_owned(), list);
    let table = "rtb-1".to_owned();
    assert!(!ec2.lead_list(&table, &net("1.1.1.1/32"), None));
    assert!(ec2.drop_entry(&(table.clone(), net("9.9.9.9/32"))));
    assert!(!ec2.drop_entry(&(table.clone(), net("9.9.9.9/32"))));
    assert!(ec2.lead_list(&table, &net("8.8.8.8/32"), Some("pcx-1")));
    assert!(!ec2.lead_list(&table, &net("8.8.8.8/32"), Some("pcx-1")));
    let mut other = ec2.clone();
    assert!(ec2.drop_list(&(table.clone(), net("8.8.8.8/32"))));
    assert!(ec2.lists.is_empty() && ec2.list_routes(&table).is_some_and(|it| it.is_empty()));
    assert!(other.lead_list(&table, &net("8.8.8.8/32"), None));
    assert_eq!(other.lists.len(), 1);
}
