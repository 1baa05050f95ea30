//! Worker tables that come, go and lose their tags. Extends the account in memory.

use ipnet::Ipv4Net;

use super::MemoryProvider;
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::network::{Route, WorkerTable};

impl MemoryProvider {
    /// Removes the tags of a worker table. Returns its id and zone; None if there is no such table.
    pub(crate) fn untag(&self, number: usize) -> Option<(TableId, Zone)> {
        let network = &mut self.account().ec2.network;
        let id = network.worker_tables.keys().nth(number)?.clone();
        let zone = network.set_aside(&id)?;
        Some((id, zone))
    }

    /// Restores the tags of a worker table.
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

    /// Adds a worker table to a zone that has one.
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

    /// Deletes a table with all its routes.
    pub(crate) fn fell(&self, id: &str) {
        let network = &mut self.account().ec2.network;
        network.worker_tables.remove(id);
        network.other_tables.remove(id);
    }

    pub(crate) fn has_table(&self, id: &TableId) -> bool {
        self.account().ec2.network.routes(id).is_some()
    }
}
