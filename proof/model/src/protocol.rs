//! The transitions: what can happen next, and what it changes.

use crate::config::{Bug, Config, Kind};
use crate::network::{Answer, KEY_VERSIONS_MAX, Request};
use crate::properties;
use crate::state::{BATCHES_MAX, State, TERMINALS, TRANSACTIONS};
use crate::till::{Next, Phase, Record, Status};
use stateright::{Model, Property};

/// The protocol at one size, for the checker.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// Its size, and what is wrong with it.
    pub config: Config,
}

/// One thing that happens. The first number is the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// An operator begins the next transaction.
    Begin(usize, Kind),
    /// An operator orders a settlement.
    Settle(usize),
    /// An operator orders a sign-in.
    SignIn(usize),
    /// The till goes on with what is pending.
    GoOn(usize),
    /// An answer arrives at the till that waits for it; the card agrees with an approval or not.
    Answer(usize, Answer, bool),
    /// A late approval of a sale that is being reversed arrives.
    LateApproval(usize, u8),
    /// The wait is over without an answer.
    TimeOut(usize),
    /// The till's record becomes durable and its effect leaves.
    TillFlush(usize),
    /// The till loses power and gets it back.
    TillCrash(usize),
    /// A request, under keys of this version, arrives at the host.
    Deliver(usize, Request, u8),
    /// The host's record becomes durable, or a guard refuses it.
    HostAppend(usize),
    /// The host's process dies and comes back.
    HostCrash,
    /// The window of the earlier keys closes.
    CloseWindow(usize),
}

impl Protocol {
    /// The protocol at this size.
    pub fn new(config: Config) -> Self {
        let versions = config.key_versions.iter().max().copied().unwrap_or(0);
        // Healing signs in when it must, and opens a batch.
        assert!(versions + 2 < KEY_VERSIONS_MAX, "more versions of keys than a message can name");
        let settlements = config.settlements.iter().max().copied().unwrap_or(0);
        assert!(usize::from(settlements) + 1 < BATCHES_MAX, "more batches than a state can name");
        Self { config }
    }

