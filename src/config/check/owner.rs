//! Checks of the stack's owner and of tags that would mark its route tables as the workers'.

use std::collections::BTreeMap;

use super::{Check, form};
use crate::model::base::owner::{Owner, is_uid};
use crate::model::cloud::network::ZONE_TAG;

impl Check {
    /// Refuses the zone tag, because CloudFormation also gives the stack's tags to the route tables of the NAT subnets.
    pub(super) fn no_zone_tag(&mut self, tags: &BTreeMap<String, String>) {
        if tags.contains_key(ZONE_TAG) {
            let problem = format!(
                "the stack would give {ZONE_TAG} to the route tables of the NAT subnets, and they would look like those of workers"
            );
            self.mistake("additional-stack-tags", problem, "leave that tag out");
        }
    }

    pub(super) fn owner(&mut self, takes_over: &Option<String>) -> Owner {
        let judge = |text: &str| {
            match is_uid(text) {
            true => Ok(text.to_owned()),
            false => Err((
                format!("{} is no UID", form::quote(text)),
                "give what `kubectl get namespace kube-system -o jsonpath={.metadata.uid}` prints in the other cluster"
                    .to_owned(),
            )),
        }
        };
        Owner {
            takes_over: self.optional("take-over-stack-from", takes_over, judge),
            ..Owner::default()
        }
    }
}
