//! Arguments, clients, tasks, signals and the exit code. Makes no decisions.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube_static_egress_controller::cluster::Cluster;
use kube_static_egress_controller::config::{
    AnswerArgs, Cli, Command, Config, PlanArgs, ProviderConfig, Purpose, SourceConfig, variables,
};
use kube_static_egress_controller::controller::{Controller, ControllerConfig};
use kube_static_egress_controller::lease::{Election, ElectionConfig, LeaseElection, NoElection};
use kube_static_egress_controller::ledger_store::LedgerStore;
use kube_static_egress_controller::model::base::plain::plain;
use kube_static_egress_controller::model::base::settings::{NAMELESS, PrefixLists};
use kube_static_egress_controller::provider::{
    Provider, account::AwsConfig, aws::AwsProvider, memory::MemoryProvider,
};
use kube_static_egress_controller::report::{
    cluster_writer::ClusterWriter, events::Events, http, lease_events::LeaseEvents,
    liveness::Liveness, log, metrics::Metrics, reporter::Reporter,
    status_publisher::StatusPublisher, traces::Traces,
};
use kube_static_egress_controller::source::access::Access;
use kube_static_egress_controller::source::{Source, kubeconfig};
use kube_static_egress_controller::status_command::Question;
use kube_static_egress_controller::{
    error_chain, lease, ledger_store, plan_command, status_command,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code for invalid flags.
const USAGE: u8 = 2;
/// The maximum duration of a pass. A pass makes at most a dozen calls, each with a timeout, so a longer one hangs.
const LONGEST_PASS: Duration = Duration::from_secs(600);

/// How long shutdown waits for the Event about the end of leadership.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The metrics, status and probes of this process.
struct Telemetry {
    metrics: Metrics,
    liveness: Liveness,
    ready: watch::Sender<bool>,
    publisher: StatusPublisher,
}

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version are not errors. If standard output is closed, there is no way to report it.
            let _printed = error.print();
            let wrong = error.use_stderr();
            let command = std::env::args().nth(1).unwrap_or_default();
            return if wrong {
                usage(["plan", "status", "check"].contains(&command.as_str()))
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let (options, purpose) = match &cli.command {
        Some(command) => (command.options(), command.purpose()),
        None => (&cli.options, Purpose::Run),
    };
    let config = match variables::check(options, purpose) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("{}", plain(&mistake));
            }
            return usage(purpose != Purpose::Run);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| {
            let done = runtime.block_on(async {
                match cli.command {
                    Some(Command::Plan(args)) => plan(config, &args).await,
                    Some(Command::Status(args)) => {
                        let question = Question::Status(args.name.as_deref());
                        tell(config, question, &args.answer).await
                    }
                    Some(Command::Check(args)) => {
                        tell(config, Question::Check(args.ip), &args.answer).await
                    }
                    None => run(config).await,
                }
            });
            // A blocked thread, as on a slow file system, must not delay the end of the process.
            runtime.shutdown_background();
            done
        });
    done.unwrap_or_else(|error| {
        eprintln!("{}", plain(&error_chain::text(error.as_ref())));
        ExitCode::from(plan_command::ERROR)
    })
}

/// Returns the exit code for invalid flags. For subcommands, 2 has another meaning.
fn usage(asks: bool) -> ExitCode {
    ExitCode::from(if asks { plan_command::ERROR } else { USAGE })
}

async fn plan(config: Config, args: &PlanArgs) -> Result<ExitCode> {
    log::init(only_errors(&config), None);
    let network = args.network.as_deref();
    let accesses = kubeconfig::accesses(&config.source).await?;
    let source = Source::of(&config, &accesses)?;
    let plan = if plan_command::is_offline(&config, network) {
        plan_command::offline(&config, &source, network).await?
    } else {
        let mut ledger = ledger(&config, &accesses)?;
        let mut cluster = Cluster::of(accesses.first());
        match &config.provider {
            ProviderConfig::Aws(_) => {
                let provider = aws(&config, Metrics::new(), "plan").await?;
                plan_command::look(&provider, &source, &config, &mut ledger, &mut cluster).await?
            }
            ProviderConfig::InMemory | ProviderConfig::Noop => {
                let provider = MemoryProvider::of_this_process(&config.settings.zones);
                plan_command::look(&provider, &source, &config, &mut ledger, &mut cluster).await?
            }
        }
    };
    print!(
        "{}",
        plan_command::render(&plan, args.output, args.template)
    );
    Ok(ExitCode::from(plan_command::exit_code(
        &plan,
        args.allow_changes,
    )))
}

