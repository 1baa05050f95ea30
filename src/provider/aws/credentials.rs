//! Credentials that are loaded before a call needs them, and loaded again when AWS refuses them.
//!
//! The SDK's own cache does neither: it loads at the first call, and keeps revoked credentials until they expire.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;

use crate::error_chain;
use crate::model::base::plain;

/// How long before their expiry credentials are loaded again, as AWS advises for roles.
const EARLY: Duration = Duration::from_secs(300);
/// How often a standby replica checks its credentials.
const LOOK: Duration = Duration::from_secs(60);
/// The time limit of one load, which calls STS or an agent on the node with retries of its own.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum length of a profile's name in a message, in bytes.
const MAX_PROFILE: usize = 100;

/// Credentials that are loaded early and can be forgotten. Clones share them.
#[derive(Clone, Debug)]
pub struct Renewable {
    origin: SharedCredentialsProvider,
    held: Arc<Mutex<Option<Credentials>>>,
    /// The error in the profile. The SDK reports it once, and later only refers to that report.
    wrong: Arc<std::sync::OnceLock<String>>,
    /// Whether the profile has `mfa_serial`, which the SDK ignores.
    needs_code: bool,
}

/// The SDK sent no code of the device that `mfa_serial` names.
#[derive(Debug, thiserror::Error)]
#[error("the AWS profile has mfa_serial")]
struct CodeMissing {
    source: CredentialsError,
}

impl Renewable {
    pub fn new(origin: SharedCredentialsProvider, needs_code: bool) -> Self {
        Self {
            origin,
            held: Arc::default(),
            wrong: Arc::default(),
            needs_code,
        }
    }

