//! Answers of an API server.

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use kube::client::DynBody;
use serde_json::{Value, json};

pub type Answer = Response<Box<DynBody>>;

/// With this as its JSON.
pub fn reply(code: u16, value: &Value) -> Answer {
    answer(code, value.to_string())
}

/// With this text.
pub fn answer(code: u16, text: String) -> Answer {
    let body: Box<DynBody> = Box::new(Full::new(Bytes::from(text)).map_err(|never| match never {}));
    Response::builder().status(code).body(body).unwrap()
}

/// What an API server says with an error.
pub fn failure(code: u16) -> Value {
    let text = format!("fake {code}");
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text, "reason": text, "code": code,
    })
}
