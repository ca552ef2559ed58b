//! A host with everything around it, in a folder of its own.

use crate::bureau::{Card, load_cards};
use crate::terminal::{FreshTerminal, Terminal};
use irontill_host::{Admin, HostService, HostSettings, LogSink, today_utc};
use keys::{Caller, Command, KeyService, Refusal, Reply};
use link::Authority;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use store_sqlite::SqliteStore;
use vault_soft::{LocalKeys, MasterSecrets, SoftVault, SystemClock, SystemEntropy, VaultKind};

pub struct System {
    pub folder: PathBuf,
    pub settings: HostSettings,
    pub authority: Authority,
    pub vault: Arc<SoftVault>,
    pub keys_gone: Arc<AtomicBool>,
    pub lines: Arc<Mutex<Vec<String>>>,
    pub host: Option<HostService>,
}

/// Keys that can be made to vanish.
struct Fragile {
    keys: LocalKeys,
    gone: Arc<AtomicBool>,
}

impl KeyService for Fragile {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        if self.gone.load(Ordering::SeqCst) {
            return commands.iter().map(|_| Reply::Refused { why: Refusal::Unavailable }).collect();
        }
        self.keys.execute(commands)
    }
}

impl System {
    /// Everything but a running host.
    pub fn prepare() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("irontill-host-{}-{number}", std::process::id()));
        link::create_private_folder(&folder).unwrap();
        let mut settings = HostSettings::in_folder(&folder);
        settings.listen = "127.0.0.1:0".to_owned();
        let authority = Authority::create("Irontill test root", today_utc()).unwrap();
        let host = authority.issue_host(&["localhost", "127.0.0.1"], today_utc()).unwrap();
        link::write_durably(&settings.authority_certificate, authority.certificate_pem().as_bytes()).unwrap();
        link::write_private(&settings.authority_key, authority.key_pem().as_bytes()).unwrap();
        link::write_durably(&settings.certificate, host.certificate_pem.as_bytes()).unwrap();
        link::write_private(&settings.private_key, host.key_pem.as_bytes()).unwrap();
        let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Host).unwrap();
        let vault = SoftVault::new(secrets, Box::new(SystemEntropy), Box::new(SystemClock::default()));
        Self {
            folder,
            settings,
            authority,
            vault: Arc::new(vault),
            keys_gone: Arc::new(AtomicBool::new(false)),
            lines: Arc::new(Mutex::new(Vec::new())),
            host: None,
        }
    }

    /// Everything, running, with these cards loaded.
    pub fn start(cards: &[&Card]) -> Self {
        let mut system = Self::prepare();
        load_cards(&mut system.admin(), cards);
        system.start_host();
        system
    }

    pub fn log(&self) -> LogSink {
        let lines = self.lines.clone();
        Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()))
    }

    pub fn logged(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    pub fn start_host(&mut self) -> SocketAddr {
        let line = || {
            let keys = LocalKeys::new(self.vault.clone(), Caller::Host);
            Box::new(Fragile { keys, gone: self.keys_gone.clone() }) as Box<dyn KeyService + Send>
        };
        let host = HostService::start_with_keys(&self.settings, vec![line(), line()], self.log()).unwrap();
        let address = host.address();
        self.host = Some(host);
        address
    }

    pub fn stop_host(&mut self) {
        self.host.take().unwrap().stop().unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.host.as_ref().unwrap().address()
    }

    pub fn admin(&self) -> Admin {
        let keys = LocalKeys::new(self.vault.clone(), Caller::Administration);
        Admin::open_with_keys(&self.settings, Box::new(keys), self.log()).unwrap()
    }

    /// A terminal of this name, enrolled.
    pub fn enrol(&self, name: &str) -> Terminal {
        let fresh = FreshTerminal::new(name);
        let mut admin = self.admin();
        let public_key = admin.transport_public_key().unwrap();
        let enrolled = admin.enrol_terminal(&fresh.order(&public_key), &self.authority, today_utc()).unwrap();
        fresh.install(&enrolled, self.address())
    }

    /// Enrolled and signed in.
    pub fn terminal(&self, name: &str) -> Terminal {
        let mut terminal = self.enrol(name);
        assert_eq!(terminal.sign_in().unwrap(), "00");
        terminal
    }

    pub fn store(&self) -> SqliteStore {
        SqliteStore::open_read_only(&self.settings.store, None).unwrap()
    }

    /// Balances of accounts whose name begins like this, summed.
    pub fn balance(&self, prefix: &str) -> i64 {
        let balances = self.store().balances().unwrap();
        balances.iter().filter(|balance| balance.account.starts_with(prefix)).map(|balance| balance.balance_minor).sum()
    }

    /// What the merchant is owed.
    pub fn payable(&self) -> i64 {
        self.balance(&format!("merchant/{}/payable", crate::terminal::MERCHANT))
    }

    pub fn assert_sound(&self) {
        let report = self.store().verify().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            let _ = host.stop();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
