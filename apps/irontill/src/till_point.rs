//! A terminal of a system: enrolled if need be, with a test card in its reader.

use crate::rotation::locked;
use crate::system::Folder;
use crate::verdict::Misuse;
use anyhow::{Context, anyhow};
use card::{Card, CardState, Profile};
use irontill_host::{Admin, EnrolmentOrder, TransportedKey, WrappedKey};
use irontill_terminal::{
    Custody, Devices, FixedPin, HostLine, Keypad, NoKeypad, NoLine, Settings, Silent, Terminal, TlsLine,
};
use keys::KeyCheckValue;
use link::{Client, ClientLimits, ClientOptions, TerminalRequest};
use machine::wire::Encode;
use ped::PedConfig;
use reader::{Reader, ReaderFault, VirtualReader};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use types::{Currency, MerchantId, Pin, TerminalId};

/// How long a till waits for an answer if nobody says otherwise, in milliseconds (unionpay-pos D45).
const RESPONSE_TIMEOUT_MS: u64 = 60_000;
/// Heads a serial number in field 62 (unionpay-pos §3.4): no device of this house is certified.
const CERTIFICATION_NUMBER: &str = "0000";
/// Random bytes of a serial number.
const SERIAL_BYTES: usize = 8;
/// The demo's terminal.
pub const DEMO_TERMINAL: &str = "10000001";
/// The demo's merchant.
pub const DEMO_MERCHANT: &str = "898310000000001";
/// Its name.
pub const DEMO_SHOP: &str = "IRONTILL 演示商店";

/// Which terminal, and how it is set.
#[derive(Clone)]
pub struct TillPoint {
    folder: PathBuf,
    terminal: TerminalId,
    merchant: MerchantId,
    name: String,
    /// How long the till waits for an answer, in milliseconds.
    pub response_timeout_ms: u64,
}

