//! The account as observed: the stack, its layout and the VPC.

pub mod change_set_name;
pub mod given_ips;
pub mod layout;
pub mod left_behind;
pub mod limits;
pub mod live;
pub mod live_routes;
pub mod logical_id;
pub mod more_ips;
pub mod names;
pub mod network;
pub mod network_lists;
pub mod observed;
pub mod part_names;
pub mod prefix_list;
pub mod released_ips;
pub mod resource_type;
pub mod retention;
pub mod set_aside;
pub mod static_ip;
pub mod status;
pub mod tagged_ips;
