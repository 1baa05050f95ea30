//! Checks of leader election: the order of its times, and the namespace of the Lease.

use std::time::Duration;

use super::super::flags::ElectionOptions;
use super::super::{Facts, LeaderElection, LedgerPlace, Purpose, form};
use super::{Check, SECOND};

/// The factor by which the renew deadline must exceed the retry period, as in client-go: 1 plus its jitter.
const RETRY_JITTER: f64 = 1.2;
/// The suffix of the ledger's name, after the name of the Lease.
const LEDGER: &str = "-ledger";
/// The namespace in which README.md installs the controller.
const USUAL_NAMESPACE: &str = "static-egress";
/// The maximum of each election time, and so of the wait for a Lease whose holder is silent.
const MAX_LEASE: Duration = Duration::from_secs(600);

impl Check {
    pub(super) fn election(
        &mut self,
        options: &ElectionOptions,
        facts: &Facts,
        purpose: Purpose,
        manifests: bool,
    ) -> (Option<LeaderElection>, Option<LedgerPlace>) {
        let asked = self.optional("leader-elect", &options.leader_elect, form::boolean);
        let [lease_duration, renew_deadline, retry_period] = self.times(options);
        let name = form::subdomain(options.leader_elect_resource_name.trim());
        let name = self.value("leader-elect-resource-name", name, String::new());
        let needed = match purpose {
            Purpose::Run => !manifests && asked != Some(false),
            Purpose::Plan => false,
            Purpose::Read => !manifests,
        };
        let namespace = self.namespace(options, facts, needed && purpose == Purpose::Run);
        // `status` and `check` run outside of the cluster.
        let elsewhere = || (purpose == Purpose::Read).then(|| USUAL_NAMESPACE.to_owned());
        let namespace = namespace.or_else(elsewhere);
        if manifests && asked == Some(true) {
            let remedy = "manifests have no Lease: leave out --leader-elect or --manifests";
            self.mistake("leader-elect", "it needs a cluster", remedy);
        }
        let pod = facts.pod_name.as_deref().or(facts.host_name.as_deref());
        let identity = pod.unwrap_or(&name).trim().to_owned();
        // Manifests have no cluster that can store the ledger.
        let ledger = namespace.clone().filter(|_| !manifests);
        let ledger = ledger.map(|namespace| LedgerPlace {
            namespace,
            name: format!("{name}{LEDGER}"),
        });
        let election = namespace
            .filter(|_| needed)
            .map(|namespace| LeaderElection {
                name,
                namespace,
                lease_duration,
                renew_deadline,
                retry_period,
                identity,
            });
        (election, ledger)
    }

    /// Returns lease duration, renew deadline and retry period.
    fn times(&mut self, options: &ElectionOptions) -> [Duration; 3] {
        let before = self.mistakes.len();
        let lease = &options.leader_elect_lease_duration;
        let lease = self.duration("leader-elect-lease-duration", lease, SECOND, MAX_LEASE);
        let renew = &options.leader_elect_renew_deadline;
        let least = Duration::from_millis(100);
        let renew = self.duration("leader-elect-renew-deadline", renew, least, MAX_LEASE);
        let retry = &options.leader_elect_retry_period;
        let least = Duration::from_millis(50);
        let retry = self.duration("leader-elect-retry-period", retry, least, MAX_LEASE);
        if self.mistakes.len() == before {
            self.in_order(lease, renew, retry);
        }
        [lease, renew, retry]
    }

    /// Returns the Lease's namespace: that of the flag, or else that of the pod.
    fn namespace(
        &mut self,
        options: &ElectionOptions,
        facts: &Facts,
        needed: bool,
    ) -> Option<String> {
        let flag = "leader-elect-resource-namespace";
        let given = &options.leader_elect_resource_namespace;
        if given.as_deref().is_some_and(|name| !name.trim().is_empty()) {
            return self.optional(flag, given, form::label);
        }
        let facts = [&facts.pod_namespace, &facts.service_account_namespace];
        let known = facts.into_iter().flatten().map(|name| name.trim());
        let found = known
            .into_iter()
            .find(|name| !name.is_empty())
            .map(str::to_owned);
        if found.is_none() && needed {
            let problem = "the namespace of the Lease is unknown outside of a pod";
            let remedy = "give it, or POD_NAMESPACE in the environment; \
                          or, for one replica alone, --leader-elect=false";
            self.mistake(flag, problem, remedy);
        }
        found
    }

    fn in_order(&mut self, lease: Duration, renew: Duration, retry: Duration) {
        if lease.subsec_nanos() != 0 {
            let remedy = "a Lease counts whole seconds: round it";
            self.mistake(
                "leader-elect-lease-duration",
                format!("{lease:?} is not whole seconds"),
                remedy,
            );
        }
        if lease <= renew {
            let problem = format!("{lease:?} is not more than the renew deadline of {renew:?}");
            let remedy = "a leader must stop before others may start: raise it, or lower --leader-elect-renew-deadline";
            self.mistake("leader-elect-lease-duration", problem, remedy);
        }
        if renew <= retry.mul_f64(RETRY_JITTER) {
            let problem = format!(
                "{renew:?} is not more than {RETRY_JITTER} times the retry period of {retry:?}"
            );
            let remedy = "there must be time for a second try: raise it, or lower --leader-elect-retry-period";
            self.mistake("leader-elect-renew-deadline", problem, remedy);
        }
    }
}
