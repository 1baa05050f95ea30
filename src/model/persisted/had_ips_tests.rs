use super::*;

fn ip(number: usize) -> StaticIp {
    StaticIp {
        ip: format!("198.51.{}.{}", number / 250, number % 250),
        allocation: format!("eipalloc-{number}"),
    }
}

#[test]
fn an_ip_that_a_zone_had_before_stays_known() {
    let mut ledger = Ledger::new("egress");
    ledger.note_ip("a".to_owned(), ip(1), 10);
    ledger.note_ip("a".to_owned(), ip(1), 20);
    assert!(ledger.former_ips.is_empty(), "a first IP is no change");
    ledger.note_ip("a".to_owned(), ip(2), 30);
    let former = FormerIp {
        zone: "a".to_owned(),
        allocation: "eipalloc-1".to_owned(),
        until: 30,
        number: None,
        gateway: None,
    };
    assert_eq!(ledger.former_ips, [(ip(1).ip, former)].into());
    assert!(ledger.knows("eipalloc-1") && ledger.knows("eipalloc-2") && !ledger.knows("x"));
    let text = ledger.text();
    let read = Ledger::read(&text, "egress", &std::collections::BTreeSet::new()).expect("a ledger");
    assert_eq!(read, ledger);
    // Back to the first one.
    ledger.note_ip("a".to_owned(), ip(1), 40);
    let former: Vec<_> = ledger.former_ips.iter().collect();
    assert_eq!(
        (former.len(), former[0].0, former[0].1.until),
        (1, &ip(2).ip, 40)
    );
}

#[test]
fn there_are_limits_and_the_oldest_goes_first() {
    let mut ledger = Ledger::new("egress");
    for number in 0..150_usize {
        ledger.note_ip("a".to_owned(), ip(number), number as u64);
    }
    assert_eq!(ledger.former_ips.len(), MAX_FORMER);
    let oldest = ledger.former_ips.values().map(|it| it.until).min();
    assert_eq!(oldest, Some(100));
    for number in 0..150 {
        ledger.note_ip(format!("z{number}"), ip(1_000 + number), 200);
    }
    assert_eq!(ledger.static_ips.len(), MAX_KNOWN);
    assert!(ledger.had_ips().count() <= 200);
}

#[test]
fn an_additional_ip_keeps_its_number_until_another_one_gets_it() {
    let mut ledger = Ledger::new("egress");
    let zone = "a".to_owned();
    ledger.note_more(zone.clone(), 3, ip(3));
    ledger.note_more(zone.clone(), 2, ip(2));
    ledger.note_more("b".to_owned(), 2, ip(9));
    let both = vec![(Some(2), ip(2)), (Some(3), ip(3))];
    assert_eq!(ledger.more_of(&zone), both);
    ledger.note_more(zone.clone(), 2, ip(4));
    assert_eq!(ledger.more_of(&zone), [(Some(2), ip(4)), (Some(3), ip(3))]);
    assert!(ledger.knows("eipalloc-2"), "it may still be in the account");
    // The first IP of a zone is none of its additional ones.
    ledger.note_ip(zone.clone(), ip(4), 10);
    ledger.note_ip(zone.clone(), ip(5), 20);
    assert_eq!(ledger.more_of(&zone), [(Some(3), ip(3))]);
    let text = ledger.text();
    let clusters = std::collections::BTreeSet::new();
    let read = Ledger::read(&text, "egress", &clusters).expect("a ledger");
    assert_eq!(read, ledger);
    // An earlier version noted no numbers.
    let older = text
        .replace(",\"number\":3", "")
        .replace(",\"number\":0", "");
    let read = Ledger::read(&older, "egress", &clusters).expect("a ledger");
    assert_eq!(read.more_of(&zone), [(None, ip(2)), (None, ip(3))]);
}
