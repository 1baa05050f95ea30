//! The configuration of an election, and the times derived from it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The maximum lease duration. No candidate waits longer, even if the Lease has a longer duration that was written by hand.
pub const MAX_LEASE_DURATION: Duration = Duration::from_secs(600);

/// The maximum length of an identity in characters. The identity is also the field manager, whose length the API server limits.
const MAX_IDENTITY: usize = 128;

/// The Lease's name and namespace, this replica's identity, and client-go's three times.
#[derive(Debug, Clone)]
pub struct ElectionConfig {
    /// The Lease's name.
    pub name: String,
    /// The Lease's namespace.
    pub namespace: String,
    /// The holder identity of this process in the Lease. Unique per process start: see [`identity`].
    pub identity: String,
    /// How long the Lease lasts after a renewal: whole seconds, 1 s to [`MAX_LEASE_DURATION`].
    pub lease_duration: Duration,
    /// How long a leader whose renewals fail keeps trying before it gives up: less than `lease_duration`. It gives up earlier when
    /// its Term ends.
    pub renew_deadline: Duration,
    /// How long to wait before trying again after a failure: less than `renew_deadline`.
    pub retry_period: Duration,
}

impl ElectionConfig {
    /// Creates a config with client-go's times: 15 s, 10 s and 2 s.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        namespace: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    pub(super) fn check(&self) -> Result<(), ElectionError> {
        let Self {
            name,
            namespace,
            identity,
            lease_duration,
            renew_deadline,
            retry_period,
        } = self;
        let plain = |name: &str| {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !name.is_empty() && name.len() <= 253 && name.chars().all(good)
        };
        if !plain(name) || !plain(namespace) {
            return Err(ElectionError::Name {
                name: name.clone(),
                namespace: namespace.clone(),
            });
        }
        if identity.is_empty()
            || identity.len() > MAX_IDENTITY
            || !identity.chars().all(|c| c.is_ascii_graphic())
        {
            return Err(ElectionError::Identity(identity.clone()));
        }
        let whole = lease_duration.subsec_nanos() == 0;
        if !whole || lease_duration.is_zero() || *lease_duration > MAX_LEASE_DURATION {
            return Err(ElectionError::LeaseDuration(*lease_duration));
        }
        if retry_period.is_zero()
            || retry_period >= renew_deadline
            || renew_deadline >= lease_duration
        {
            return Err(ElectionError::Order {
                lease_duration: *lease_duration,
                renew_deadline: *renew_deadline,
                retry_period: *retry_period,
            });
        }
        Ok(())
    }

    /// Returns how much earlier than its Lease a Term ends. The margin covers different clock rates and a request in flight.
    pub(super) fn margin(&self) -> Duration {
        self.lease_duration / 20
    }

    /// Returns how long a Term lasts after its last renewal was sent.
    pub(super) fn term(&self) -> Duration {
        self.lease_duration - self.margin()
    }

    /// Returns the time between two renewals. It leaves the whole renew deadline for retries, and is at most a third of the lease
    /// duration. With client-go's times it is 4.25 s, or 847 requests an hour, where client-go makes 3,600.
    pub(super) fn renew_every(&self) -> Duration {
        let spare = self.term().saturating_sub(self.renew_deadline);
        spare.max(self.retry_period).min(self.lease_duration / 3)
    }

    /// Returns the timeout of a read or write of the Lease that is not limited by the end of a Term.
    pub(super) fn patience(&self) -> Duration {
        (self.renew_deadline / 2).max(self.retry_period)
    }

    /// Returns a wait between `retry_period` and a quarter more, so that replicas do not retry at the same time.
    pub(super) fn retry_after(&self) -> Duration {
        self.retry_period.mul_f64(1.0 + fastrand::f64() / 4.0)
    }
}

/// Why the election cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// The Lease's name or namespace is invalid.
    #[error(
        "the Lease cannot be {namespace:?}/{name:?}: give both as DNS names (lower case letters, digits, '-' and '.')"
    )]
    Name {
        /// The name from the configuration.
        name: String,
        /// The namespace from the configuration.
        namespace: String,
    },
    /// The identity is not a valid field manager.
    #[error(
        "{0:?} cannot be the holder of a Lease: use 1 to 128 printable ASCII characters without spaces"
    )]
    Identity(String),
    /// The Lease's duration is out of range.
    #[error("a Lease cannot last {0:?}: set its duration to whole seconds, 1 to 600")]
    LeaseDuration(Duration),
    /// The three times contradict each other.
    #[error(
        "the lease duration ({lease_duration:?}), the renew deadline ({renew_deadline:?}) and the retry period \
         ({retry_period:?}) contradict each other: make each greater than the next one, and the last one greater than zero"
    )]
    Order {
        /// See [`ElectionConfig::lease_duration`].
        lease_duration: Duration,
        /// See [`ElectionConfig::renew_deadline`].
        renew_deadline: Duration,
        /// See [`ElectionConfig::retry_period`].
        retry_period: Duration,
    },
    /// No client can be created from the Kubernetes configuration.
    #[error(
        "cannot create a client for the Lease: check the kubeconfig, or the service account of this process"
    )]
    Client(#[source] kube::Error),
}

/// Returns the identity of this process: the pod's name and a random suffix, so that two starts of one pod differ. It has at most 128
/// characters, all of them printable ASCII.
#[must_use]
pub fn identity(pod_name: &str) -> String {
    // The keys of a RandomState come from the operating system's random source.
    let suffix = format!("_{:016x}", RandomState::new().hash_one(std::process::id()));
    let clean = pod_name
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '-' });
    let mut name: String = clean.take(MAX_IDENTITY - suffix.len()).collect();
    name.push_str(&suffix);
    name
}
