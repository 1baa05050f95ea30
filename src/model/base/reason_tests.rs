use super::Reason;

#[test]
fn reasons_are_in_the_order_of_their_names_and_found_by_them() {
    let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for reason in Reason::ALL {
        assert_eq!(Reason::named(reason.name()), Some(*reason));
        assert!(!reason.remedy().is_empty() && !reason.about().is_empty());
    }
    assert_eq!(Reason::named("OfANewerVersion"), None);
}
