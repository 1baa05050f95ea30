//! Access to one API server: a client that renews its credentials.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kube::client::{Body, ClientBuilder, DynBody};
use kube::config::AuthInfo;
use kube::{Client, Config};
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Service};

use super::plugin::{Credentials, Plugin};
use super::token_file;
use crate::error_chain;

/// A client cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectError {
    pub(super) fn new(message: String) -> Self {
        Self {
            message,
            source: None,
        }
    }
}

pub(super) fn cannot<E: std::error::Error + Send + Sync + 'static>(
    message: String,
) -> impl FnOnce(E) -> ConnectError {
    move |source| ConnectError {
        message,
        source: Some(Box::new(source)),
    }
}

/// The service that sends a client's requests.
pub type Transport = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// Credentials that change while the process runs.
#[derive(Clone)]
pub(super) enum Renewal {
    Plugin(Arc<Plugin>),
    /// A file with a token. The file is read again for every request.
    TokenFile(PathBuf),
}

/// The configuration from which all clients of one API server are created.
#[derive(Clone)]
pub struct Access {
    pub config: Config,
    renewal: Option<Renewal>,
}

impl Access {
    pub(super) fn new(config: Config, renewal: Option<Renewal>) -> Self {
        Self { config, renewal }
    }

    #[cfg(test)]
    pub(super) fn shares(&self, other: &Self) -> bool {
        match (&self.renewal, &other.renewal) {
            (Some(Renewal::Plugin(ours)), Some(Renewal::Plugin(theirs))) => {
                Arc::ptr_eq(ours, theirs)
            }
            _ => false,
        }
    }

    /// Returns the same access with another configuration, for example with other timeouts.
    pub fn with(&self, config: Config) -> Self {
        Self {
            config,
            renewal: self.renewal.clone(),
        }
    }

    /// Creates a client.
    ///
    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn client(&self) -> Result<Client, ConnectError> {
        let builder = self.transport();
        let builder = builder.map_err(|error| unusable(&self.config.cluster_url, error))?;
        Ok(builder.build())
    }

    /// Creates a transport, from which a client can be built.
    ///
    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn transport(&self) -> Result<ClientBuilder<Transport>, kube::Error> {
        let Some(renewal) = &self.renewal else {
            return ClientBuilder::try_from(self.config.clone());
        };
        // Report a bad configuration at the start, not at the first request.
        Client::try_from(self.config.clone())?;
        let renewed = Renewed {
            config: self.config.clone(),
            renewal: renewal.clone(),
            client: Arc::default(),
        };
        let namespace = self.config.default_namespace.clone();
        Ok(ClientBuilder::new(BoxService::new(renewed), namespace))
    }
}

fn unusable(server: &Uri, error: kube::Error) -> ConnectError {
    if error_chain::text(&error).contains("UnsupportedCertVersion") {
        return ConnectError::new(format!(
            "the client certificate for the API server {server} is not of X.509 version 3, and the TLS library accepts no other version: have it \
             issued as version 3, with openssl by -extfile"
        ));
    }
    let text = format!(
        "cannot make a client for the API server {server}: check its certificate authority, its tls-server-name, its proxy-url, and the \
         client certificate with its key"
    );
    cannot(text)(error)
}

/// Sends requests with credentials that change.
#[derive(Clone)]
struct Renewed {
    config: Config,
    renewal: Renewal,
    /// The client, and the number of the plugin run that its certificate comes from.
    client: Arc<Mutex<Option<(u64, Client)>>>,
}

impl Renewed {
    async fn send(&self, request: Request<Body>) -> Result<Response<Box<DynBody>>, BoxError> {
        let plugin = match &self.renewal {
            Renewal::Plugin(plugin) => plugin,
            Renewal::TokenFile(path) => {
                // Without a token no request is sent: the response to an anonymous request would be misleading.
                let bearer = token_file::bearer(path)?;
                return Ok(boxed(self.send_with(request, Some(&bearer), None).await?));
            }
        };
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = || Request::from_parts(head.clone(), Body::from(body.to_vec()));
        let used = plugin.credentials(None).await?;
        let with = async |it: &Credentials| {
            let identity = it.identity.as_ref().map(|identity| (it.number, identity));
            self.send_with(request(), it.bearer.as_ref(), identity)
                .await
        };
        let answer = with(&used).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(boxed(answer));
        }
        let renewed = plugin.credentials(Some(used.number)).await?;
        if renewed.number == used.number {
            return Ok(boxed(answer));
        }
        Ok(boxed(with(&renewed).await?))
    }

    /// Sends a request. `identity` is a client certificate and the number of the plugin run that it comes from.
    async fn send_with(
        &self,
        mut request: Request<Body>,
        bearer: Option<&HeaderValue>,
        identity: Option<(u64, &AuthInfo)>,
    ) -> Result<Response<Body>, BoxError> {
        if let Some(bearer) = bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        let client = self.client(identity).await?;
        Ok(client.send(request).await?)
    }

    /// Returns the client for this certificate. Its connections are reused until the certificate changes.
    async fn client(&self, identity: Option<(u64, &AuthInfo)>) -> Result<Client, ConnectError> {
        let mut held = self.client.lock().await;
        let same = |run: u64| identity.is_none_or(|(number, _)| run == number);
        if let Some((_, client)) = held.as_ref().filter(|(run, _)| same(*run)) {
            return Ok(client.clone());
        }
        let mut config = self.config.clone();
        if let Some((_, identity)) = identity {
            let (ours, theirs) = (&mut config.auth_info, identity.clone());
            ours.client_certificate_data = theirs.client_certificate_data;
            ours.client_key_data = theirs.client_key_data;
        }
        let server = config.cluster_url.clone();
        let client = Client::try_from(config).map_err(|error| unusable(&server, error))?;
        let number = identity.map_or(0, |(number, _)| number);
        *held = Some((number, client.clone()));
        Ok(client)
    }
}

fn boxed(answer: Response<Body>) -> Response<Box<DynBody>> {
    answer.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>)
}

impl Service<Request<Body>> for Renewed {
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}
