//! Terminals: their power, their steps, and the cards and fingers at them.

use super::{Happening, World};
use crate::terminal::{Effect, Waiting};
use machine::Tick;
use ped::{CardGone, PinEntry};
use types::{Pin, SecretBytes};

/// Farthest that a clock jumps: ten years, in milliseconds.
const CLOCK_JUMP_MS_MAX: u64 = 10 * 365 * 24 * 3_600_000;
/// Farthest of its small jumps: a day, in milliseconds.
const CLOCK_STEP_MS_MAX: u64 = 24 * 3_600_000;

impl World {
    /// The time by a terminal's own clock.
    fn terminal_now(&self, index: usize) -> Tick {
        let Tick { monotonic_ms, wall_ms } = self.now();
        Tick { monotonic_ms, wall_ms: wall_ms.saturating_add_signed(self.terminals[index].clock_off_ms) }
    }

    /// With some chance a clock stands years or hours from the right time, before or behind it, or is right again.
    pub(super) fn clock_may_jump(&mut self, index: usize, millionths: u32) {
        if millionths == 0 || !self.clocks.chance(millionths) {
            return;
        }
        let most = *self.clocks.pick(&[0, CLOCK_STEP_MS_MAX, CLOCK_JUMP_MS_MAX]);
        let off_ms = i64::try_from(self.clocks.between(0, most)).expect("ten years");
        let off_ms = if self.clocks.chance(500_000) { -off_ms } else { off_ms };
        self.terminals[index].clock_off_ms = off_ms;
        self.note("clock", &off_ms.to_be_bytes());
    }

    pub(super) fn power_on(&mut self, index: usize) {
        let terminal = &mut self.terminals[index];
        if terminal.up {
            return;
        }
        if terminal.power_on().is_err() {
            return self.cut_power(index);
        }
        let life = terminal.life;
        self.clock_may_jump(index, self.faults.clock_jump);
        self.note("power on", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        self.soon(index, life, 1, Waiting::Ped(ped::Event::PowerOn));
        self.soon(index, life, 2, Waiting::Till(till::Event::PowerOn));
        // It is enrolled until it holds its master key, which lies in the vault that all share here.
        if !self.terminals[index].holds_master_key() {
            let key = self.host_master_key(index);
            self.soon(index, life, 1, Waiting::Ped(ped::Event::AdoptMasterKey(key)));
        }
    }

    pub(super) fn soon(&mut self, index: usize, life: u64, delay_ms: u64, waiting: Waiting) {
        self.schedule.after(delay_ms, Happening::Terminal { index, life, waiting });
    }

    fn cut_power(&mut self, index: usize) {
        let left = self.left_by_cut();
        self.terminals[index].cut(left);
        self.note("power cut", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        let delay = self.power.between(500, 60_000);
        self.schedule.after(delay, Happening::TerminalRestart { index });
    }

    pub(super) fn terminal_handles(&mut self, index: usize, life: u64, waiting: Waiting) {
        let now = self.terminal_now(index);
        let terminal = &mut self.terminals[index];
        if terminal.life != life || !terminal.up {
            return;
        }
        let Ok(effects) = terminal.step(now, waiting, &mut self.power, self.faults.terminal_crash) else {
            return self.cut_power(index);
        };
        for effect in effects {
            if self.faults.terminal_crash > 0 && self.power.chance(self.faults.terminal_crash) {
                return self.cut_power(index);
            }
            match effect {
                Effect::Till(effect) => self.run_till(index, life, effect),
                Effect::Ped(effect) => self.run_ped(index, life, effect),
            }
        }
        self.plan_wake(index);
    }

    fn plan_wake(&mut self, index: usize) {
        let terminal = &mut self.terminals[index];
        let Some(deadline) = terminal.deadline_ms() else { return };
        let now_ms = self.schedule.now_ms();
        let planned = terminal.wake_planned_ms.is_some_and(|planned| planned >= now_ms && planned <= deadline);
        if !planned {
            let wake_ms = deadline.max(now_ms);
            terminal.wake_planned_ms = Some(wake_ms);
            let life = terminal.life;
            self.schedule.at(wake_ms, Happening::TerminalWake { index, life });
        }
    }

    pub(super) fn terminal_wakes(&mut self, index: usize, life: u64) {
        let now_ms = self.schedule.now_ms();
        let terminal = &mut self.terminals[index];
        // A wake-up whose place an earlier one took is void: with a successor of its own it would come for ever.
        if terminal.life != life || !terminal.up || terminal.wake_planned_ms != Some(now_ms) {
            return;
        }
        terminal.wake_planned_ms = None;
        for waiting in terminal.due(now_ms) {
            self.terminal_handles(index, life, waiting);
        }
        if self.terminals[index].life == life {
            self.plan_wake(index);
        }
    }

    fn run_till(&mut self, index: usize, life: u64, effect: till::Effect) {
        match effect {
            till::Effect::Ped(command) => self.soon(index, life, 1, Waiting::Ped(ped::Event::Till(command))),
            till::Effect::Exchange { exchange, frame, .. } => self.send_request(index, life, exchange, frame.expose()),
            till::Effect::Show(screen) => {
                self.screen_shown(&screen);
                self.buyer_awaited(index, &screen);
            }
            till::Effect::Abandon { .. } => {}
            till::Effect::Print(receipt) => self.slip_printed(index, &receipt),
            till::Effect::Outcome(outcome) => self.outcome(index, &outcome),
        }
    }

    fn run_ped(&mut self, index: usize, life: u64, effect: ped::Effect) {
        let terminal = &mut self.terminals[index];
        let wallet = &mut terminal.wallets[terminal.in_reader];
        let removed = self.faults.card_removed > 0 && self.shoppers.chance(self.faults.card_removed);
        let removed = removed || self.script.as_mut().is_some_and(|script| script.is_pulled(&effect));
        let (delay_ms, event) = match effect {
            ped::Effect::ToTill(reply) => {
                if let pedlink::PedReply::WorkingKeysLoaded { loaded } = *reply {
                    self.working_keys_loaded(index, loaded);
                }
                return self.soon(index, life, 1, Waiting::Till(till::Event::Ped(reply)));
            }
            ped::Effect::MasterKeyInstalled(Ok(_)) => return self.tell_host_of_master_key(index),
            ped::Effect::PowerOnCard => {
                (terminal.card_read, terminal.typed_wrong) = (Some(terminal.in_reader), false);
                (400, ped::Event::CardInserted(wallet.card.reset()))
            }
            ped::Effect::Transmit(_) if removed => (10, ped::Event::CardResponse(Err(CardGone))),
            ped::Effect::Transmit(command) => {
                terminal.card_read = terminal.card_read.filter(|card| *card == terminal.in_reader);
                (15, ped::Event::CardResponse(Ok(wallet.card.apdu(command.expose()))))
            }
            ped::Effect::AskPin { .. } => {
                terminal.typed_wrong |= terminal.mistypes;
                let typed = if terminal.mistypes { "000000" } else { wallet.pin.as_str() };
                (2_000, ped::Event::PinEntered(PinEntry::Pin(Pin::parse(typed).expect("a PIN of a profile"))))
            }
            ped::Effect::ChooseApplication(_) => (500, ped::Event::ApplicationChosen(Some(0))),
            ped::Effect::NeedEntropy { bytes } => {
                let mut drawn = vec![0; usize::from(bytes)];
                self.shoppers.fill(&mut drawn);
                (1, ped::Event::Entropy(SecretBytes::new(drawn)))
            }
            _ => return,
        };
        self.soon(index, life, delay_ms, Waiting::Ped(event));
    }
}
