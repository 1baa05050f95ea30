use proptest::prelude::*;

use super::*;
use crate::model::input::request::Object;

fn entry(name: &str, key: &str) -> EntryId {
    let object = ObjectId {
        cluster: "blue".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    };
    EntryId {
        object,
        key: key.to_owned(),
    }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

/// Returns the snapshot of ConfigMap one with these entries, and the accepted requests.
fn asked(entries: &[(&str, &str)]) -> (Snapshot, Request) {
    let mut snapshot = Snapshot::default();
    let mut request = Request::default();
    for (key, value) in entries {
        let entry = entry("one", key);
        let object: &mut Object = snapshot.objects.entry(entry.object.clone()).or_default();
        object.data.insert((*key).to_owned(), (*value).to_owned());
        if let Ok(net) = value.parse() {
            request.entries.insert(entry, net);
        }
    }
    (snapshot, request)
}

fn after(ledger: &Ledger, entries: &[(&str, &str)], live: &[&str]) -> Ledger {
    let (snapshot, request) = asked(entries);
    let live: Vec<Ipv4Net> = live.iter().map(|text| net(text)).collect();
    ledger
        .after(&snapshot, &request, Some(live.iter()), false)
        .0
}

fn clusters() -> BTreeSet<String> {
    ["blue".to_owned()].into()
}

#[test]
fn it_keeps_what_was_accepted_last_and_forgets_what_is_gone() {
    let dns = entry("one", "dns");
    let ledger = Ledger::new("egress");
    let ledger = after(
        &ledger,
        &[("dns", "8.8.8.8/32"), ("web", "9.9.9.0/24")],
        &[],
    );
    assert_eq!(ledger.asked(&dns), Some(net("8.8.8.8/32")));
    assert!(ledger.number(&dns) < ledger.number(&entry("one", "web")));
    let changed = after(&ledger, &[("dns", "1.1.1.1/32"), ("web", "oops")], &[]);
    assert_eq!(changed.asked(&dns), Some(net("1.1.1.1/32")));
    assert_eq!(changed.number(&dns), ledger.number(&dns));
    assert_eq!(changed.asked(&entry("one", "web")), Some(net("9.9.9.0/24")));

    let routed = after(&changed, &[("dns", "1.1.1.1/32")], &["9.9.9.0/24"]);
    assert_eq!(routed.asked(&entry("one", "web")), Some(net("9.9.9.0/24")));
    let gone = after(&routed, &[("dns", "1.1.1.1/32")], &["1.1.1.1/32"]);
    assert_eq!(gone.asked(&entry("one", "web")), None);
}

#[test]
fn a_source_that_is_missing_takes_nothing_out() {
    let ledger = after(&Ledger::new("egress"), &[("dns", "8.8.8.8/32")], &[]);
    let missing = Snapshot {
        missing: BTreeMap::from([("blue".to_owned(), "away".to_owned())]),
        ..Snapshot::default()
    };
    let none: [Ipv4Net; 0] = [];
    let (kept, ..) = ledger.after(&missing, &Request::default(), Some(none.iter()), false);
    assert_eq!(kept, ledger);
}

#[test]
fn it_is_believed_as_far_as_it_explains_what_is_live() {
    let entries = [("left", "9.9.8.0/25"), ("right", "9.9.8.128/25")];
    let ledger = after(&Ledger::new("egress"), &entries, &[]);
    let explains = |live: &[&str]| {
        let live: Vec<Ipv4Net> = live.iter().map(|text| net(text)).collect();
        ledger.explains(live.iter())
    };
    assert!(explains(&[]) && explains(&["9.9.8.0/24"]) && explains(&["9.9.8.7/32"]));
    assert!(!explains(&["9.9.8.0/23"]) && !explains(&["9.9.8.0/24", "8.8.8.8/32"]));
}

#[test]
fn the_document_is_read_as_it_was_written() {
    let mut ledger = after(&Ledger::new("egress"), &[("dns", "8.8.8.8/32")], &[]);
    ledger.stack = Some("arn:one".to_owned());
    let tries = Tries {
        times: 3,
        not_before: 1_800_000_000,
    };
    ledger.tries.insert("delete arn:one".to_owned(), tries);
    let repairs = Repairs {
        times: 2,
        until: 1_800_000_900,
    };
    ledger
        .repairs
        .insert("one RouteMissing".to_owned(), repairs);
    ledger.grace.empty_since = Some(Duration::from_secs(7));
    let since = Duration::from_secs(9);
    ledger.grace.large_removal = Some(LargeRemoval {
        since,
        removed: 4,
        of: 5,
    });
    let text = ledger.text();
    assert_eq!(Ledger::read(&text, "egress", &clusters()), Ok(ledger));
    let other = Ledger::read(&text, "another", &clusters());
    assert_eq!(other, Ok(Ledger::new("another")), "of another stack");
    let renamed = Ledger::read(&text, "egress", &["green".to_owned()].into());
    let renamed = renamed.expect("a ledger");
    assert_eq!(renamed.asked(&entry("one", "dns")), None, "of no cluster");

    let newer = text.replace("\"version\":1", "\"version\":3");
    let newer = Ledger::read(&newer, "egress", &clusters());
    assert_eq!(newer, Err(LedgerError::Newer(3)));
    for bad in ["", "{}", "nonsense", "[1]", &text[..text.len() / 2]] {
        let read = Ledger::read(bad, "egress", &clusters());
        assert_eq!(read, Err(LedgerError::NotOurs), "{bad}");
    }
    let spoilt = text.replace("8.8.8.8/32", "8.8.8,8");
    let spoilt = Ledger::read(&spoilt, "egress", &clusters()).expect("the rest");
    assert_eq!(spoilt.asked(&entry("one", "dns")), None);
}

/// The ledger is a ConfigMap, so a user may write any number into it.
#[test]
fn a_number_that_is_as_high_as_can_be_stays_so() {
    let ledger = after(&Ledger::new("egress"), &[("dns", "8.8.8.8/32")], &[]);
    let text = ledger.text();
    let high = text.replace("\"next\":1", &format!("\"next\":{}", u64::MAX));
    assert_ne!(high, text);
    let ledger = Ledger::read(&high, "egress", &clusters()).expect("a ledger");
    let entries = [
        ("dns", "8.8.8.8/32"),
        ("new", "9.9.9.0/24"),
        ("web", "9.9.8.0/24"),
    ];
    let ledger = after(&ledger, &entries, &[]);
    let number = |key| ledger.number(&entry("one", key));
    assert!(number("dns") < number("new"));
    assert_eq!(number("new"), number("web"));
    let again = Ledger::read(&ledger.text(), "egress", &clusters());
    assert_eq!(again, Ok(ledger));
}

#[test]
fn the_newest_entries_are_left_out_of_a_document_that_is_full() {
    let (mut snapshot, mut request) = asked(&[]);
    let number = |number: u32| Ipv4Net::new_assert((0x0800_0000 + number * 2).into(), 32);
    let mut add = |numbers: std::ops::Range<u32>, name: &str| {
        for value in numbers {
            let entry = entry(name, &format!("key-{value:05}"));
            let object = snapshot.objects.entry(entry.object.clone()).or_default();
            object
                .data
                .insert(entry.key.clone(), number(value).to_string());
            request.entries.insert(entry, number(value));
        }
        (snapshot.clone(), request.clone())
    };
    let none: [Ipv4Net; 0] = [];
    let (before, first) = add(0..2_000, "old");
    let (ledger, left_out, _) =
        Ledger::new("egress").after(&before, &first, Some(none.iter()), false);
    assert_eq!(left_out, 0);
    let (then, all) = add(2_000..20_000, "new");
    let (ledger, left_out, _) = ledger.after(&then, &all, Some(none.iter()), false);
    assert!(left_out > 0 && left_out < 10_000, "{left_out}");
    let length = ledger.text().len();
    assert!(length < 1 << 20 && length > MAX_BYTES / 2, "{length}");
    assert!((0..2_000).all(|key| {
        ledger
            .asked(&entry("old", &format!("key-{key:05}")))
            .is_some()
    }));
    assert_eq!(ledger.asked(&entry("new", "key-19999")), None);
    // The networks of lines that do not fit are known approximately.
    assert!(ledger.unnamed().len() <= 2_000);
    assert!(ledger.explains((0..20_000).map(number).collect::<Vec<_>>().iter()));
    assert!(!ledger.explains([net("9.9.9.0/24")].iter()));
    let read = Ledger::read(&ledger.text(), "egress", &clusters());
    assert_eq!(read, Ok(ledger));
}

/// Networks of entries that did not fit are stored only if a route serves them, or will serve them.
#[test]
fn an_entry_without_a_line_that_no_route_serves_is_no_news() {
    let (mut snapshot, mut request) = (Snapshot::default(), Request::default());
    let mut ask = |name: &str, key: String, value: &str| {
        let entry = entry(name, &key);
        let object: &mut Object = snapshot.objects.entry(entry.object.clone()).or_default();
        object.data.insert(key, value.to_owned());
        request.entries.insert(entry, net(value));
    };
    for number in 0..4_000 {
        ask("many", format!("{number:0>253}"), "8.8.8.8/32");
    }
    ask("z", "served".to_owned(), "9.9.9.9/32");
    ask("z", "waits".to_owned(), "1.1.1.1/32");
    let none: [Ipv4Net; 0] = [];
    let (mut first, ..) =
        Ledger::new("egress").after(&snapshot, &request, Some(none.iter()), false);
    let empty = Ledger::new("egress");
    first.forget_unserved(&empty, [net("9.9.9.0/24")].into_iter());
    assert_eq!(first.unnamed(), &BTreeSet::from([net("9.9.9.9/32")]));

    let edited = entry("z", "waits");
    request.entries.insert(edited, net("2.2.2.2/32"));
    let (mut next, ..) = first.after(&snapshot, &request, Some(none.iter()), true);
    next.forget_unserved(&first, none.into_iter());
    assert!(!next.must_outlive(&first));
    // Networks of routes that may be under way stay.
    assert_eq!(next.unnamed(), first.unnamed());
}

/// Returns a document with every field.
fn full_document() -> String {
    let ledger = after(&Ledger::new("egress"), &[("dns", "8.8.8.8/32")], &[]);
    let mut value: serde_json::Value = serde_json::from_str(&ledger.text()).expect("JSON");
    let more = serde_json::json!({
        "stack": "arn", "settled": "arn", "lease": "lease", "former": ["9.9.9.0/24"],
        "unnamed": ["9.9.8.0/24"], "short": [["blue", "default"]],
        "tries": { "create": { "times": 2, "notBefore": 1_800_000_000 } },
        "repairs": { "rtb-1": { "times": 2, "until": 1_800_000_000 } },
        "refused": { "routes": { "rtb-1 8.8.8.8/32": { "times": 1, "notBefore": 1_800_000_000, "why": "no" } } },
        "asOf": 1_800_000_000, "emptySince": 1_700_000_000, "largeRemoval": [1_700_000_000, 5, 9],
    });
    for (name, field) in more.as_object().expect("an object") {
        value[name] = field.clone();
    }
    value.to_string()
}

proptest! {
    /// Whoever edits the document by hand, or cuts it, causes no panic. What is read can be written and read again.
    #[test]
    fn any_document_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        bytes in 0usize..40,
        with in prop::sample::select(vec!["", "0", "-1", "18446744073709551615", "1e400", "null", "[]", "{}", "\"\\u0000\"", "x"]),
    ) {
        let text = full_document();
        let from = at.index(text.len());
        let to = (from + bytes).min(text.len());
        let changed = format!("{}{with}{}", &text[..from], &text[to..]);
        if let Ok(ledger) = Ledger::read(&changed, "egress", &clusters()) {
            let mut grace = Grace::new(Duration::from_secs(600));
            grace.recall(&ledger.grace);
            grace.empty_left();
            grace.large_left(3, 4);
            let next = after(&ledger, &[("dns", "8.8.4.4/32"), ("web", "oops")], &["9.9.9.0/24"]);
            for ledger in [ledger, next] {
                let again = Ledger::read(&ledger.text(), "egress", &clusters());
                prop_assert_eq!(again.map(|it| it.text()), Ok(ledger.text()));
            }
        }
    }
}

/// The numbers of a document may have any size.
#[test]
fn the_largest_numbers_are_read() {
    let numbers = ["1800000000", "1700000000", ",5,", ",9]", ":2", ":1"];
    for number in numbers {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let most = number.replace(&digits, &u64::MAX.to_string());
        let text = full_document().replace(number, &most);
        if let Ok(ledger) = Ledger::read(&text, "egress", &clusters()) {
            let mut grace = Grace::new(Duration::from_secs(600));
            grace.recall(&ledger.grace);
            assert!(grace.empty_left() <= Duration::from_secs(600));
            after(&ledger, &[("web", "8.8.4.4/32")], &[]);
        }
    }
}
