//! How much the host carries, and that work goes in groups.

use crate::bureau::Card;
use crate::system::System;
use crate::terminal::code;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Totals of the dialect have three digits for counts.
const SALES_A_BATCH: u32 = 900;

/// Pays with `terminals` at the same time for `duration`; returns approvals a second.
fn load(terminals: u32, duration: Duration) -> f64 {
    let cards: Vec<Card> = (1000..1000 + terminals).map(Card::new).collect();
    let system = System::start(&cards.iter().collect::<Vec<_>>());
    let enrolled: Vec<_> = (0..terminals).map(|number| system.terminal(&format!("LOAD{number:04}"))).collect();
    let approvals = AtomicU64::new(0);
    let statistics = system.host.as_ref().unwrap().statistics();
    let groups_before = statistics.groups.load(Ordering::Relaxed);
    let appends_before = statistics.appends.load(Ordering::Relaxed);
    let started = Instant::now();
    thread::scope(|scope| {
        for (mut terminal, card) in enrolled.into_iter().zip(&cards) {
            let approvals = &approvals;
            scope.spawn(move || {
                for count in 1_u32.. {
                    if started.elapsed() >= duration {
                        break;
                    }
                    if count % SALES_A_BATCH == 0 {
                        terminal.end_batch();
                    }
                    let sale = terminal.sale(card, 1);
                    assert_eq!(code(&terminal.send(&sale).unwrap()), "00");
                    approvals.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let groups = statistics.groups.load(Ordering::Relaxed) - groups_before;
    let appends = statistics.appends.load(Ordering::Relaxed) - appends_before;
    let approved = approvals.load(Ordering::Relaxed);
    system.assert_sound();
    assert_eq!(system.payable(), i64::try_from(approved).unwrap());
    assert!(terminals == 1 || appends > groups, "{appends} appends in {groups} groups");
    eprintln!(
        "{terminals} terminals: {:.0} approvals a second, {:.1} appends a group, {:.1} key commands a batch",
        approved as f64 / seconds,
        appends as f64 / groups as f64,
        statistics.key_commands.load(Ordering::Relaxed) as f64 / statistics.key_batches.load(Ordering::Relaxed) as f64,
    );
    approved as f64 / seconds
}

#[test]
fn many_terminals_share_groups() {
    assert!(load(12, Duration::from_secs(1)) > 0.0);
}

/// By hand, in release: `cargo test --release -p irontill-host --test host -- --ignored --nocapture measure`.
#[test]
#[ignore = "a measurement, not a check"]
fn measure() {
    for terminals in measured_terminals() {
        load(terminals, Duration::from_secs(4));
    }
}

/// `IRONTILL_MEASURE_TERMINALS=64` measures one number of terminals only, for profilers.
fn measured_terminals() -> Vec<u32> {
    match std::env::var("IRONTILL_MEASURE_TERMINALS") {
        Ok(number) => vec![number.parse().unwrap()],
        Err(_) => vec![1, 4, 16, 64, 128],
    }
}