    /// Lets something happen. `false`: it cannot happen in this state.
    pub fn happen(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Begin(terminal, kind) => self.write(state, terminal, Record::Intent(kind)),
            Action::Settle(terminal) => self.write(state, terminal, Record::SettlementStarted),
            Action::SignIn(terminal) => self.write(state, terminal, Record::SignInBegun),
            Action::GoOn(terminal) => return self.go_on(state, terminal),
            Action::Answer(terminal, answer, card_agrees) => {
                let record = state.tills[terminal].record_of(&self.config, answer, card_agrees);
                self.end_wait(state, terminal, record);
            }
            Action::LateApproval(terminal, transaction) => {
                self.write(state, terminal, Record::Status(transaction, Status::Approved));
            }
            Action::TimeOut(terminal) => {
                let Some(request) = state.tills[terminal].waits_for() else { return false };
                let record = state.tills[terminal].record_of_time_out(&self.config, request);
                self.end_wait(state, terminal, record);
            }
            Action::TillFlush(terminal) => self.flush(state, terminal),
            Action::TillCrash(terminal) => self.crash(state, terminal),
            Action::Deliver(terminal, request, version) => return self.deliver(state, terminal, request, version),
            Action::HostAppend(terminal) => {
                let answer = state.append(&self.config, terminal);
                answer.into_iter().for_each(|answer| state.networks[terminal].answer(answer));
            }
            Action::HostCrash => state.hosts.iter_mut().for_each(|host| host.work = None),
            Action::CloseWindow(terminal) => {
                state.hosts[terminal].oldest_key_version = state.hosts[terminal].key_version;
            }
        }
        true
    }

    fn end_wait(&self, state: &mut State, terminal: usize, record: Option<Record>) {
        state.tills[terminal].phase = Phase::Idle;
        record.into_iter().for_each(|record| self.write(state, terminal, record));
    }

    /// Decides a record; it waits to become durable.
    fn write(&self, state: &mut State, terminal: usize, record: Record) {
        state.tills[terminal].unflushed = Some(record);
        if self.config.has(Bug::TillSendsBeforeDurable) && matches!(record, Record::Intent(_)) {
            let mut journal = state.tills[terminal].journal;
            let Some(transaction) = journal.next_transaction() else { return };
            journal.apply(&self.config, record);
            let payment = journal.payments[transaction];
            let network = &mut state.networks[terminal];
            network.sent[transaction] = Some((payment.kind, payment.batch));
            network.send(Request::Financial(small(transaction)), journal.key_version);
        }
    }

    fn go_on(&self, state: &mut State, terminal: usize) -> bool {
        match state.tills[terminal].journal.pending_step() {
            Some(Next::Write(record)) => self.write(state, terminal, record),
            Some(Next::Send(request)) => self.send(state, terminal, request),
            None => return false,
        }
        true
    }

    fn send(&self, state: &mut State, terminal: usize, request: Request) {
        let version = self.version_for(state, terminal, request);
        state.networks[terminal].send(request, version);
        state.tills[terminal].phase = Phase::Waiting(request);
    }

    /// The keys under which a request goes out and its answer is taken.
    pub(crate) fn version_for(&self, state: &State, terminal: usize, request: Request) -> u8 {
        match request {
            Request::Financial(_) => state.tills[terminal].journal.key_version,
            Request::Reversal(transaction) if self.config.has(Bug::ReversalUnderOldKeys) => {
                state.networks[terminal].first_version(usize::from(transaction))
            }
            Request::Reversal(_) => state.tills[terminal].journal.key_version,
            Request::SignIn(_) | Request::Totals(_) | Request::BatchEnd(_) => 0,
        }
    }

    /// The record becomes durable: it enters the journal, and only now its effect leaves.
    fn flush(&self, state: &mut State, terminal: usize) {
        let till = &mut state.tills[terminal];
        let Some(record) = till.unflushed.take() else { return };
        let begun = till.journal.next_transaction();
        till.journal.apply(&self.config, record);
        let journal = till.journal;
        match record {
            Record::Intent(_) => {
                let Some(transaction) = begun else { return };
                let payment = journal.payments[transaction];
                state.networks[terminal].sent[transaction] = Some((payment.kind, payment.batch));
                self.send(state, terminal, Request::Financial(small(transaction)));
            }
            Record::Status(transaction, Status::Approved) => till.receipts |= 1 << transaction,
            Record::SignInBegun => self.send(state, terminal, Request::SignIn(journal.sign_ins - 1)),
            Record::SettlementStarted | Record::Compared => {
                if let Some(Next::Send(request)) = journal.pending_step() {
                    self.send(state, terminal, request);
                }
            }
            _ => {}
        }
    }

    /// What is volatile is gone. The power-on step follows at once; it may be lost to the next crash.
    fn crash(&self, state: &mut State, terminal: usize) {
        let till = &mut state.tills[terminal];
        till.phase = Phase::Idle;
        let open = till.journal.payments.iter().any(|payment| payment.status == Status::Sent);
        // Without an open intent the record changes nothing that this model knows.
        till.unflushed = open.then_some(Record::PoweredOn);
    }

    fn deliver(&self, state: &mut State, terminal: usize, request: Request, version: u8) -> bool {
        let Some(work) = state.decide(&self.config, terminal, request, version) else { return false };
        state.hosts[terminal].work = Some(work);
        if self.config.has(Bug::HostAnswersBeforeDurable) {
            let mut ahead = *state;
            ahead.book(terminal, work.record);
            let answer = ahead.answer_of(terminal, work);
            state.networks[terminal].answer(answer);
        }
        true
    }

    fn till_actions(&self, state: &State, terminal: usize, actions: &mut Vec<Action>) {
        let till = &state.tills[terminal];
        let waiting = till.waits_for();
        if till.unflushed.is_some() {
            actions.push(Action::TillFlush(terminal));
        }
        if till.unflushed.is_some_and(|record| record != Record::PoweredOn) || waiting.is_some() {
            actions.push(Action::TillCrash(terminal));
        }
        if let Some(request) = waiting {
            actions.push(Action::TimeOut(terminal));
            self.answer_actions(state, terminal, request, actions);
        }
        if till.is_free() {
            self.operator_actions(state, terminal, actions);
            let step = till.journal.pending_step();
            let signs_in = step == Some(Next::Write(Record::SignInBegun));
            if step.is_some() && (!signs_in || self.may_sign_in(state, terminal)) {
                actions.push(Action::GoOn(terminal));
            }
        }
        if self.config.has(Bug::LateAnswerRevives) && till.unflushed.is_none() {
            let late = |transaction: &usize| {
                till.journal.payments[*transaction].status == Status::Reversing
                    && state.networks[terminal].has_approval(*transaction)
            };
            let revived = (0..TRANSACTIONS).filter(late);
            actions.extend(revived.map(|transaction| Action::LateApproval(terminal, small(transaction))));
        }
    }

    fn answer_actions(&self, state: &State, terminal: usize, request: Request, actions: &mut Vec<Action>) {
        let version = self.version_for(state, terminal, request);
        for answer in state.networks[terminal].answers_to(request, version) {
            actions.push(Action::Answer(terminal, answer, true));
            if let Answer::Approved { transaction, .. } = answer {
                let sale = state.tills[terminal].journal.payments[usize::from(transaction)].kind == Kind::Sale;
                if sale && self.config.card_declines[terminal] {
                    actions.push(Action::Answer(terminal, answer, false));
                }
            }
        }
    }

    fn may_sign_in(&self, state: &State, terminal: usize) -> bool {
        state.tills[terminal].journal.sign_ins < self.config.sign_ins[terminal]
    }

    fn operator_actions(&self, state: &State, terminal: usize, actions: &mut Vec<Action>) {
        let till = &state.tills[terminal];
        if let Some(next) = till.journal.next_transaction() {
            let other_has_printed = state.tills[1 - terminal].has_printed(0);
            let possible = |kind: &&Kind| till.may_begin(&self.config, **kind, other_has_printed);
            let kinds = self.config.plans[terminal][next].iter().filter(possible);
            actions.extend(kinds.map(|kind| Action::Begin(terminal, *kind)));
        }
        if till.journal.settlements < self.config.settlements[terminal] && till.may_settle(&self.config) {
            actions.push(Action::Settle(terminal));
        }
        if self.may_sign_in(state, terminal) && till.journal.settlement == crate::till::Settlement::None {
            actions.push(Action::SignIn(terminal));
        }
    }

    fn host_actions(&self, state: &State, terminal: usize, actions: &mut Vec<Action>) {
        let host = &state.hosts[terminal];
        if host.work.is_some() {
            actions.push(Action::HostAppend(terminal));
        } else {
            let bounded = |request: &(Request, u8)| {
                !matches!(request.0, Request::SignIn(_)) || host.key_version < self.config.key_versions[terminal]
            };
            let requests = state.networks[terminal].requests().filter(bounded);
            actions.extend(requests.map(|(request, version)| Action::Deliver(terminal, request, version)));
        }
        if host.oldest_key_version < host.key_version {
            actions.push(Action::CloseWindow(terminal));
        }
    }
}

fn small(transaction: usize) -> u8 {
    u8::try_from(transaction).expect("a transaction's index is small")
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for terminal in 0..TERMINALS {
            self.till_actions(state, terminal, actions);
            self.host_actions(state, terminal, actions);
        }
        if state.hosts.iter().any(|host| host.work.is_some()) {
            actions.push(Action::HostCrash);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        if !self.happen(&mut next, action) {
            return None;
        }
        if self.config.forget_dead_messages {
            next.forget_dead_messages(&self.config);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
