//! The suite on SoftHSM2 tokens, and what only a token has.

use crate::faulty::{Fault, FaultyModule};
use crate::room::{SOFTHSM_CONFIGURATION, private_file, run, tool};
use crate::stage::{Stage, Which};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::{RawAuthPin, Ulong};
use keys::{CustodyFailure, MasterCustody};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use types::SecretBytes;
use vault_pkcs11::{Pkcs11Custody, Pkcs11Settings};
use vault_soft::TimedCustody;

pub const PIN: &str = "vJ5-nG2-8rKd-0Q";
const WRONG_PIN: &str = "Hw3-xT9-1bMz-7e";
const LABEL: &[u8] = b"pkcs11";
const OBJECT: &str = "vault key 1";
const OWN_TOKEN: &str = "own token";

/// Where Debian, Fedora and a build of one's own put the module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

pub fn softhsm() -> PathBuf {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.is_file());
    found.expect("SoftHSM2 is not installed; scripts/test installs it")
}

/// Two SoftHSM2 tokens in a folder of their own.
pub struct Tokens {
    folder: PathBuf,
    module: PathBuf,
}

impl Tokens {
    pub fn start(folder: &Path) -> Self {
        let tokens = folder.join("tokens");
        std::fs::create_dir_all(&tokens).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR", tokens.display());
        let configuration = private_file(folder.join("softhsm2.conf"), &text);
        assert_eq!(std::env::var_os(SOFTHSM_CONFIGURATION), Some(configuration.into_os_string()));
        for token in [OWN_TOKEN, "foreign token"] {
            let mut command = Command::new("softhsm2-util");
            command.args(["--init-token", "--free", "--label", token, "--so-pin", "suite-so-pin", "--pin", PIN]);
            tool(&mut command);
        }
        private_file(folder.join("pin"), PIN);
        private_file(folder.join("wrong-pin"), WRONG_PIN);
        Self { folder: folder.to_owned(), module: softhsm() }
    }

    fn address_of(&self, token: &str, object: &str, pin: &str) -> String {
        let (module, pin) = (self.module.display(), self.folder.join(pin));
        let encoded = |text: &str| text.replace(' ', "%20");
        let (token, object, pin) = (encoded(token), encoded(object), pin.display());
        format!("pkcs11:token={token};object={object}?module-path={module}&pin-source=file:{pin}")
    }

    /// Puts a module in front that misbehaves on order.
    pub fn make_faulty(&mut self) -> FaultyModule {
        let module = FaultyModule::build(&self.folder, &self.module);
        self.module = module.path.clone();
        module
    }

    fn direct(&self, pin: &str) -> Pkcs11Custody {
        Pkcs11Custody::new(Pkcs11Settings {
            module: self.module.clone(),
            token: OWN_TOKEN.to_owned(),
            serial: None,
            object: OBJECT.to_owned(),
            pin: SecretBytes::copy_from(pin.as_bytes()),
        })
    }
}

impl Stage for Tokens {
    fn address(&self, which: Which) -> String {
        match which {
            Which::Own => self.address_of(OWN_TOKEN, OBJECT, "pin"),
            Which::Next => self.address_of(OWN_TOKEN, "vault key 2", "pin"),
            Which::Foreign => self.address_of("foreign token", OBJECT, "pin"),
            Which::WrongSecret => self.address_of(OWN_TOKEN, OBJECT, "wrong-pin"),
        }
    }

    /// A token has no switch of its own: its module is finalised behind everybody's back.
    fn restart(&mut self) {
        match Pkcs11::new(&self.module).unwrap().finalize() {
            // It was never used by this process.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn take_away(&mut self) {
        std::fs::rename(self.folder.join("tokens"), self.folder.join("away")).unwrap();
        std::fs::create_dir(self.folder.join("tokens")).unwrap();
    }

    fn bring_back(&mut self) {
        std::fs::remove_dir(self.folder.join("tokens")).unwrap();
        std::fs::rename(self.folder.join("away"), self.folder.join("tokens")).unwrap();
    }
}

crate::conformance!(Tokens);

fn secret() -> SecretBytes {
    SecretBytes::copy_from(&[0x5A; 32])
}

fn own(name: &str, test: impl FnOnce(&mut Tokens)) {
    run(&format!("{}::{name}", module_path!()), |folder| test(&mut Tokens::start(folder)));
}

/// A session of the token's user, as any program with the PIN has it.
fn session(tokens: &Tokens) -> Session {
    let module = Pkcs11::new(&tokens.module).unwrap();
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => panic!("{error}"),
    }
    let right = |slot: &_| module.get_token_info(*slot).is_ok_and(|token| token.label() == OWN_TOKEN);
    let slot = module.get_slots_with_token().unwrap().into_iter().find(right).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(PIN.as_bytes().to_vec()))).unwrap();
    session
}

