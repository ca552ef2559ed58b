//! Commands a second across the key socket, beside a bare Unix socket that carries as many bytes.

use crate::timing::{Timing, median, process_cpu_ns};
use anyhow::{Context, anyhow};
use keys::{
    Algorithm, BATCH_COMMANDS_MAX, Caller, Command, KeyBlock, KeyService, MacAlgorithm, Owner, PinEncryption, Reply,
    SealedAccount, SocketReply, SocketRequest, Usage, UsageMarker,
};
use machine::wire::Encode;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use types::{Expiry, Pan, Pin, SecretBytes};
use vault_remote::{KeyServer, ListenerConfig, RemoteKeys, ServerEvent};
use vault_soft::{MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};

/// Terminals whose keys take turns, so that no figure rests on one key being remembered.
const TERMINALS: usize = 256;
const MAC_MESSAGE_BYTES: usize = 200;
/// Length and header of a frame, as `vault-remote` writes it.
const FRAME_LENGTH_BYTES: usize = 4;

/// One kind of command at one batch size.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// Stable name in the JSON.
    pub name: &'static str,
    /// Commands in a batch.
    pub batch: usize,
    /// Commands a second by the clock on the wall: client and server take turns.
    pub commands_per_s: f64,
    /// Commands that one core's processor time is enough for, client and server together.
    pub commands_per_core_s: f64,
    /// The same without the socket: the vault called in this process.
    pub vault_per_core_s: f64,
    /// By the clock and by processor time for the bare socket.
    pub echo_per_s: f64,
    pub echo_per_core_s: f64,
    pub request_bytes: usize,
    pub reply_bytes: usize,
}

impl Crossing {
    pub fn to_json(&self) -> Value {
        json!({
            "commands_per_s": self.commands_per_s.round(), "commands_per_core_s": self.commands_per_core_s.round(),
            "vault_commands_per_core_s": self.vault_per_core_s.round(),
            "echo_commands_per_s": self.echo_per_s.round(), "echo_commands_per_core_s": self.echo_per_core_s.round(),
            "ratio": (self.echo_per_s / self.commands_per_s * 100.0).round() / 100.0,
            "batch": self.batch, "request_bytes": self.request_bytes, "reply_bytes": self.reply_bytes,
        })
    }
}

pub fn measure(timing: &Timing) -> anyhow::Result<Vec<Crossing>> {
    let vault = Arc::new(vault()?);
    let (translations, verifications) = (translations(&vault)?, verifications(&vault)?);
    let path = std::env::temp_dir().join(format!("irontill-bench-{}.keys", std::process::id()));
    let server = serve(Arc::clone(&vault), path.clone())?;
    let mut crossings = Vec::new();
    for (batched, single, commands) in [
        ("translate_pin_batched", "translate_pin_single", &translations),
        ("verify_mac_batched", "verify_mac_single", &verifications),
    ] {
        let vault_ns = timing.ns(|| vault.execute(Caller::Host, commands)) / commands.len() as f64;
        for (name, batch) in [(batched, BATCH_COMMANDS_MAX), (single, 1)] {
            let crossing = cross(timing, name, &path, commands, batch)?;
            crossings.push(Crossing { vault_per_core_s: 1e9 / vault_ns, ..crossing });
        }
    }
    server.stop();
    Ok(crossings)
}

fn vault() -> anyhow::Result<SoftVault> {
    let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal)?;
    Ok(SoftVault::new(secrets, Box::new(SystemEntropy), Box::new(SystemClock::default())))
}

fn serve(vault: Arc<SoftVault>, path: PathBuf) -> anyhow::Result<KeyServer> {
    let allowed_uids = vec![rustix::process::geteuid().as_raw()];
    let config = ListenerConfig { path, caller: Caller::Host, allowed_uids };
    let execute = move |caller: Caller, commands: &[Command]| vault.execute(caller, commands);
    let silent = |_: &ServerEvent| {};
    KeyServer::start(vec![config], Arc::new(execute), Arc::new(silent)).context("the key socket")
}

fn one(vault: &SoftVault, caller: Caller, command: Command) -> anyhow::Result<Reply> {
    vault.execute(caller, &[command]).pop().context("no reply")
}

fn key<U: UsageMarker>(vault: &SoftVault, usage: Usage, terminal: usize) -> anyhow::Result<KeyBlock<U>> {
    let owner = Owner::new(format!("{terminal:08}")).context("an owner")?;
    let algorithm = Algorithm::TdesDouble;
    let command = Command::GenerateKey { usage, algorithm, owner, version: 1, exportable: false };
    match one(vault, Caller::Administration, command)? {
        Reply::KeyCreated { key, .. } => Ok(key.typed()?),
        other => Err(anyhow!("no key: {other:?}")),
    }
}

fn pan(number: usize) -> anyhow::Result<Pan> {
    // A PIN block does not cover the last digit, and a vault ties each block to one card.
    Pan::parse(&format!("622262000000{number:06}0")).map_err(|cause| anyhow!("{cause}"))
}

fn account(vault: &SoftVault, pan: Pan) -> anyhow::Result<SealedAccount> {
    let today = Expiry::new(26, 1).context("a date")?;
    let command = Command::OpenAccount { pan: Some(pan), track2: None, track_key: None, expiry: None, today };
    match one(vault, Caller::Host, command)? {
        Reply::AccountOpened { account, .. } => Ok(account),
        other => Err(anyhow!("no account: {other:?}")),
    }
}

