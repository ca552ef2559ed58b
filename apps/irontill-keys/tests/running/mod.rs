//! A running key process and real work for it, for tests of other things.
#![allow(dead_code, reason = "each test uses its part")]

use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, KeyBlock, KeyEncryption, KeyService, MacAlgorithm, Owner, Reply,
    TerminalMaster, Usage, WorkingKeys,
};
use paycrypto::TdesKey;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use types::{Expiry, Pan, SecretBytes};
use vault_remote::RemoteKeys;

pub const PAN: &str = "6222629381740562387";
pub const PIN: &str = "407158236914";
const TERMINAL: &str = "12345678";
/// The key encryption key that the test brings in, and so knows.
pub const KEK: u128 = 0x1123_4567_89AB_CDEF_FEDC_BA98_7654_3211;

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("irontill-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The command line of a key process on this folder.
    pub fn arguments(&self, socket: &str) -> Vec<std::ffi::OsString> {
        let mut arguments: Vec<std::ffi::OsString> = Vec::new();
        for (flag, file) in [("--socket", socket), ("--vault", "vault"), ("--passphrase-file", "passphrase")] {
            arguments.extend([flag.into(), self.file(file).into()]);
        }
        arguments
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A key process that has said that it is ready.
pub struct Running(pub Child, Option<std::thread::JoinHandle<String>>);

impl Running {
    pub fn start(command: &mut std::process::Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("not ready: {log}");
        }
        // Read all along: a process whose log nobody takes waits for a reader.
        let mut log = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            text
        });
        Self(child, Some(log))
    }

    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for the end; its log.
    pub fn end(&mut self) -> String {
        self.0.wait().unwrap();
        self.1.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn one(keys: &mut RemoteKeys, command: Command) -> Reply {
    keys.execute(&[command]).pop().unwrap()
}

pub fn created(reply: Reply) -> AnyKeyBlock {
    match reply {
        Reply::KeyCreated { key, .. } => key,
        other => panic!("no key: {other:?}"),
    }
}

/// Keys in a vault, and their clear values, which only this test can know.
pub struct Bench {
    socket: PathBuf,
    tmk: KeyBlock<TerminalMaster>,
    pub clear: Vec<(&'static str, Vec<u8>)>,
}

impl Bench {
    /// Brings a known KEK in and draws the terminal's master key out under it.
    pub fn set_up(socket: &Path) -> Self {
        let mut administration =
            RemoteKeys::connect(irontill_keys::administration_socket(socket), Caller::Administration).unwrap();
        let owner = || Owner::new(TERMINAL).unwrap();
        let enciphered = to_transport_key(&mut administration, &KEK.to_be_bytes());
        let kek =
            created(one(&mut administration, Command::ImportTransportKey { owner: owner(), version: 1, enciphered }));
        let kek: KeyBlock<KeyEncryption> = kek.typed().unwrap();
        let generate = Command::GenerateKey {
            usage: Usage::TerminalMaster,
            algorithm: Algorithm::TdesDouble,
            owner: owner(),
            version: 1,
            exportable: true,
        };
        let tmk = created(one(&mut administration, generate));
        let export = Command::ExportKey { key: tmk.clone(), under: kek };
        let Reply::KeyExported { enciphered, .. } = one(&mut administration, export) else { panic!("no export") };
        let known = TdesKey::new(&KEK.to_be_bytes()).unwrap();
        let clear_tmk = paycrypto::key_wrap::unwrap_ecb(&known, &enciphered).unwrap();
        let clear = vec![("KEK", KEK.to_be_bytes().to_vec()), ("TMK", clear_tmk.expose().to_vec())];
        Self { socket: socket.to_owned(), tmk: tmk.typed().unwrap(), clear }
    }

    fn clear_tmk(&self) -> TdesKey {
        TdesKey::new(&self.clear[1].1).unwrap()
    }

    /// Signs a terminal in and puts `rounds` payments' worth of commands to the vault. The clear working keys.
    pub fn work(&self, rounds: usize) -> Vec<(&'static str, Vec<u8>)> {
        let mut host = RemoteKeys::connect(&self.socket, Caller::Host).unwrap();
        let sign_in = Command::GenerateWorkingKeys {
            master: self.tmk.clone(),
            version: 1,
            with_track_key: true,
            double_length_mac_key: true,
        };
        let Reply::WorkingKeysMade { keys, delivery } = one(&mut host, sign_in) else { panic!("no sign-in") };
        let clear = paycrypto::working_keys::read_field_62(&self.clear_tmk(), &delivery).unwrap();
        for _ in 0..rounds {
            payment(&mut host, &keys, &clear.pin_key);
        }
        let track_key = clear.track_key.as_ref().unwrap();
        [("PIK", &clear.pin_key), ("MAK", &clear.mac_key), ("TDK", track_key)]
            .map(|(name, key)| (name, key.expose_bytes().to_vec()))
            .to_vec()
    }
}

fn payment(host: &mut RemoteKeys, keys: &WorkingKeys, pin_key: &TdesKey) {
    let message = || SecretBytes::copy_from(&[0x42; 300]);
    let pan = || Pan::parse(PAN).unwrap();
    let make = Command::MakeMac { key: keys.mac.clone(), algorithm: MacAlgorithm::UnionPayEcb, message: message() };
    let open = Command::OpenAccount {
        pan: Some(pan()),
        track2: None,
        track_key: None,
        expiry: Expiry::new(30, 12),
        today: Expiry::new(26, 11).unwrap(),
    };
    let mut replies = host.execute(&[make, open]);
    let Some(Reply::AccountOpened { account, .. }) = replies.pop() else { panic!("{replies:?}") };
    let Some(Reply::Mac { mac }) = replies.pop() else { panic!("no MAC") };
    let pin = types::Pin::parse(PIN).unwrap();
    let block = paycrypto::pin_block::encipher_format_0(pin_key, &pin, pan().expose().as_bytes()).unwrap();
    let verify =
        Command::VerifyMac { key: keys.mac.clone(), algorithm: MacAlgorithm::UnionPayEcb, message: message(), mac };
    let translate = Command::TranslatePin { block, from: keys.pin.clone(), to: keys.pin.clone(), account };
    let replies = host.execute(&[verify, translate, Command::CheckKey { key: keys.pin.any().clone() }]);
    let right =
        matches!(replies[..], [Reply::MacVerdict { right: true }, Reply::PinTranslated { .. }, Reply::KeyCheck { .. }]);
    assert!(right, "{replies:?}");
}

/// Enciphers a key to the vault's transport key, as an issuer would.
pub fn to_transport_key(administration: &mut RemoteKeys, key: &[u8]) -> Vec<u8> {
    use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
    let Reply::TransportPublicKey { public_key } = one(administration, Command::TransportPublicKey {}) else {
        panic!("no transport key")
    };
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&public_key).unwrap()).unwrap();
    let mut enciphered = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut enciphered, None).unwrap();
    enciphered
}
