//! The desired stack as CloudFormation takes it: the same input gives the same bytes.

use std::collections::BTreeMap;

/// Of a template body in the request (CloudFormation quota).
pub const MAX_INLINE_BYTES: usize = 51_200;
/// Of a template in S3 (CloudFormation quota).
pub const MAX_S3_BYTES: usize = 1_000_000;
/// Resources in a template (CloudFormation quota).
pub const MAX_RESOURCES: usize = 500;
/// Parameters in a template (CloudFormation quota).
pub const MAX_PARAMETERS: usize = 200;

/// Everything that a CreateStack or CreateChangeSet says of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pub stack_name: String,
    /// JSON.
    pub text: String,
    pub parameters: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub termination_protection: bool,
    /// Hex, over text, parameters and tags: names the change set.
    pub fingerprint: String,
}

impl Template {
    /// Whether it must go through S3.
    pub fn needs_bucket(&self) -> bool {
        self.text.len() > MAX_INLINE_BYTES
    }
}

/// SHA-256 as lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
