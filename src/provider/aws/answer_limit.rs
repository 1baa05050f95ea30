//! The maximum size of an answer of AWS.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The maximum size of one answer, in bytes. A page of 100 route tables with 500 routes each has about 20 MB.
pub const MAX_ANSWER: usize = 32 << 20;

/// Limits the body of an answer: a read beyond [`MAX_ANSWER`] bytes fails, so that no answer fills the memory.
pub fn bound(answer: &mut HttpResponse) {
    let body = answer.take_body();
    *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER));
}
