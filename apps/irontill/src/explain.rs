//! `irontill explain`: the X-ray of one payment, from both journals.

use crate::system::Folder;
use crate::till_point::{DEMO_TERMINAL, TillPoint};
use crate::verdict::{Misuse, Verdict};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use store_sqlite::SqliteStore;
use till::{Plainly, Till, Transaction};
use types::{BatchNumber, Rrn, Stan, TerminalId};

/// The X-ray of one payment.
#[derive(Args)]
pub struct Explain {
    /// Retrieval reference number (12 characters) or trace number of a payment of this system.
    transaction: String,
    /// Folder of the system.
    #[arg(long)]
    data: PathBuf,
    /// Terminal of the payment.
    #[arg(long, default_value = DEMO_TERMINAL)]
    terminal: String,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Everything that is known of a payment.
#[derive(Default)]
pub struct Xray {
    heading: Vec<(String, String)>,
    plainly: Option<Plain>,
    money: Option<Money>,
    terminal: Vec<(String, String)>,
    host: Vec<(String, String)>,
    receipt: Option<String>,
}

/// The story of a payment in plain words.
struct Plain {
    uncertain: bool,
    words: Plainly,
}

/// What the bank booked of it on the shopper's account, minor units.
struct Money {
    moved_minor: i64,
    undone_minor: i64,
}

/// Postings of a message that go the way it asks for, and those that undo it.
const MOVES: &[&str] = &["sale", "void", "refund", "hold", "release", "completion"];
const UNDOES: &[&str] = &["reversal", "reinstatement", "unhold", "rehold"];

impl Money {
    fn of(store: &SqliteStore, terminal: TerminalId, batch: BatchNumber, stan: Stan) -> anyhow::Result<Self> {
        let of_payers = |verbs: &[&str]| -> anyhow::Result<i64> {
            let mut sum_minor = 0;
            for verb in verbs {
                for posting in store.postings_with_prefix(&format!("{verb}/{terminal}/{batch}/{stan}/"))? {
                    let payers = ["card/", "wallet/"];
                    let of_payer = |account: &str| payers.iter().any(|head| account.starts_with(head));
                    let legs = posting.legs.iter().filter(|leg| of_payer(&leg.account));
                    sum_minor += legs.map(|leg| leg.delta_minor).sum::<i64>();
                }
            }
            Ok(sum_minor)
        };
        Ok(Self { moved_minor: of_payers(MOVES)?, undone_minor: of_payers(UNDOES)? })
    }

    fn line(&self) -> String {
        let Self { moved_minor, undone_minor } = self;
        match (moved_minor, undone_minor) {
            (0, 0) => "the bank booked nothing on the shopper's account".to_owned(),
            (_, 0) => format!("the bank booked {moved_minor:+} on the shopper's account (minor units)"),
            _ => format!(
                "the bank booked {moved_minor:+} on the shopper's account and undid it by {undone_minor:+}: {:+} in all (minor units)",
                moved_minor + undone_minor
            ),
        }
    }
}

impl Explain {
    /// Explains.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let folder = Folder::existing(&self.data)?;
        let settings = folder.host_settings()?;
        let store = SqliteStore::open_read_only(&settings.store, None)?;
        let terminal = TerminalId::parse(&self.terminal).map_err(|cause| Misuse(format!("--terminal: {cause}")))?;
        let Some(stan) = self.find(&store, terminal)? else {
            return Ok(self.unknown());
        };
        let Some((merchant, name)) = irontill_host::enrolled_as(&store, terminal)? else {
            eprintln!("irontill: no terminal {terminal}");
            return Ok(Verdict::No);
        };
        let opened = TillPoint::new(&folder, &self.terminal, merchant.text(), &name)?.open_offline();
        let xray = match &opened {
            Ok(terminal) => of_transaction(terminal.till(), &store, stan)?,
            // A foreign terminal keeps its journal to itself: the host's half remains.
            Err(_) => Xray { host: host_lines(&store, terminal, None, stan)?, ..Xray::default() },
        };
        if xray.is_empty() {
            return Ok(self.unknown());
        }
        if self.json {
            println!("{}", xray.to_json())
        } else {
            println!("{}", xray.text())
        }
        Ok(Verdict::Yes)
    }

    fn unknown(&self) -> Verdict {
        eprintln!("irontill: no payment {} of terminal {}", self.transaction, self.terminal);
        Verdict::No
    }

    fn find(&self, store: &SqliteStore, terminal: TerminalId) -> anyhow::Result<Option<Stan>> {
        if let Ok(rrn) = Rrn::parse(&self.transaction) {
            return Ok(irontill_host::find_by_rrn(store, terminal, rrn)?.map(|(stan, _)| stan));
        }
        let number = self.transaction.parse().ok().and_then(Stan::new);
        Ok(Some(
            number
                .ok_or_else(|| Misuse("expected a reference number of 12 characters or a trace number".to_owned()))?,
        ))
    }
}

