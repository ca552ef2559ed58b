//! A script instead of shoppers: one thing after another at one terminal, on the product's own stores.

use super::offline_sales::OFFLINE_WALLET;
use super::{HEALING_MS_MAX, Plan, World};
use crate::flows::Act;
use crate::phone::Phone;
use crate::sqlite_node::SqliteNode;
use crate::terminal::Waiting;
use memory_disk::When;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use till::{CompletionForm, OperatorCommand};
use types::{Amount, Currency, PaymentCode};

/// With nothing planned for so long, a world that is at rest stays at rest, in virtual milliseconds.
const QUIET_MS: u64 = 5_000;

/// The three disks of a script.
pub(crate) struct Nodes {
    pub till: Rc<RefCell<SqliteNode>>,
    pub ped: Rc<RefCell<SqliteNode>>,
    pub host: Rc<RefCell<SqliteNode>>,
}

/// What a script does to the world around the terminal.
pub(crate) struct Script {
    pub nodes: Nodes,
    /// What is left on a disk when its node loses its power.
    pub left: When,
    /// In how many copies the next requests and responses arrive.
    pub requests: VecDeque<usize>,
    pub responses: VecDeque<usize>,
    /// How often no line can be had from now on.
    pub lines_refused: usize,
    /// Commands to the card before it is pulled.
    pull_after: Option<u32>,
    /// At which beginning of a wait the buyer pays, if ever; how many there were; the code that was scanned; codes given.
    pays_at: Option<u32>,
    waits: u32,
    scanned: Option<PaymentCode>,
    codes_given: u64,
}

impl Script {
    pub fn new(nodes: Nodes, left: When) -> Self {
        let (requests, responses, lines_refused) = (VecDeque::new(), VecDeque::new(), 0);
        let (pull_after, pays_at, waits, scanned, codes_given) = (None, None, 0, None, 0);
        Self { nodes, left, requests, responses, lines_refused, pull_after, pays_at, waits, scanned, codes_given }
    }

    /// Whether this time no line can be had.
    pub fn refuses_line(&mut self) -> bool {
        let refuses = self.lines_refused > 0;
        self.lines_refused -= usize::from(refuses);
        refuses
    }

    /// Whether the card is pulled at this command.
    pub fn is_pulled(&mut self, effect: &ped::Effect) -> bool {
        let (ped::Effect::Transmit(_), Some(left)) = (effect, self.pull_after) else { return false };
        self.pull_after = left.checked_sub(1);
        left == 0
    }
}

impl World {
    /// What is left of what was not synced when a node loses its power: all of it, unless a script says otherwise.
    pub(super) fn left_by_cut(&self) -> When {
        self.script.as_ref().map_or(When::After, |script| script.left)
    }

    /// Everything that is planned happens, until the world is at rest.
    pub(crate) fn settle_down(&mut self) {
        let begun_ms = self.schedule.now_ms();
        loop {
            let next_ms = self.schedule.next_ms();
            if self.at_rest() && next_ms.is_none_or(|next_ms| next_ms > self.schedule.now_ms() + QUIET_MS) {
                return;
            }
            if next_ms.is_none_or(|next_ms| next_ms > begun_ms + HEALING_MS_MAX) {
                return self.auditor.report("L1", "it does not come to rest".to_owned());
            }
            let Some(happening) = self.schedule.next() else { return };
            self.events += 1;
            self.happen(happening);
            self.read_statement();
        }
    }

    /// Plays a script, each act when the one before is over.
    pub(crate) fn play(&mut self, acts: &[Act]) {
        for act in acts {
            self.act(*act);
            self.settle_down();
        }
    }

    /// Nothing goes wrong any more: everything is checked.
    pub(crate) fn audit_script(&mut self) {
        if let Some(script) = &mut self.script {
            (script.requests, script.responses, script.pull_after) = (VecDeque::new(), VecDeque::new(), None);
            script.lines_refused = 0;
        }
        self.settle_down();
        let found = [self.store.findings(), self.terminals[0].findings()].concat();
        found.into_iter().for_each(|finding| self.auditor.report("S2", finding));
        self.audit_at_rest();
    }

    fn act(&mut self, act: Act) {
        if let Some(script) = &mut self.script {
            match act {
                Act::RefuseLines(count) => return script.lines_refused = count,
                Act::LoseRequests(count) => return script.requests.extend(vec![0; count]),
                Act::LoseResponses(count) => return script.responses.extend(vec![0; count]),
                Act::DoubleRequest => return script.requests.push_back(2),
                Act::DoubleResponse => return script.responses.push_back(2),
                Act::PullCardAfter(commands) => return script.pull_after = Some(commands),
                Act::BuyerPaysAt(wait) => return script.pays_at = Some(wait),
                _ => {}
            }
        }
        if let Act::NewMasterKey = act {
            return self.order_master_key(0);
        }
        self.terminals[0].in_reader = self.card_for(act);
        self.terminals[0].mistypes = matches!(act, Act::MistypedSale { .. });
        if let Some(command) = self.command(act) {
            let life = self.terminals[0].life;
            self.begun += 1;
            self.soon(0, life, 1, Waiting::Till(till::Event::Operator(command)));
        }
    }

