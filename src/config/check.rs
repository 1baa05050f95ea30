//! Checks all values, alone and against each other, and collects all mistakes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::flags::{Options, ProcessOptions, SourceOptions};
use super::form::Judged;
use super::{
    Clusters, Config, Facts, Log, Master, Mistake, ProviderConfig, Purpose, SourceConfig, form,
};
use crate::model::base::settings::{OnDrift, OnEmpty, PrefixLists, Settings, stack_name};
use crate::model::cloud::limits::MOST_ROUTES;

mod election;
mod owner;
mod provider;
mod traces;
mod zones;

const TOKEN_FILE: &str = "kube-static-egress-controller-token-secret";
const DEFAULT_CREDENTIALS_DIR: &str = "/meta/credentials";
const APPLICATION_TAG: &str = "kubernetes:application";
/// The maximum number of additional tags: CloudFormation allows 50, and two are the ownership tags.
const MAX_ADDITIONAL_TAGS: usize = 48;
const MAX_MASTERS: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// Checks the flags together with the environment. Pure: the function reads no file and makes no call.
    pub fn check(options: &Options, facts: &Facts, purpose: Purpose) -> Result<Self, Vec<Mistake>> {
        let mut check = Check::default();
        let source = check.source(&options.sources, facts);
        let manifests = matches!(source, SourceConfig::Manifests(_));
        let namespace = check.optional("namespace", &options.sources.namespace, form::label);
        let (provider, noop) =
            check.provider(options, facts, manifests || purpose == Purpose::Read);
        let mut settings = check.settings(options, matches!(provider, ProviderConfig::Aws(_)));
        let (leader_election, ledger) =
            check.election(&options.election, facts, purpose, manifests);
        settings.owner.lease = leader_election.as_ref().map(|it| it.mark());
        let (stack, process) = (&options.stack, &options.process);
        let json = check.choice(
            "log-format",
            &process.log_format,
            &[("text", false), ("json", true)],
        );
        let alone = purpose == Purpose::Run && leader_election.is_none();
        let config = Self {
            source,
            namespace,
            provider,
            settings,
            empty_grace_period: check.duration(
                "empty-grace-period",
                &stack.empty_grace_period,
                Duration::ZERO,
                30 * DAY,
            ),
            resync_interval: check.duration(
                "resync-interval",
                &stack.resync_interval,
                10 * SECOND,
                DAY,
            ),
            drift_interval: check.duration(
                "drift-interval",
                &stack.drift_interval,
                10 * SECOND,
                DAY,
            ),
            dry_run: check.boolean("dry-run", &stack.dry_run) || noop,
            leader_election,
            ledger,
            log: Log {
                level: check.value(
                    "log-level",
                    form::log_level(&process.log_level),
                    tracing::Level::INFO,
                ),
                json: json.unwrap_or(false),
            },
            traces: check.traces(&process.otlp_endpoint, facts, purpose),
            status_page: check.boolean("status-page", &process.status_page),
            annotate_configmaps: check.annotate_configmaps(process, alone),
            address: check.value(
                "address",
                form::address(process.address.trim()),
                std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            ),
            warnings: check.warnings,
        };
        if check.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(check.mistakes)
        }
    }
}

/// Collects mistakes. A wrong value is replaced by a valid one, so that the check can continue.
#[derive(Default)]
struct Check {
    mistakes: Vec<Mistake>,
    /// The settings that are ignored, with the reasons.
    warnings: Vec<String>,
}

impl Check {
    fn annotate_configmaps(&mut self, process: &ProcessOptions, alone: bool) -> bool {
        let flag = "annotate-configmaps";
        let wanted = self.boolean(flag, &process.annotate_configmaps);
        if wanted && alone {
            let problem = "the controller annotates ConfigMaps only with leader election";
            self.mistake(flag, problem, "leave it out, or set --leader-elect");
        }
        wanted
    }

