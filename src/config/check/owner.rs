//! Whose stack it is.

use super::{Check, form};
use crate::model::base::owner::{Owner, is_uid};

impl Check {
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
