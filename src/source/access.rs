//! The way into one API server: a client whose credentials are renewed.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::{Body, ClientBuilder, DynBody};
use kube::{Client, Config};
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Service};

use super::plugin::{Credentials, Plugin};

/// No client can be made.
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

/// What a client sends its requests through.
pub type Transport = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// What clients of one API server are made from.
#[derive(Clone)]
pub struct Access {
    pub config: Config,
    plugin: Option<Arc<Plugin>>,
}

impl Access {
    pub(super) fn new(config: Config, plugin: Option<Arc<Plugin>>) -> Self {
        Self { config, plugin }
    }

    #[cfg(test)]
    pub(super) fn shares(&self, other: &Self) -> bool {
        let plugins = self.plugin.as_ref().zip(other.plugin.as_ref());
        plugins.is_some_and(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// Returns the same way with another configuration, which has other deadlines.
    pub fn with(&self, config: Config) -> Self {
        Self {
            config,
            plugin: self.plugin.clone(),
        }
    }

    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn builder(&self) -> Result<ClientBuilder<Transport>, ConnectError> {
        let text = format!(
            "cannot make a client for the API server {}: check its certificate authority, its proxy-url, and the client certificate \
             (X.509 version 3) with its key",
            self.config.cluster_url
        );
        self.transport().map_err(cannot(text))
    }

    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn client(&self) -> Result<Client, ConnectError> {
        Ok(self.builder()?.build())
    }

    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn transport(&self) -> Result<ClientBuilder<Transport>, kube::Error> {
        let Some(plugin) = &self.plugin else {
            return ClientBuilder::try_from(self.config.clone());
        };
        // What is wrong is said at the start, not with the first request.
        Client::try_from(self.config.clone())?;
        let renewed = Renewed {
            config: self.config.clone(),
            plugin: Arc::clone(plugin),
            client: Arc::default(),
        };
        let namespace = self.config.default_namespace.clone();
        Ok(ClientBuilder::new(BoxService::new(renewed), namespace))
    }
}

/// Sends requests with the credentials of a plugin.
#[derive(Clone)]
struct Renewed {
    config: Config,
    plugin: Arc<Plugin>,
    /// With the number of the run that its certificate is from.
    client: Arc<Mutex<Option<(u64, Client)>>>,
}

impl Renewed {
    async fn send(&self, request: Request<Body>) -> Result<Response<Box<DynBody>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = || Request::from_parts(head.clone(), Body::from(body.to_vec()));
        let used = self.plugin.credentials(None).await?;
        let answer = self.send_with(request(), &used).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(boxed(answer));
        }
        let renewed = self.plugin.credentials(Some(used.number)).await?;
        if renewed.number == used.number {
            return Ok(boxed(answer));
        }
        Ok(boxed(self.send_with(request(), &renewed).await?))
    }

    async fn send_with(
        &self,
        mut request: Request<Body>,
        credentials: &Credentials,
    ) -> Result<Response<Body>, BoxError> {
        if let Some(bearer) = &credentials.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        let client = self.client(credentials).await?;
        Ok(client.send(request).await?)
    }

    /// Keeps the connections for as long as the certificate is the same.
    async fn client(&self, credentials: &Credentials) -> Result<Client, kube::Error> {
        let mut held = self.client.lock().await;
        let same = |number: u64| credentials.identity.is_none() || number == credentials.number;
        if let Some((_, client)) = held.as_ref().filter(|(number, _)| same(*number)) {
            return Ok(client.clone());
        }
        let mut config = self.config.clone();
        if let Some(identity) = &credentials.identity {
            config
                .auth_info
                .client_certificate_data
                .clone_from(&identity.client_certificate_data);
            config
                .auth_info
                .client_key_data
                .clone_from(&identity.client_key_data);
        }
        let client = Client::try_from(config)?;
        *held = Some((credentials.number, client.clone()));
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
