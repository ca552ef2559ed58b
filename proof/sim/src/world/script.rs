//! A script instead of shoppers: one thing after another at one terminal, on the product's own stores.

use super::{HEALING_MS_MAX, Plan, World};
use crate::flows::Act;
use crate::sqlite_node::SqliteNode;
use crate::terminal::Waiting;
use memory_disk::When;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use till::{CompletionForm, OperatorCommand};
use types::{Amount, Currency};

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
    /// Commands to the card before it is pulled.
    pull_after: Option<u32>,
}

impl Script {
    pub fn new(nodes: Nodes, left: When) -> Self {
        Self { nodes, left, requests: VecDeque::new(), responses: VecDeque::new(), pull_after: None }
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
        }
        self.settle_down();
        let found = [self.store.findings(), self.terminals[0].findings()].concat();
        found.into_iter().for_each(|finding| self.auditor.report("S2", finding));
        self.audit_at_rest();
    }

    fn act(&mut self, act: Act) {
        if let Some(script) = &mut self.script {
            match act {
                Act::LoseRequests(count) => return script.requests.extend(vec![0; count]),
                Act::LoseResponses(count) => return script.responses.extend(vec![0; count]),
                Act::DoubleRequest => return script.requests.push_back(2),
                Act::DoubleResponse => return script.responses.push_back(2),
                Act::PullCardAfter(commands) => return script.pull_after = Some(commands),
                _ => {}
            }
        }
        if let Act::NewMasterKey = act {
            return self.order_master_key(0);
        }
        self.terminals[0].mistypes = matches!(act, Act::MistypedSale { .. });
        if let Some(command) = self.command(act) {
            let life = self.terminals[0].life;
            self.begun += 1;
            self.soon(0, life, 1, Waiting::Till(till::Event::Operator(command)));
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
            Act::Sale { minor } | Act::MistypedSale { minor } => {
                self.witness.wished(self.peers[0].terminal.text(), minor);
                OperatorCommand::Sale { amount: amount(minor) }
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

    fn completion(&self, amount: Amount, form: CompletionForm) -> Option<OperatorCommand> {
        let authorisation = self.authorised[0].last()?.named.clone();
        Some(OperatorCommand::Complete { amount, authorisation, form })
    }
}

impl Plan {
    /// The plan of a script: nothing is drawn but keys and delays.
    pub(crate) fn of_script(seed: u64) -> Self {
        Self { seed, transactions: u64::MAX, faults: crate::Faults::NONE, canary: None, settles: false }
    }
}
