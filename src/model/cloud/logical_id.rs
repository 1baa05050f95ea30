//! Logical ids of resources in the template: the id of a resource that replaces a lost one.

/// Splits `NATGateway1Anew2` into `NATGateway1` and 2: how often the resource was created again under another logical id.
pub(crate) fn renewal(id: &str) -> (&str, u32) {
    let split = id.rsplit_once("Anew");
    split
        .and_then(|(base, count)| Some((base, count.parse().ok()?)))
        .unwrap_or((id, 0))
}

/// Returns the logical id under which a resource is made again.
pub(crate) fn next_name(id: &str) -> String {
    let (base, count) = renewal(id);
    format!("{base}Anew{}", count.saturating_add(1))
}
