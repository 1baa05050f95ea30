//! The changes that a change set announces.

use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{Change, Effect, Stack};
use crate::model::desired::template::Template;
use crate::model::input::request::Request;
use crate::model::plan::diff::{self, Kind};

/// Returns the layout of the stack's template.
pub(super) fn layout(stack: &Stack) -> Layout {
    Layout::read(&stack.template, &stack.parameters).unwrap_or_default()
}

/// Returns the changes of resources from the stack to the template.
pub(super) fn changes(stack: &Stack, template: &Template) -> Vec<Change> {
    let live = layout(stack);
    let differences = diff::between(&live, template, &Request::default());
    let resources = differences
        .into_iter()
        .filter(|difference| difference.resource_type.starts_with("AWS::"));
    let change = |difference: diff::Difference| Change {
        effect: match difference.kind {
            Kind::Add => Effect::Add,
            Kind::Remove => Effect::Remove,
            Kind::Modify if difference.is_replacement() => Effect::MayReplace,
            Kind::Modify => Effect::Modify,
        },
        dynamic_on: Vec::new(),
        logical_id: difference.id,
        resource_type: difference.resource_type,
    };
    let mut changes: Vec<Change> = resources.map(change).collect();
    changes.extend(metadata_changes(&live, template));
    changes
}

/// Returns the changes of metadata alone. CloudFormation detects these, but not a change of a deletion policy alone.
fn metadata_changes(live: &Layout, template: &Template) -> Vec<Change> {
    let wanted = Layout::read(&template.text, &template.parameters).unwrap_or_default();
    let metadata = |layout: &Layout, id: &str| layout.body(id).map(|body| body["Metadata"].clone());
    let same = |id: &&String| live.resources.get(*id) == wanted.resources.get(*id);
    let ids = live.resources.keys().filter(same);
    let differs = ids.filter(|id| metadata(live, id) != metadata(&wanted, id));
    let change = |id: &String| Change {
        logical_id: id.clone(),
        resource_type: live.resources[id].kind.clone(),
        effect: Effect::Tags,
        dynamic_on: Vec::new(),
    };
    differs.map(change).collect()
}
