//! What the status page shows first: search, static IPs and what needs attention, however much that is.

use serde_json::{Map, Value, json};

use crate::browser::Browser;
use crate::page::{ROWS, STATE, alone_with, config_map, open, shows};
use crate::replica::Replica;
use crate::stage::Stage;

/// The bottom of an element, in pixels from the top of the screen.
fn bottom(browser: &Browser, id: &str) -> f64 {
    let expression = format!("document.getElementById('{id}').getBoundingClientRect().bottom");
    browser.value(&expression).as_f64().unwrap()
}

/// Checks that search and static IPs are on the first screen, and that the list of problems begins there.
fn leads_with_search_and_ips(browser: &Browser, height: f64) {
    for id in ["search", "ips"] {
        let bottom = bottom(browser, id);
        assert!(bottom > 0.0 && bottom < height, "{id}: {bottom}");
    }
    let title = bottom(browser, "h-alerts");
    assert!(title > 0.0 && title < height, "{title}");
}

/// Returns the order of the sections that are shown.
fn order(browser: &Browser) -> Value {
    let sections =
        "[...document.querySelectorAll('#all > section:not([hidden]) h2')].map(title => title.id)";
    browser.value(sections)
}

/// Waits until the page shows a status that no longer changes, with entries that wait.
async fn at_rest(browser: &Browser) {
    let still = "status.plan.action === 'Keep' && status.counts.pending === 0";
    shows(browser, still, json!(true)).await;
    let text = browser.text(STATE);
    assert!(text.ends_with(" entries wait"), "{text}");
}

const WIDE: (u32, u32) = (1280, 720);

/// Returns two hundred addresses in four ConfigMaps. No two adjoin, so that each needs a route of its own.
fn two_hundred() -> Value {
    let team = |team: u32| {
        let entry = |n: u32| {
            (
                format!("partner-{n:02}"),
                json!(format!("203.0.{}.{}", 113 + team, 2 * n)),
            )
        };
        let data: Map<String, Value> = (0..50).map(entry).collect();
        config_map(&format!("team-{team}"), &json!(data))
    };
    json!({ "apiVersion": "v1", "kind": "List", "items": (0..4).map(team).collect::<Vec<_>>() })
}

#[tokio::test]
async fn entries_that_wait_are_named_at_the_top_and_explained_once_for_each_config_map() {
    let replica = alone_with("page-waiting", &two_hundred()).start();
    let browser = Browser::open();
    browser.screen(WIDE);
    open(&browser, &replica).await;
    at_rest(&browser).await;
    let waiting = browser.value("status.counts.waiting").as_u64().unwrap();
    assert!((50..200).contains(&waiting), "{waiting}");
    shows(&browser, STATE, json!(format!("{waiting} entries wait"))).await;
    let alerts = browser.text("document.getElementById('alerts').innerText");
    assert!(
        alerts.contains(&format!("{waiting} entries wait: LimitReached"))
            && alerts.contains("cf-template-bucket"),
        "{alerts}"
    );
    leads_with_search_and_ips(&browser, f64::from(WIDE.1));
    // All rows that are drawn wait. The first row of a ConfigMap has the remedy.
    shows(&browser, ROWS, json!(50)).await;
    let rows = "[...document.querySelectorAll('#entries tbody')].map(body => [...body.querySelectorAll('tr.entry')].map(row => \
                row.cells[0].innerText + ' ' + row.cells[2].innerText.replaceAll('\\n', ' ')))";
    let groups = browser.value(rows);
    let groups = groups.as_array().unwrap();
    assert!(!groups.is_empty(), "{groups:?}");
    for rows in groups {
        let mut rows = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row.as_str().unwrap());
        let first = rows.next().unwrap();
        assert!(
            first.starts_with("Waiting ")
                && first.contains("LimitReached: ")
                && first.contains(" → "),
            "{first}"
        );
        for row in rows {
            let short = row.starts_with("Waiting ") && row.ends_with("LimitReached: as above");
            assert!(short, "{row}");
        }
    }
    // A ConfigMap's heading counts all of its entries, and columns without content keep their titles on one line.
    let counts = "[...document.querySelectorAll('#entries tr.group')].every(head => head.innerText.includes( \
        status.entries.filter(e => e.namespace + '/partners' === head.querySelector('a').innerText && \
        e.state === 'Waiting').length + ' Waiting'))";
    assert_eq!(browser.value(counts), json!(true));
    let lines = "[...document.querySelectorAll('#entries thead th')].every(title => title.clientHeight < 40)";
    assert_eq!(browser.value(lines), json!(true));
    assert_eq!(browser.inaccessible(), [""; 0]);
    browser.shot("waiting");
    browser.phone();
    leads_with_search_and_ips(&browser, 740.0);
    shows(&browser, "document.documentElement.scrollWidth", json!(360)).await;
    browser.shot("waiting-phone");
}

