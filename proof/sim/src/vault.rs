//! The vault of a world: what key process and PEDs hold their keys in. Most worlds have the cheap one, some the product's own.

use crate::fake_vault::{self, FakeKeys, FakeVault};
use crate::lab;
use crate::random::Random;
use keys::{Caller, Command, KeyService, Reply};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vault_soft::{LocalKeys, SoftVault};

/// One world in so many has the product's own vault with its real ciphers.
const REAL_VAULT_WORLDS: u64 = 64;
/// Keeps the draw of the vault apart from all others.
const VAULT_SALT: u64 = 0x7A17_0C0D;
/// The guess limiter's clock moves by so much with each question, so that no limit is ever reached, in milliseconds.
const LIMITER_STEP_MS: u64 = 60_001;

/// Whether the world of a seed has the product's own vault.
pub fn is_real(seed: u64) -> bool {
    Random::new(seed ^ VAULT_SALT).below(REAL_VAULT_WORLDS) == 0
}

/// Either vault.
#[derive(Clone)]
pub enum Vault {
    /// The product's own.
    Real(Arc<SoftVault>),
    /// The cheap one.
    Fake(FakeVault),
}

impl Vault {
    /// The product's own vault, everything in it drawn from `random`.
    ///
    /// # Errors
    /// If no transport key could be drawn.
    pub fn real(random: Random) -> anyhow::Result<Self> {
        let entropy = SeededEntropy(Mutex::new(random));
        let secrets = lab::vault_secrets(&entropy)?;
        let vault = SoftVault::new(secrets, Box::new(entropy), Box::new(Moving(AtomicU64::default())));
        Ok(Self::Real(Arc::new(vault)))
    }

    /// The cheap vault, everything in it drawn from `random`.
    pub fn fake(random: Random) -> Self {
        Self::Fake(FakeVault::new(random))
    }

    /// The vault as this caller may use it.
    pub fn speaks_to(&self, caller: Caller) -> Keys {
        match self {
            Self::Real(vault) => Keys::Real(LocalKeys::new(Arc::clone(vault), caller)),
            Self::Fake(vault) => Keys::Fake(vault.speaks_to(caller)),
        }
    }

    /// How a KEK is enciphered to this vault.
    pub fn envelope(&self) -> lab::Envelope {
        match self {
            Self::Real(_) => lab::transport_envelope,
            Self::Fake(_) => fake_vault::envelope,
        }
    }
}

/// A vault as one caller has it.
#[derive(Clone)]
pub enum Keys {
    /// The product's own.
    Real(LocalKeys),
    /// The cheap one.
    Fake(FakeKeys),
}

impl KeyService for Keys {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        match self {
            Self::Real(keys) => keys.execute(commands),
            Self::Fake(keys) => keys.execute(commands),
        }
    }
}

struct SeededEntropy(Mutex<Random>);

impl vault_soft::Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), vault_soft::EntropyFailure> {
        let mut random = self.0.lock().map_err(|_| vault_soft::EntropyFailure)?;
        random.fill(bytes);
        Ok(())
    }
}

/// The guess limiter's clock: limits that depend on time would depend on the pace of a run.
struct Moving(AtomicU64);

impl vault_soft::Clock for Moving {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(LIMITER_STEP_MS, Ordering::Relaxed)
    }
}

