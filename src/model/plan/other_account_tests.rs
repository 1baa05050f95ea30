use super::*;
use crate::model::cloud::static_ip::{FormerIp, StaticIp};

const HERE: &str = "222222222222";

/// Returns a ledger with the static IP of zone a and a former one.
fn ledger(account: Option<&str>) -> Ledger {
    let ip = |number: u8| StaticIp {
        ip: format!("198.51.100.{number}"),
        allocation: format!("eipalloc-{number}"),
    };
    let former = FormerIp {
        zone: "a".to_owned(),
        allocation: ip(2).allocation,
        until: 7,
        number: None,
        gateway: None,
    };
    let mut ledger = Ledger::new("egress");
    ledger.account = account.map(str::to_owned);
    ledger.static_ips = [("a".to_owned(), ip(1))].into();
    ledger.former_ips = [(ip(2).ip, former)].into();
    ledger
}

#[test]
fn only_static_ips_of_another_account_are_left_out() {
    let cases = [
        (Some("111111111111"), Some(HERE), true),
        (Some(HERE), Some(HERE), false),
        // An earlier version recorded no account, or the provider does not name its account.
        (None, Some(HERE), false),
        (Some("111111111111"), None, false),
        (None, Some("in-memory-1"), true),
        (Some("in-memory-1"), Some("in-memory-2"), true),
        (Some("in-memory-1"), Some("in-memory-1"), false),
        (Some("in-memory-1"), Some(HERE), true),
    ];
    for (of, here, is_other) in cases {
        let ledger = ledger(of);
        let left = Recall::Known(&ledger).in_other_account(here);
        assert_eq!(left.is_some(), is_other, "{of:?} in {here:?}");
        let Some(left) = left else { continue };
        assert!(left.had_ips().next().is_none());
        let away = Recall::Unavailable("away", Some(&ledger)).with(&left);
        assert!(matches!(away, Recall::Unavailable("away", Some(it)) if *it == left));
    }
    assert!(Recall::Nowhere.in_other_account(Some(HERE)).is_none());
    let without = Ledger::new("egress");
    assert!(
        Recall::Known(&without)
            .in_other_account(Some("in-memory-1"))
            .is_none()
    );
}

#[test]
fn they_stay_known_until_a_zone_has_one_here_and_only_real_ones_are_missed() {
    let noted = ledger(Some(HERE));
    let cases = [
        (Some("111111111111"), HERE, false, true),
        (Some("111111111111"), HERE, true, true),
        (Some("in-memory-1"), HERE, true, false),
        (Some("in-memory-1"), "in-memory-2", false, false),
        (None, "in-memory-2", true, false),
        // A user tries the controller out in a cluster whose ledger has IPs of AWS.
        (Some("111111111111"), "in-memory-2", true, false),
    ];
    for (of, here, is_noted, is_told) in cases {
        let before = ledger(of);
        let next = match is_noted {
            true => noted.clone(),
            false => Ledger::new("egress"),
        };
        let plan = Plan {
            ledger: Some(next),
            ..Plan::default()
        };
        let plan = plan.beside_other_account(Recall::Known(&before), Some(here));
        let stays = !is_noted || (here != HERE && of == Some("111111111111"));
        let expected = if stays { &before } else { &noted };
        assert_eq!(plan.ledger.as_ref(), Some(expected), "{of:?} in {here}");
        let reasons: Vec<Reason> = plan.problems.iter().map(|it| it.reason).collect();
        let expected = is_told.then_some(Reason::LedgerOfAnotherAccount);
        assert_eq!(reasons, Vec::from_iter(expected), "{of:?} in {here}");
    }
}
