//! How summaries and changes of the API are interpreted.

use aws_smithy_types::DateTime;

use super::*;

fn summary(
    name: &str,
    status: &str,
    execution: &str,
    reason: &str,
    seconds: i64,
) -> ChangeSetSummary {
    ChangeSetSummary::builder()
        .change_set_name(name)
        .status(ChangeSetStatus::from(status))
        .execution_status(ExecutionStatus::from(execution))
        .status_reason(reason)
        .creation_time(DateTime::from_secs(seconds))
        .build()
}

#[test]
fn every_status_has_a_state() {
    use ChangeSetState::{Dead, Executed, NoChanges, Pending, Ready};
    let empty = "The submitted information didn't contain changes. Submit different information to create a change set.";
    let cases = [
        ("CREATE_PENDING", "UNAVAILABLE", "", Some(Pending)),
        ("CREATE_IN_PROGRESS", "UNAVAILABLE", "", Some(Pending)),
        ("CREATE_COMPLETE", "AVAILABLE", "", Some(Ready)),
        ("CREATE_COMPLETE", "EXECUTE_IN_PROGRESS", "", Some(Executed)),
        ("CREATE_COMPLETE", "EXECUTE_COMPLETE", "", Some(Executed)),
        (
            "CREATE_COMPLETE",
            "EXECUTE_FAILED",
            "",
            Some(Dead("its execution failed".to_owned())),
        ),
        (
            "CREATE_COMPLETE",
            "OBSOLETE",
            "",
            Some(Dead("the stack has changed since it was made".to_owned())),
        ),
        (
            "CREATE_COMPLETE",
            "NEW_WORD",
            "",
            Some(Dead("its execution status is NEW_WORD".to_owned())),
        ),
        ("FAILED", "UNAVAILABLE", empty, Some(NoChanges)),
        (
            "FAILED",
            "UNAVAILABLE",
            "No updates are to be performed.",
            Some(NoChanges),
        ),
        (
            "FAILED",
            "UNAVAILABLE",
            "Template error",
            Some(Dead("Template error".to_owned())),
        ),
        ("DELETE_COMPLETE", "UNAVAILABLE", "", None),
        ("DELETE_PENDING", "UNAVAILABLE", "", None),
        (
            "DELETE_FAILED",
            "UNAVAILABLE",
            "x",
            Some(Dead("x".to_owned())),
        ),
        (
            "NEW_WORD",
            "AVAILABLE",
            "",
            Some(Dead("its status is NEW_WORD".to_owned())),
        ),
    ];
    for (status, execution, reason, expected) in cases {
        assert_eq!(
            state(&summary("egress-0-e1", status, execution, reason, 1)),
            expected,
            "{status} {execution}"
        );
    }
}

#[test]
fn only_ours_and_oldest_first() {
    let summaries = vec![
        summary("egress-bb-e2", "CREATE_COMPLETE", "AVAILABLE", "", 20),
        summary("somebody-elses", "CREATE_COMPLETE", "AVAILABLE", "", 1),
        summary("egress-aa-e1", "CREATE_COMPLETE", "OBSOLETE", "", 10),
    ];
    let sets = from_summaries(summaries, 0, 0);
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["egress-aa-e1", "egress-bb-e2"]);
}

#[test]
fn a_change_set_does_not_outlive_what_it_was_made_for() {
    let state = |status, reason, changed, now| {
        let summary = summary("egress-aa-e1", status, "UNAVAILABLE", reason, 100);
        judged(&summary, changed, now).unwrap()
    };
    let dead = |state| matches!(state, ChangeSetState::Dead(_));
    let empty = "The submitted information didn't contain changes.";
    assert_eq!(state("FAILED", empty, 99, 200), ChangeSetState::NoChanges);
    assert!(dead(state("FAILED", empty, 101, 200)));
    assert_eq!(
        state("CREATE_PENDING", "", 0, 1_000),
        ChangeSetState::Pending
    );
    assert!(dead(state("CREATE_PENDING", "", 0, 1_001)));
}

