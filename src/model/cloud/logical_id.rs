//! Logical ids of resources that replace lost ones.

/// Splits `NATGateway1Anew2` into `NATGateway1` and 2, the number of times that the resource was created again.
pub(crate) fn renewal(id: &str) -> (&str, u32) {
    let split = id.rsplit_once("Anew");
    split
        .and_then(|(base, count)| Some((base, count.parse().ok()?)))
        .unwrap_or((id, 0))
}

/// Returns the logical id under which a lost resource is created again.
pub(crate) fn next_name(id: &str) -> String {
    let (base, count) = renewal(id);
    format!("{base}Anew{}", count.saturating_add(1))
}
