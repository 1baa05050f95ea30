//! [`Reader`]: lists and watches one cluster's ConfigMaps as raw bytes, within limits.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::item::{self, Event};
use super::split::{Lines, List};
use super::token_file::TokenError;
use crate::error_chain;
use crate::model::base::ids::ObjectId;
use crate::model::input::object;
use crate::model::input::request::Object;

/// The label selector of ConfigMaps.
pub const SELECTOR: &str = "egress=static";
/// The number of objects per page. The API server holds a whole page in memory.
const PAGE: usize = 50;
/// The maximum number of pages of one list: 1,000,000 ConfigMaps.
const MAX_PAGES: usize = 20_000;
/// The maximum number of empty pages in one list although more pages follow.
const MAX_EMPTY_PAGES: usize = 10;
/// How long the API server may take to accept a watch.
const ANSWER: Duration = Duration::from_secs(10);
/// The timeout of a page.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// The duration of one watch in seconds.
const WATCH_SECONDS: u64 = 30;
/// A watch without any data for this long is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 5);
/// The maximum size of an error response in bytes.
const MAX_ERROR: usize = 64 << 10;
/// The maximum length of a continue token in bytes. The token contains the last object's name.
const MAX_TOKEN: usize = 8 << 10;

/// Why ConfigMaps cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the API server answered {code}: {message}")]
    Status { code: u16, message: String },
    #[error("the API server does not answer")]
    Client(#[from] kube::Error),
    #[error("{0}")]
    Answer(String),
    #[error("there are more than {most} labelled ConfigMaps", most = MAX_PAGES * PAGE)]
    TooMany,
}

impl ReadError {
    /// Whether the requested version is too old, or newer than the API server's: only a new list helps.
    pub(super) fn needs_a_list(&self) -> bool {
        match self {
            Self::Status { code, message } => {
                matches!(code, 410) || message.contains("Too large resource version")
            }
            Self::Client(_) | Self::Answer(_) | Self::TooMany => false,
        }
    }

    /// Returns the error with its remedy.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Status { code: 403, message } => format!(
                "the permission to read its ConfigMaps is missing ({message}): bind a role with list and watch on configmaps, or set --namespace"
            ),
            Self::Status { code: 401, .. } => {
                "it does not accept our credentials: check the service account's token, --credentials-dir or the kubeconfig"
                    .to_owned()
            }
            Self::Status { code, message } => format!("it answered {code} ({message})"),
            Self::Client(kube::Error::Service(cause)) if cause.is::<TokenError>() => cause.to_string(),
            Self::Client(error) => format!(
                "it cannot be reached ({}): check its address, its certificate authority and the network",
                root(error)
            ),
            Self::Answer(why) => {
                format!("its response cannot be used ({why}): check the proxies between it and this process")
            }
            Self::TooMany => format!(
                "{self}: delete those that nobody needs, and limit their number with a ResourceQuota for count/configmaps"
            ),
        }
    }
}

