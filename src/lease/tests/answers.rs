//! Responses of an API server.

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use kube::client::DynBody;
use serde_json::{Value, json};

pub type Answer = Response<Box<DynBody>>;

/// Returns a response with this JSON.
pub fn reply(code: u16, value: &Value) -> Answer {
    answer(code, value.to_string())
}

/// Returns a response with this text.
pub fn answer(code: u16, text: String) -> Answer {
    let body: Box<DynBody> = Box::new(Full::new(Bytes::from(text)).map_err(|never| match never {}));
    Response::builder().status(code).body(body).unwrap()
}

/// Returns the API server's Status for an error.
pub fn failure(code: u16) -> Value {
    let text = format!("fake {code}");
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text, "reason": text, "code": code,
    })
}
