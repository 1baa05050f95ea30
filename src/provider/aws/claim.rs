//! Decides from names and tags alone which stack belongs to this controller.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Stack, StackStatus, Tag};

/// The name of stacks that were created before ownership tags existed.
const UNTAGGED_NAME: &str = "egress-static-nat";

/// The conclusion from the stacks that were found.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// No stack is ours, and the name is free.
    Absent,
    Ours(Box<Stack>),
    /// A stack without our tags has the name.
    Foreign {
        name: String,
        why: String,
    },
    /// More than one stack has our tags.
    Several(Vec<Stack>),
}

/// Decides which of the stacks is ours, by each stack's tags and name:
///
/// | ownership tags                | name                                | result                    |
/// |-------------------------------|-------------------------------------|---------------------------|
/// | all, with our values          | any                                 | ours                      |
/// | none of the keys              | ours, and it is `egress-static-nat` | ours: older than the tags |
/// | anything else                 | ours                                | foreign                   |
/// | anything else                 | other                               | ignored                   |
///
/// `found` may contain a stack twice (by name and by tags). Nested stacks have their parent's tags and are ignored, as are
/// deleted stacks.
pub fn claim(name: &str, ownership: &BTreeMap<String, String>, found: &[Stack]) -> Claim {
    let mut ours: Vec<&Stack> = Vec::new();
    let mut foreign = None;
    for stack in found
        .iter()
        .filter(|stack| !is_gone(stack) && !is_nested(stack))
    {
        let named = stack.stack_name() == Some(name);
        if is_owned(stack, ownership) || (named && is_older_than_tags(stack, ownership)) {
            if ours
                .iter()
                .all(|known| known.stack_id() != stack.stack_id())
            {
                ours.push(stack);
            }
        } else if named {
            foreign = Some(stack);
        }
    }
    match (ours.as_slice(), foreign) {
        ([], None) => Claim::Absent,
        ([], Some(stack)) => Claim::Foreign {
            name: name.to_owned(),
            why: why_foreign(stack, ownership),
        },
        ([stack], _) => Claim::Ours(Box::new((*stack).clone())),
        (several, _) => Claim::Several(several.iter().map(|stack| (*stack).clone()).collect()),
    }
}

/// Whether a stack has every ownership tag. False if there are none to compare: then the name alone decides.
pub fn is_owned(stack: &Stack, ownership: &BTreeMap<String, String>) -> bool {
    !ownership.is_empty()
        && ownership
            .iter()
            .all(|(key, value)| tag(stack, key) == Some(value))
}

pub fn is_gone(stack: &Stack) -> bool {
    stack.stack_status() == Some(&StackStatus::DeleteComplete)
}

fn is_nested(stack: &Stack) -> bool {
    stack.parent_id().is_some_and(|id| !id.is_empty())
}

fn is_older_than_tags(stack: &Stack, ownership: &BTreeMap<String, String>) -> bool {
    ownership.is_empty()
        || (stack.stack_name() == Some(UNTAGGED_NAME)
            && ownership.keys().all(|key| tag(stack, key).is_none()))
}

fn tag<'a>(stack: &'a Stack, key: &str) -> Option<&'a str> {
    stack
        .tags()
        .iter()
        .find(|tag| tag.key() == Some(key))
        .and_then(Tag::value)
}

/// Returns why a stack is not ours.
pub fn why_foreign(stack: &Stack, ownership: &BTreeMap<String, String>) -> String {
    if stack.stack_status() == Some(&StackStatus::ReviewInProgress) {
        // A stack has no tags before it is created.
        return "a change set that would create it was made and not executed; delete the empty stack"
            .to_owned();
    }
    let differences: Vec<String> = ownership
        .iter()
        .filter_map(|(key, value)| match tag(stack, key) {
            Some(is) if is == value => None,
            Some(is) => Some(format!("{key}={is} instead of {value}")),
            None => Some(format!("no {key}={value}")),
        })
        .collect();
    format!(
        "it has {}; if it is this cluster's, give it these tags, else correct --cluster-id, --cluster-id-tag-prefix or \
         --controller-id",
        differences.join(" and ")
    )
}

