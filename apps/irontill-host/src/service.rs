//! A host from its settings: files read, store opened, lines to the key service, listening.

use crate::engine::{Engine, EngineParts, LogSink, RulesDoor, Statistics, Stopped};
use crate::parameters::parse_parameters;
use crate::risk_rules::read_rules;
use crate::settings::HostSettings;
use acquirer::{EnrolmentRefused, HostConfig, ParameterSet, Policies, RuleUse};
use anyhow::{Context, anyhow};
use issuer::IssuerConfig;
use keys::{Caller, KeyService};
use link::{RevocationList, Server, Stop, server_config};
use risk::RuleSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use store_sqlite::SqliteStore;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use vault_remote::RemoteKeys;

/// Threads that move bytes.
const NETWORK_THREADS: usize = 2;

/// A host that serves.
pub struct HostService {
    address: SocketAddr,
    engine: Engine,
    stop: Stop,
    network: Option<thread::JoinHandle<()>>,
}

impl HostService {
    /// Starts a host. It serves from the moment this returns.
    ///
    /// # Errors
    /// Whatever keeps it from serving, with the file or address it is about.
    pub fn start(settings: &HostSettings, log: LogSink) -> anyhow::Result<Self> {
        let line = |_| Box::new(RemoteKeys::new(&settings.key_socket, Caller::Host)) as Box<dyn KeyService + Send>;
        Self::start_with_keys(settings, (0..settings.key_lines).map(line).collect(), log)
    }

    /// Like [`HostService::start`], with lines to a key service of the caller's choice.
    ///
    /// # Errors
    /// As [`HostService::start`].
    pub fn start_with_keys(
        settings: &HostSettings,
        key_lines: Vec<Box<dyn KeyService + Send>>,
        log: LogSink,
    ) -> anyhow::Result<Self> {
        let tls = tls_of(settings)?;
        let revoked = Arc::new(RwLock::new(revocation_list(settings.revoked.as_deref())?));
        let parts = EngineParts {
            host: host_config(settings)?,
            rules: rules_of(settings)?,
            issuer: IssuerConfig::new(settings.issuer),
            writer: SqliteStore::open(&settings.store).with_context(|| named(&settings.store))?,
            reader: SqliteStore::open_read_only(&settings.store, None).with_context(|| named(&settings.store))?,
            key_lines,
            log,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("network")
            .enable_all()
            .build()
            .context("network threads")?;
        let bound = Server::bind(settings.listen.as_str(), tls, settings.limits, revoked);
        let (server, stop) = runtime.block_on(bound).with_context(|| format!("listen on {}", settings.listen))?;
        let address = server.local_address().context("own address")?;
        // If the engine ends by itself, nobody is left to answer: the server must end too.
        let at_end = stop.clone();
        let (engine, handle) = Engine::start(parts, move || at_end.stop());
        let network = thread::spawn(move || runtime.block_on(server.serve(Arc::new(handle))));
        Ok(Self { address, engine, stop, network: Some(network) })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub fn statistics(&self) -> Arc<Statistics> {
        self.engine.statistics().clone()
    }

    /// Enrols a terminal whose keys are made already. [`crate::Admin::enrol_terminal`] does all of it.
    ///
    /// # Errors
    /// [`Stopped`] if the engine has ended.
    pub fn enrol(&self, enrolment: acquirer::Enrolment) -> Result<Result<(), EnrolmentRefused>, Stopped> {
        self.engine.enrol(enrolment)
    }

    /// Takes no new requests, answers those it has, and ends.
    ///
    /// # Errors
    /// Why the engine had ended before, if it had.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.stop.stop();
        self.wait_for_network();
        self.engine.stop().context("engine")
    }

    /// Waits until the server has ended, asked to or because the engine did.
    fn wait_for_network(&mut self) {
        if let Some(network) = self.network.take() {
            let _ = network.join();
        }
    }
}

/// Serves until SIGTERM or SIGINT, then ends gracefully. `ready` is called with the address once it serves.
///
/// # Errors
/// Whatever keeps it from serving, or ended it before it was asked to.
pub fn run(settings: &HostSettings, log: LogSink, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let mut service = HostService::start(settings, log.clone())?;
    ready(service.address());
    let stop = service.stop.clone();
    let signals = Runtime::new().context("signals")?;
    signals.spawn(reload_on_hangup(settings.clone(), service.engine.rules_door(), log.clone()));
    signals.spawn(async move {
        if wait_for_signal().await.is_err() {
            log("host: signals cannot be received; stop it with SIGKILL, it will lose nothing");
            std::future::pending::<()>().await;
        }
        log("host: stopping");
        stop.stop();
    });
    service.wait_for_network();
    signals.shutdown_background();
    service.engine.stop().context("engine")
}

/// SIGHUP: the file of risk rules is read again. One with a mistake changes nothing.
async fn reload_on_hangup(settings: HostSettings, door: RulesDoor, log: LogSink) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return log("host: SIGHUP cannot be received; rules change with a restart");
    };
    while hangup.recv().await.is_some() {
        match rules_of(&settings) {
            Ok(rules) => door.use_rules(rules),
            Err(mistake) => log(&format!("host: the risk rules stay as they are: {mistake:#}")),
        }
    }
}

