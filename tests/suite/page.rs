//! The status page in a real browser, served by a live leader.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::testbed;
use crate::wait;

const HOSTILE: &str = "<img src=x onerror=document.title='taken'>";

/// Without cluster and account.
fn alone(name: &str) -> Launch {
    let dir = testbed::directory(name);
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": hostile(),
        "metadata": { "name": "partners", "namespace": "payments", "labels": { "egress": "static" } },
    });
    let path = dir.join("manifests.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    Launch::new(dir, "r1", "default", 1)
        .without("kubeconfig")
        .without("namespace")
        .flag("provider", "in-memory")
        .flag("manifests", path.to_str().unwrap())
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
async fn shows(browser: &Browser, expression: &str, expected: Value) {
    wait::until(&format!("{expression} is {expected}"), || {
        let is = browser.value(expression);
        wait::check(is == expected, || format!("{is}"))
    })
    .await;
}

const ROWS: &str = "document.querySelectorAll('#entries tr').length";
const STATE: &str = "document.getElementById('state').textContent";

async fn open(browser: &Browser, replica: &Replica) {
    wait::until("the leader has looked", || {
        let answer = replica.get("/api/status")?;
        wait::check(answer.body.contains("\"action\":\"Keep\""), || answer.body)
    })
    .await;
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
    // Script that gets in all the same is not run.
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
    ] {
        browser.keys(query);
        assert_eq!(browser.value(ROWS), json!(rows), "{query}");
        assert_eq!(
            browser.value("decodeURIComponent(location.hash.slice(1))"),
            json!(query)
        );
        // Escape empties it.
        browser.keys("\u{e00c}");
        assert_eq!(browser.value(ROWS), json!(6));
    }
    // On to the filters, by Tab and Enter.
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
    // Everything that can be clicked can be reached: copy buttons, search, filters.
    let reach = "[...document.querySelectorAll('button, input')].filter(one => one.tabIndex < 0 || (!one.textContent && \
                 !one.ariaLabel)).length";
    assert_eq!(browser.value(reach), json!(0));
    // A refresh does not take the focus away.
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
    // Another query each time: a change of the fragment alone loads nothing.
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
    // The filter that is pressed stands in the address.
    browser.keys("/\u{e004}\u{e007}");
    assert_eq!(
        browser.text("location.search + location.hash"),
        "?state=Refused#typo"
    );
    let first = "document.querySelector('#all > section:not([hidden])').id";
    assert_eq!(browser.text(first), "alerts");
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
        browser.shot(if dark { "phone-dark" } else { "phone" });
    }
}

#[tokio::test]
async fn a_leader_in_a_cluster_shows_what_ec2_holds_and_a_follower_who_leads() {
    let stage = Stage::open("page-live").await;
    let leader = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("r1 leads", || leader.said(&["this replica leads"])).await;
    let follower = stage.replica("r2").start();
    let browser = Browser::open();
    open(&browser, &leader).await;
    shows(&browser, STATE, json!("all is as asked for")).await;
    let ips = browser.value("[...document.querySelectorAll('#ips b')].map(ip => ip.textContent)");
    let held: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    assert_eq!(ips, json!(held));
    let loop_text = browser.text("document.getElementById('loop').textContent");
    for part in [
        "2 entries",
        "2 accepted",
        "2 destinations",
        "in 3 route tables",
        "CREATE_COMPLETE",
    ] {
        assert!(loop_text.contains(part), "{loop_text}");
    }
    let timeline = browser.text("document.getElementById('time').textContent");
    assert!(
        timeline.contains("CreateStack: there is no stack yet"),
        "{timeline}"
    );
    // What changes appears by itself.
    stage
        .config_map("egress-t2", &[("vpc", "172.31.9.0/24")])
        .await;
    shows(&browser, STATE, json!("1 entry refused")).await;
    let row = browser.text("document.querySelector('#entries tr').textContent");
    assert!(
        row.contains("InsideVpc") && row.contains("remove the entry"),
        "{row}"
    );
    browser.shot("live");

    browser.go(&follower.url("/"));
    wait::until("the follower names the leader", || {
        let text = browser.text("document.getElementById('standby').textContent");
        wait::check(text.contains("The leader is r1_"), || text)
    })
    .await;
    shows(&browser, STATE, json!("standby")).await;
    browser.shot("standby");
    let answer: Value = serde_json::from_str(&follower.get("/api/status").unwrap().body).unwrap();
    assert_eq!(
        (&answer["leading"], &answer["status"]),
        (&json!(false), &Value::Null)
    );
    assert!(answer["leader"].as_str().unwrap().starts_with("r1_"));
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let replica = alone("page-off").flag("status-page", "false").start();
    wait::until("it serves", || replica.answers("/readyz")).await;
    for path in ["/", "/api/status"] {
        assert_eq!(replica.get(path).unwrap().status, 404, "{path}");
    }
}
