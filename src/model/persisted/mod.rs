//! Data that outlives a leader, in the ledger.

pub mod grace;
pub mod had_ips;
pub mod ledger;
pub mod recall;
pub mod refusal_record;