impl TillPoint {
    /// A terminal of a system.
    pub fn new(folder: &Folder, terminal: &str, merchant: &str, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            folder: folder.terminal(terminal),
            terminal: TerminalId::parse(terminal)?,
            merchant: MerchantId::parse(merchant)?,
            name: name.to_owned(),
            response_timeout_ms: RESPONSE_TIMEOUT_MS,
        })
    }

    /// The demo's.
    pub fn demo(folder: &Folder) -> anyhow::Result<Self> {
        Self::new(folder, DEMO_TERMINAL, DEMO_MERCHANT, DEMO_SHOP)
    }

    /// The device's serial number, drawn when it is first opened: a copy of the device under another terminal id is noticed by it.
    fn serial(&self) -> anyhow::Result<Option<String>> {
        let path = self.folder.join("serial");
        if !path.exists() {
            let mut random = [0; SERIAL_BYTES];
            getrandom::fill(&mut random)?;
            let digits: String = random.iter().map(|byte| format!("{byte:02X}")).collect();
            link::write_durably(&path, format!("{CERTIFICATION_NUMBER}{digits}").as_bytes())?;
        }
        Ok(Some(fs::read_to_string(&path).context("serial")?))
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut till = till::Config::new(self.terminal, self.merchant, self.name.clone());
        // A program that pays twice means it.
        till.duplicate_window_ms = 0;
        till.timeouts.response_ms = self.response_timeout_ms;
        till.timeouts.pending_retry_ms = till.timeouts.pending_retry_ms.min(self.response_timeout_ms);
        till.timeouts.qr_query_ms = till.timeouts.qr_query_ms.min(self.response_timeout_ms);
        let mut ped = PedConfig::attended(self.terminal, self.merchant);
        ped.merchant_name = b"IRONTILL DEMO".to_vec();
        till.serial = self.serial()?;
        Ok(Settings { till, ped })
    }

    /// Opens the terminal for work on a host; enrols it first if it is fresh.
    pub fn open(&self, system: &Folder, address: &str, devices: CardSide) -> anyhow::Result<Terminal> {
        link::create_private_folder(&self.folder)?;
        let custody = Custody::open(&self.folder)?;
        if !self.folder.join("terminal.pem").exists() {
            self.enrol(system, &custody)?;
        }
        let line = TlsLine(Client::new(self.client_options(address)?));
        self.open_with(&custody, Box::new(line), devices)
    }

    /// Opens the terminal's journals for reading, without a line.
    pub fn open_offline(&self) -> anyhow::Result<Terminal> {
        anyhow::ensure!(self.folder.join("till.sqlite").exists(), "terminal {} has no journal here", self.terminal);
        let custody = Custody::open(&self.folder)?;
        self.open_with(&custody, Box::new(NoLine), CardSide::none())
    }

    /// A device with everything that this one, which must be idle, holds at the moment: somebody copied it. It waits for answers as
    /// long as is usual.
    pub fn copy_to(&self, folder: &Path) -> anyhow::Result<Self> {
        link::create_private_folder(folder)?;
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let name = path.file_name().context("a file's name")?;
            let content = fs::read(&path).with_context(|| path.display().to_string())?;
            link::write_private(&folder.join(name), &content)?;
        }
        Ok(Self { folder: folder.to_owned(), response_timeout_ms: RESPONSE_TIMEOUT_MS, ..self.clone() })
    }

    fn open_with(&self, custody: &Custody, line: Box<dyn HostLine>, side: CardSide) -> anyhow::Result<Terminal> {
        let devices = Devices { line, reader: side.reader, keypad: side.keypad };
        Ok(Terminal::open(&self.folder, custody, self.settings()?, devices)?)
    }

    /// TLS with this terminal's certificate.
    pub fn client_options(&self, address: &str) -> anyhow::Result<ClientOptions> {
        let text = |name: &str| fs::read_to_string(self.folder.join(name)).with_context(|| name.to_owned());
        let key = link::read_private(&self.folder.join("device.key.pem"))?;
        let tls = link::client_config(&text("terminal.pem")?, std::str::from_utf8(&key)?, &text("authority.pem")?)?;
        Ok(ClientOptions {
            address: address.to_owned(),
            server_name: "localhost".to_owned(),
            tls,
            keep_connection: true,
            limits: self.client_limits(),
        })
    }

    /// Who does not wait long for an answer does not wait longer for a connection.
    fn client_limits(&self) -> ClientLimits {
        let usual = ClientLimits::default();
        ClientLimits { connect_timeout_ms: usual.connect_timeout_ms.min(self.response_timeout_ms), ..usual }
    }

    fn enrol(&self, system: &Folder, custody: &Custody) -> anyhow::Result<()> {
        let mut admin = system.admin()?;
        let authority = Admin::authority(&system.host_settings()?)?;
        let request = TerminalRequest::create(self.terminal)?;
        let mut terminal = self.open_with(custody, Box::new(NoLine), CardSide::none())?;
        let transport = terminal.make_transport_key(admin.transport_public_key()?, &mut Silent)?;
        let order = EnrolmentOrder {
            terminal: self.terminal,
            merchant: self.merchant,
            name: self.name.clone(),
            terminal_number: None,
            currency: Currency::CNY,
            allowed: u32::MAX,
            certificate_request_pem: request.request_pem.clone(),
            identity: Some(terminal.introduce(admin.distribution_key()?, &mut Silent)?),
            transport: TransportedKey { enciphered: transport.enciphered, check: transport.check },
        };
        let enrolled = admin.enrol_terminal(&order, &authority, irontill_host::today_utc())?;
        let WrappedKey { enciphered, check, version } = enrolled.master_key;
        terminal.install_master_key(enciphered, check, version, &mut Silent)?;
        link::write_private(&self.folder.join("device.key.pem"), request.key_pem.as_bytes())?;
        link::write_durably(&self.folder.join("authority.pem"), enrolled.authority_pem.as_bytes())?;
        // Last: its presence says that the enrolment is whole.
        link::write_durably(&self.folder.join("terminal.pem"), enrolled.certificate_pem.as_bytes())?;
        Ok(())
    }
}