    /// Keeps the credentials fresh. Never returns.
    pub async fn keep_fresh(self) {
        loop {
            if let Err(error) = self.current().await {
                // The call that needs the credentials reports the error with its remedy.
                tracing::debug!(%error, "no credentials for AWS yet");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Drops the credentials, because AWS has refused them.
    pub async fn forget(&self) {
        *self.held.lock().await = None;
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let mut held = self.held.lock().await;
        let left = |credentials: &Credentials, more: Duration| {
            let expiry = credentials.expiry();
            expiry.is_none_or(|expiry| expiry > SystemTime::now() + more)
        };
        if let Some(held) = held.as_ref().filter(|held| left(held, EARLY)) {
            return Ok(held.clone());
        }
        let load = tokio::time::timeout(TIMEOUT, self.origin.provide_credentials()).await;
        match load.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(TIMEOUT))) {
            Ok(credentials) => Ok(held.insert(credentials).clone()),
            // The old credentials are valid for a little longer, so a short failure of STS is no error.
            Err(error) => held
                .clone()
                .filter(|held| left(held, Duration::ZERO))
                .ok_or_else(|| self.cause(error)),
        }
    }

    /// Returns the error, or the earlier one that it refers to.
    fn cause(&self, error: CredentialsError) -> CredentialsError {
        if let CredentialsError::InvalidConfiguration(_) = &error {
            let text = error.source().map(error_chain::text);
            let _ = self.wrong.set(text.unwrap_or_default());
        }
        match (&error, self.wrong.get()) {
            (CredentialsError::Unhandled(_), Some(wrong)) => {
                CredentialsError::invalid_configuration(wrong.clone())
            }
            (CredentialsError::ProviderError(_), _) if self.needs_code => {
                CredentialsError::provider_error(CodeMissing { source: error })
            }
            _ => error,
        }
    }
}

impl ProvideCredentials for Renewable {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

/// Returns what a user can do about missing credentials, by the texts of the SDK, which has no types for these causes.
pub(super) fn remedy(error: Option<&(dyn Error + 'static)>, profile: &str) -> String {
    let text: Vec<String> = error
        .into_iter()
        .flat_map(error_chain::chain)
        .map(|error| error.to_string().to_ascii_lowercase())
        .collect();
    let says = |part: &str| text.iter().any(|text| text.contains(part));
    let profile = match plain::short(profile.trim(), MAX_PROFILE) {
        profile if profile.is_empty() => "default".to_owned(),
        profile => profile,
    };
    // The SSO service answers UnauthorizedException if it no longer knows the session.
    if says("sso token") || says("unauthorizedexception") {
        return format!("run `aws sso login --profile {profile}`");
    }
    // A role that requires a code denies AssumeRole without one. Nothing else needs the code.
    if says("mfa_serial") && says("accessdenied") {
        return format!(
            "the role of the AWS profile {profile} requires a code of its mfa_serial, and the controller has no user who types one: in \
             another profile, set credential_process to `aws configure export-credentials --profile {profile} --format process`, and \
             run this command by hand each time its session ends; or use a role that requires no code"
        );
    }
    if says("external process") {
        return format!(
            "run the credential_process of the AWS profile {profile} by hand to see what it lacks"
        );
    }
    // The SDK, which is built without support for sessions of `aws login`, names the missing feature.
    if says("cargo feature") {
        return format!(
            "sessions of `aws login` are not supported: in another profile, set credential_process to \
             `aws configure export-credentials --profile {profile} --format process`"
        );
    }
    "give the pod a role (IRSA or EKS Pod Identity), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    /// A provider that numbers its credentials.
    #[derive(Clone, Debug)]
    struct Sts {
        lifetime: Duration,
        loads: Arc<AtomicU32>,
        away: Arc<AtomicBool>,
    }

    impl ProvideCredentials for Sts {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            if self.away.load(Ordering::Relaxed) {
                return future::ProvideCredentials::ready(Err(CredentialsError::provider_error(
                    "away",
                )));
            }
            let number = self.loads.fetch_add(1, Ordering::Relaxed) + 1;
            let expiry = SystemTime::now() + self.lifetime;
            let key = format!("AKIA{number}");
            future::ProvideCredentials::ready(Ok(Credentials::new(
                key,
                "secret",
                None,
                Some(expiry),
                "test",
            )))
        }
    }

    fn sts(lifetime: Duration) -> (Sts, Renewable) {
        let sts = Sts {
            lifetime,
            loads: Arc::default(),
            away: Arc::default(),
        };
        let renewable = Renewable::new(SharedCredentialsProvider::new(sts.clone()), false);
        (sts, renewable)
    }

    async fn key(renewable: &Renewable) -> String {
        let credentials = renewable.current().await.unwrap();
        credentials.access_key_id().to_owned()
    }

    #[tokio::test]
    async fn they_are_kept_until_shortly_before_their_end() {
        let (_, long) = sts(EARLY + Duration::from_secs(60));
        assert_eq!(key(&long).await, "AKIA1");
        assert_eq!(key(&long).await, "AKIA1");
        let (_, short) = sts(EARLY - Duration::from_secs(1));
        assert_eq!(key(&short).await, "AKIA1");
        assert_eq!(key(&short).await, "AKIA2");
    }

    #[tokio::test]
    async fn those_that_aws_refuses_are_got_anew() {
        let (_, renewable) = sts(Duration::from_secs(3_600));
        assert_eq!(key(&renewable).await, "AKIA1");
        renewable.forget().await;
        assert_eq!(key(&renewable).await, "AKIA2");
    }

    #[tokio::test]
    async fn while_there_are_no_new_ones_the_old_ones_are_used_to_their_end() {
        let (sts, renewable) = sts(Duration::from_secs(60));
        assert_eq!(key(&renewable).await, "AKIA1");
        sts.away.store(true, Ordering::Relaxed);
        assert_eq!(key(&renewable).await, "AKIA1");
        renewable.forget().await;
        assert!(renewable.current().await.is_err());
    }

    #[tokio::test]
    async fn they_are_there_before_the_first_call() {
        let (sts, renewable) = sts(Duration::from_secs(3_600));
        let fresh = renewable.clone().keep_fresh();
        let loaded = async {
            while sts.loads.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = fresh => {}
            () = loaded => {}
        }
        assert_eq!(key(&renewable).await, "AKIA1");
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_kept() {
        let (_, renewable) = sts(EARLY);
        let said = |error| {
            let error = renewable.cause(error);
            error.source().map(ToString::to_string).unwrap_or_default()
        };
        assert_eq!(said(CredentialsError::unhandled("taken")), "taken");
        assert_eq!(
            said(CredentialsError::invalid_configuration("no such profile")),
            "no such profile"
        );
        assert_eq!(
            said(CredentialsError::unhandled("already taken")),
            "no such profile"
        );
        assert_eq!(said(CredentialsError::provider_error("away")), "away");
    }

    #[test]
    fn the_remedy_fits_the_cause() {
        for (cause, part) in [
            (
                "failed to load the cached SSO token",
                "aws sso login --profile dev",
            ),
            (
                "the SSO token has expired and cannot be refreshed",
                "aws sso login --profile dev",
            ),
            (
                "Error retrieving credentials from external process",
                "credential_process of the AWS profile dev",
            ),
            (
                "This behavior requires following cargo feature(s) enabled: credentials-login",
                "export-credentials --profile dev",
            ),
            ("away", "give the pod a role"),
        ] {
            let error = CredentialsError::provider_error(cause);
            let remedy = remedy(Some(&error), "dev");
            assert!(remedy.contains(part), "{cause}: {remedy}");
        }
        let error = CredentialsError::provider_error("failed to load the cached SSO token");
        assert!(remedy(Some(&error), " ").ends_with("--profile default`"));
        assert!(remedy(None, "dev").contains("IRSA"));
    }
}