async fn tell(config: Config, question: Question<'_>, args: &AnswerArgs) -> Result<ExitCode> {
    log::init(only_errors(&config), None);
    let (text, code) = status_command::answer(&config, question, args).await?;
    print!("{text}");
    Ok(ExitCode::from(code))
}

/// Returns the log settings of subcommands, which log errors only.
fn only_errors(config: &Config) -> kube_static_egress_controller::config::Log {
    let mut log = config.log;
    log.level = log.level.min(tracing::Level::ERROR);
    log
}

async fn run(config: Config) -> Result<ExitCode> {
    let traces = match &config.traces {
        Some(traces) => Some(Traces::start(traces, &pod(&config))?),
        None => None,
    };
    log::init(config.log, traces.as_ref());
    config.warnings.iter().for_each(|it| tracing::warn!("{it}"));
    let version = env!("CARGO_PKG_VERSION");
    let stack = &config.settings.stack_name;
    tracing::info!(version, stack, dry_run = config.dry_run, "starting");
    if config.settings.nameless {
        tracing::warn!("{}", NAMELESS);
    }
    let metrics = Metrics::new();
    let listener = http::listen(config.address).await?;
    let (ready, readiness) = watch::channel(false);
    let liveness = Liveness::new(LONGEST_PASS);
    let publisher = StatusPublisher::new(config.dry_run);
    let serving = tokio::spawn(http::serve(
        listener,
        metrics.clone(),
        liveness.clone(),
        readiness,
        config.status_page.then(|| publisher.clone()),
    ));
    let telemetry = Telemetry {
        metrics,
        liveness,
        ready,
        publisher,
    };
    let accesses = kubeconfig::accesses(&config.source).await?;
    let source = Source::of(&config, &accesses)?;
    match &config.provider {
        ProviderConfig::Aws(_) => {
            let provider = aws(&config, telemetry.metrics.clone(), &pod(&config)).await?;
            let warm = tokio::spawn(provider.keep_warm());
            elect(config, provider, source, &accesses, &telemetry).await?;
            warm.abort();
        }
        ProviderConfig::InMemory | ProviderConfig::Noop => {
            let provider = MemoryProvider::of_this_process(&config.settings.zones);
            elect(config, provider, source, &accesses, &telemetry).await?;
        }
    }
    drop(telemetry);
    // The server ends when the sender of `ready` is dropped.
    let _served = serving.await;
    tracing::info!("stopped");
    if let Some(traces) = traces {
        traces.end();
    }
    Ok(ExitCode::SUCCESS)
}

async fn elect<P: Provider>(
    config: Config,
    provider: P,
    source: Source,
    accesses: &[(String, Access)],
    telemetry: &Telemetry,
) -> Result<()> {
    // A dry run writes nothing, not even the Lease.
    let election = config.leader_election.clone().filter(|_| !config.dry_run);
    match (election, &config.source) {
        (Some(election), SourceConfig::Kubernetes(_)) => {
            let (_, access) = accesses
                .first()
                .context("no API server to hold the Lease: set --master or --kubeconfig")?;
            let identity = lease::identity(&election.identity);
            let events = Events::new(access.client()?, &identity, telemetry.metrics.writes());
            let (namespace, name) = (election.namespace.clone(), election.name.clone());
            let election = ElectionConfig {
                lease_duration: election.lease_duration,
                renew_deadline: election.renew_deadline,
                retry_period: election.retry_period,
                ..ElectionConfig::new(election.name, election.namespace, identity)
            };
            let writer = writer(accesses, access, &election, &telemetry.metrics)?;
            let writer = match config.annotate_configmaps {
                true => writer.annotating(config.namespace.clone()),
                false => writer,
            };
            let election = LeaseElection::new(
                access.config.clone(),
                |it| access.with(it).transport(),
                election,
            )?;
            let board = LeaseEvents::new(events, namespace, name);
            let telling = board.tell(election.view(), telemetry.publisher.subscribe());
            let telling = tokio::spawn(telling);
            let control = control(
                config,
                provider,
                election,
                source,
                accesses,
                telemetry,
                Some(writer),
            );
            control.await?;
            // The Lease is already released; this waits for the last Event.
            let _told = tokio::time::timeout(LAST_WORDS, telling).await;
            Ok(())
        }
        _ => {
            let election = NoElection::new();
            control(
                config, provider, election, source, accesses, telemetry, None,
            )
            .await
        }
    }
}

