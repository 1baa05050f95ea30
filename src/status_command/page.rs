//! Reads the status from a controller's status page.

use http::header::USER_AGENT;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use kube::{Client, Config};
use serde::Deserialize;
use tokio::time::timeout;

use super::PATIENCE;
use super::leadership::Leadership;
use crate::agent::AGENT;
use crate::error_chain;
use crate::model::base::plain::{plain, short};
use crate::model::status::{SCHEMA_VERSION, Status};

/// The maximum size of a response in bytes. A page keeps its status below 8 MiB.
const MAX_ANSWER: usize = 10 << 20;
/// The maximum length of a name or an error from another program, in bytes.
const MAX_TEXT: usize = 300;

/// Why the status cannot be read from a page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error(
        "--server: {0:?} is not the address of a status page; write it as http://localhost:8080"
    )]
    Address(String),
    #[error(
        "--server: {address} cannot be reached ({cause}): check that a controller runs there, and its --address or the port-forward"
    )]
    Unreachable { address: String, cause: String },
    #[error("--server: {address} did not answer within {} s: check the address", PATIENCE.as_secs())]
    Late { address: String },
    #[error(
        "--server: {address} has no status page (404): check the address; a controller with --status-page=false has none"
    )]
    Missing { address: String },
    #[error("--server: {address} answers {status}: {text}")]
    Refused {
        address: String,
        status: StatusCode,
        text: String,
    },
    #[error(
        "--server: the response of {0} is not a status that this version understands: use the controller's own version"
    )]
    Strange(String),
    #[error("--server: the replica {replica} has no status: {why}")]
    NoStatus { replica: String, why: String },
}

/// The response of `/api/status`. Other fields may have any content.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    schema_version: u32,
    replica: String,
    leading: bool,
    leader: Option<String>,
    status: Option<Status>,
}

/// Reads the status from the page at this address. Sends no credentials.
pub(super) async fn read(server: &str) -> Result<(Status, Leadership), PageError> {
    let server = server.trim().trim_end_matches('/');
    let address = short(server, MAX_TEXT);
    let url: Uri = server
        .parse()
        .ok()
        .filter(|url: &Uri| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none()
        })
        .ok_or_else(|| PageError::Address(address.clone()))?;
    let body = match timeout(PATIENCE, ask(url, &address)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(PageError::Late { address }),
    };
    understand(&body, &address)
}

async fn ask(url: Uri, address: &str) -> Result<Vec<u8>, PageError> {
    let unreachable = |error: &(dyn std::error::Error + 'static)| PageError::Unreachable {
        address: address.to_owned(),
        cause: short(&error_chain::text(error), MAX_TEXT),
    };
    let client = Client::try_from(Config::new(url)).map_err(|error| unreachable(&error))?;
    let request = Request::get("/api/status").header(USER_AGENT, AGENT);
    let request = request.body(Body::empty());
    let request = request.map_err(|error| unreachable(&error))?;
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
    match status {
        StatusCode::OK => Ok(body.to_vec()),
        StatusCode::NOT_FOUND => Err(PageError::Missing {
            address: address.to_owned(),
        }),
        status => Err(PageError::Refused {
            address: address.to_owned(),
            status,
            text: plain(short(&String::from_utf8_lossy(&body), MAX_TEXT).trim()).into_owned(),
        }),
    }
}

fn understand(body: &[u8], address: &str) -> Result<(Status, Leadership), PageError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let answer = answer.filter(|answer| answer.schema_version == SCHEMA_VERSION);
    let answer = answer.ok_or_else(|| PageError::Strange(address.to_owned()))?;
    let replica = plain(&short(&answer.replica, MAX_TEXT)).into_owned();
    let leader = answer
        .leader
        .map(|leader| plain(&short(&leader, MAX_TEXT)).into_owned());
    let Some(status) = answer.status else {
        let why = match leader {
            _ if answer.leading => {
                "it leads, but has not finished its first pass; ask again".to_owned()
            }
            Some(leader) => format!("it stands by; ask the leader, {leader}"),
            None => "it stands by, and nobody leads".to_owned(),
        };
        return Err(PageError::NoStatus { replica, why });
    };
    let leadership = match leader {
        _ if answer.leading => Leadership::Led { holder: replica },
        Some(holder) => Leadership::Led { holder },
        None => Leadership::Nobody {
            since: String::new(),
            why: format!("the replica {replica} stands by and knows no leader"),
        },
    };
    Ok((status, leadership))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(Status, Leadership), PageError> {
        understand(text.as_bytes(), "there")
    }

    #[test]
    fn an_answer_shows_who_leads() {
        let status = r#""status":{"schemaVersion":1}"#;
        let head = r#""schemaVersion":1,"replica":"b""#;
        let led = |text: String| match of(&text).expect("a status").1 {
            Leadership::Led { holder } => Some(holder),
            _ => None,
        };
        let leads = format!("{{{head},\"leading\":true,\"leader\":\"b\",{status}}}");
        let stands_by = format!("{{{head},\"leading\":false,\"leader\":\"a\",{status}}}");
        let nobody = format!("{{{head},\"leading\":false,\"leader\":null,{status}}}");
        assert_eq!(
            [leads, stands_by, nobody].map(led),
            [Some("b".to_owned()), Some("a".to_owned()), None]
        );
    }

    #[test]
    fn what_is_no_status_is_refused_with_the_remedy() {
        for (text, part) in [
            ("<html>", "use the controller's own version"),
            (
                r#"{"schemaVersion":2,"status":{}}"#,
                "use the controller's own version",
            ),
            (
                r#"{"schemaVersion":1,"replica":"b","leading":true,"status":null}"#,
                "ask again",
            ),
            (
                r#"{"schemaVersion":1,"replica":"b","leader":"a","status":null}"#,
                "ask the leader, a",
            ),
            (
                r#"{"schemaVersion":1,"replica":"b","leader":null}"#,
                "nobody leads",
            ),
        ] {
            let error = of(text)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn only_addresses_of_pages_are_asked() {
        for bad in [
            "localhost:8080",
            "ftp://localhost",
            "http://localhost?x=1",
            "",
            "http://",
        ] {
            let error = read(bad)
                .await
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(
                error.contains("write it as http://localhost:8080"),
                "{bad}: {error}"
            );
        }
        let closed = read("http://127.0.0.1:1")
            .await
            .err()
            .map(|error| error.to_string());
        assert!(closed.is_some_and(|error| error.contains("check that a controller runs there")));
    }
}
