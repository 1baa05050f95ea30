//! Before the stack gives up an EIP, CloudFormation must know that the EIP stays in the account.

use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::plan::diff::Difference;
use crate::model::plan::patched_template;
use crate::model::plan::types::Plan;

impl Plan {
    /// Plans a change of nothing but the attributes, if an EIP that `goes` is without them: what counts for a removal is the
    /// template of before. Returns whether it did.
    pub(in crate::model) fn retain_first(
        &mut self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        goes: impl Fn(&str) -> bool,
    ) -> bool {
        let ids = layout.resources.keys();
        let released = ids.filter(|id| layout.releases(id) && goes(id));
        let changes: Vec<_> = released.cloned().map(Difference::retention).collect();
        let template = patched_template::retained(stack).filter(|_| !changes.is_empty());
        let Some(template) = template else {
            return false;
        };
        self.differences = changes;
        self.change(stack, template, names, None);
        true
    }
}
