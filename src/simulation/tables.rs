//! Worker tables that come, go and lose their tags: a part of the account in memory.

use ipnet::Ipv4Net;

use super::MemoryProvider;
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::network::{Route, WorkerTable};

impl MemoryProvider {
    /// A worker table loses its tags: its id and what it was. None if there are not so many.
    pub(crate) fn untag(&self, number: usize) -> Option<(TableId, Zone)> {
        let network = &mut self.account().ec2.network;
        let id = network.worker_tables.keys().nth(number)?.clone();
        let zone = network.set_aside(&id)?;
        Some((id, zone))
    }

    /// It is a worker's again.
    pub(crate) fn tag(&self, id: &TableId, zone: &Zone) {
        let network = &mut self.account().ec2.network;
        if let Some(table) = network.other_tables.remove(id) {
            let worker = WorkerTable {
                zone: zone.clone(),
                routes: table.routes,
                list_routes: table.list_routes,
                tags: table.tags,
                ..WorkerTable::default()
            };
            network.worker_tables.insert(id.clone(), worker);
        }
    }

    /// There is one more worker table in a zone that has one.
    pub(crate) fn grow(&self, id: &str, zone: usize) {
        let network = &mut self.account().ec2.network;
        let zones = network.worker_tables.values();
        let Some(zone) = zones.map(|table| table.zone.clone()).nth(zone) else {
            return;
        };
        let out = Route {
            target: network.internet_gateway_id.clone(),
            blackhole: false,
        };
        let worker = WorkerTable {
            zone,
            routes: [(Ipv4Net::default(), out)].into(),
            ..WorkerTable::default()
        };
        network.worker_tables.insert(id.to_owned(), worker);
    }

    /// It is deleted, whatever is in it.
    pub(crate) fn fell(&self, id: &str) {
        let network = &mut self.account().ec2.network;
        network.worker_tables.remove(id);
        network.other_tables.remove(id);
    }

    pub(crate) fn has_table(&self, id: &TableId) -> bool {
        self.account().ec2.network.routes(id).is_some()
    }
}
