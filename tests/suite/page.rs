//! The status page of a live leader in a real browser.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::browser::Browser;
use crate::replica::{Launch, PROGRAM, Replica};
use crate::testbed;
use crate::wait;

const HOSTILE: &str = "<img src=x onerror=document.title='taken'>";

/// A replica without cluster and account.
fn alone(name: &str) -> Launch {
    alone_with(name, &config_map("payments", &hostile()))
}

pub fn alone_with(name: &str, manifest: &Value) -> Launch {
    let dir = testbed::directory(name);
    let path = dir.join("manifests.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    Launch::new(dir, "r1", "default", 1)
        .without("kubeconfig")
        .without("namespace")
        .flag("provider", "in-memory")
        .flag("manifests", path.to_str().unwrap())
}

pub fn config_map(namespace: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": "partners", "namespace": namespace, "labels": { "egress": "static" } },
    })
}

fn hostile() -> Value {
    json!({
        "bank": "203.0.113.0/24",
        "dns": "8.8.8.8",
        "wide": "198.18.0.0/15",
        "hostile": HOSTILE,
        "typo": "8.8.8.8/33",
        "v6": "2001:db8::/32",
    })
}

/// Waits until an expression on the page has a value.
pub async fn shows(browser: &Browser, expression: &str, expected: Value) {
    wait::until(&format!("{expression} is {expected}"), || {
        let is = browser.value(expression);
        wait::check(is == expected, || format!("{is}"))
    })
    .await;
}

pub const ROWS: &str = "document.querySelectorAll('#entries tr.entry').length";
pub const STATE: &str = "document.getElementById('state').textContent";

/// Waits until the leader has finished a pass and has nothing to do.
async fn looked(replica: &Replica) {
    wait::until("the leader has looked", || {
        let answer = replica.get("/api/status")?;
        wait::check(answer.body.contains("\"action\":\"Keep\""), || answer.body)
    })
    .await;
}

pub async fn open(browser: &Browser, replica: &Replica) {
    looked(replica).await;
    browser.go(&replica.url("/"));
    wait::until("the page is filled", || {
        let hidden = browser.value("document.getElementById('all').hidden");
        wait::check(hidden == json!(false), || browser.text(STATE))
    })
    .await;
}