#[tokio::test]
async fn a_typo_in_a_routed_entry_shows_what_is_still_routed() {
    let stage = Stage::open("page-kept").await;
    stage.config_map("partners", &[("dns", "8.8.8.8/32")]).await;
    let replica = stage.replica("r1").flag("provider", "in-memory").start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    shows(&browser, STATE, json!("all is as asked for")).await;
    let alerts = "document.getElementById('alerts').hidden";
    assert_eq!(browser.value(alerts), json!(true));
    stage.config_map("partners", &[("dns", "8.8.8.8/33")]).await;
    shows(&browser, STATE, json!("1 entry refused")).await;
    let row = browser.text("document.querySelector('#entries tr.entry').innerText");
    assert!(
        row.contains("Kept") && row.contains("8.8.8.8/33 still routed: 8.8.8.8/32"),
        "{row}"
    );
    let told = browser.text("document.getElementById('told').innerText");
    assert!(told.starts_with("1 entry is refused: NotACidr"), "{told}");
}

/// Starts a replica whose status stays the same once everything is done, so that the page keeps what a test adds.
fn quiet(name: &str) -> Replica {
    let launch = alone_with(name, &two_hundred());
    launch.flag("resync-interval", "10m").start()
}

/// Adds problems and drifts to the status that the page shows.
fn add(browser: &Browser, problems: &[Value], drift: &[Value]) {
    let (problems, drift) = (json!(problems), json!(drift));
    let script = format!(
        "(() => {{ const s = structuredClone(status); s.problems = {problems}; s.drift = {drift}; \
         show({{ status: s, leading: true, leader: 'r1', replica: 'r1', epoch: 1 }}); return true; }})()"
    );
    assert_eq!(browser.value(&script), json!(true));
}

fn problem(subject: &str, reason: &str, message: &str, remedy: &str) -> Value {
    json!({ "severity": "Warning", "subject": subject, "reason": reason, "message": message, "remedy": remedy })
}

/// Returns forty problems of each of five reasons.
fn forty_of_five() -> Vec<Value> {
    let reasons = [
        "RouteExists",
        "NoNatInZone",
        "ZoneKept",
        "NatCidrKept",
        "RouteTableKept",
    ];
    let all = reasons
        .iter()
        .flat_map(|reason| (0..40).map(move |n| (reason, n)));
    all.map(|(reason, n)| {
        let subject = format!("route table rtb-{n:017}");
        problem(
            &subject,
            reason,
            &format!("message {}", n % 20),
            "one remedy",
        )
    })
    .collect()
}