/// Gives a terminal a newer master key: terminal first, host second, so that whatever breaks off between two lines leaves a terminal
/// that can sign in. The next sign-in uses it. Gives the new key's check value.
pub fn rotate_master_key(
    admin: &Mutex<Admin>,
    id: TerminalId,
    terminal: &mut Terminal,
) -> anyhow::Result<KeyCheckValue> {
    // A terminal that was enrolled before there was a remote load says who it is now.
    let host = locked(admin).distribution_key()?;
    let identity = terminal.introduce(host, &mut Silent)?;
    locked(admin).introduce_terminal(id, identity)?;
    let request = terminal.begin_master_key_load(&mut Silent)?;
    let new = locked(admin).make_next_master_key(id, &request)?;
    let confirmed = terminal.accept_master_key(new.token.clone(), &mut Silent)?;
    locked(admin).replace_master_key(id, new, confirmed)?;
    Ok(confirmed)
}

/// What stands before a terminal: a reader and a keypad.
pub struct CardSide {
    /// The reader.
    pub reader: Box<dyn Reader + Send>,
    /// The keypad.
    pub keypad: Box<dyn Keypad>,
}

impl CardSide {
    /// No card, no cardholder.
    pub fn none() -> Self {
        Self { reader: Box::new(VirtualReader::empty()), keypad: Box::new(NoKeypad) }
    }

    /// A reader and somebody who types a PIN (or cancels).
    pub fn new(reader: Box<dyn Reader + Send>, pin: Option<&str>) -> anyhow::Result<Self> {
        let keypad: Box<dyn Keypad> = match pin {
            Some(digits) => Box::new(FixedPin(Pin::parse(digits).map_err(|cause| Misuse(format!("--pin: {cause}")))?)),
            None => Box::new(NoKeypad),
        };
        Ok(Self { reader, keypad })
    }
}

/// A virtual reader whose card remembers itself in a file (or not at all).
#[derive(Clone)]
pub struct LabReader {
    inner: Arc<Mutex<VirtualReader>>,
    state_file: Option<PathBuf>,
}

impl LabReader {
    /// A card of a profile; with a file, it goes on where it left off.
    pub fn new(profile: &Profile, state_file: Option<&Path>) -> anyhow::Result<Self> {
        let card = match state_file.filter(|path| path.exists()) {
            Some(path) => {
                let state = CardState::from_bytes(&fs::read(path)?).with_context(|| path.display().to_string())?;
                Card::with_state(profile.personalisation(), state)
                    .map_err(|cause| anyhow!("{}: {cause}", path.display()))?
            }
            None => profile.card(),
        };
        let inner = Arc::new(Mutex::new(VirtualReader::with_card(card)));
        Ok(Self { inner, state_file: state_file.map(Path::to_owned) })
    }

    /// A card that has been used so often already: its counter goes on behind that. No counter of a card comes twice.
    pub fn used(profile: &Profile, times: u16) -> anyhow::Result<Self> {
        let mut state = profile.card().state().clone();
        for application in &mut state.applications {
            (application.transaction_counter, application.last_online_transaction_counter) = (times, times);
        }
        let card = Card::with_state(profile.personalisation(), state).map_err(|cause| anyhow!("{cause}"))?;
        Ok(Self { inner: Arc::new(Mutex::new(VirtualReader::with_card(card))), state_file: None })
    }

    fn with<T>(&self, work: impl FnOnce(&mut VirtualReader) -> T) -> Result<T, ReaderFault> {
        let mut inner = self.inner.lock().map_err(|_| ReaderFault::Device("the card lab stopped".to_owned()))?;
        Ok(work(&mut inner))
    }

    fn remember(&self) {
        let Some(path) = &self.state_file else { return };
        let state = self.with(|reader| reader.card().map(|card| card.state().to_bytes()));
        if let Ok(Some(state)) = state
            && let Err(fault) = link::write_durably(path, &state)
        {
            eprintln!("card lab: {}: {fault}", path.display());
        }
    }
}

impl Reader for LabReader {
    fn power_on(&mut self) -> Result<Vec<u8>, ReaderFault> {
        self.with(Reader::power_on)?
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ReaderFault> {
        self.with(|reader| reader.transmit(command))?
    }

    fn power_off(&mut self) {
        if self.with(Reader::power_off).is_ok() {
            self.remember();
        }
    }
}

/// A profile by name.
pub fn profile(name: &str) -> anyhow::Result<&'static Profile> {
    card::profile(name).ok_or_else(|| {
        let names: Vec<&str> = card::profiles().iter().map(|profile| profile.name).collect();
        Misuse(format!("no card {name:?}; there are {}", names.join(", "))).into()
    })
}