    /// Which card the shopper of an act brings: who takes something back brings the one that paid.
    fn card_for(&self, act: Act) -> usize {
        match act {
            Act::OfflineSale { .. } => OFFLINE_WALLET,
            Act::VoidLastSale | Act::RefundLastSale { .. } => self.refundable[0].last().map_or(0, |sale| sale.wallet),
            _ => 0,
        }
    }

    /// The command of an act, or none if what it is about did not come about.
    fn command(&mut self, act: Act) -> Option<OperatorCommand> {
        let amount = |minor: u64| Amount::from_minor(minor, Currency::CNY).expect("a small amount");
        Some(match act {
            Act::SignIn => OperatorCommand::SignIn,
            Act::SignOff => OperatorCommand::SignOff,
            Act::Echo => OperatorCommand::Echo,
            Act::Balance => OperatorCommand::Balance,
            Act::Settle => OperatorCommand::Settle,
            Act::Reprint => OperatorCommand::Reprint { stan: None },
            Act::ReprintSettlement => OperatorCommand::ReprintSettlement,
            Act::Sale { minor } | Act::MistypedSale { minor } | Act::OfflineSale { minor } => {
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::Sale { amount: amount(minor) }
            }
            Act::Tip { minor } => {
                let stan = self.refundable[0].last()?.stan;
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::Tip { stan, tip: amount(minor) }
            }
            Act::SellByInstalments { minor, count } => {
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::SellByInstalments { amount: amount(minor), count }
            }
            Act::QrSale { minor } => {
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::QrSale { amount: amount(minor), code: self.scanned_code()? }
            }
            Act::QrOrder { minor } => {
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::QrOrder { amount: amount(minor) }
            }
            Act::VoidLastSale => OperatorCommand::Void { stan: self.refundable[0].last()?.stan },
            Act::RefundLastSale { minor } => {
                let sale = self.refundable[0].last()?.clone();
                self.witness.wished(self.peers[0].terminal.text(), minor);
                let (original_rrn, original_date) = (sale.rrn, sale.date);
                OperatorCommand::Refund { amount: amount(minor), original_rrn, original_date }
            }
            Act::PreAuthorise { minor } => OperatorCommand::PreAuthorise { amount: amount(minor) },
            Act::VoidAuthorisation => {
                let authorised = self.authorised[0].last()?.clone();
                let (amount, authorisation) = (authorised.amount, authorised.named);
                OperatorCommand::VoidPreAuthorisation { amount, authorisation }
            }
            Act::Complete { minor } => self.completion(amount(minor), CompletionForm::Request)?,
            Act::CompleteByNotice { minor } => self.completion(amount(minor), CompletionForm::Notice)?,
            Act::VoidCompletion => OperatorCommand::VoidCompletion { stan: self.completed[0].first()?.0 },
            _ => return None,
        })
    }

    /// The buyer opens the phone and shows a code.
    fn scanned_code(&mut self) -> Option<PaymentCode> {
        let wall_ms = self.now().wall_ms;
        let [phone, ..] = Phone::all();
        let script = self.script.as_mut()?;
        script.codes_given += 1;
        let given = phone.give_code(&mut self.store, script.codes_given, wall_ms);
        if given.is_err() {
            self.cut_hosts();
        }
        script_code(self.script.as_mut()?, given.ok())
    }

    /// The till waits for the buyer, who looks at the phone or at the screen.
    pub(super) fn screen_shown(&mut self, screen: &till::Screen) {
        let till::Screen::AwaitingPayer { code, .. } = screen else { return };
        let [phone, ..] = Phone::all();
        let wall_ms = self.now().wall_ms;
        let Some(script) = &mut self.script else { return };
        script.waits += 1;
        let Some(code) = code.or(script.scanned).filter(|_| script.pays_at == Some(script.waits)) else { return };
        // Without power on the host's disk the phone says that it did not work.
        if self.hosts.iter().any(|host| host.up) && phone.pay(&mut self.store, &code, wall_ms).is_err() {
            self.cut_hosts();
        }
    }

    fn completion(&self, amount: Amount, form: CompletionForm) -> Option<OperatorCommand> {
        let authorisation = self.authorised[0].last()?.named.clone();
        Some(OperatorCommand::Complete { amount, authorisation, form })
    }
}

fn script_code(script: &mut Script, given: Option<PaymentCode>) -> Option<PaymentCode> {
    script.scanned = given;
    given
}

impl Plan {
    /// The plan of a script: nothing is drawn but keys and delays.
    pub(crate) fn of_script(seed: u64) -> Self {
        Self { seed, transactions: u64::MAX, faults: crate::Faults::NONE, canary: None, settles: false }
    }
}
