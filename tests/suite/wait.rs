//! Waiting for something to become true, with a deadline and a reason when it does not.

use std::time::{Duration, Instant};

/// Generous: a busy machine is slow, and a test that fails for that reason tells nothing.
const DEADLINE: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(40);

/// Asks again and again until the probe has an answer; its last complaint is part of the failure.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    until_async(what, async || probe()).await
}

/// As [`until`], for a probe that has to await something.
pub async fn until_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(answer) => return answer,
            Err(complaint) if start.elapsed() > DEADLINE => {
                panic!("not within {DEADLINE:?}: {what}; at last: {complaint}")
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

/// A condition as an answer for [`until`].
pub fn check(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(complaint()) }
}

/// Shows a figure even when the test passes: what is written so, the test runner does not capture.
pub fn measured(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "measured: {text}");
}

/// Whether tests that can be short or long are to be long.
pub fn is_long() -> bool {
    std::env::var("KSEC_LONG").is_ok_and(|value| value == "1")
}