fn custody_key(session: &Session) -> ObjectHandle {
    let search = [Attribute::Label(OBJECT.as_bytes().to_vec())];
    let [key] = session.find_objects(&search).unwrap()[..] else { panic!("not one key") };
    key
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> RvError {
    match result {
        Err(Error::Pkcs11(code, _)) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_is_not_readable_by_whoever_has_the_pin() {
    own("the_key_is_not_readable_by_whoever_has_the_pin", |tokens| {
        tokens.prepared(Which::Own);
        let session = session(tokens);
        let key = custody_key(&session);
        let [info] = session.get_attribute_info(key, &[AttributeType::Value]).unwrap()[..] else { panic!("no info") };
        assert!(matches!(info, AttributeInfo::Sensitive), "{info:?}");
        assert_eq!(session.get_attributes(key, &[AttributeType::Value]).unwrap(), []);
        let claims = [
            Attribute::Sensitive(true),
            Attribute::AlwaysSensitive(true),
            Attribute::Extractable(false),
            Attribute::NeverExtractable(true),
            Attribute::Local(true),
            Attribute::Modifiable(false),
        ];
        let types: Vec<_> = claims.iter().map(Attribute::attribute_type).collect();
        assert_eq!(session.get_attributes(key, &types).unwrap(), claims);
    });
}

#[test]
fn the_key_cannot_be_wrapped_copied_or_loosened() {
    own("the_key_cannot_be_wrapped_copied_or_loosened", |tokens| {
        tokens.prepared(Which::Own);
        let session = session(tokens);
        let key = custody_key(&session);
        let template = [Attribute::Wrap(true), Attribute::Encrypt(true), Attribute::ValueLen(Ulong::new(32))];
        let wrapping = session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad] {
            assert_eq!(code(session.wrap_key(&mechanism, wrapping, key)), RvError::KeyUnextractable);
        }
        for loosened in [Attribute::Extractable(true), Attribute::Sensitive(false), Attribute::Wrap(true)] {
            assert!(session.update_attributes(key, std::slice::from_ref(&loosened)).is_err(), "{loosened:?}");
        }
        let loose = [Attribute::Extractable(true), Attribute::Sensitive(false)];
        assert!(session.copy_object(key, &loose).is_err());
        // And it wraps nothing itself, so that nothing can be laundered through it.
        let victim = session
            .generate_key(&Mechanism::AesKeyGen, &[Attribute::ValueLen(Ulong::new(32)), Attribute::Extractable(true)]);
        assert!(session.wrap_key(&Mechanism::AesKeyWrap, key, victim.unwrap()).is_err());
    });
}

/// A key of the custody's name with other attributes than it would draw.
fn plant(session: &Session, different: &[Attribute]) -> Result<ObjectHandle, Error> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(Ulong::new(32)),
        Attribute::Label(OBJECT.as_bytes().to_vec()),
        Attribute::Id(vec![7; 16]),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    template.retain(|attribute| different.iter().all(|other| other.attribute_type() != attribute.attribute_type()));
    template.extend_from_slice(different);
    session.generate_key(&Mechanism::AesKeyGen, &template)
}

fn all_refuse(tokens: &Tokens, what: &str) {
    let mut custody = tokens.custody(Which::Own);
    let sealed = [&[1][..], &[7; 16], &[0; 60]].concat();
    let failures = [
        custody.prepare().unwrap_err(),
        custody.seal(LABEL, &secret()).unwrap_err(),
        custody.open(LABEL, &sealed).unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, CustodyFailure::KeyUnsuitable(_)), "{what}: {failure:?}");
    }
}

