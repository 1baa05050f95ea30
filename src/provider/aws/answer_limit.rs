//! How long an answer of AWS may be.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The most bytes of one answer. A page of 100 route tables with 500 routes each has about 20 MB.
pub const MAX_ANSWER: usize = 32 << 20;

/// Makes the reading of an answer fail where it is longer than that, instead of holding it whole.
pub fn bound(answer: &mut HttpResponse) {
    let body = answer.take_body();
    *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER));
}
