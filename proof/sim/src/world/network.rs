//! The network: messages late, lost and doubled.

use super::{Happening, Script, WALLETS, World};
use crate::eye;

impl World {
    fn delay(&mut self) -> u64 {
        let late = self.faults.late > 0 && self.network.chance(self.faults.late);
        let ordinary = self.network.between(5, self.faults.delay_ms_max.max(6));
        if late { ordinary + self.network.between(50_000, 400_000) } else { ordinary }
    }

    fn copies(&mut self) -> usize {
        let twice = self.faults.duplicate > 0 && self.network.chance(self.faults.duplicate);
        let sent = if twice { 2 } else { 1 };
        (0..sent).filter(|_| self.faults.loss == 0 || !self.network.chance(self.faults.loss)).count()
    }

    /// Number of the card that the PED has powered, as long as it is the same one.
    pub(super) fn card_number(&self, index: usize) -> Option<u64> {
        let first_card = (u64::try_from(index).expect("few terminals") + 1) * WALLETS;
        self.terminals[index].card_read.map(|wallet| first_card + u64::try_from(wallet).expect("few wallets"))
    }

    pub(super) fn send_request(&mut self, index: usize, life: u64, exchange: u64, frame: &[u8]) {
        let frame = &frame[2..];
        self.note("request", frame);
        self.sync_claims(index);
        let seen = eye::read(frame);
        self.auditor.frame_sent(seen.as_ref());
        let (card, typed_wrong) = (self.card_number(index), self.terminals[index].typed_wrong);
        let finding = seen.as_ref().and_then(|seen| self.witness.frame_sent(seen, card, typed_wrong));
        self.hear(finding);
        let refused = self.faults.refused > 0 && self.network.chance(self.faults.refused);
        if refused || self.script.as_mut().is_some_and(Script::refuses_line) {
            seen.iter().for_each(|seen| self.auditor.frame_never_left(seen));
            return self.schedule.after(50, Happening::LineFails { index, life, exchange, sent_any: false });
        }
        let copies = match self.script.as_mut().and_then(|script| script.requests.pop_front()) {
            Some(copies) => copies,
            None => self.copies(),
        };
        for _ in 0..copies {
            self.connections_made += 1;
            let connection = self.connections_made;
            self.connections.insert(connection, (index, life, exchange));
            let second_host = self.faults.conflict > 0 && self.network.chance(self.faults.conflict * 4);
            let delay = self.delay();
            let arrival =
                Happening::RequestArrives { host: usize::from(second_host), connection, frame: frame.to_vec() };
            self.schedule.after(delay, arrival);
        }
        if copies == 0 && self.network.chance(500_000) {
            let delay = self.delay();
            self.schedule.after(delay, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }

    pub(super) fn request_arrives(&mut self, host: usize, connection: u64, frame: Vec<u8>) {
        let Some((index, life, exchange)) = self.connections.get(&connection).copied() else { return };
        let peer = self.peers[index];
        let taken = self.hosts[host].up && self.hosts[host].request(connection, peer, frame);
        if taken {
            self.plan_host(host, 0);
        } else {
            self.connections.remove(&connection);
            self.schedule.after(20, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }

    pub(super) fn send_response(&mut self, connection: u64, frame: &[u8]) {
        self.read_statement();
        self.note("response", frame);
        if let Some(seen) = eye::read(frame) {
            self.auditor.reversal_answered(&seen);
            let finding = self.witness.frame_answered(&seen);
            self.hear(finding);
        }
        let Some((index, life, exchange)) = self.connections.remove(&connection) else { return };
        let length = u16::try_from(frame.len()).expect("a bounded frame").to_be_bytes();
        let whole = [&length[..], frame].concat();
        let copies = match self.script.as_mut().and_then(|script| script.responses.pop_front()) {
            Some(copies) => copies,
            None => self.copies(),
        };
        for _ in 0..copies {
            let delay = self.delay();
            self.schedule.after(delay, Happening::ResponseArrives { index, life, exchange, frame: whole.clone() });
        }
        // A line that breaks behind the request and before the answer.
        if copies == 0 && self.network.chance(500_000) {
            let delay = self.delay();
            self.schedule.after(delay, Happening::LineFails { index, life, exchange, sent_any: true });
        }
    }
}
