//! The account as observed: the stack, its layout and the VPC.

pub mod layout;
pub mod live;
pub mod network;
pub mod observed;