/// Returns the innermost cause: the outer errors add no information.
fn root(error: &kube::Error) -> String {
    error_chain::chain(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// All ConfigMaps, as of one version.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub version: String,
    pub objects: BTreeMap<ObjectId, Object>,
}

/// A watch that the API server has accepted.
pub(super) struct Watch {
    body: BoxStream<'static, Result<bytes::Bytes, kube::Error>>,
    lines: Lines,
}

/// Reads one cluster.
#[derive(Clone)]
pub(super) struct Reader {
    pub client: Client,
    pub cluster: String,
    /// The watched namespace; None for all namespaces.
    pub namespace: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Shell {
    metadata: ShellMetadata,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ShellMetadata {
    resource_version: String,
    r#continue: String,
}

/// The fields of an error response.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
}

impl Reader {
    /// Lists all ConfigMaps by a consistent read. The API server's cache may be outdated.
    pub(super) async fn list(&self) -> Result<Listing, ReadError> {
        let mut listing = Listing::default();
        let (mut token, mut empty, mut furthest) = (String::new(), 0, String::new());
        for _ in 0..MAX_PAGES {
            let page = timeout(PAGE_TIME, self.page(&token, &mut listing)).await;
            let late = || ReadError::Answer(format!("a page took more than {PAGE_TIME:?}"));
            let (Shell { metadata }, last) = page.map_err(|_| late())??;
            object::bound(&mut listing.objects);
            if metadata.r#continue.is_empty() {
                listing.version = metadata.resource_version;
                return match listing.version.is_empty() {
                    true => Err(ReadError::Answer("it has no resource version".to_owned())),
                    false => Ok(listing),
                };
            }
            // A list is ordered by namespace and name. Most objects of a crowded namespace are dropped, so their number shows no progress.
            empty += usize::from(last <= furthest);
            furthest = furthest.max(last);
            let same = metadata.r#continue == token;
            if same || empty > MAX_EMPTY_PAGES || metadata.r#continue.len() > MAX_TOKEN {
                let why = "the list does not end".to_owned();
                return Err(ReadError::Answer(why));
            }
            token = metadata.r#continue;
        }
        Err(ReadError::TooMany)
    }

    /// Reads one page. Returns what follows its objects, and the last object as "namespace/name"; empty without objects.
    async fn page(&self, token: &str, listing: &mut Listing) -> Result<(Shell, String), ReadError> {
        let mut query = format!("&limit={PAGE}");
        if !token.is_empty() {
            query += &format!("&continue={}", utf8_percent_encode(token, NON_ALPHANUMERIC));
        }
        let mut body = self
            .get(&query, PAGE_TIME)
            .await?
            .into_body()
            .into_data_stream();
        let mut list = List::default();
        let (mut nameless, mut last) = (None, String::new());
        while let Some(bytes) = body.next().await {
            let split = list.push(&bytes?, |text| match item::item(text) {
                Ok(item) => {
                    let id = self.id(item.namespace, item.name);
                    let place = format!("{}/{}", id.namespace, id.name);
                    if place > last {
                        last = place;
                    }
                    listing.objects.insert(id, item.object);
                }
                Err(why) => nameless = Some(why),
            });
            split.map_err(|error| ReadError::Answer(error.to_string()))?;
        }
        if let Some(why) = nameless {
            return Err(ReadError::Answer(format!("an object has no name: {why}")));
        }
        let shell = list.finish();
        let shell = shell.map_err(|error| ReadError::Answer(error.to_string()))?;
        let shell = serde_json::from_slice(&shell);
        let shell = shell.map_err(|error| ReadError::Answer(error.to_string()))?;
        Ok((shell, last))
    }

    /// Starts a watch from this version.
    pub(super) async fn watch(&self, version: &str) -> Result<Watch, ReadError> {
        let version = utf8_percent_encode(version, NON_ALPHANUMERIC);
        let query = format!(
            "&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        );
        let body = self.get(&query, ANSWER).await?.into_body();
        Ok(Watch {
            body: body.into_data_stream().boxed(),
            lines: Lines::default(),
        })
    }

    pub(super) fn id(&self, namespace: String, name: String) -> ObjectId {
        ObjectId {
            cluster: self.cluster.clone(),
            namespace,
            name,
        }
    }

    async fn get(&self, query: &str, limit: Duration) -> Result<Response<Body>, ReadError> {
        let path = match &self.namespace {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/configmaps"),
            None => "/api/v1/configmaps".to_owned(),
        };
        let selector = utf8_percent_encode(SELECTOR, NON_ALPHANUMERIC);
        let request = Request::get(format!("{path}?labelSelector={selector}{query}"))
            .header(ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|error| ReadError::Client(kube::Error::HttpError(error)))?;
        let late = || ReadError::Answer(format!("it did not start to answer within {limit:?}"));
        let answer = timeout(limit, self.client.send(request)).await;
        let answer = answer.map_err(|_| late())??;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let message = timeout(ANSWER, error_text(answer.into_body())).await;
        let message = message.unwrap_or_default();
        Err(ReadError::Status { code, message })
    }
}

/// Returns the message of an error response, without parts that clutter the log.
async fn error_text(body: Body) -> String {
    let (mut body, mut text) = (body.into_data_stream(), Vec::new());
    while let Some(Ok(bytes)) = body.next().await {
        text.extend_from_slice(&bytes);
        if text.len() > MAX_ERROR {
            break;
        }
    }
    let refusal: Refusal = serde_json::from_slice(&text).unwrap_or_default();
    refusal.message.trim().to_owned()
}

impl Watch {
    /// Returns the next events, some at once; None if the API server has ended the watch. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Event>>, ReadError> {
        let silent = || ReadError::Answer(format!("the watch sent no data for {SILENCE:?}"));
        let bytes = timeout(SILENCE, self.body.next()).await;
        let Some(bytes) = bytes.map_err(|_| silent())? else {
            return Ok(None);
        };
        let mut events = Vec::new();
        self.lines
            .push(&bytes?, |line| events.push(item::event(line)));
        Ok(Some(events))
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