async fn wait_for_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The acquirer's configuration from the settings and the parameter file.
pub(crate) fn host_config(settings: &HostSettings) -> anyhow::Result<Arc<HostConfig>> {
    let parameters = match &settings.parameters {
        None => ParameterSet::default(),
        Some(path) => parse_parameters(&read_text(path)?).map_err(|what| anyhow!("{}: {what}", path.display()))?,
    };
    let mut config = HostConfig::new(settings.acquirer, parameters);
    config.policies = policies_of(settings)?;
    config.mac_algorithm = settings.mac_algorithm;
    config.key_overlap_ms = settings.key_overlap_ms;
    // X9.9 is a single-length algorithm; the others take double-length keys.
    config.double_length_mac_key = settings.mac_algorithm != keys::MacAlgorithm::X99;
    Ok(Arc::new(config))
}

/// Every merchant's policy, from the file that the settings name.
///
/// # Errors
/// The file's, or the first mistake in it.
pub fn policies_of(settings: &HostSettings) -> anyhow::Result<Policies> {
    let Some(path) = &settings.merchants else {
        // Rules without a word on merchants are obeyed for all of them.
        let mut policies = Policies::default();
        policies.standard.rules = if settings.rules.is_some() { RuleUse::Refuse } else { RuleUse::Off };
        return Ok(policies);
    };
    Policies::parse(&read_text(path)?).map_err(|what| anyhow!("{}: {what}", path.display()))
}

fn rules_of(settings: &HostSettings) -> anyhow::Result<RuleSet> {
    settings.rules.as_deref().map_or_else(|| Ok(RuleSet::default()), read_rules)
}

fn tls_of(settings: &HostSettings) -> anyhow::Result<Arc<link::ServerConfig>> {
    let key = read_private_text(&settings.private_key)?;
    let certificate = read_text(&settings.certificate)?;
    let authority = read_text(&settings.authority_certificate)?;
    server_config(&certificate, &key, &authority).with_context(|| named(&settings.certificate))
}

fn revocation_list(path: Option<&Path>) -> anyhow::Result<RevocationList> {
    let Some(path) = path else { return Ok(RevocationList::default()) };
    RevocationList::parse(&read_text(path)?)
        .map_err(|line| anyhow!("{}: line {line}: no serial number", path.display()))
}

pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| named(path))
}

pub(crate) fn read_private_text(path: &Path) -> anyhow::Result<String> {
    let bytes = link::read_private(path).with_context(|| named(path))?;
    String::from_utf8(bytes.to_vec()).with_context(|| named(path))
}

fn named(path: &Path) -> String {
    path.display().to_string()
}