/// A terminal's PIN block each, on its way to the same issuer.
fn translations(vault: &SoftVault) -> anyhow::Result<Vec<Command>> {
    let to: KeyBlock<PinEncryption> = key(vault, Usage::PinEncryption, 99_999_999)?;
    let keys =
        (0..TERMINALS).map(|terminal| key(vault, Usage::PinEncryption, terminal)).collect::<Result<Vec<_>, _>>()?;
    let translation = |number: usize| {
        let from: KeyBlock<PinEncryption> = keys[number % TERMINALS].clone();
        let pin = Pin::parse("123456").map_err(|cause| anyhow!("{cause}"))?;
        let entered = Command::EncipherPin { key: from.clone(), pin, pan: pan(number)? };
        let block = match one(vault, Caller::Ped, entered)? {
            Reply::PinBlock { block } => block,
            other => return Err(anyhow!("no PIN block: {other:?}")),
        };
        Ok(Command::TranslatePin { block, from, to: to.clone(), account: account(vault, pan(number)?)? })
    };
    (0..BATCH_COMMANDS_MAX).map(translation).collect()
}

fn verifications(vault: &SoftVault) -> anyhow::Result<Vec<Command>> {
    let keys = (0..TERMINALS).map(|terminal| key(vault, Usage::MessageMac, terminal)).collect::<Result<Vec<_>, _>>()?;
    let algorithm = MacAlgorithm::UnionPayEcb;
    let verification = |number: usize| {
        let key: KeyBlock<keys::MessageMac> = keys[number % TERMINALS].clone();
        let message = || SecretBytes::new(vec![number as u8; MAC_MESSAGE_BYTES]);
        let made = Command::MakeMac { key: key.clone(), algorithm, message: message() };
        match one(vault, Caller::Ped, made)? {
            Reply::Mac { mac } => Ok(Command::VerifyMac { key, algorithm, message: message(), mac }),
            other => Err(anyhow!("no MAC: {other:?}")),
        }
    };
    (0..BATCH_COMMANDS_MAX).map(verification).collect()
}

fn right(reply: &Reply) -> bool {
    matches!(reply, Reply::PinTranslated { .. } | Reply::MacVerdict { right: true })
}

fn cross(
    timing: &Timing,
    name: &'static str,
    path: &std::path::Path,
    commands: &[Command],
    batch: usize,
) -> anyhow::Result<Crossing> {
    let mut client = RemoteKeys::connect(path, Caller::Host)?;
    let mut batches = commands.chunks(batch).cycle();
    let first = commands.get(..batch).context("a full batch")?;
    let replies = client.execute(first);
    let request_bytes = FRAME_LENGTH_BYTES + SocketRequest::encode_parts(Caller::Host, 0, first).len();
    let reply_bytes = FRAME_LENGTH_BYTES + SocketReply { ticket: 0, replies }.to_bytes().len();
    let (per_s, per_core_s) = rates(timing, || {
        let replies = client.execute(batches.next().unwrap_or(first));
        if let Some(wrong) = replies.iter().find(|reply| !right(reply)) {
            return Err(anyhow!("{wrong:?}"));
        }
        Ok(())
    })?;
    let (echo_s, echo_core_s) = echo(timing, request_bytes, reply_bytes)?;
    let batch_size = batch as f64;
    Ok(Crossing {
        name,
        batch,
        commands_per_s: per_s * batch_size,
        commands_per_core_s: per_core_s * batch_size,
        vault_per_core_s: 0.0,
        echo_per_s: echo_s * batch_size,
        echo_per_core_s: echo_core_s * batch_size,
        request_bytes,
        reply_bytes,
    })
}

/// Exchanges a second by the clock, and for one core's processor time: medians of the rounds behind a warm-up.
fn rates(timing: &Timing, mut exchange: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<(f64, f64)> {
    let (mut by_clock, mut by_cpu) = (Vec::new(), Vec::new());
    for round in 0..=timing.rounds.max(1) {
        let (began, cpu_began, mut done) = (Instant::now(), process_cpu_ns(), 0.0);
        while began.elapsed() < timing.round || done == 0.0 {
            exchange()?;
            done += 1.0;
        }
        if round > 0 {
            by_clock.push(done / began.elapsed().as_secs_f64());
            by_cpu.push(done * 1e9 / (process_cpu_ns() - cpu_began));
        }
    }
    Ok((median(by_clock), median(by_cpu)))
}

/// A socket with nothing behind it.
fn echo(timing: &Timing, request_bytes: usize, reply_bytes: usize) -> anyhow::Result<(f64, f64)> {
    let (mut near, mut far) = UnixStream::pair()?;
    let answering = std::thread::spawn(move || {
        let (mut request, reply) = (vec![0; request_bytes], vec![0; reply_bytes]);
        // Ends when the other side closes.
        while far.read_exact(&mut request).and_then(|()| far.write_all(&reply)).is_ok() {}
    });
    let (request, mut reply) = (vec![0; request_bytes], vec![0; reply_bytes]);
    let rates = rates(timing, || {
        near.write_all(&request)?;
        Ok(near.read_exact(&mut reply)?)
    });
    drop(near);
    answering.join().map_err(|_| anyhow!("the echo stopped"))?;
    rates
}
