//! What is there before the first shopper: terminals enrolled, cards made and loaded.

use super::offline_sales::{self, OFFLINE_NUMBER};
use super::{WALLETS, World, is_unsealed, make_master_key};
use crate::canary::Canary;
use crate::host::load_card;
use crate::lab::TestIssuer;
use crate::phone::Phone;
use crate::random::Random;
use crate::store::SimulatedStore;
use crate::terminal::{Terminal, Wallet, numbered};
use crate::vault::{Keys, Vault, is_real};
use acquirer::{Enrolment, PeerIdentity};
use card::AuthenticationMethod;
use driver::perform;
use keys::Caller;
use ped::PedConfig;
use std::rc::Rc;
use types::{Currency, MerchantId, TerminalId};

/// Money on each simulated card: 5,000,000.00.
const CARD_MONEY_MINOR: i64 = 500_000_000;
/// Money on the one card that runs dry: 1,000.00.
const POOR_CARD_MONEY_MINOR: i64 = 100_000;
/// One world in so many has a terminal that explains its payments.
const EXPLAINING_WORLDS: u64 = 64;
/// Chance in millionths that a card proves itself by RSA signatures; the others are of the kind that leaves all to the issuer.
const REAL_CARD: u32 = 1_000;
/// The same in worlds with the product's own vault.
const REAL_CARD_IN_REAL_WORLDS: u32 = 50_000;
/// In one world of so many, two terminals have the same serial number.
const COPIED_SERIAL_WORLDS: u64 = 32;
const COPIED_SERIAL: &str = "SIMULATED0001";

impl World {
    pub(super) fn set_up(&mut self, vault: &Vault, terminals: u64, random: &mut Random) -> anyhow::Result<()> {
        let mut administration = vault.speaks_to(Caller::Administration);
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let mut lab = TestIssuer::set_up(&mut administration, vault.envelope(), &seed)?;
        if self.script.is_none() {
            self.open_wallets(usize::try_from(terminals)?)?;
        }
        for number in 1..=terminals {
            self.enrol(&mut administration, number)?;
            let wallets = self.wallets(&mut administration, &mut lab, number, random)?;
            let peer = self.peers[self.peers.len() - 1];
            let mut till = till::Config::new(peer.terminal, peer.merchant, "SIMULATED SHOP");
            till.duplicate_window_ms = 0;
            till.offline = offline_sales::limits(self.plan.seed, self.plan.canary);
            // A copied device: the host lets one of the two sign in.
            till.serial = (self.has_copied_serial() && number <= 2).then(|| COPIED_SERIAL.to_owned());
            let mut ped = PedConfig::attended(peer.terminal, peer.merchant);
            // Explanations cost half of a run. They move no money, but the first terminal of some worlds gives them.
            ped.explains = number == 1 && self.plan.seed.is_multiple_of(EXPLAINING_WORLDS);
            let ped_keys = vault.speaks_to(Caller::Ped);
            let mut made = Terminal::new(till, ped, ped_keys, wallets, self.plan.canary, is_unsealed(&self.plan));
            if self.script.is_some() {
                let [phone, ..] = Phone::all();
                phone.open_wallet(&mut self.store)?;
            }
            if let Some(script) = &self.script {
                let above = |node| SimulatedStore::default().unsealed(true).above(node);
                made.set_journals(above(Rc::clone(&script.nodes.till)), above(Rc::clone(&script.nodes.ped)));
            }
            self.terminals.push(made);
            self.refundable.push(Vec::new());
            self.authorised.push(Vec::new());
            self.ending.push(None);
            self.completed.push(Vec::new());
            self.key_orders.push(None);
            self.master_key_delivered_ms.push(0);
            self.settled_master_keys.push(None);
            self.master_key_versions.push(1);
        }
        for index in 0..self.terminals.len() {
            self.power_on(index);
            let delay = self.shoppers.between(1, 5_000);
            self.plan_shopper(index, delay);
            self.plan_key_rotation(index);
        }
        Ok(())
    }

    pub(super) fn has_copied_serial(&self) -> bool {
        self.plan.seed % COPIED_SERIAL_WORLDS == COPIED_SERIAL_WORLDS - 1
    }

    fn enrol(&mut self, keys: &mut Keys, number: u64) -> anyhow::Result<()> {
        let terminal = TerminalId::parse(&format!("{:08}", 10_000_000 + number))?;
        let merchant = MerchantId::parse(&format!("{:015}", 898_310_000_000_000 + number))?;
        let master_key = make_master_key(keys, terminal, 1)?;
        let enrolment = Enrolment {
            terminal,
            merchant,
            terminal_number: u32::try_from(number)?,
            name: "SIMULATED SHOP".to_owned(),
            master_key,
            currency: Currency::CNY,
            allowed: u32::MAX,
        };
        let taken = self.hosts[0].deliver(terminal, acquirer::Event::Enrol(Box::new(enrolment)));
        anyhow::ensure!(taken, "an empty queue at the start");
        self.peers.push(PeerIdentity { terminal, merchant });
        self.run_host_to_rest(0);
        Ok(())
    }

    /// Before anybody else is there: enrolments are decided and written at once.
    fn run_host_to_rest(&mut self, host: usize) {
        loop {
            let now = self.now();
            self.hosts[host].decide(now, &mut self.store);
            let Some(work) = self.hosts[host].take_work() else { return };
            let done = perform(&work, &mut self.store).expect("a simulated store writes");
            self.hosts[host].finish_work(done, &mut self.store);
        }
    }

    fn wallets(
        &mut self,
        keys: &mut Keys,
        lab: &mut TestIssuer,
        terminal: u64,
        random: &mut Random,
    ) -> anyhow::Result<Vec<Wallet>> {
        let profiles = ["unionpay-sda", "unionpay-offline", "unionpay-debit"];
        let mut wallets = Vec::new();
        for number in 0..WALLETS {
            let profile =
                card::profile(profiles[usize::try_from(number)?]).ok_or_else(|| anyhow::anyhow!("no such profile"))?;
            let mut seed = [0; 32];
            random.fill(&mut seed);
            let card_number = terminal * WALLETS + number;
            let mut personalisation = numbered(profile.personalisation(), card_number, seed);
            let chance = if is_real(self.plan.seed) { REAL_CARD_IN_REAL_WORLDS } else { REAL_CARD };
            if !self.cards.chance(chance) {
                let applications = &mut personalisation.applications;
                for application in applications {
                    application.authentication.method = AuthenticationMethod::None;
                    if number == OFFLINE_NUMBER {
                        offline_sales::pays_unproved(application);
                    }
                }
            }
            let mut account = profile.account();
            account.pan = personalisation.applications[0].account.pan.duplicate();
            let money_minor = match (terminal, number) {
                (1, 0) => POOR_CARD_MONEY_MINOR,
                (1, OFFLINE_NUMBER) => offline_sales::POOR_CARD_MONEY_MINOR,
                _ => CARD_MONEY_MINOR,
            };
            let is_limited = self.plan.canary != Some(Canary::IssuerWithoutLimit);
            load_card(&mut self.store, lab, keys, &account, usize::try_from(card_number)?, money_minor, is_limited)?;
            let card = card::Card::new(personalisation).map_err(|cause| anyhow::anyhow!("{cause}"))?;
            wallets.push(Wallet { card, pin: profile.pin().expose().to_owned() });
        }
        Ok(wallets)
    }
}
