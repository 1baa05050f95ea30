//! Protects lists as routes: no change removes a list, or the route to it, while a requested network depends on the list.

use crate::model::base::ids::TableId;
use crate::model::cloud::layout::Names;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::plan::diff::Difference;
use crate::model::plan::types::Plan;

impl Plan {
    /// Returns why the differences are refused, if they would lose a list that is in use.
    pub(in crate::model) fn would_lose_list(
        &self,
        differences: &[Difference],
        names: &Names,
    ) -> Option<String> {
        let mut losses = differences.iter().filter(|it| it.is_loss());
        let lost = losses.find(|it| self.uses_list(names, &it.id))?;
        Some(format!(
            "the change would replace or remove {} ({}), which serves requested networks; read the stack's template",
            lost.what, lost.id
        ))
    }

    /// Whether a desired network has its routes only by this list, or by this route to a list.
    pub(in crate::model::plan) fn uses_list(&self, names: &Names, id: &str) -> bool {
        let (tables, list): (Vec<&TableId>, &str) = match names.list_routes.get(id) {
            Some((table, list)) => (vec![table], list),
            // A list to which no route leads serves nothing.
            None => (names.routes_to(id).map(|(_, table)| table).collect(), id),
        };
        // What EC2 no longer has serves nothing.
        let there = names.lists.get(list);
        let there = there.filter(|_| !self.desired.damage.gone.contains(list));
        let entries = there.into_iter().flat_map(|list| &list.entries);
        let mut routes =
            entries.flat_map(|net| tables.iter().map(|table| ((*table).clone(), *net)));
        routes.any(|route| self.desired.routes.contains(&route) && !names.is_direct(&route))
    }

    /// Whether a difference concerns a list.
    pub(in crate::model) fn alters_list(&self) -> bool {
        let is_list =
            |resource_type: &str| ResourceType::of(resource_type) == ResourceType::PrefixList;
        let mut differences = self.differences.iter();
        differences.any(|it| is_list(&it.resource_type))
    }
}
