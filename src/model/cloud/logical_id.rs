//! Names of resources in the template: how a resource that is made again under another name is called.

/// `NATGateway1Anew2` → `NATGateway1`, 2: how often something was made anew under another logical id.
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