#[test]
fn a_key_that_could_have_a_copy_is_refused() {
    own("a_key_that_could_have_a_copy_is_refused", |tokens| {
        let attributes = [
            Attribute::Extractable(true),
            Attribute::Sensitive(false),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Derive(true),
            Attribute::Private(false),
            Attribute::ValueLen(Ulong::new(16)),
            Attribute::Id(vec![7; 3]),
        ];
        for attribute in attributes {
            let planted = session(tokens);
            plant(&planted, std::slice::from_ref(&attribute)).unwrap();
            drop(planted);
            all_refuse(tokens, &format!("{attribute:?}"));
            let session = session(tokens);
            session.destroy_object(custody_key(&session)).unwrap();
        }
        plant(&session(tokens), &[]).unwrap();
        assert!(tokens.custody(Which::Own).prepare().is_ok(), "but for the difference they would have been taken");
    });
}

#[test]
fn a_key_brought_in_from_outside_is_refused() {
    own("a_key_brought_in_from_outside_is_refused", |tokens| {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Value(vec![0x11; 32]),
            Attribute::Label(OBJECT.as_bytes().to_vec()),
            Attribute::Id(vec![7; 16]),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ];
        session(tokens).create_object(&template).unwrap();
        all_refuse(tokens, "imported");
    });
}

#[test]
fn a_key_made_extractable_once_and_tightened_later_is_refused() {
    own("a_key_made_extractable_once_and_tightened_later_is_refused", |tokens| {
        let planted = session(tokens);
        let key = plant(&planted, &[Attribute::Extractable(true), Attribute::Sensitive(false)]).unwrap();
        planted.update_attributes(key, &[Attribute::Sensitive(true), Attribute::Extractable(false)]).unwrap();
        drop(planted);
        all_refuse(tokens, "tightened");
    });
}

#[test]
fn two_keys_of_one_name_are_refused() {
    own("two_keys_of_one_name_are_refused", |tokens| {
        tokens.prepared(Which::Own);
        plant(&session(tokens), &[]).unwrap();
        all_refuse(tokens, "two");
    });
}

#[test]
fn what_is_missing_is_named() {
    own("what_is_missing_is_named", |tokens| {
        let failure = |address: &str| irontill_keys::custody(address).unwrap().prepare().unwrap_err();
        let address = tokens.address(Which::Own);
        let module = softhsm().display().to_string();
        let missing = failure(&address.replace(&module, "/nonexistent/module.so"));
        assert!(matches!(missing, CustodyFailure::ModuleMissing(_)), "{missing:?}");
        let text = private_file(tokens.folder.join("text.so"), "this is no library");
        let no_module = failure(&address.replace(&module, &text.display().to_string()));
        assert!(matches!(no_module, CustodyFailure::ModuleMissing(_)), "{no_module:?}");
        let no_token = failure(&address.replace("own%20token", "no%20token"));
        assert!(no_token.to_string().contains("no token"), "{no_token:?}");
        let no_serial = failure(&address.replace("?", ";serial=12345?"));
        assert!(matches!(no_serial, CustodyFailure::TokenMissing(_)), "{no_serial:?}");
        let no_key = irontill_keys::custody(&address).unwrap().seal(LABEL, &secret()).unwrap_err();
        assert!(matches!(&no_key, CustodyFailure::KeyMissing(why) if why.contains(OBJECT)), "{no_key:?}");
    });
}

#[test]
fn a_pin_file_open_to_others_is_refused() {
    own("a_pin_file_open_to_others_is_refused", |tokens| {
        use std::os::unix::fs::PermissionsExt;
        let pin = tokens.folder.join("pin");
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = irontill_keys::custody(&tokens.address(Which::Own)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("others may access it"), "{error}");
    });
}

#[test]
fn no_session_stays_behind() {
    own("no_session_stays_behind", |tokens| {
        let mut custody = tokens.direct(PIN);
        custody.prepare().unwrap();
        let sealed = custody.seal(LABEL, &secret()).unwrap();
        assert!(custody.open(LABEL, &sealed[1..]).is_err());
        custody.open(LABEL, &sealed).unwrap();
        // Nobody is logged in any more: a session without a PIN does not see the private key.
        let module = Pkcs11::new(&tokens.module).unwrap();
        let right = |slot: &_| module.get_token_info(*slot).is_ok_and(|token| token.label() == OWN_TOKEN);
        let slot = module.get_slots_with_token().unwrap().into_iter().find(right).unwrap();
        let session = module.open_ro_session(slot).unwrap();
        assert_eq!(session.find_objects(&[Attribute::Label(OBJECT.as_bytes().to_vec())]).unwrap(), []);
    });
}