/// Returns keys and values as a map, without pairs that have no key.
pub fn pairs<'a>(
    pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
) -> BTreeMap<String, String> {
    pairs
        .filter_map(|(key, value)| Some((key?.to_owned(), value.unwrap_or_default().to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "egress-static-nat-one";

    fn ownership() -> BTreeMap<String, String> {
        [
            ("kubernetes.io/cluster/one", "owned"),
            ("kubernetes:application", "egress"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    const OURS: &[(&str, &str)] = &[
        ("kubernetes.io/cluster/one", "owned"),
        ("kubernetes:application", "egress"),
        ("team", "x"),
    ];

    fn stack(name: &str, tags: &[(&str, &str)]) -> Stack {
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(*value).build())
            .collect();
        let builder = Stack::builder()
            .stack_name(name)
            .stack_id(format!("arn:{name}"))
            .set_tags(Some(tags));
        builder
            .creation_time(aws_smithy_types::DateTime::from_secs(1))
            .stack_status(StackStatus::UpdateComplete)
            .build()
    }

    fn names(claim: Claim) -> Result<Vec<String>, String> {
        let name = |stack: &Stack| stack.stack_name().unwrap_or_default().to_owned();
        match claim {
            Claim::Absent => Ok(vec![]),
            Claim::Ours(stack) => Ok(vec![name(&stack)]),
            Claim::Several(stacks) => Ok(stacks.iter().map(name).collect()),
            Claim::Foreign { why, .. } => Err(why),
        }
    }

    fn judge(name: &str, found: &[Stack]) -> Result<Vec<String>, String> {
        names(claim(name, &ownership(), found))
    }

    #[test]
    fn all_tags_make_it_ours_under_any_name() {
        assert_eq!(judge(NAME, &[]), Ok(vec![]));
        assert_eq!(judge(NAME, &[stack(NAME, OURS)]), Ok(vec![NAME.to_owned()]));
        let other = "egress-static-nat-one-6d2f";
        assert_eq!(
            judge(NAME, &[stack(other, OURS), stack("x", &[])]),
            Ok(vec![other.to_owned()])
        );
        // Found by name and by tags.
        assert_eq!(
            judge(NAME, &[stack(NAME, OURS), stack(NAME, OURS)]),
            Ok(vec![NAME.to_owned()])
        );
    }

    #[test]
    fn a_taken_name_is_foreign_unless_ours_is_elsewhere() {
        let why = judge(
            NAME,
            &[stack(NAME, &[("kubernetes.io/cluster/one", "shared")])],
        )
        .unwrap_err();
        assert!(
            why.contains("kubernetes.io/cluster/one=shared instead of owned"),
            "{why}"
        );
        assert!(
            why.contains("no kubernetes:application=egress") && why.contains("--cluster-id"),
            "{why}"
        );
        assert_eq!(
            judge(NAME, &[stack(NAME, &[]), stack("y", OURS)]),
            Ok(vec!["y".to_owned()])
        );
    }

    #[test]
    fn a_stack_under_review_has_no_tags_to_miss() {
        let mut review = stack(NAME, &[]);
        review.stack_status = Some(StackStatus::ReviewInProgress);
        let why = judge(NAME, &[review]).unwrap_err();
        assert!(why.contains("change set") && !why.contains("tags"), "{why}");
    }

    #[test]
    fn two_claims_are_several() {
        let found = [stack(NAME, OURS), stack("y", OURS)];
        assert_eq!(
            judge(NAME, &found),
            Ok(vec![NAME.to_owned(), "y".to_owned()])
        );
    }

    #[test]
    fn untagged_is_ours_only_under_the_very_old_name() {
        let old = stack(UNTAGGED_NAME, &[("team", "x")]);
        assert_eq!(
            judge(UNTAGGED_NAME, std::slice::from_ref(&old)),
            Ok(vec![UNTAGGED_NAME.to_owned()])
        );
        assert_eq!(judge(NAME, &[old]), Ok(vec![]));
        // A tag with the same key shows that the stack belongs to another cluster.
        let another = stack(UNTAGGED_NAME, &[("kubernetes:application", "something")]);
        assert!(judge(UNTAGGED_NAME, &[another]).is_err());
    }

    #[test]
    fn deleted_and_nested_stacks_do_not_count() {
        let mut deleted = stack(NAME, OURS);
        deleted.stack_status = Some(StackStatus::DeleteComplete);
        let mut nested = stack("nested", OURS);
        nested.parent_id = Some("arn:parent".to_owned());
        assert_eq!(judge(NAME, &[deleted, nested]), Ok(vec![]));
    }

    #[test]
    fn without_ownership_tags_the_name_decides() {
        let none = BTreeMap::new();
        assert_eq!(
            names(claim(NAME, &none, &[stack(NAME, &[]), stack("y", OURS)])),
            Ok(vec![NAME.to_owned()])
        );
    }
}