#[test]
fn a_replacement_that_hangs_on_an_attribute_names_its_resource() {
    use aws_sdk_cloudformation::types::{ResourceChangeDetail, ResourceTargetDefinition};
    let detail = |evaluation: &str, source: &str, entity: &str| {
        let target = ResourceTargetDefinition::builder()
            .requires_recreation(RequiresRecreation::Always)
            .build();
        ResourceChangeDetail::builder()
            .target(target)
            .evaluation(EvaluationType::from(evaluation))
            .change_source(ChangeSource::from(source))
            .causing_entity(entity)
            .build()
    };
    let changed = |details| ResourceChange::builder().set_details(Some(details)).build();
    let on = |details| dynamic_on(&changed(details), Effect::MayReplace);
    let attribute = detail("Dynamic", "ResourceAttribute", "EIP1.AllocationId");
    assert_eq!(on(vec![attribute.clone()]), ["EIP1"]);
    let direct = detail("Static", "DirectModification", "");
    assert!(on(vec![attribute, direct]).is_empty());
    assert!(on(vec![]).is_empty());
}

#[test]
fn a_change_in_place_is_one_of_properties_unless_its_scope_says_otherwise() {
    use ResourceAttribute::{DeletionPolicy, Metadata, Properties, Tags};
    use aws_sdk_cloudformation::types::{ResourceChangeDetail, ResourceTargetDefinition};
    let detail = |attribute: ResourceAttribute, source: &str, entity: Option<&str>| {
        let target = ResourceTargetDefinition::builder()
            .attribute(attribute)
            .requires_recreation(RequiresRecreation::Never)
            .build();
        let evaluation = entity.map_or("Static", |_| "Dynamic");
        ResourceChangeDetail::builder()
            .target(target)
            .evaluation(EvaluationType::from(evaluation))
            .change_source(ChangeSource::from(source))
            .set_causing_entity(entity.map(str::to_owned))
            .build()
    };
    let change = |scope: &[ResourceAttribute], details| {
        let change = ResourceChange::builder()
            .action(ChangeAction::Modify)
            .replacement(Replacement::False)
            .set_scope(Some(scope.to_vec()))
            .set_details(Some(details))
            .build();
        let change = self::change(&change);
        (change.effect, change.dynamic_on.join(" "))
    };
    let tags = || detail(Tags, "DirectModification", None);
    let target = || detail(Properties, "ResourceReference", Some("NATGateway1"));
    let direct = || detail(Properties, "DirectModification", None);
    let none = || String::new();
    assert_eq!(change(&[Tags], vec![tags()]).0, Effect::Tags);
    assert_eq!(change(&[DeletionPolicy, Metadata], vec![]).0, Effect::Tags);
    let hangs = (Effect::Modify, "NATGateway1".to_owned());
    assert_eq!(change(&[Properties], vec![target()]), hangs);
    assert_eq!(change(&[Properties, Tags], vec![target(), tags()]), hangs);
    let both = vec![target(), direct()];
    assert_eq!(change(&[Properties], both), (Effect::Modify, none()));
    assert_eq!(change(&[], vec![]), (Effect::Modify, none()));
    let news = ResourceAttribute::from("Novelty");
    assert_eq!(change(&[news], vec![]).0, Effect::Modify);
}

#[test]
fn a_change_that_does_not_say_it_keeps_the_resource_may_replace_it() {
    let effect = |action: &str, replacement: Option<&str>| {
        let change = ResourceChange::builder()
            .logical_resource_id("EIP1")
            .resource_type("AWS::EC2::EIP")
            .action(ChangeAction::from(action))
            .set_replacement(replacement.map(Replacement::from))
            .build();
        self::change(&change).effect
    };
    assert_eq!(effect("Add", None), Effect::Add);
    assert_eq!(effect("Remove", None), Effect::Remove);
    assert_eq!(effect("Modify", Some("False")), Effect::Modify);
    assert_eq!(effect("Modify", Some("True")), Effect::MayReplace);
    assert_eq!(effect("Modify", Some("Conditional")), Effect::MayReplace);
    assert_eq!(effect("Modify", Some("Perhaps")), Effect::MayReplace);
    assert_eq!(effect("Modify", None), Effect::MayReplace);
    // CloudFormation only corrects its record of the resource.
    assert_eq!(effect("SyncWithActual", None), Effect::Record);
    assert_eq!(effect("Import", None), Effect::Other);
    assert_eq!(effect("NewWord", Some("False")), Effect::Other);
}
