//! The data in the ledger, which outlives a leader.

pub mod grace;
pub mod had_ips;
pub mod ledger;
pub mod recall;
pub mod refusal_record;
