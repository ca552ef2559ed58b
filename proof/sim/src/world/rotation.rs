//! Keys that change while payments run: a newer master key reaches the terminal first and the host second, or never.

use super::{Happening, KeyOrder, World, make_master_key};
use crate::canary::Canary;
use crate::terminal::Waiting;
use machine::MachineId;
use machine::store::Store;
use machine::wire::Encode;
use till::OperatorCommand;
use types::TerminalId;

/// Longest time between two rotations of a terminal's keys, in virtual milliseconds.
const KEY_ROTATION_MS_MAX: u64 = 400_000;
/// Chance in millionths that a new master key is in the terminal and the host never hears of it.
const KEY_ORDER_BREAKS_OFF: u32 = 250_000;
/// Longest time in which a host that was given a master key has taken or refused it, in virtual milliseconds.
const MASTER_KEY_UNDER_WAY_MS: u64 = 60_000;

impl World {
    /// What the host holds by its journal; read again while a newer key may still be on its way to it.
    pub(super) fn host_master_key(&mut self, index: usize) -> keys::KeyBlock<keys::TerminalMaster> {
        if let Some(key) = &self.settled_master_keys[index] {
            return key.clone();
        }
        let key = self.store_master_key(self.peers[index].terminal);
        if self.schedule.now_ms() > self.master_key_delivered_ms[index] + MASTER_KEY_UNDER_WAY_MS {
            self.settled_master_keys[index] = Some(key.clone());
        }
        key
    }

    fn store_master_key(&mut self, terminal: TerminalId) -> keys::KeyBlock<keys::TerminalMaster> {
        let journal = self.store.load(MachineId::of_terminal(terminal)).expect("an enrolled terminal");
        // Only a few kinds of records hold the key, and the newest of them holds it as it is now.
        let newest = journal.records.iter().rev().find_map(|bytes| {
            match acquirer::Record::from_bytes(bytes).expect("a sound journal") {
                acquirer::Record::MasterKeyReplaced { master_key } => Some(master_key),
                acquirer::Record::Enrolled { enrolment, .. } => Some(enrolment.master_key),
                acquirer::Record::Snapshot(state) => state.enrolment.map(|enrolment| enrolment.master_key),
                _ => None,
            }
        });
        newest.expect("an enrolled terminal")
    }

    pub(super) fn plan_key_rotation(&mut self, index: usize) {
        if self.script.is_some() {
            return;
        }
        let delay = self.shoppers.between(20_000, KEY_ROTATION_MS_MAX);
        self.schedule.after(delay, Happening::KeyRotation { index });
    }

    /// Whatever the terminal is doing, an operator signs it in or gives it a newer master key: terminal first, host second.
    pub(super) fn rotate_keys(&mut self, index: usize) {
        if self.healing_since_ms.is_some() {
            return;
        }
        if self.schedule.now_ms() < self.closed_until_ms {
            let delay_ms = self.until_opening_ms();
            return self.schedule.after(delay_ms, Happening::KeyRotation { index });
        }
        self.plan_key_rotation(index);
        let life = self.terminals[index].life;
        if self.shoppers.chance(500_000) {
            return self.soon(index, life, 1, Waiting::Till(till::Event::Operator(OperatorCommand::SignIn)));
        }
        self.order_master_key(index);
    }

    /// An operator gives the terminal a newer master key.
    pub(super) fn order_master_key(&mut self, index: usize) {
        let life = self.terminals[index].life;
        let terminal = self.peers[index].terminal;
        let version = self.host_master_key(index).header().version + 1;
        let key = make_master_key(&mut self.administration, terminal, version).expect("a vault that makes keys");
        self.key_orders_made += 1;
        self.key_orders[index] = Some(KeyOrder { order: self.key_orders_made, key: key.clone() });
        self.note("master key", &[u8::try_from(index).unwrap_or(u8::MAX)]);
        let hasty = self.plan.canary == Some(Canary::HastyPed);
        let event = if hasty { ped::Event::AdoptMasterKey(key) } else { ped::Event::StageMasterKey(key) };
        self.soon(index, life, 1, Waiting::Ped(event));
    }

    /// Wherever a rotation broke off, some master key of the terminal fits what the host delivers.
    pub(super) fn working_keys_loaded(&mut self, index: usize, loaded: bool) {
        let version = self.terminals[index].master_key_version();
        if loaded && self.has_copied_serial() && index < 2 {
            self.copies_at_work.insert(index);
            if self.copies_at_work.len() > 1 {
                self.auditor.report("K2", "two devices with one serial number both have working keys".to_owned());
            }
        }
        if !loaded {
            self.auditor.report("K1", format!("no master key of terminal {index} fits what the host delivers"));
        } else if version > self.master_key_versions[index] {
            self.master_key_versions[index] = version;
            self.master_keys_replaced += 1;
        }
    }

    /// The terminal holds a master key. If it is the new one, then sooner or later, or never, the host hears of it. A terminal that
    /// was without power when the new one came has just taken its first, in its enrolment.
    pub(super) fn tell_host_of_master_key(&mut self, index: usize) {
        let held = self.key_orders[index].as_ref().filter(|made| self.terminals[index].holds(&made.key));
        let Some(order) = held.map(|made| made.order) else { return };
        if !self.shoppers.chance(KEY_ORDER_BREAKS_OFF) {
            let delay = self.shoppers.between(1, KEY_ROTATION_MS_MAX / 4);
            self.schedule.after(delay, Happening::MasterKeyConfirmed { index, order });
        }
    }

    pub(super) fn master_key_confirmed(&mut self, index: usize, order: u64) {
        let host = usize::from(self.shoppers.chance(500_000));
        if self.key_orders[index].as_ref().is_none_or(|made| made.order != order) || !self.hosts[host].up {
            return;
        }
        let Some(KeyOrder { key, .. }) = self.key_orders[index].take() else { return };
        self.settled_master_keys[index] = None;
        self.master_key_delivered_ms[index] = self.schedule.now_ms();
        let event = acquirer::Event::ReplaceMasterKey(Box::new(key));
        if self.hosts[host].deliver(self.peers[index].terminal, event) {
            self.plan_host(host, 0);
        }
    }
}
