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
            self.store.host_cut(self.peers.iter().map(|peer| machine::MachineId::of_terminal(peer.terminal)));
            self.cut_host(host);
        }
        !cut
    }

    fn cut_host(&mut self, host: usize) {
        self.hosts[host].cut();
        self.note("host cut", &[]);
        let delay = self.power.between(200, 30_000);
        self.schedule.after(delay, Happening::HostRestart { host });
    }

    /// The disk that the host processes share is gone, and they with it.
    pub(super) fn cut_hosts(&mut self) {
        let left = self.left_by_cut();
        self.store.lose_power(left);
        for host in 0..self.hosts.len() {
            if self.hosts[host].up {
                self.cut_host(host);
            }
        }
    }

    pub(super) fn host_restarts(&mut self, host: usize) {
        // The first process that comes back finds the disk again.
        if self.hosts.iter().all(|host| !host.up) && self.store.reboot().is_err() {
            let left = self.left_by_cut();
            self.store.lose_power(left);
            let delay = self.power.between(200, 30_000);
            return self.schedule.after(delay, Happening::HostRestart { host });
        }
        self.hosts[host].up = true;
        self.host_clock_may_jump(self.faults.host_clock_jump);
        self.note("host up", &[]);
    }

    pub(super) fn host_decides(&mut self, host: usize, life: u64) {
        // A time that an earlier one took the place of is void: whoever decides plans the next deadline anew.
        if self.hosts[host].decides_at_ms != Some(self.schedule.now_ms()) || !self.host_lives(host, life) {
            return;
        }
        let now = self.host_now();
        self.hosts[host].decides_at_ms = None;
        let asks = self.hosts[host].decide(now, &mut self.store);
        self.carry_out(host, life, asks);
        if self.hosts[host].life != life {
            return;
        }
        if self.hosts[host].has_work() {
            let delay = self.power.between(0, 4);
            self.schedule.after(delay, Happening::HostWrite { host, life });
        }
        if let Some(deadline) = self.hosts[host].deadline_ms() {
            self.plan_host(host, deadline);
        }
    }

    pub(super) fn host_writes(&mut self, host: usize, life: u64) {
        if !self.host_lives(host, life) {
            return;
        }
        let Some(work) = self.hosts[host].take_work() else { return };
        let Ok(done) = perform(&work, &mut self.store) else { return self.cut_hosts() };
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
                Ask::Note(what, text) => self.note(what, text.as_bytes()),
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
