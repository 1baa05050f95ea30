use std::collections::HashMap;

use super::*;

const VERSION: &str = "client.authentication.k8s.io/v1";

fn script(text: &str) -> Plugin {
    let exec = serde_json::from_value::<ExecConfig>(json!({
        "apiVersion": VERSION, "command": "/bin/sh", "args": ["-c", text], "installHint": "Get a shell",
    }));
    let mut exec = exec.expect("an exec config");
    exec.env = Some(vec![HashMap::from([
        ("name".to_owned(), "WHO".to_owned()),
        ("value".to_owned(), "me".to_owned()),
    ])]);
    Plugin::new(exec)
}

fn answer(status: &str) -> String {
    format!("printf %s '{{\"apiVersion\": \"{VERSION}\", \"status\": {status}}}'")
}

async fn fails(text: &str) -> String {
    let outcome = script(text).current(None).await;
    outcome.err().expect(text).to_string()
}

#[tokio::test]
async fn a_plugin_gives_a_token_and_knows_who_asks() {
    let text = format!(
        "printf %s \"$KUBERNETES_EXEC_INFO\" | grep -q '\"kind\":\"ExecCredential\"' && [ \"$WHO\" = me ] && {}",
        answer(r#"{"token": "t"}"#)
    );
    let credentials = script(&text).current(None).await.expect("credentials");
    let bearer = credentials.bearer.expect("a token");
    assert_eq!(bearer.to_str().ok(), Some("Bearer t"));
    assert!(bearer.is_sensitive(), "a log would show it");
}

#[tokio::test]
async fn a_certificate_needs_its_key() {
    let both = answer(r#"{"clientCertificateData": "c", "clientKeyData": "k"}"#);
    let credentials = script(&both).current(None).await.expect("credentials");
    let identity = credentials.identity.expect("a certificate");
    // In base64, as in a kubeconfig.
    assert_eq!(identity.client_certificate_data.as_deref(), Some("Yw=="));
    let error = fails(&answer(r#"{"clientCertificateData": "c"}"#)).await;
    assert!(error.contains("key is missing"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_named_without_the_token() {
    for (text, part) in [
        ("echo nonsense-with-a-token", "not an ExecCredential"),
        ("echo '{}'", "apiVersion"),
        (&answer("null"), "no status"),
        (&answer("{}"), "neither token nor"),
        (&answer(r#"{"token": "a\nb"}"#), "characters"),
        (
            &answer(r#"{"token": "t", "expirationTimestamp": "soon"}"#),
            "expirationTimestamp",
        ),
        ("echo log in first >&2; exit 3", "log in first. Get a shell"),
        ("yes | head -c 9999999 >&2; exit 1", "failed with"),
    ] {
        let error = fails(text).await;
        assert!(
            error.contains(part) && error.contains("/bin/sh"),
            "{text}: {error}"
        );
        assert!(!error.contains("nonsense"), "{error}");
        assert!(error.len() < 600, "{error}");
    }
    let mut absent = script("");
    absent.exec.command = Some("no-such-plugin".to_owned());
    let error = absent.current(None).await.err().expect("none").to_string();
    assert!(
        error.contains("no-such-plugin") && error.contains("Get a shell"),
        "{error}"
    );
    let mut person = script("");
    person.exec.interactive_mode = Some(ExecInteractiveMode::Always);
    if !std::io::stdin().is_terminal() {
        let error = person.current(None).await.err().expect("none").to_string();
        assert!(error.contains("needs a terminal"), "{error}");
    }
}

/// Moves the last run into the past.
async fn later(plugin: &Plugin) {
    let mut held = plugin.held.lock().await;
    let (at, _) = held.last.as_mut().expect("a run");
    *at -= FLOOR;
}

#[tokio::test]
async fn it_runs_again_when_credentials_expire_or_are_refused_but_not_all_the_time() {
    let plugin = script(&answer(r#"{"token": "t"}"#));
    let number = async |refused| plugin.current(refused).await.expect("credentials").number;
    assert_eq!(number(None).await, 1);
    // A token without an expiry is valid until the API server refuses it.
    later(&plugin).await;
    assert_eq!(number(None).await, 1);
    assert_eq!(number(Some(1)).await, 2);
    // Another request with the old token gets the new one.
    assert_eq!(number(Some(1)).await, 2);
    assert_eq!(number(Some(2)).await, 2, "too early for another run");
    later(&plugin).await;
    assert_eq!(number(Some(2)).await, 3);

    let soon = Timestamp::now() + EARLY - SignedDuration::from_secs(1);
    let status = format!(r#"{{"token": "t", "expirationTimestamp": "{soon}"}}"#);
    let plugin = script(&answer(&status));
    assert_eq!(plugin.current(None).await.expect("credentials").number, 1);
    assert_eq!(plugin.current(None).await.expect("credentials").number, 2);
}

#[tokio::test]
async fn one_that_fails_is_left_alone_for_a_while() {
    let plugin = script("exit 1");
    for runs in [1, 1] {
        plugin.current(None).await.err().expect("a failure");
        assert_eq!(plugin.held.lock().await.runs, runs);
    }
    later(&plugin).await;
    plugin.current(None).await.err().expect("a failure");
    assert_eq!(plugin.held.lock().await.runs, 2);
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_no_login() {
    let plugin = Arc::new(script(&format!(
        "sleep 0.3; {}",
        answer(r#"{"token": "t"}"#)
    )));
    let given_up = timeout(Duration::from_millis(50), plugin.credentials(None)).await;
    assert!(given_up.is_err());
    assert_eq!(
        plugin.credentials(None).await.expect("credentials").number,
        1
    );
}

#[tokio::test]
async fn a_token_that_is_still_valid_outlives_a_renewal_that_fails() {
    let dir = std::env::temp_dir().join(format!("plugin-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let soon = Timestamp::now() + EARLY - SignedDuration::from_secs(1);
    let status = format!(r#"{{"token": "t", "expirationTimestamp": "{soon}"}}"#);
    let once = format!("mkdir {}/ran && {}", dir.display(), answer(&status));
    let plugin = script(&once);
    for runs in [1, 2, 2] {
        assert_eq!(plugin.current(None).await.expect("credentials").number, 1);
        assert_eq!(plugin.held.lock().await.runs, runs);
    }
    // A refused or expired token is invalid, and the plugin's error names the remedy.
    plugin.current(Some(1)).await.err().expect("a failure");
    let mut held = plugin.held.lock().await;
    held.credentials.as_mut().expect("credentials").expiry = Some(Timestamp::now());
    drop(held);
    plugin.current(None).await.err().expect("a failure");
    std::fs::remove_dir_all(&dir).expect("a directory");
}