#[tokio::test]
async fn what_comes_from_config_maps_is_text_and_nothing_is_asked_of_others() {
    let replica = alone("page-hostile").start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    shows(&browser, STATE, json!("3 entries refused")).await;
    shows(&browser, ROWS, json!(6)).await;
    let title = browser.text("document.title");
    assert!(
        title.starts_with("3 entries refused · ") && title.ends_with(" · Static egress"),
        "{title}"
    );
    assert_eq!(browser.value("document.images.length"), json!(0));
    let cells = "[...document.querySelectorAll('#entries td')].map(cell => cell.textContent)";
    let cells = browser.value(cells);
    let cells = cells.as_array().unwrap();
    let shown = |cell: &Value| cell.as_str().is_some_and(|text| text.starts_with(HOSTILE));
    assert!(cells.iter().any(shown), "{cells:?}");
    // An injected script does not run.
    let inject = "(() => { const s = document.createElement('div'); try { s.innerHTML = '<b>x</b>'; } catch { return true; } \
                  return false; })()";
    assert_eq!(browser.value(inject), json!(true), "trusted types");
    wait::until("it polls", || {
        let polled = browser.text("document.body.dataset.polled || '0'");
        wait::check(polled.parse::<u32>().unwrap() >= 3, || polled)
    })
    .await;
    let requests = browser.requests();
    assert!(requests.iter().any(|url| url.ends_with("/api/status")));
    let ours = replica.url("/");
    let others: Vec<&String> = requests
        .iter()
        .filter(|url| !url.starts_with(&ours) && !url.starts_with("data:"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let complaints = browser.complaints();
    let own = |text: &&String| !text.contains("TrustedHTML");
    assert_eq!(complaints.iter().filter(own).count(), 0, "{complaints:?}");
}

#[tokio::test]
async fn search_and_keyboard() {
    let replica = alone("page-search").start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    shows(&browser, ROWS, json!(6)).await;
    let focus = "document.activeElement.id || document.activeElement.textContent";
    browser.keys("/");
    assert_eq!(browser.text(focus), "search");
    for (query, rows) in [
        ("203.0.113.7", 1),
        ("198.19.255.255", 1),
        ("8.8.0.0/16", 1),
        ("9.9.9.9", 0),
        ("payments/part", 6),
        ("typo", 1),
        ("notacidr", 2),
        ("198.51.100.1", 3),
        // The outgoing path of a network: its zone and a route table.
        ("eu-central-1a", 3),
        ("rtb-1", 3),
    ] {
        browser.keys(query);
        assert_eq!(browser.value(ROWS), json!(rows), "{query}");
        assert_eq!(
            browser.value("decodeURIComponent(location.hash.slice(1))"),
            json!(query)
        );
        // Escape clears the search.
        browser.keys("\u{e00c}");
        assert_eq!(browser.value(ROWS), json!(6));
    }
    // Tab and Enter reach the filters.
    browser.keys("\u{e004}\u{e007}");
    assert_eq!(browser.text(focus), "Refused 3");
    assert_eq!(browser.value(ROWS), json!(3));
    let pressed = "document.activeElement.getAttribute('aria-pressed')";
    assert_eq!(browser.text(pressed), "true");
    browser.keys("\u{e007}");
    assert_eq!(
        (browser.value(ROWS), browser.text(pressed)),
        (json!(6), "false".to_owned())
    );
    // Every clickable element can be reached: copy buttons, search, filters.
    let reach = "[...document.querySelectorAll('button, input')].filter(one => one.tabIndex < 0 || (!one.textContent && \
                 !one.ariaLabel)).length";
    assert_eq!(browser.value(reach), json!(0));
    // A refresh keeps the focus.
    browser.keys("\u{e004}");
    let before = browser.text(focus);
    let polled = browser.text("document.body.dataset.polled");
    wait::until("another poll", || {
        let now = browser.text("document.body.dataset.polled");
        wait::check(now != polled, || now)
    })
    .await;
    assert_eq!(browser.text(focus), before);
    browser.shot("search");
}

#[tokio::test]
async fn a_link_holds_the_search_and_the_filter_and_a_bad_one_shows_the_page() {
    let replica = alone("page-links").start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    shows(&browser, ROWS, json!(6)).await;
    let search = "document.getElementById('search').value";
    // Each link has another query, because a change of the fragment alone loads nothing.
    for (link, text, rows) in [
        ("/?state=Refused", "", 3),
        ("/?state=Refused&a=1#typo", "typo", 1),
        ("/?state=Routed#typo", "typo", 0),
        ("/?state=Nonsense#payments%2Fpart", "payments/part", 6),
        ("/?a=2#%zz", "%zz", 0),
    ] {
        browser.go(&replica.url(link));
        shows(&browser, STATE, json!("3 entries refused")).await;
        shows(&browser, ROWS, json!(rows)).await;
        assert_eq!(browser.text(search), text, "{link}");
    }
    // A new fragment on the open page counts as well.
    browser.go(&replica.url("/?a=2#typo"));
    shows(&browser, ROWS, json!(1)).await;
    // The address contains the pressed filter.
    browser.keys("/\u{e004}\u{e007}");
    assert_eq!(
        browser.text("location.search + location.hash"),
        "?state=Refused#typo"
    );
}

/// WCAG's contrast of a text with what is behind it.
const CONTRAST: &str = "(() => { const rgb = text => text.match(/[\\d.]+/g).map(Number); \
    const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4) \
      .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0); \
    const behind = node => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor); \
      if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; }; \
    const worst = [...document.querySelectorAll('body *')].filter(node => node.checkVisibility() && [...node.childNodes] \
      .some(child => child.nodeType === 3 && child.data.trim())).map(node => { const [a, b] = \
      [luminance(rgb(getComputedStyle(node).color)), luminance(behind(node))]; \
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }); return Math.min(...worst); })()";

#[tokio::test]
async fn light_dark_and_on_a_phone() {
    let replica = alone("page-looks").start();
    let browser = Browser::open();
    let paper = "getComputedStyle(document.body).backgroundColor";
    let mut papers = Vec::new();
    for dark in [false, true] {
        browser.dark(dark);
        open(&browser, &replica).await;
        shows(&browser, ROWS, json!(6)).await;
        papers.push(browser.text(paper));
        let contrast = browser.value(CONTRAST).as_f64().unwrap();
        assert!(contrast >= 4.5, "dark: {dark}, {contrast}");
        assert_eq!(browser.inaccessible(), [""; 0], "dark: {dark}");
        browser.shot(if dark { "dark" } else { "light" });
    }
    assert_ne!(papers[0], papers[1]);
    browser.phone();
    for dark in [false, true] {
        browser.dark(dark);
        open(&browser, &replica).await;
        shows(&browser, ROWS, json!(6)).await;
        let wide = browser.value("document.documentElement.scrollWidth");
        assert_eq!(wide, json!(360), "nothing sticks out");
        assert_eq!(browser.inaccessible(), [""; 0], "phone, dark: {dark}");
        browser.shot(if dark { "phone-dark" } else { "phone" });
    }
}

/// Returns fifty entries for each of ten teams, one of them invalid.
fn ten_teams() -> Vec<Value> {
    let mut list = Vec::new();
    for team in 0..10 {
        let data: Map<String, Value> = (0..50)
            .map(|number| {
                let last = if (team, number) == (7, 3) {
                    256
                } else {
                    number
                };
                (
                    format!("partner-{number}"),
                    json!(format!("203.0.{}.{last}/32", 113 + team)),
                )
            })
            .collect();
        list.push(config_map(&format!("team-{team}"), &json!(data)));
    }
    list
}

#[tokio::test]
async fn five_hundred_entries_stay_readable() {
    let manifest = json!({ "apiVersion": "v1", "kind": "List", "items": ten_teams() });
    let replica = alone_with("page-many", &manifest).start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    // The refused entry comes first in its group. Without a search, fewer rows are drawn.
    shows(&browser, ROWS, json!(50)).await;
    let first = "document.querySelector('#entries tr.group').innerText + document.querySelector('#entries tr.entry').innerText";
    let first = browser.text(first);
    assert!(
        first.starts_with("team-7/partners") && first.contains("Refused"),
        "{first}"
    );
    let groups = "document.querySelectorAll('#entries tr.group').length";
    shows(&browser, groups, json!(2)).await;
    browser.keys("/team-");
    shows(&browser, ROWS, json!(200)).await;
    shows(&browser, groups, json!(5)).await;
    assert!(
        browser
            .text("document.getElementById('found').textContent")
            .contains("500 of 500")
    );
    // Each row names its zone's three static IPs once, because there are no others.
    let ips = "[...document.querySelectorAll('#entries td[data-label=\"Static IPs\"]')].map(cell => cell.innerText)";
    let ips = browser.value(ips);
    assert!(
        ips.as_array()
            .unwrap()
            .iter()
            .skip(1)
            .all(|text| text == "all 3 IPs"),
        "{ips}"
    );
    assert_eq!(browser.inaccessible(), [""; 0]);
    browser.shot("many");
    browser.phone();
    let wide = browser.value("document.documentElement.scrollWidth");
    assert_eq!(wide, json!(360), "nothing sticks out");
}

#[tokio::test]
async fn status_and_check_ask_the_page() {
    let replica = alone("page-commands").start();
    looked(&replica).await;
    let (code, text) = ask(&replica, &["status"]);
    assert!(
        code == Some(2) && text.contains("typo") && text.contains("Refused"),
        "{text}"
    );
    let (code, text) = ask(&replica, &["check", "203.0.113.7"]);
    assert!(code == Some(0) && text.contains("198.51.100.1"), "{text}");
    let (code, text) = ask(&replica, &["check", "9.9.9.9", "--output=json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &answer["routed"], &answer["lease"]["held"]),
        (Some(2), &json!(false), &json!(true))
    );
    let (code, text) = ask(&replica, &["status", "misspelt"]);
    assert!(
        code == Some(2) && text.contains("no entry is known there"),
        "{text}"
    );
}

#[tokio::test]
async fn prefix_lists_are_shown_and_found() {
    let launch = alone("page-lists").flag("prefix-lists", "always");
    let replica = launch.flag("drift-interval", "10s").start();
    let browser = Browser::open();
    open(&browser, &replica).await;
    let list = "document.getElementById('lists').textContent";
    wait::until("the prefix list and its id", || {
        let text = browser.text(list);
        let whole = text.starts_with("NetworkList01pl-") && text.ends_with("3 of at most 100");
        wait::check(whole, || text)
    })
    .await;
    browser.go(&replica.url("/#NetworkList01"));
    shows(&browser, ROWS, json!(3)).await;
    assert!(
        browser
            .text("document.getElementById('routes').textContent")
            .contains("8.8.8.8/32 in NetworkList01")
    );
    let metric = "kube_static_egress_controller_prefix_list_networks{list=\"NetworkList01\"}";
    assert_eq!(replica.metric(metric), Some(3.0));
    let (_, answer) = ask(&replica, &["check", "8.8.8.8"]);
    assert!(answer.contains(" in prefix list pl-"), "{answer}");
    let (_, answer) = ask(&replica, &["status"]);
    assert!(
        answer.contains(") has 3 of at most 100 networks"),
        "{answer}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Runs a subcommand that asks the page. Returns its exit code and what it prints.
fn ask(replica: &Replica, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM)
        .env_clear()
        .args(arguments)
        .arg(format!("--server={}", replica.url("")))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code();
    (code, text + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let replica = alone("page-off").flag("status-page", "false").start();
    wait::until("it serves", || replica.answers("/readyz")).await;
    for path in ["/", "/api/status"] {
        assert_eq!(replica.get(path).unwrap().status, 404, "{path}");
    }
}
