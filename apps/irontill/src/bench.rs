//! `irontill bench`: figures with their limits measured in the same run.

use crate::bench_terminal::BenchTerminal;
use crate::system::System;
use crate::verdict::Verdict;
use anyhow::Context;
use clap::Subcommand;
use link::{
    Authority, Client, ClientLimits, ClientOptions, Handler, Limits, LinkEvent, Request, Server, TerminalRequest,
};
use machine::MachineId;
use machine::store::{Append, Store};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store_sqlite::SqliteStore;
use types::{MerchantId, TerminalId};

/// Bytes of the echoed message: a chip sale with PIN.
const ECHO_BYTES: usize = 300;
/// Bytes of a record in the journal limit: one decision with its postings.
const RECORD_BYTES: usize = 400;
/// Appends that one commit carries in the journal limit, as group commit does under load.
const JOURNAL_GROUP: usize = 32;

/// Sales of one terminal in one measurement: a batch's totals have three digits (unionpay-pos §8.3).
const SALES_A_BATCH_MAX: usize = 990;

/// Benchmarks with their limits measured in the same run.
#[derive(Subcommand)]
pub enum Bench {
    /// Secured, durable authorisations a second, beside TLS echo and journal commits alone.
    Host {
        /// Terminals at work at the same time.
        #[arg(long, default_value_t = 64)]
        terminals: u32,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Payment cryptography beside its bare ciphers, the key socket beside a bare one, openssl beside both. The names in
    /// the JSON are explained in docs/how-to/read-bench-crypto.md.
    Crypto {
        /// Rounds of each measurement; their median counts.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// Milliseconds of each round.
        #[arg(long, default_value_t = 50)]
        round_ms: u64,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

struct Authorised {
    per_second: f64,
    host_cpu_us: f64,
    approved: u64,
    other: u64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Bench {
    /// Measures.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            Self::Host { terminals, seconds, json } => run_host(terminals, seconds, json),
            Self::Crypto { rounds, round_ms, json } => run_crypto(rounds, round_ms, json),
        }
    }
}

fn run_crypto(rounds: usize, round_ms: u64, json: bool) -> anyhow::Result<Verdict> {
    let timing = bench::Timing { rounds: rounds.max(1), round: Duration::from_millis(round_ms.max(1)) };
    let report = bench::crypto(&timing)?;
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    Ok(Verdict::Yes)
}

fn run_host(terminals: u32, seconds: u64, json: bool) -> anyhow::Result<Verdict> {
    let span = Duration::from_secs(seconds.max(1));
    let terminals = terminals.clamp(1, 256);
    let echo = tls_echo(terminals, span)?;
    let journal = journal_commits(span)?;
    let host = authorisations(terminals, span)?;
    if json {
        println!(
            "{}",
            json!({
                "authorisations_per_s": host.per_second.round(),
                "tls_echo_per_s": echo.round(),
                "journal_commits_per_s": journal.round(),
                "host_cpu_us_per_authorisation": (host.host_cpu_us * 10.0).round() / 10.0,
                "approved": host.approved, "other": host.other, "p50_ms": host.p50_ms, "p99_ms": host.p99_ms,
                "terminals": terminals, "seconds": seconds,
            })
        );
    } else {
        println!("authorisations (TLS, MAC, PIN, ARQC, ledger, fsync)  {:>10.0} a second", host.per_second);
        println!(
            "  p50 {:.2} ms, p99 {:.2} ms, {} approved, {} other",
            host.p50_ms, host.p99_ms, host.approved, host.other
        );
        println!("  CPU of host and key process                        {:>10.1} us each", host.host_cpu_us);
        println!("limit: TLS echo of {ECHO_BYTES} bytes                         {echo:>10.0} a second");
        println!("limit: journal records, {JOURNAL_GROUP} a commit                  {journal:>10.0} a second");
    }
    Ok(Verdict::of(host.other == 0 && host.approved > 0))
}

struct Echo;

impl Handler for Echo {
    fn request(&self, request: Request) {
        request.reply.respond(request.frame.to_vec());
    }

    fn event(&self, _event: LinkEvent) {}
}

/// The same TLS, framing and sizes, with nothing behind them.
fn tls_echo(clients: u32, span: Duration) -> anyhow::Result<f64> {
    let today = irontill_host::today_utc();
    let authority = Authority::create("bench", today)?;
    let host = authority.issue_host(&["localhost"], today)?;
    let server_tls = link::server_config(&host.certificate_pem, &host.key_pem, authority.certificate_pem())?;
    let runtime = std::thread::spawn(move || serve_echo(server_tls));
    let address = runtime.join().map_err(|_| anyhow::anyhow!("the echo server stopped"))??;
    let terminal = TerminalId::parse("39999999")?;
    let request = TerminalRequest::create(terminal)?;
    let merchant = MerchantId::parse("898310000099999")?;
    let certificate = authority.issue_terminal(&request.request_pem, terminal, merchant, today)?;
    let tls = link::client_config(&certificate, &request.key_pem, authority.certificate_pem())?;
    let options = ClientOptions {
        address,
        server_name: "localhost".to_owned(),
        tls,
        keep_connection: true,
        limits: ClientLimits::default(),
    };
    let length = u16::try_from(ECHO_BYTES)?.to_be_bytes();
    let frame = [&length[..], &[0x60; ECHO_BYTES]].concat();
    let (done, elapsed) = closed_loop(clients, span, |_| {
        let mut client = Client::new(options.clone());
        let frame = frame.clone();
        move || client.exchange(&frame, 5_000).map(|_| ()).map_err(anyhow::Error::from)
    })?;
    Ok(done as f64 / elapsed.as_secs_f64())
}

fn serve_echo(tls: Arc<rustls::ServerConfig>) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let limits = Limits { connections_per_terminal_max: 1_000, ..Limits::default() };
    let (server, _stop) = runtime.block_on(Server::bind("127.0.0.1:0", tls, limits, Arc::default()))?;
    let address = server.local_address()?.to_string();
    std::thread::spawn(move || runtime.block_on(server.serve(Arc::new(Echo))));
    // The stop handle lives as long as the process: the echo ends with it.
    std::mem::forget(_stop);
    Ok(address)
}

/// Runs one worker a client until time is up; gives exchanges done and time taken.
fn closed_loop<W>(clients: u32, span: Duration, make: impl Fn(u32) -> W) -> anyhow::Result<(u64, Duration)>
where
    W: FnMut() -> anyhow::Result<()> + Send,
{
    let done = AtomicU64::new(0);
    let began = Instant::now();
    let workers: Vec<W> = (0..clients).map(make).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let done = &done;
                scope.spawn(move || -> anyhow::Result<()> {
                    while began.elapsed() < span {
                        worker()?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a worker stopped"))?)
    })?;
    Ok((done.load(Ordering::Relaxed), began.elapsed()))
}

/// The same store with records of the same size and nothing else to do.
fn journal_commits(span: Duration) -> anyhow::Result<f64> {
    let path = std::env::temp_dir().join(format!("irontill-bench-{}.db", std::process::id()));
    let result = journal_commits_in(&path, span);
    for suffix in ["", "-wal", "-shm"] {
        // Left over only if the measurement never made it.
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    result
}

fn journal_commits_in(path: &Path, span: Duration) -> anyhow::Result<f64> {
    let mut store = SqliteStore::open(path)?;
    let machines: Vec<MachineId> =
        (0..JOURNAL_GROUP).filter_map(|number| MachineId::new(&format!("m{number}"))).collect();
    let (mut sequence, mut written, began) = (0, 0_u64, Instant::now());
    while began.elapsed() < span {
        sequence += 1;
        let append = |machine: &MachineId| Append {
            machine: *machine,
            first_sequence: sequence,
            records: vec![vec![7; RECORD_BYTES]],
            rows: Vec::new(),
            snapshot: false,
        };
        let group: Vec<Append> = machines.iter().map(append).collect();
        store.append(&group)?;
        written += u64::try_from(group.len())?;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn authorisations(terminals: u32, span: Duration) -> anyhow::Result<Authorised> {
    let system = System::start_private()?;
    let expected =
        (usize::try_from(span.as_secs())? * 12_000 / usize::try_from(terminals)? + 200).min(SALES_A_BATCH_MAX);
    let mut prepared = Vec::new();
    for number in 0..terminals {
        prepared.push(BenchTerminal::sign_in(&system, number, expected)?);
    }
    let processes: Vec<u32> =
        [&system.host, &system.keys].into_iter().flatten().map(crate::system::Process::id).collect();
    let before = cpu_seconds(&processes)?;
    let began = Instant::now();
    let results: Vec<anyhow::Result<Vec<(bool, f64)>>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            prepared.into_iter().map(|terminal| scope.spawn(move || terminal.pay(began + span))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a terminal stopped"))))
            .collect()
    });
    let elapsed = began.elapsed();
    let cpu = cpu_seconds(&processes)? - before;
    let mut payments = Vec::new();
    for result in results {
        payments.extend(result?);
    }
    let approved = payments.iter().filter(|(approved, _)| *approved).count();
    let mut latencies: Vec<f64> = payments.iter().map(|(_, latency)| *latency).collect();
    latencies.sort_by(f64::total_cmp);
    let percentile = |hundredths: usize| {
        latencies
            .get((latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    };
    Ok(Authorised {
        per_second: approved as f64 / elapsed.as_secs_f64(),
        host_cpu_us: cpu * 1e6 / (approved.max(1)) as f64,
        approved: u64::try_from(approved)?,
        other: u64::try_from(payments.len() - approved)?,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
    })
}

/// User and system time of processes so far, in seconds.
fn cpu_seconds(processes: &[u32]) -> anyhow::Result<f64> {
    const USER_TIME: usize = 11;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut ticks = 0.0;
    for process in processes {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).context("processor time of a process")?;
        let behind_name = text.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let field = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        ticks += field(USER_TIME) + field(USER_TIME + 1);
    }
    Ok(ticks / ticks_per_second)
}
