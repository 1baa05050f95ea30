//! CloudFormation's quotas for templates.

pub use crate::model::cloud::limits::MAX_INLINE_BYTES;

/// The maximum size of a template in S3, in bytes (CloudFormation quota).
pub const MAX_S3_BYTES: usize = 1_000_000;
/// The maximum number of resources in a template (CloudFormation quota).
pub const MAX_RESOURCES: usize = 500;
/// The maximum number of parameters in a template (CloudFormation quota).
pub const MAX_PARAMETERS: usize = 200;

/// The size of a template, by CloudFormation's quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub resources: usize,
    pub parameters: usize,
    pub bytes: usize,
    /// Whether there is a bucket for a template that is too long for a request.
    pub bucket: bool,
}

impl Size {
    /// Returns the used share of each quota, from 0 to 1, by name.
    pub fn shares(&self) -> [(&'static str, f64); 3] {
        let max_bytes = match self.bucket {
            true => MAX_S3_BYTES,
            false => MAX_INLINE_BYTES,
        };
        let share = |used: usize, of: usize| used as f64 / of as f64;
        [
            ("stack_resources", share(self.resources, MAX_RESOURCES)),
            (
                "template_parameters",
                share(self.parameters, MAX_PARAMETERS),
            ),
            ("template_bytes", share(self.bytes, max_bytes)),
        ]
    }
}

/// A CloudFormation quota that the template would exceed, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error(
        "the stack would need {resources} resources, {routes} of them routes, and CloudFormation takes {MAX_RESOURCES}; \
         {}use fewer than {tables} worker route tables, since each network has a route in each of them, or request wider networks",
        if *lists { "" } else { "set --prefix-lists=when-full, which takes one route in each table for up to 100 networks, " }
    )]
    TooManyResources {
        resources: usize,
        routes: usize,
        tables: usize,
        /// Whether new networks may already be in lists.
        lists: bool,
    },
    #[error(
        "the stack would need {0} parameters and CloudFormation takes {MAX_PARAMETERS}; use fewer worker route tables"
    )]
    TooManyParameters(usize),
    #[error(
        "the template would have {0} bytes and CloudFormation takes {MAX_INLINE_BYTES} in a request; set --cf-template-bucket \
         to an S3 bucket: through it CloudFormation takes {MAX_S3_BYTES}"
    )]
    NeedsBucket(usize),
    #[error(
        "the template would have {0} bytes and CloudFormation takes {MAX_S3_BYTES}; request wider networks"
    )]
    TooLong(usize),
}