    fn mistake(
        &mut self,
        flag: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            flag,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    fn value<T>(&mut self, flag: &'static str, judged: Judged<T>, otherwise: T) -> T {
        self.given(flag, judged).unwrap_or(otherwise)
    }

    fn given<T>(&mut self, flag: &'static str, judged: Judged<T>) -> Option<T> {
        judged
            .map_err(|(problem, remedy)| self.mistake(flag, problem, remedy))
            .ok()
    }

    /// Checks an optional value. An empty value counts as missing, because that is how a template leaves out a variable.
    fn optional<T>(
        &mut self,
        flag: &'static str,
        text: &Option<String>,
        judge: impl Fn(&str) -> Judged<T>,
    ) -> Option<T> {
        let text = text
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())?;
        self.given(flag, judge(text))
    }

    fn boolean(&mut self, flag: &'static str, text: &str) -> bool {
        self.value(flag, form::boolean(text), false)
    }

    fn duration(
        &mut self,
        flag: &'static str,
        text: &str,
        min: Duration,
        max: Duration,
    ) -> Duration {
        self.value(flag, form::duration(text, min, max), min)
    }

    fn choice<T: Clone>(
        &mut self,
        flag: &'static str,
        text: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let found = choices
            .iter()
            .find(|(name, _)| *name == text.trim())
            .map(|(_, value)| value.clone());
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.mistake(
                flag,
                format!("{} is unknown", form::quote(text)),
                format!("give {}", names.join(" or ")),
            );
        }
        found
    }

    fn source(&mut self, options: &SourceOptions, facts: &Facts) -> SourceConfig {
        let platform = self.boolean(
            "use-platform-credentials",
            &options.use_platform_credentials,
        );
        let mut masters: Vec<Master> = Vec::new();
        let texts = split(&options.master, &['\n', ',']);
        for text in &texts {
            let Some(master) = self.given("master", form::master(text)) else {
                continue;
            };
            if platform && master.url.scheme_str() == Some("http") {
                self.mistake(
                    "master",
                    format!("the controller would send the token to {text} unencrypted"),
                    "use https",
                );
            }
            if masters.iter().any(|other| other.name == master.name) {
                self.mistake(
                    "master",
                    format!("{} is given twice", master.name),
                    "give each cluster once",
                );
            }
            masters.push(master);
        }
        if texts.len() > MAX_MASTERS {
            self.mistake(
                "master",
                format!("{} are too many", texts.len()),
                format!("give at most {MAX_MASTERS}"),
            );
        }
        let path = |text: &str| Ok(PathBuf::from(text));
        let kubeconfig = self.optional("kubeconfig", &options.kubeconfig, path);
        let context = self.optional("context", &options.context, |text| Ok(text.to_owned()));
        let directory = self.optional("credentials-dir", &options.credentials_dir, path);
        if let Some(manifests) = self.optional("manifests", &options.manifests, path) {
            let others = [
                ("--master", !texts.is_empty()),
                ("--kubeconfig", kubeconfig.is_some()),
                ("--context", context.is_some()),
                ("--use-platform-credentials", platform),
                (
                    "--namespace",
                    options
                        .namespace
                        .as_deref()
                        .is_some_and(|name| !name.trim().is_empty()),
                ),
            ];
            for (other, _) in others.iter().filter(|(_, given)| *given) {
                let remedy = format!(
                    "ConfigMaps come from files or from a cluster: leave out {other} or --manifests"
                );
                self.mistake("manifests", format!("it excludes {other}"), remedy);
            }
            return SourceConfig::Manifests(manifests);
        }
        let directory = directory.or_else(|| facts.credentials_dir.as_deref().map(PathBuf::from));
        let directory = directory.unwrap_or_else(|| PathBuf::from(DEFAULT_CREDENTIALS_DIR));
        SourceConfig::Kubernetes(Clusters {
            masters,
            kubeconfig,
            context,
            token_file: platform.then(|| directory.join(TOKEN_FILE)),
        })
    }

    /// Returns the settings that the model needs.
    fn settings(&mut self, options: &Options, aws: bool) -> Settings {
        let (stack, provider) = (&options.stack, &options.provider);
        let id = self
            .optional("cluster-id", &provider.cluster_id, form::cluster_id)
            .unwrap_or_default();
        let mut ownership = BTreeMap::new();
        let controller = provider.controller_id.trim();
        self.given("controller-id", form::tag_value(controller));
        ownership.insert(APPLICATION_TAG.to_owned(), controller.to_owned());
        if !id.is_empty() {
            let key = format!("{}{id}", provider.cluster_id_tag_prefix.trim());
            self.given("cluster-id-tag-prefix", form::tag_key(&key));
            ownership.insert(key, "owned".to_owned());
        }
        let additional = &stack.additional_stack_tags;
        let on_empty = self.choice(
            "on-empty",
            &stack.on_empty,
            &[("keep", OnEmpty::Keep), ("delete", OnEmpty::Delete)],
        );
        let flag = "additional-stack-tags";
        let tags = self.tags(flag, additional, MAX_ADDITIONAL_TAGS, ownership.clone());
        self.no_zone_tag(&tags);
        let (eips_per_zone, eips_in_use) = self.eips(stack);
        let (allocations, more_allocations) = self.allocations(stack, eips_per_zone);
        Settings {
            stack_name: stack_name(&id),
            nameless: aws && id.is_empty(),
            tags,
            ownership,
            zones: self.zones(options, aws),
            termination_protection: self.boolean(
                "stack-termination-protection",
                &stack.stack_termination_protection,
            ),
            template_bucket: options
                .aws
                .cf_template_bucket
                .as_deref()
                .is_some_and(|name| !name.trim().is_empty()),
            remove_zones: self.remove_zones(stack, options),
            on_empty: on_empty.unwrap_or_default(),
            max_removal: self.value("max-removal", form::number(&stack.max_removal, 0, 100), 100),
            stack_policy: self.stack_policy(&stack.stack_policy),
            drift: self.on_drift(&stack.drift_detection),
            prefix_lists: self.prefix_lists(&stack.prefix_lists),
            new_eips: self.new_eips(stack),
            replaced: self.replaced(stack, options),
            eips_per_zone,
            eips_in_use,
            allocations,
            more_allocations,
            max_networks_per_namespace: self.optional(
                "max-networks-per-namespace",
                &options.sources.max_networks_per_namespace,
                |text| form::number(text, 1, 1_000).map(usize::from),
            ),
            allow_private_ranges: self
                .boolean("allow-private-ranges", &options.aws.allow_private_ranges),
            owner: self.owner(&stack.take_over_stack_from),
            route_table_quota: self.optional(
                "aws-route-table-quota",
                &options.aws.aws_route_table_quota,
                |text| form::number(text, 1, MOST_ROUTES),
            ),
        }
    }

    fn prefix_lists(&mut self, text: &str) -> PrefixLists {
        let choices = [
            ("never", PrefixLists::Never),
            ("when-full", PrefixLists::WhenFull),
            ("always", PrefixLists::Always),
        ];
        self.choice("prefix-lists", text, &choices)
            .unwrap_or_default()
    }

    fn stack_policy(&mut self, text: &str) -> bool {
        let choices = [("none", false), ("protect", true)];
        self.choice("stack-policy", text, &choices)
            .unwrap_or_default()
    }

    fn on_drift(&mut self, text: &str) -> OnDrift {
        let choices = [
            ("off", OnDrift::Off),
            ("report", OnDrift::Report),
            ("repair", OnDrift::Repair),
        ];
        self.choice("drift-detection", text, &choices)
            .unwrap_or_default()
    }

    fn tags(
        &mut self,
        flag: &'static str,
        texts: &[String],
        max: usize,
        mut tags: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let texts = split(texts, &['\n']);
        if texts.len() > max {
            self.mistake(
                flag,
                format!("{} are too many", texts.len()),
                format!("give at most {max}"),
            );
        }
        for text in &texts {
            let judged = form::tag(text).and_then(|tag| form::insert_tag(&mut tags, tag));
            self.given(flag, judged);
        }
        tags
    }
}

/// Splits each occurrence of a flag into the values that the environment joins, without empty ones.
fn split(texts: &[String], separators: &[char]) -> Vec<String> {
    let parts = texts.iter().flat_map(|text| text.split(separators));
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
