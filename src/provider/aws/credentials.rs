//! Credentials that are there before they are needed, and are got anew when AWS refuses them.
//!
//! The SDK's own cache does neither: it loads at the first call, and keeps what AWS has revoked until its time is over.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;

/// Got anew this long before their end, as AWS advises for roles.
const EARLY: Duration = Duration::from_secs(300);
/// How often a replica that stands by looks after them.
const LOOK: Duration = Duration::from_secs(60);
/// Of one loading. It asks STS or an agent on the node, each with retries of their own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Clones share what they hold.
#[derive(Clone, Debug)]
pub struct Renewable {
    origin: SharedCredentialsProvider,
    held: Arc<Mutex<Option<Credentials>>>,
}

impl Renewable {
    pub fn new(origin: SharedCredentialsProvider) -> Self {
        Self {
            origin,
            held: Arc::default(),
        }
    }

    /// Keeps them fresh, for ever.
    pub async fn keep_fresh(self) {
        loop {
            if let Err(error) = self.current().await {
                // Whoever needs them tells it with its remedy.
                tracing::debug!(%error, "no credentials for AWS yet");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// AWS has refused them.
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
            // They last a little longer: an STS that is away for that time is no failure.
            Err(error) => held
                .clone()
                .filter(|held| left(held, Duration::ZERO))
                .ok_or(error),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    /// Numbers its credentials.
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
        let renewable = Renewable::new(SharedCredentialsProvider::new(sts.clone()));
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
}