/// What the machines of a world rely on, asked of both vaults.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::TestIssuer;
    use keys::{AnyKeyBlock, KeyBlock, MacAlgorithm, Refusal, TerminalMaster, WorkingKeys};
    use paycrypto::TdesKey;
    use paycrypto::emv::{MasterKeyOption, application_cryptogram, icc_master_key, pboc_session_key};
    use paycrypto::padding::Padding;
    use types::{Expiry, Pan, Pin, SecretBytes, TerminalId, Track2};

    const TRACK: &str = "6222620000000000012D30122011234500000";
    const ATC: u16 = 7;

    struct Room {
        host: Keys,
        ped: Keys,
        administration: Keys,
        issuer: TestIssuer,
        master: KeyBlock<TerminalMaster>,
        hosts_keys: WorkingKeys,
        delivery: Vec<u8>,
    }

    fn both() -> [Room; 2] {
        [Vault::real(Random::new(1)).unwrap(), Vault::fake(Random::new(1))].map(|vault| Room::new(&vault))
    }

    fn one(keys: &mut Keys, command: Command) -> Reply {
        keys.execute(&[command]).pop().unwrap()
    }

    fn refusal(keys: &mut Keys, command: Command) -> Refusal {
        match one(keys, command) {
            Reply::Refused { why } => why,
            other => panic!("{} was answered {}", "a wrong command", other.name()),
        }
    }

    fn altered(block: &AnyKeyBlock) -> AnyKeyBlock {
        let mut block = block.clone();
        block.enciphered[3] ^= 1;
        block
    }

    fn pan() -> Pan {
        Pan::parse(&TRACK[..19]).unwrap()
    }

    fn loaded(keys: &mut Keys, master: &KeyBlock<TerminalMaster>, delivery: &[u8]) -> Result<WorkingKeys, Refusal> {
        let load = Command::LoadWorkingKeys { master: master.clone(), version: 1, delivery: delivery.to_vec() };
        match one(keys, load) {
            Reply::WorkingKeysMade { keys, .. } => Ok(keys),
            Reply::Refused { why } => Err(why),
            other => panic!("{}", other.name()),
        }
    }

    impl Room {
        fn new(vault: &Vault) -> Self {
            let mut administration = vault.speaks_to(Caller::Administration);
            let issuer =
                TestIssuer::set_up(&mut administration, vault.envelope(), &core::array::from_fn(|at| at as u8 + 1));
            let terminal = TerminalId::parse("12345678").unwrap();
            let master = crate::world::make_master_key(&mut administration, terminal, 1).unwrap();
            let mut host = vault.speaks_to(Caller::Host);
            let make = Command::GenerateWorkingKeys {
                master: master.clone(),
                version: 1,
                with_track_key: true,
                double_length_mac_key: false,
            };
            let Reply::WorkingKeysMade { keys: hosts_keys, delivery } = one(&mut host, make) else { panic!("no keys") };
            let ped = vault.speaks_to(Caller::Ped);
            Self { host, ped, administration, issuer: issuer.unwrap(), master, hosts_keys, delivery }
        }

        fn peds_keys(&mut self) -> WorkingKeys {
            loaded(&mut self.ped, &self.master, &self.delivery).unwrap()
        }

        fn open(&mut self, track2: Option<SecretBytes>, with: Option<Pan>) -> Command {
            let track_key = track2.as_ref().and(self.hosts_keys.track.clone());
            Command::OpenAccount { pan: with, track2, track_key, expiry: None, today: Expiry::new(26, 1).unwrap() }
        }
    }

    #[test]
    fn working_keys_are_of_their_master_key_alone() {
        for mut room in both() {
            assert_eq!(room.delivery.len(), 60);
            let terminal = TerminalId::parse("12345678").unwrap();
            let other = crate::world::make_master_key(&mut room.administration, terminal, 2).unwrap();
            assert_eq!(loaded(&mut room.ped, &other, &room.delivery), Err(Refusal::KeyCheck));
            let mut torn = room.delivery.clone();
            torn[2] ^= 1;
            assert_eq!(loaded(&mut room.ped, &room.master, &torn), Err(Refusal::KeyCheck));
            assert!(loaded(&mut room.ped, &room.master, &torn[..59]).is_err());
            let forged = altered(room.master.any()).typed().unwrap();
            assert_eq!(loaded(&mut room.ped, &forged, &room.delivery), Err(Refusal::NotAuthentic));
            room.peds_keys();
        }
    }

    #[test]
    fn a_mac_is_of_its_key_and_of_every_byte() {
        for mut room in both() {
            let (key, own) = (room.peds_keys().mac, room.hosts_keys.mac.clone());
            for algorithm in [MacAlgorithm::UnionPayEcb, MacAlgorithm::X99] {
                let message = || SecretBytes::copy_from(b"a message of some length");
                let make = Command::MakeMac { key: key.clone(), algorithm, message: message() };
                let Reply::Mac { mac } = one(&mut room.ped, make) else { panic!("no MAC") };
                let hex = mac.iter().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte));
                assert!(hex || algorithm != MacAlgorithm::UnionPayEcb);
                let mut verdict = |message, mac| {
                    let verify = Command::VerifyMac { key: own.clone(), algorithm, message, mac };
                    let Reply::MacVerdict { right } = one(&mut room.host, verify) else { panic!("no verdict") };
                    right
                };
                assert!(verdict(message(), mac));
                assert!(!verdict(SecretBytes::copy_from(b"a message of some lengtH"), mac));
                assert!(!verdict(message(), core::array::from_fn(|at| mac[at] ^ u8::from(at == 7))));
            }
            let long = Command::MakeMac {
                key: key.clone(),
                algorithm: MacAlgorithm::X919,
                message: SecretBytes::new(vec![1]),
            };
            assert_eq!(refusal(&mut room.ped, long), Refusal::WrongKey);
            let forged = altered(key.any()).typed().unwrap();
            let make =
                Command::MakeMac { key: forged, algorithm: MacAlgorithm::X99, message: SecretBytes::new(vec![1]) };
            assert_eq!(refusal(&mut room.ped, make), Refusal::NotAuthentic);
        }
    }

    #[test]
    fn an_account_is_its_card_however_it_comes() {
        for mut room in both() {
            let track_key = room.peds_keys().track.unwrap();
            let encipher = Command::EncipherTrack { key: track_key, track2: Track2::parse(TRACK).unwrap() };
            let Reply::Track { track2 } = one(&mut room.ped, encipher) else { panic!("no track") };
            assert_eq!((track2.len(), &track2.expose()[..19]), (TRACK.len(), &TRACK.as_bytes()[..19]));
            assert_ne!(track2.expose(), TRACK.as_bytes());
            let opened = |room: &mut Room, track2, pan| {
                let open = room.open(track2, pan);
                let Reply::AccountOpened { token, truncated, .. } = one(&mut room.host, open) else {
                    panic!("not open")
                };
                (token, truncated)
            };
            let by_track = opened(&mut room, Some(SecretBytes::copy_from(track2.expose())), None);
            assert_eq!(by_track, opened(&mut room, None, Some(pan())));
            let other = Pan::parse("6222620000000000020").unwrap();
            assert_ne!(by_track.0, opened(&mut room, None, Some(other.duplicate())).0);
            let two = room.open(Some(track2), Some(other));
            assert_eq!(refusal(&mut room.host, two), Refusal::AccountData);
            let nothing = room.open(None, None);
            assert_eq!(refusal(&mut room.host, nothing), Refusal::AccountData);
        }
    }

    #[test]
    fn a_card_and_its_pin_are_known_again() {
        for mut room in both() {
            let account = card::profile("unionpay-debit").unwrap().account();
            let issued = room.issuer.issue(&mut room.administration, &account, false).unwrap();
            let key = room.peds_keys().pin;
            let open = room.open(None, Some(account.pan.duplicate()));
            let Reply::AccountOpened { token, account: sealed, .. } = one(&mut room.host, open) else {
                panic!("no account")
            };
            assert_eq!(token, issued.token);
            let pin_file = issued.file.pin.unwrap();
            for (typed, expected) in [(account.pin.expose(), true), ("000000", false)] {
                let pan = account.pan.duplicate();
                let encipher = Command::EncipherPin { key: key.clone(), pin: Pin::parse(typed).unwrap(), pan };
                let Reply::PinBlock { block } = one(&mut room.ped, encipher) else { panic!("no block") };
                let verify = Command::VerifyPin {
                    block,
                    key: room.hosts_keys.pin.clone(),
                    account: sealed.clone(),
                    reference_key: pin_file.reference_key.clone(),
                    reference: pin_file.reference,
                };
                let Reply::PinVerdict { right } = one(&mut room.host, verify) else { panic!("no verdict") };
                assert_eq!(right, expected);
            }
        }
    }

    #[test]
    fn a_cryptogram_is_of_its_card_and_is_answered_alike() {
        let answers = both().map(|mut room| {
            let account = card::profile("unionpay-debit").unwrap().account();
            let issued = room.issuer.issue(&mut room.administration, &account, false).unwrap();
            let open = room.open(None, Some(account.pan.duplicate()));
            let Reply::AccountOpened { account: sealed, .. } = one(&mut room.host, open) else { panic!("no account") };
            let issuer_key = TdesKey::new(account.issuer_keys.cryptogram.expose()).unwrap();
            let digits = account.pan.expose().as_bytes();
            let card_key = icc_master_key(MasterKeyOption::A, &issuer_key, digits, account.sequence_number).unwrap();
            let session = pboc_session_key(&card_key, ATC.to_be_bytes()).unwrap();
            let arqc = application_cryptogram(&session, b"thirty bytes of transaction ...", Padding::Marker).unwrap();
            let mut judged = |data: &[u8], atc| {
                let verify = Command::VerifyCryptogram {
                    master: issued.file.master_ac.clone(),
                    account: sealed.clone(),
                    card_sequence: account.sequence_number,
                    scheme: keys::CryptogramScheme::UNIONPAY,
                    atc,
                    unpredictable_number: [1; 4],
                    data: data.to_vec(),
                    cryptogram: arqc,
                    response_code: *b"00",
                };
                let Reply::CryptogramVerdict { right, arpc } = one(&mut room.host, verify) else {
                    panic!("no verdict")
                };
                assert_eq!(right, arpc.is_some());
                arpc
            };
            assert_eq!(judged(b"thirty bytes of transaction ..!", ATC), None);
            assert_eq!(judged(b"thirty bytes of transaction ...", ATC + 1), None);
            judged(b"thirty bytes of transaction ...", ATC).unwrap()
        });
        assert_eq!(answers[0], answers[1]);
    }

    #[test]
    fn what_is_sealed_is_bound_to_its_label() {
        for mut room in both() {
            let seal = |byte| Command::Seal { label: b"one".to_vec(), plaintext: SecretBytes::new(vec![byte; 40]) };
            let Reply::Sealed { sealed } = one(&mut room.ped, seal(7)) else { panic!("not sealed") };
            let Reply::Sealed { sealed: again } = one(&mut room.ped, seal(7)) else { panic!("not sealed") };
            assert_ne!(sealed, again, "a nonce is in it");
            let open = |label: &[u8], sealed: &[u8]| Command::Unseal { label: label.to_vec(), sealed: sealed.to_vec() };
            let Reply::Unsealed { plaintext } = one(&mut room.ped, open(b"one", &sealed)) else { panic!("not opened") };
            assert_eq!(plaintext.expose(), [7; 40]);
            assert_eq!(refusal(&mut room.ped, open(b"two", &sealed)), Refusal::NotAuthentic);
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 0x10;
                assert_eq!(refusal(&mut room.ped, open(b"one", &altered)), Refusal::NotAuthentic, "byte {at}");
                assert_eq!(refusal(&mut room.ped, open(b"one", &sealed[..at])), Refusal::NotAuthentic, "{at} bytes");
            }
        }
    }

    #[test]
    fn nobody_says_what_is_not_theirs() {
        for mut room in both() {
            let seal = || Command::Seal { label: b"one".to_vec(), plaintext: SecretBytes::new(vec![1]) };
            assert_eq!(refusal(&mut room.host, seal()), Refusal::NotPermitted);
            assert_eq!(refusal(&mut room.administration, seal()), Refusal::NotPermitted);
            let tokenise = Command::Tokenise { pan: pan() };
            assert_eq!(refusal(&mut room.host, tokenise), Refusal::NotPermitted);
        }
    }
}
