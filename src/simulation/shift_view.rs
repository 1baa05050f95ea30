//! What carries the traffic to a network. Extends the account in memory.

use super::{Ipv4Net, MemoryProvider};
use crate::model::base::ids::TableId;
use crate::model::cloud::observed::Health;

/// Whether EC2 has each kind of route, to a NAT gateway that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carriers {
    pub(crate) direct: bool,
    /// A route to a list that is complete and has the network.
    pub(crate) list: bool,
}

impl MemoryProvider {
    pub(crate) fn carriers(&self, (table, net): &(TableId, Ipv4Net)) -> Carriers {
        let account = self.account();
        let ec2 = &account.ec2;
        let is_well = |gateway: &str| {
            let gateway = ec2.gateways.get(gateway);
            gateway.is_some_and(|gateway| gateway.health == Health::Well)
        };
        let table = ec2.network.worker_tables.get(table);
        let direct = table.and_then(|table| table.routes.get(net));
        let lists = table.into_iter().flat_map(|table| &table.list_routes);
        let mut lists = lists.filter(|(_, route)| is_well(&route.target));
        Carriers {
            direct: direct.is_some_and(|route| is_well(&route.target)),
            list: lists.any(|(id, _)| {
                let list = ec2.lists.get(id);
                list.is_some_and(|list| list.state.is_settled() && list.entries.contains(net))
            }),
        }
    }

    /// Describes the direct routes and the lists of the stack, and the routes of each table in EC2.
    pub(crate) fn carriers_text(&self) -> String {
        let names = self.layout().names();
        let direct: Vec<_> = names
            .routes
            .keys()
            .filter(|it| names.is_direct(it))
            .collect();
        let lists = names.lists.iter();
        let lists: Vec<_> = lists
            .map(|(id, list)| format!("{id} of {}: {:?}", list.size, list.entries))
            .collect();
        let account = self.account();
        let tables = account.ec2.network.worker_tables.iter();
        let tables: Vec<_> = tables
            .map(|(id, table)| {
                let direct: Vec<_> = table.routes.keys().collect();
                format!("{id} {direct:?} and {:?}", table.list_routes.keys())
            })
            .collect();
        format!(
            "direct {direct:?}, lists {lists:?}, in EC2 {tables:?} and lists {:?}",
            account.ec2.lists
        )
    }
}
