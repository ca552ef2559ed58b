//! Host processes: when they decide and write, and what they ask of keys and issuer.

use super::{Happening, World};
use crate::host::Ask;
use driver::{Address, WorkDone, perform};

impl World {
    pub(super) fn plan_host(&mut self, host: usize, at_ms: u64) {
        let at_ms = at_ms.max(self.schedule.now_ms());
        let planned = self.hosts[host].decides_at_ms;
        if planned.is_none_or(|planned| planned > at_ms) {
            self.hosts[host].decides_at_ms = Some(at_ms);
            let life = self.hosts[host].life;
            self.schedule.at(at_ms, Happening::HostDecide { host, life });
        }
    }

    fn host_lives(&mut self, host: usize, life: u64) -> bool {
        if self.hosts[host].life != life || !self.hosts[host].up {
            return false;
        }
        let cut = self.faults.host_crash > 0 && self.power.chance(self.faults.host_crash);
        if cut {
            self.hosts[host].cut();
            self.store.host_cut(self.peers.iter().map(|peer| machine::MachineId::of_terminal(peer.terminal)));
            self.note("host cut", &[]);
            let delay = self.power.between(200, 30_000);
            self.schedule.after(delay, Happening::HostRestart { host });
        }
        !cut
    }

    pub(super) fn host_decides(&mut self, host: usize, life: u64) {
        if !self.host_lives(host, life) {
            return;
        }
        let now = self.now();
        self.hosts[host].decides_at_ms = None;
        let asks = self.hosts[host].decide(now, &mut self.store);
        self.carry_out(host, life, asks);
        if self.hosts[host].life != life {
            return;
        }
        let delay = self.power.between(0, 4);
        self.schedule.after(delay, Happening::HostWrite { host, life });
        if let Some(deadline) = self.hosts[host].deadline_ms() {
            self.plan_host(host, deadline);
        }
    }

    pub(super) fn host_writes(&mut self, host: usize, life: u64) {
        if !self.host_lives(host, life) {
            return;
        }
        let Some(work) = self.hosts[host].take_work() else { return };
        let done = perform(&work, &mut self.store).expect("a simulated store writes");
        self.schedule.after(1, Happening::HostWritten { host, life, done });
    }

    pub(super) fn host_has_written(&mut self, host: usize, life: u64, done: WorkDone) {
        if !self.host_lives(host, life) {
            return;
        }
        let asks = self.hosts[host].finish_work(done, &mut self.store);
        self.carry_out(host, life, asks);
        if self.hosts[host].life == life {
            self.plan_host(host, 0);
        }
    }

    fn carry_out(&mut self, host: usize, life: u64, asks: Vec<Ask>) {
        for ask in asks {
            if !self.host_lives(host, life) {
                return;
            }
            match ask {
                Ask::Respond { connection, frame } => self.send_response(connection, &frame),
                Ask::Note(text) => self.note("host", text.as_bytes()),
                Ask::Answer { address, event } => self.answer_later(host, life, address, event),
            }
        }
    }

    fn answer_later(&mut self, host: usize, life: u64, address: Address, event: acquirer::Event) {
        let outage = matches!(event, acquirer::Event::KeyReplies { .. } | acquirer::Event::IssuerReply { .. });
        if outage && self.faults.key_outage > 0 && self.network.chance(self.faults.key_outage) {
            return;
        }
        self.schedule.after(1, Happening::HostAnswer { host, life, address, event });
    }
}
