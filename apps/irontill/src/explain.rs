//! `irontill explain`: the X-ray of one payment, from both journals.

use crate::system::Folder;
use crate::till_point::{DEMO_TERMINAL, TillPoint};
use crate::verdict::{Misuse, Verdict};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use store_sqlite::SqliteStore;
use till::{Till, Transaction};
use types::{Rrn, Stan, TerminalId};

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
pub struct Xray {
    heading: Vec<(String, String)>,
    terminal: Vec<(String, String)>,
    host: Vec<(String, String)>,
    receipt: Option<String>,
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
            Err(_) => Xray {
                heading: Vec::new(),
                terminal: Vec::new(),
                host: host_lines(&store, terminal, None, stan)?,
                receipt: None,
            },
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
        return Ok(Xray { heading: Vec::new(), terminal: Vec::new(), host, receipt: None });
    };
    let receipt = till.receipt(stan, till::Copy::Cardholder).map(|receipt| receipt.render(crate::pay::RECEIPT_COLUMNS));
    Ok(Xray {
        heading: heading(transaction),
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
        line("card", format!("{} {}", transaction.card.truncated, transaction.card.label)),
        line(
            "status",
            format!("{}: {} / {}", transaction.status.name(), transaction.message.zh, transaction.message.en),
        ),
    ];
    if let Some(rrn) = transaction.rrn() {
        lines.push(line("reference", rrn.to_string()));
    }
    lines
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
        for (title, lines) in
            [("PAYMENT", &self.heading), ("TERMINAL AND CARD", &self.terminal), ("HOST AND LEDGER", &self.host)]
        {
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

    fn to_json(&self) -> Value {
        let lines = |lines: &[(String, String)]| -> Vec<Value> {
            lines.iter().map(|(topic, text)| json!({"topic": topic, "text": text})).collect()
        };
        json!({
            "payment": lines(&self.heading),
            "terminal": lines(&self.terminal),
            "host": lines(&self.host),
            "receipt": self.receipt,
        })
    }
}
