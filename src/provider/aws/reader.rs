//! [`Reader`]: the clients and settings with which the stack is read.

use std::collections::BTreeMap;

use super::calls::Calls;

/// The clients and settings with which the stack is read.
#[derive(Debug)]
pub struct Reader<'a> {
    pub calls: &'a Calls,
    pub cloudformation: &'a aws_sdk_cloudformation::Client,
    pub name: &'a str,
    pub ownership: &'a BTreeMap<String, String>,
    /// Whether the controller keeps the stack policy.
    pub policy: bool,
}
