//! Waits until a condition holds, with a deadline and a reason for a timeout.

use std::time::{Duration, Instant};

/// The deadline is generous: a timeout because of a busy machine proves nothing.
const DEADLINE: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(40);

/// Calls the probe until it succeeds. A timeout shows its last error.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    until_async(what, async || probe()).await
}

/// Same as [`until`], for an asynchronous probe.
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

/// Returns a condition as the result of a probe.
pub fn check(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(complaint()) }
}

/// Prints a figure even if the test passes: the test runner does not capture this output.
pub fn measured(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "measured: {text}");
}

/// Whether tests with a short and a long version run the long one.
pub fn is_long() -> bool {
    std::env::var("KSEC_LONG").is_ok_and(|value| value == "1")
}