/// The X-ray of a transaction that the till still holds.
pub fn of_transaction(till: &Till, store: &SqliteStore, stan: Stan) -> anyhow::Result<Xray> {
    let terminal = till.config().terminal;
    let Some(transaction) = till.find(stan) else {
        let host = host_lines(store, terminal, None, stan)?;
        return Ok(Xray { host, ..Xray::default() });
    };
    let receipt = till.receipt(stan, till::Copy::Cardholder).map(|receipt| receipt.render(crate::pay::RECEIPT_COLUMNS));
    Ok(Xray {
        heading: heading(transaction),
        plainly: Some(Plain { uncertain: transaction.was_uncertain(), words: transaction.plainly() }),
        money: Some(Money::of(store, terminal, transaction.batch, stan)?),
        terminal: transaction.trace.iter().map(|line| (line.topic.clone(), line.text.clone())).collect(),
        host: host_lines(store, terminal, Some(transaction.batch.number()), stan)?,
        receipt,
    })
}

fn heading(transaction: &Transaction) -> Vec<(String, String)> {
    let line = |topic: &str, text: String| (topic.to_owned(), text);
    let mut lines = vec![
        line(
            "payment",
            format!(
                "{:?} of {}, voucher {} in batch {}",
                transaction.kind, transaction.amount, transaction.stan, transaction.batch
            ),
        ),
        payer_line(transaction),
        line(
            "status",
            format!("{}: {} / {}", transaction.status.name(), transaction.message.zh, transaction.message.en),
        ),
    ];
    if let Some(rrn) = transaction.rrn() {
        lines.push(line("reference", rrn.to_string()));
    }
    if let Some(voucher) = transaction.voucher_code() {
        lines.push(line("voucher", format!("{voucher} (付款凭证号)")));
    }
    lines
}

fn payer_line(transaction: &Transaction) -> (String, String) {
    let (topic, text) = match (transaction.kind.is_qr(), transaction.scanned_code()) {
        (false, _) => ("card", format!("{} {}", transaction.card.truncated, transaction.card.label)),
        (true, Some(code)) => ("payer", format!("扫码 / code {code} was scanned")),
        (true, None) => ("payer", "顾客扫码 / the buyer scanned the code shown".to_owned()),
    };
    (topic.to_owned(), text)
}

fn host_lines(
    store: &SqliteStore,
    terminal: TerminalId,
    batch: Option<u32>,
    stan: Stan,
) -> anyhow::Result<Vec<(String, String)>> {
    let explanations = irontill_host::explain(store, terminal, batch, stan)?;
    let numbered = |explanation: irontill_host::Explanation| {
        let sequence = explanation.sequence;
        explanation.lines.into_iter().map(move |(topic, text)| (format!("record {sequence} {topic}"), text))
    };
    Ok(explanations.into_iter().flat_map(numbered).collect())
}

impl Xray {
    fn is_empty(&self) -> bool {
        self.heading.is_empty() && self.terminal.is_empty() && self.host.is_empty()
    }

    /// For a person.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let plain = self.plain_lines();
        for (title, lines) in [
            ("PAYMENT", &self.heading),
            ("IN PLAIN WORDS", &plain),
            ("TERMINAL AND CARD", &self.terminal),
            ("HOST AND LEDGER", &self.host),
        ] {
            if lines.is_empty() {
                continue;
            }
            text.push_str(&format!("── {title} ──\n"));
            for (topic, line) in lines {
                text.push_str(&format!("{topic:<22} {line}\n"));
            }
        }
        if let Some(receipt) = &self.receipt {
            text.push_str(&format!("── RECEIPT ──\n{receipt}\n"));
        }
        text
    }

    fn plain_lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let mut line = |topic: &str, text: &str| lines.push((topic.to_owned(), text.to_owned()));
        if let Some(Plain { uncertain, words }) = &self.plainly {
            if *uncertain {
                line("uncertain", "for some time nobody at the till knew how it had ended / 结果曾经不确定");
            }
            line("cashier", &words.cashier.zh);
            line("", &words.cashier.en);
            line("shopper", &words.shopper.zh);
            line("", &words.shopper.en);
        }
        if let Some(money) = &self.money {
            line("money", &money.line());
        }
        lines
    }

    fn to_json(&self) -> Value {
        let lines = |lines: &[(String, String)]| -> Vec<Value> {
            lines.iter().map(|(topic, text)| json!({"topic": topic, "text": text})).collect()
        };
        json!({
            "payment": lines(&self.heading),
            "plainly": self.plainly.as_ref().map(|plain| {
                let text = |text: &till::Text| json!({ "zh": text.zh, "en": text.en });
                json!({
                    "uncertain": plain.uncertain, "cashier": text(&plain.words.cashier),
                    "shopper": text(&plain.words.shopper),
                })
            }),
            "money": self.money.as_ref().map(|money| {
                json!({ "moved_minor": money.moved_minor, "undone_minor": money.undone_minor })
            }),
            "terminal": lines(&self.terminal),
            "host": lines(&self.host),
            "receipt": self.receipt,
        })
    }
}
