use super::*;
use crate::model::status::Omitted;
use crate::model::status::lists::ListStatus;
use crate::model::status::routes::Route;

fn status() -> Status {
    let entry = |name: &str, key: &str, asked: &str, state| Entry {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        asked: asked.to_owned(),
        state,
        ..Entry::default()
    };
    let route = |cidr: &str, state| Route {
        cidr: cidr.to_owned(),
        state,
        ..Route::default()
    };
    Status {
        static_ips: [("a".to_owned(), "198.51.100.1".to_owned())].into(),
        entries: vec![
            Entry {
                static_ips: vec!["198.51.100.1".to_owned()],
                cidr: Some("8.8.8.8/32".to_owned()),
                route: Some("8.8.8.8/31".to_owned()),
                ..entry("one", "dns", "8.8.8.8", State::Routed)
            },
            Entry {
                reason: Some("NotACidr".to_owned()),
                message: Some("it is none".into()),
                remedy: Some("write one".into()),
                ..entry("two", "typo", "8.8.8.8/33\u{1b}[2J", State::Refused)
            },
            Entry {
                cidr: Some("9.9.0.0/16".to_owned()),
                route: Some("9.9.0.0/16".to_owned()),
                ..entry("two", "new", "9.9.9.9/16", State::Pending)
            },
        ],
        routes: vec![
            route("8.8.8.8/31", RouteState::Live),
            route("9.9.0.0/16", RouteState::Pending),
            route("7.0.0.0/8", RouteState::Kept),
        ],
        ..Status::default()
    }
}

#[test]
fn the_table_has_each_entry_with_its_remedy_and_nothing_for_a_terminal_to_obey() {
    let text = status().table();
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("STATE"))
        .collect();
    assert_eq!(
        lines,
        [
            "STATE    CONFIGMAP    KEY   ASKED           ROUTE       STATIC IPS",
            "Routed   default/one  dns   8.8.8.8         8.8.8.8/31  198.51.100.1",
            "Refused  default/two  typo  8.8.8.8/33?[2J  -",
            "  NotACidr: it is none; write one",
            "Pending  default/two  new   9.9.9.9/16      9.9.0.0/16",
        ]
    );
    assert!(!text.contains('\u{1b}'));
    assert!(!status().is_well());
    assert!(status().only(Some("default"), Some("one")).is_well());
    assert_eq!(status().only(Some("other"), None).entries, []);
}

#[test]
fn an_address_is_told_its_route_entries_and_static_ips() {
    let of = |address: &str| status().check(address.parse().expect("an address"));
    let answer = of("8.8.8.8");
    assert!(answer.routed);
    assert_eq!(answer.entries[0].key, "dns");
    assert_eq!(answer.static_ips, ["198.51.100.1"]);
    assert!(
        answer
            .text()
            .starts_with("8.8.8.8 leaves from 198.51.100.1 by the route to 8.8.8.8/31\n")
    );

    // The merged route covers this address, although no entry requests it alone.
    let answer = of("8.8.8.9");
    assert_eq!((answer.routed, answer.entries.len()), (true, 0));

    let answer = of("9.9.1.1");
    assert_eq!(
        (answer.routed, answer.entries.len(), answer.static_ips.len()),
        (false, 1, 0)
    );
    assert!(answer.text().contains("does not exist yet"));

    assert!(of("7.1.1.1").routed, "kept routes lead there as well");
    assert!(of("1.1.1.1").text().contains("no ConfigMap asks for it"));
}

#[test]
fn what_is_left_out_is_said() {
    let mut status = status();
    status.omitted = Omitted {
        entries: 7,
        ..Omitted::default()
    };
    assert!(
        status
            .table()
            .ends_with("7 routed entries are left out for lack of room\n")
    );
    assert!(
        status
            .check("1.1.1.1".parse().expect("an address"))
            .text()
            .contains("7 routed")
    );
}

#[test]
fn a_kept_static_ip_is_listed_with_the_command_that_releases_it() {
    let kept = |ip: &str, held_by: Option<&str>| KeptIp {
        zone: "c".to_owned(),
        ip: ip.to_owned(),
        allocation_id: format!("eipalloc-{ip}"),
        held_by: held_by.map(str::to_owned),
    };
    let status = Status {
        kept_ips: vec![
            kept("198.51.100.3", None),
            kept("198.51.100.4", Some("eni-1")),
        ],
        ..status()
    };
    let text = status.table();
    for line in [
        "kept IP     198.51.100.3 c: not in use; to give it up: aws ec2 release-address --allocation-id eipalloc-198.51.100.3\n",
        "kept IP     198.51.100.4 c: eni-1 has it\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let check = |ip: [u8; 4]| status.check(ip.into());
    let answer = check([198, 51, 100, 3]);
    let text = answer.text();
    assert!(
        text.contains("it is a static IP that is kept: 198.51.100.3 c: not in use"),
        "{text}"
    );
    assert_eq!(check([198, 51, 100, 1]).kept_ip, None);
}

#[test]
fn the_prefix_list_of_a_route_is_named() {
    let mut status = status();
    let name = "NetworkList01".to_owned();
    let list = ListStatus {
        name: name.clone(),
        networks: 1,
        max_entries: 100,
        ..ListStatus::default()
    };
    status.routes[0].prefix_list = Some(name);
    status.prefix_lists = vec![list];
    let answers = |status: &Status| (status.table(), status.check([8, 8, 8, 8].into()).text());
    let (table, answer) = answers(&status);
    assert!(table.contains("prefix list NetworkList01 has 1 of at most 100 networks\n"));
    let route = "by the route to 8.8.8.8/31 in prefix list";
    assert!(
        answer.contains(&format!("{route} NetworkList01\n")),
        "{answer}"
    );
    status.prefix_lists[0].prefix_list_id = Some("pl-1".to_owned());
    let (table, answer) = answers(&status);
    assert!(table.contains("prefix list NetworkList01 (pl-1) has 1 of at most 100 networks\n"));
    assert!(answer.contains(&format!("{route} pl-1\n")), "{answer}");
}
