//! From any state to a clean one: faults stop, everybody goes on. The run is made of the model's own transitions, so it is a path
//! of the model, and a state from which it ends clean is one from which a clean state can be reached.

use crate::network::{KEY_VERSIONS_MAX, Request};
use crate::protocol::{Action, Protocol};
use crate::state::{State, TERMINALS};
use crate::till::{Settlement, Till};

/// Transitions after which a healing run counts as hung. The longest one that the tests meet has fewer than half as many.
const STEPS_MAX: usize = 120;

/// Goes on without faults until nothing is pending anywhere and every batch with something in it is closed. `None`: it never
/// gets there.
pub fn heal(protocol: &Protocol, state: &State) -> Option<State> {
    let mut state = *state;
    for _ in 0..STEPS_MAX {
        if (0..TERMINALS).any(|terminal| signs_in_for_ever(&state, terminal)) {
            return None;
        }
        if !(0..TERMINALS).any(|terminal| go_on(protocol, &mut state, terminal)) {
            return Some(state);
        }
    }
    None
}

/// A healing run needs one sign-in; more than a message can name are no healing.
fn signs_in_for_ever(state: &State, terminal: usize) -> bool {
    let most = state.tills[terminal].journal.sign_ins.max(state.hosts[terminal].key_version + 1);
    most >= KEY_VERSIONS_MAX
}

/// One step of a terminal or of its host; `false`: there is nothing left to do.
fn go_on(protocol: &Protocol, state: &mut State, terminal: usize) -> bool {
    if state.hosts[terminal].work.is_some() {
        return protocol.happen(state, Action::HostAppend(terminal));
    }
    let till = &state.tills[terminal];
    if till.unflushed.is_some() {
        return protocol.happen(state, Action::TillFlush(terminal));
    }
    if let Some(request) = till.waits_for() {
        return exchange(protocol, state, terminal, request);
    }
    if till.journal.pending_step().is_some() {
        return protocol.happen(state, Action::GoOn(terminal));
    }
    till.journal.has_unsettled() && protocol.happen(state, settle(till, terminal))
}

fn settle(till: &Till, terminal: usize) -> Action {
    debug_assert_eq!(till.journal.settlement, Settlement::None, "it would be pending");
    if till.journal.signed_in { Action::Settle(terminal) } else { Action::SignIn(terminal) }
}

/// The request once more, and the answer to this copy of it: others may still be under way.
fn exchange(protocol: &Protocol, state: &mut State, terminal: usize, request: Request) -> bool {
    let version = protocol.version_for(state, terminal, request);
    if !protocol.happen(state, Action::Deliver(terminal, request, version)) {
        return protocol.happen(state, Action::TimeOut(terminal));
    }
    while state.hosts[terminal].work.is_some() {
        let answer = state.append(&protocol.config, terminal);
        if let Some(answer) = answer {
            state.networks[terminal].answer(answer);
            return protocol.happen(state, Action::Answer(terminal, answer, true));
        }
    }
    false
}
