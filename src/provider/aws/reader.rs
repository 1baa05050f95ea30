//! [`Reader`]: what the stack is read with.

use std::collections::BTreeMap;

use super::calls::Calls;

/// Reads the stack with what it needs for it.
#[derive(Debug)]
pub struct Reader<'a> {
    pub calls: &'a Calls,
    pub cloudformation: &'a aws_sdk_cloudformation::Client,
    pub name: &'a str,
    pub ownership: &'a BTreeMap<String, String>,
    /// Whether the stack policy matters.
    pub policy: bool,
}