#[tokio::test]
async fn two_hundred_problems_leave_search_and_static_ips_on_the_first_screen() {
    let replica = quiet("page-problems");
    let browser = Browser::open();
    browser.screen(WIDE);
    open(&browser, &replica).await;
    at_rest(&browser).await;
    let items = "[...document.querySelectorAll('#told > li')].map(item => item.innerText)";
    let folded = "document.querySelectorAll('#folded > li').length";

    // Problems that differ in their remedies: five in full, the others folded, the urgent ones first.
    let mut various: Vec<Value> = (0..199)
        .map(|n| {
            problem(
                &format!("zone z{n}"),
                "ZoneKept",
                "it stays",
                &format!("remedy {n}"),
            )
        })
        .collect();
    various.push(problem(
        "zone z199",
        "StaticIpLost",
        "it was released",
        "allocate it",
    ));
    add(&browser, &various, &[]);
    let list = browser.value(items);
    let list: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect();
    // The first item is that of the entries that wait, which is never folded.
    assert_eq!(list.len(), 6, "{list:?}");
    assert!(
        list[0].contains(" entries wait: LimitReached")
            && list[1].starts_with("zone z199: StaticIpLost"),
        "{list:?}"
    );
    assert_eq!(browser.value(folded), json!(195));
    let summary = "document.querySelector('#more-told summary').innerText";
    assert_eq!(browser.text(summary), "195 more");
    leads_with_search_and_ips(&browser, f64::from(WIDE.1));
    browser.shot("problems");
    browser.phone();
    leads_with_search_and_ips(&browser, 740.0);
    shows(&browser, "document.documentElement.scrollWidth", json!(360)).await;
    browser.shot("problems-phone");
}

#[tokio::test]
async fn problems_with_the_same_reason_and_remedy_are_one_item() {
    let replica = quiet("page-equal");
    let browser = Browser::open();
    open(&browser, &replica).await;
    at_rest(&browser).await;

    let drift: Vec<Value> = (0..200)
        .map(|n| {
            problem(
                &format!("route table rtb-{n}"),
                "RouteMissing",
                "it is missing",
                "nothing: it is repaired",
            )
        })
        .collect();
    add(&browser, &forty_of_five(), &drift);
    let first = browser.text("document.querySelectorAll('#told > li')[1].innerText");
    assert!(
        first.starts_with("route table rtb-0 and 199 more: RouteMissing"),
        "{first}"
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#folded > li').length"),
        json!(1)
    );
    let more = "document.querySelectorAll('#told > li')[1].querySelectorAll('details li').length";
    assert_eq!(browser.value(more), json!(199));
    let own = "document.querySelectorAll('#told > li')[2].querySelector('details li').textContent";
    assert_eq!(
        browser.text(own),
        "route table rtb-00000000000000001: message 1"
    );
    browser.value("document.querySelectorAll('details').forEach(one => one.open = true)");
    assert_eq!(browser.inaccessible(), [""; 0]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_found_comes_right_below_the_search() {
    let replica = alone_with("page-order", &two_hundred()).start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    let usual = json!([
        "h-ips",
        "h-alerts",
        "h-zones",
        "h-entries",
        "h-routes",
        "h-plan",
        "h-loop",
        "h-time"
    ]);
    let found = json!([
        "h-ips",
        "h-entries",
        "h-alerts",
        "h-zones",
        "h-routes",
        "h-plan",
        "h-loop",
        "h-time"
    ]);
    at_rest(&browser).await;
    assert_eq!(order(&browser), usual);
    browser.keys("/team-1");
    assert_eq!(order(&browser), found);
    assert_eq!(browser.text("document.activeElement.id"), "search");
    browser.keys("\u{e00c}");
    assert_eq!(order(&browser), usual);
    // So does a filter, whose button keeps the focus.
    browser.keys("\u{e004}\u{e007}");
    assert_eq!(order(&browser), found);
    assert!(
        browser
            .text("document.activeElement.textContent")
            .starts_with("Waiting ")
    );
    browser.keys("\u{e007}");
    assert_eq!(order(&browser), usual);
    browser.go(&replica.url("/?state=Waiting"));
    shows(
        &browser,
        ROWS,
        browser.value("Math.min(200, status.counts.waiting)"),
    )
    .await;
    assert_eq!(order(&browser), found);
    // Routes are folded, too.
    let routes = "document.querySelectorAll('#routes tr').length";
    assert_eq!(browser.value(routes), json!(50));
    let more = browser.text("document.querySelector('#more-routes summary').innerText");
    assert!(more.ends_with(" more"), "{more}");
}