#[test]
fn a_custody_outlives_its_module_being_finalised() {
    own("a_custody_outlives_its_module_being_finalised", |tokens| {
        let mut custody = tokens.direct(PIN);
        custody.prepare().unwrap();
        let sealed = custody.seal(LABEL, &secret()).unwrap();
        for _ in 0..3 {
            tokens.restart();
            assert!(custody.open(LABEL, &sealed).unwrap().matches(&secret()));
        }
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    own("a_wrong_pin_is_tried_once", |tokens| {
        let module = tokens.make_faulty();
        let mut custody = tokens.direct(WRONG_PIN);
        for _ in 0..5 {
            assert_eq!(custody.prepare(), Err(CustodyFailure::WrongSecret(None)));
        }
        assert_eq!(module.logins(), 1, "the token was asked once");
        tokens.direct(PIN).prepare().unwrap();
    });
}

#[test]
fn a_locked_pin_is_said_and_the_last_try_is_not_taken() {
    own("a_locked_pin_is_said_and_the_last_try_is_not_taken", |tokens| {
        let module = tokens.make_faulty();
        tokens.direct(PIN).prepare().unwrap();
        let logins = module.logins();
        module.misbehave(Some(Fault::PinLocked));
        assert_eq!(tokens.direct(PIN).prepare(), Err(CustodyFailure::Locked));
        module.misbehave(Some(Fault::FinalTry));
        assert_eq!(tokens.direct(PIN).prepare(), Err(CustodyFailure::LastTry));
        assert_eq!(module.logins(), logins, "neither was tried");
        module.misbehave(Some(Fault::LoginLocked));
        assert_eq!(tokens.direct(PIN).prepare(), Err(CustodyFailure::Locked));
        module.misbehave(None);
        tokens.direct(PIN).prepare().unwrap();
    });
}

#[test]
fn a_token_pulled_under_an_operation_is_tried_again_once() {
    own("a_token_pulled_under_an_operation_is_tried_again_once", |tokens| {
        let module = tokens.make_faulty();
        let mut custody = tokens.direct(PIN);
        custody.prepare().unwrap();
        let sealed = custody.seal(LABEL, &secret()).unwrap();
        module.misbehave(Some(Fault::RemovedOnce));
        assert!(custody.open(LABEL, &sealed).unwrap().matches(&secret()), "the second attempt found it again");
        module.misbehave(Some(Fault::Removed));
        let failure = custody.open(LABEL, &sealed).unwrap_err();
        assert!(matches!(failure, CustodyFailure::Unreachable(_)), "{failure:?}");
        module.misbehave(None);
        assert!(custody.open(LABEL, &sealed).unwrap().matches(&secret()));
    });
}

#[test]
fn a_token_that_lies_about_its_key_is_found_out() {
    own("a_token_that_lies_about_its_key_is_found_out", |tokens| {
        let module = tokens.make_faulty();
        tokens.direct(PIN).prepare().unwrap();
        module.misbehave(Some(Fault::ShowsValue));
        let failure = tokens.direct(PIN).prepare().unwrap_err();
        assert!(matches!(&failure, CustodyFailure::KeyUnsuitable(why) if why.contains("value")), "{failure:?}");
    });
}

#[test]
fn a_module_that_hangs_is_given_up() {
    own("a_module_that_hangs_is_given_up", |tokens| {
        let module = tokens.make_faulty();
        tokens.direct(PIN).prepare().unwrap();
        module.misbehave(Some(Fault::Hang));
        let limit = Duration::from_millis(500);
        let mut custody = TimedCustody::start(Box::new(tokens.direct(PIN)), limit).unwrap();
        let start = std::time::Instant::now();
        assert_eq!(custody.prepare(), Err(CustodyFailure::Timeout));
        assert_eq!(custody.prepare(), Err(CustodyFailure::Timeout));
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    });
}
