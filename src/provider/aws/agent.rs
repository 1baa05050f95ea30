//! Program and version in the User-Agent of every request to AWS and to the credential services of the node.
//!
//! The SDK has room for one app name, which is the name of the replica, and sends it to the four services only.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;

use crate::agent::PRODUCT;

const HEADER: &str = "user-agent";

/// Returns a client that puts program and version before the SDK's User-Agent. Signatures do not cover this header.
pub(super) fn named(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Named(client))
}

#[derive(Debug)]
struct Named(SharedHttpClient);

impl HttpClient for Named {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(NamedConnector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct NamedConnector(SharedHttpConnector);

impl HttpConnector for NamedConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers_mut();
        let agent = match headers.get(HEADER) {
            Some(sdk) => format!("{PRODUCT} {sdk}"),
            None => PRODUCT.to_owned(),
        };
        // The SDK's text is a header value, so the longer one is valid as well.
        let _ = headers.try_insert(HEADER, agent);
        self.0.call(request)
    }
}
