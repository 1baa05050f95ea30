//! The User-Agent of every request that the program sends.

use http::HeaderValue;

/// Program and version.
pub const PRODUCT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The same as the value of a header.
pub const AGENT: HeaderValue = HeaderValue::from_static(PRODUCT);
