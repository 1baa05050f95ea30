use super::*;

fn status(code: u16, message: &str) -> ReadError {
    let message = message.to_owned();
    ReadError::Status { code, message }
}

#[test]
fn each_failure_says_what_to_do() {
    for (code, part) in [(401, "--credentials-dir"), (403, "role"), (429, "429")] {
        assert!(status(code, "no").explain().contains(part), "{code}");
    }
    let outer = std::io::Error::other(std::io::Error::other("Connection refused"));
    let away = ReadError::Client(kube::Error::Service(Box::new(outer))).explain();
    assert!(
        away.contains("Connection refused") && away.contains("check its address"),
        "{away}"
    );
}

#[test]
fn a_version_that_is_too_old_or_too_new_needs_a_list() {
    assert!(status(410, "too old").needs_a_list());
    let early = "Timeout: Too large resource version: 900, current: 7";
    assert!(status(504, early).needs_a_list());
    assert!(!status(504, "gateway timeout").needs_a_list());
    assert!(!status(403, "no").needs_a_list());
}
