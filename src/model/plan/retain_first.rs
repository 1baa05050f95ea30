//! Before the stack gives up an EIP, CloudFormation must know that the EIP stays in the account.

use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::plan::change_set::Proposal;
use crate::model::plan::decision::Decision;
use crate::model::plan::diff::Difference;
use crate::model::plan::patched_template;
use crate::model::plan::types::Plan;

impl Plan {
    /// Returns the next step of a change that only retains EIPs, if the stack is to give up an EIP that is not retained: a removal follows
    /// the attributes in the template before it.
    pub(in crate::model) fn retain_first(
        &self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        mut given_up: Vec<String>,
    ) -> Option<Decision> {
        given_up.retain(|id| layout.releases(id));
        if given_up.is_empty() {
            return None;
        }
        let template = patched_template::retained(stack)?;
        let differences = given_up.into_iter().map(Difference::retention).collect();
        let proposal = Proposal::step(template, differences);
        Some(self.change(stack, names, proposal))
    }
}
