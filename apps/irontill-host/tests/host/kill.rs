//! The host's real process, killed with SIGKILL while terminals pay.

use crate::bureau::{Card, load_cards};
use crate::operators::key_server;
use crate::system::System;
use crate::terminal::{Terminal, code};
use iso8583::unionpay::Body;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const KILLS: u64 = 12;
/// Between two sales of one till, so that a fast machine is still selling when the last kill comes.
const PAUSE: Duration = Duration::from_millis(5);
/// What a till sells at most: a settlement's count has three digits, so the host refuses the thousandth sale of a batch (95).
const SALES_MAX: u64 = 900;

fn spawn(system: &System) -> (Child, SocketAddr) {
    let config = system.folder.join("host.conf");
    fs::write(&config, system.settings.to_text()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_irontill-host"))
        .arg("--config")
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    let mut address = None;
    let mut lines = lines.lines();
    for line in lines.by_ref() {
        if let Some(text) = line.unwrap().strip_prefix("host: serves on ") {
            address = Some(text.parse().unwrap());
            break;
        }
    }
    // Whatever it says later must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    (child, address.unwrap())
}

/// What one terminal knows: sales with their last answer.
struct Till {
    terminal: Terminal,
    approved: Vec<(u32, u64)>,
    reversed: Vec<u32>,
}

impl Till {
    /// Pays until the flag falls. A sale without an answer is reversed until the host acknowledges it.
    fn pay(&mut self, card: &Card, stop: &AtomicBool, address: impl Fn() -> SocketAddr) {
        let mut minor = 1;
        while !stop.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
            if minor > SALES_MAX {
                continue;
            }
            minor += 1;
            let sale = self.terminal.sale(card, minor);
            let (stan, answer) = (sale.trace.unwrap(), self.terminal.send(&sale));
            match answer {
                Ok(answer) if code(&answer) == "00" => self.approved.push((stan, minor)),
                Ok(answer) => panic!("sale {stan}: {}", code(&answer)),
                Err(failed) if failed.sent_any => self.reverse(&sale, &address),
                Err(_) => self.wait_for_host(&address),
            }
        }
    }

    fn reverse(&mut self, sale: &Body, address: &impl Fn() -> SocketAddr) {
        let reversal = self.terminal.reversal(sale);
        loop {
            match self.terminal.send(&reversal) {
                Ok(answer) if ["00", "12", "25"].contains(&code(&answer).as_str()) => break,
                Ok(answer) => panic!("reversal of {:?}: {}", sale.trace, code(&answer)),
                Err(_) => self.wait_for_host(address),
            }
        }
        self.reversed.push(sale.trace.unwrap());
    }

    fn wait_for_host(&mut self, address: &impl Fn() -> SocketAddr) {
        thread::sleep(Duration::from_millis(20));
        self.terminal.turn_to(address());
    }
}

#[test]
fn sigkill_at_any_moment_loses_and_doubles_nothing() {
    let cards: Vec<Card> = (30..34).map(Card::new).collect();
    let mut system = System::prepare();
    load_cards(&mut system.admin(), &cards.iter().collect::<Vec<_>>());
    let server = key_server(&system);
    system.start_host();
    let names = ["KILL0001", "KILL0002", "KILL0003", "KILL0004"];
    let terminals: Vec<Terminal> = names.iter().map(|name| system.terminal(name)).collect();
    system.stop_host();
    let (mut child, first_address) = spawn(&system);
    let address = std::sync::RwLock::new(first_address);
    let stop = AtomicBool::new(false);
    let tills: Vec<Till> = thread::scope(|scope| {
        let workers: Vec<_> = terminals
            .into_iter()
            .zip(&cards)
            .map(|(mut terminal, card)| {
                terminal.turn_to(first_address);
                let (address, stop) = (&address, &stop);
                scope.spawn(move || {
                    let mut till = Till { terminal, approved: vec![], reversed: vec![] };
                    till.pay(card, stop, || *address.read().unwrap());
                    till
                })
            })
            .collect();
        for kill in 0..KILLS {
            thread::sleep(Duration::from_millis(150 + kill * 37 % 211));
            child.kill().unwrap();
            child.wait().unwrap();
            let (next, next_address) = spawn(&system);
            child = next;
            *address.write().unwrap() = next_address;
        }
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    terminate(&mut child);
    server.stop();
    system.assert_sound();
    check_books(&system, &tills);
}

/// SIGTERM through the shell's own command; the process must end by itself and say it went well.
fn terminate(child: &mut Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the host does not end on SIGTERM");
}

/// Every approval that a terminal saw is in the ledger once; every reversed sale is not, or was given back.
fn check_books(system: &System, tills: &[Till]) {
    let store = system.store();
    let mut expected = 0;
    let (mut approvals, mut reversals) = (0, 0);
    for till in tills {
        let name = till.terminal.name;
        for (stan, minor) in &till.approved {
            let prefix = types::Stan::new(*stan).unwrap();
            let explained = irontill_host::explain(&store, name, None, prefix).unwrap();
            let postings = explained.iter().flat_map(|one| &one.lines).filter(|(topic, _)| topic == "ledger").count();
            assert_eq!(postings, 1, "{name} {stan}: {explained:?}");
            expected += i64::try_from(*minor).unwrap();
            approvals += 1;
        }
        reversals += till.reversed.len();
    }
    assert_eq!(system.payable(), expected, "the merchant has what the receipts say");
    eprintln!("{approvals} approvals, {reversals} reversals, {KILLS} kills");
    assert!(approvals > 0 && reversals > 0, "{approvals} approvals, {reversals} reversals");
}
