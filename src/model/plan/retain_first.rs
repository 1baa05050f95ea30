//! Before the stack gives up an EIP, CloudFormation must know that the EIP stays in the account.

use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::plan::diff::Difference;
use crate::model::plan::patched_template;
use crate::model::plan::types::Plan;

impl Plan {
    /// Plans a change that only retains EIPs, if the stack is to give up an EIP that is not retained: a removal follows the attributes in
    /// the template before it. Returns whether a change is planned.
    pub(in crate::model) fn retain_first(
        &mut self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        mut given_up: Vec<String>,
    ) -> bool {
        given_up.retain(|id| layout.releases(id));
        if given_up.is_empty() {
            return false;
        }
        let Some(template) = patched_template::retained(stack) else {
            return false;
        };
        self.differences = given_up.into_iter().map(Difference::retention).collect();
        self.change(stack, template, names, None);
        true
    }
}
