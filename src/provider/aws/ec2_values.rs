//! Values in answers of EC2: CIDRs and tags.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag;
use ipnet::Ipv4Net;

pub fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    let tag = |tag: &Tag| {
        Some((
            tag.key()?.to_owned(),
            tag.value().unwrap_or_default().to_owned(),
        ))
    };
    tags.iter().filter_map(tag).collect()
}

/// Returns the value of a tag.
pub fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter()
        .find(|tag| tag.key() == Some(key))
        .map(|tag| tag.value().unwrap_or_default())
}

/// Returns a CIDR without host bits. None if it is not IPv4.
pub fn parse_cidr(text: &str) -> Option<Ipv4Net> {
    text.parse::<Ipv4Net>().ok().map(|net| net.trunc())
}