async fn control<P: Provider, E: Election>(
    config: Config,
    provider: P,
    election: E,
    source: Source,
    accesses: &[(String, Access)],
    telemetry: &Telemetry,
    writer: Option<ClusterWriter>,
) -> Result<()> {
    let watched = |kind| signal(kind).context("cannot watch for signals");
    let mut terminate = watched(SignalKind::terminate())?;
    let mut interrupt = watched(SignalKind::interrupt())?;
    let mut hangup = watched(SignalKind::hangup())?;
    let mut quit = watched(SignalKind::quit())?;
    let stop = async {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
            _ = quit.recv() => "SIGQUIT",
        };
        tracing::info!("{name}: stopping");
        // The replica is not ready while it releases the Lease.
        telemetry.ready.send_replace(false);
    };
    telemetry.metrics.follow_lease(election.view());
    let ledger = ledger(&config, accesses)?;
    telemetry.publisher.follow_lease(election.view());
    let keeping = tokio::spawn(telemetry.publisher.clone().run());
    let config = ControllerConfig {
        cluster: Cluster::of(accesses.first()),
        drift_interval: config.drift_interval(),
        settings: config.settings,
        empty_grace_period: config.empty_grace_period,
        resync_interval: config.resync_interval,
        dry_run: config.dry_run,
    };
    let reporter = Reporter::new(telemetry.metrics.clone(), config.dry_run)
        .with(telemetry.publisher.clone(), writer);
    telemetry.ready.send_replace(true);
    Controller::new(
        provider,
        election,
        source,
        config,
        ledger,
        reporter,
        telemetry.liveness.clone(),
    )
    .run(stop)
    .await;
    keeping.abort();
    Ok(())
}

/// Creates the writer of the status beside the Lease, and of Events in all watched clusters.
fn writer(
    accesses: &[(String, Access)],
    lease: &Access,
    election: &ElectionConfig,
    metrics: &Metrics,
) -> Result<ClusterWriter> {
    let mut events = BTreeMap::new();
    for (name, access) in accesses {
        let writer = Events::new(access.client()?, &election.identity, metrics.writes());
        events.insert(name.clone(), writer);
    }
    Ok(ClusterWriter::new(
        lease.client()?,
        &election.namespace,
        &election.name,
        events,
        metrics.writes(),
    ))
}

/// Opens the ledger, a ConfigMap beside the Lease.
fn ledger(config: &Config, accesses: &[(String, Access)]) -> Result<LedgerStore> {
    let Some((_, access)) = accesses.first() else {
        return Ok(LedgerStore::disabled());
    };
    let names = accesses.iter().map(|(name, _)| name.clone()).collect();
    let Some(place) = &config.ledger else {
        tracing::warn!(
            "no ledger: a typo freezes all removals; set --leader-elect-resource-namespace to have one"
        );
        return Ok(LedgerStore::disabled());
    };
    let client = access.client()?;
    let place = ledger_store::LedgerLocation {
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        stack_name: config.settings.stack_name.clone(),
        clusters: names,
    };
    Ok(LedgerStore::new(client, place, ledger_store::wall_clock()))
}

async fn aws(config: &Config, metrics: Metrics, replica: &str) -> Result<AwsProvider> {
    let ProviderConfig::Aws(aws) = config.provider.clone() else {
        anyhow::bail!("the provider is not aws");
    };
    let provider = AwsProvider::new(AwsConfig {
        stack_name: config.settings.stack_name.clone(),
        ownership: config.settings.ownership.clone(),
        vpc_id: aws.vpc_id,
        route_table_filters: aws.route_table_filters.into_iter().collect(),
        template_bucket: aws.template_bucket,
        asks_route_quota: config.settings.route_table_quota.is_none(),
        asks_more_lists: config.settings.prefix_lists != PrefixLists::Never,
        role_arn: aws.role_arn,
        stack_policy: config.settings.stack_policy,
        lease: config.settings.owner.lease.clone(),
        app_name: replica.to_owned(),
        observer: Arc::new(move |call| {
            metrics.called(call.service, call.action, &call.code, call.duration)
        }),
    });
    Ok(provider.await?)
}

fn pod(config: &Config) -> String {
    let election = config.leader_election.as_ref();
    election.map_or_else(String::new, |election| election.identity.clone())
}
