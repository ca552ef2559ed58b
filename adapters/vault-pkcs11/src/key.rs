//! The key in the token: how it is made, found and judged.

use crate::failure::Fault;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use keys::CustodyFailure;

/// AES-256.
const KEY_BYTES: u32 = 32;
/// Length of the `CKA_ID` that tells two keys of one label apart over time.
pub const KEY_ID_BYTES: usize = 16;

/// Identity of one key: drawn when it is generated.
pub type KeyId = [u8; KEY_ID_BYTES];

fn length() -> Ulong {
    Ulong::new(KEY_BYTES.into())
}

/// What a new key is: it encrypts and decrypts, does nothing else, and never leaves.
fn template(object: &str, id: KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(length()),
        Attribute::Label(object.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
    ]
}

/// Generates the key in the token.
pub fn generate(session: &Session, object: &str, id: KeyId) -> Result<ObjectHandle, Fault> {
    Ok(session.generate_key(&Mechanism::AesKeyGen, &template(object, id))?)
}

/// The one key with this label; `None` if there is none.
pub fn find(session: &Session, object: &str) -> Result<Option<ObjectHandle>, Fault> {
    let search = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(object.as_bytes().to_vec())];
    match session.find_objects(&search)?[..] {
        [] => Ok(None),
        [key] => Ok(Some(key)),
        _ => Err(CustodyFailure::KeyUnsuitable(format!("more than one key is called {object}")).into()),
    }
}

/// Checks that a key can have no copy outside the token, and says which one it is.
///
/// `CKA_LOCAL`, `CKA_ALWAYS_SENSITIVE` and `CKA_NEVER_EXTRACTABLE` are the token's own word and cannot be set by
/// whoever put a key there.
pub fn judge(session: &Session, key: ObjectHandle) -> Result<KeyId, Fault> {
    let wanted = [
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(length()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Local(true),
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    let mut types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    types.push(AttributeType::Id);
    let found = session.get_attributes(key, &types)?;
    for attribute in &wanted {
        if !found.contains(attribute) {
            return Err(CustodyFailure::KeyUnsuitable(format!("the token does not say {attribute:?}")).into());
        }
    }
    let id = found.iter().find_map(|attribute| match attribute {
        Attribute::Id(id) => KeyId::try_from(&id[..]).ok(),
        _ => None,
    });
    id.ok_or_else(|| CustodyFailure::KeyUnsuitable("it was not made by this program (CKA_ID)".to_owned()).into())
}

/// Checks that the token keeps the value to itself. Belt and braces: attributes are claims, this is the deed.
pub fn refuses_to_show_its_value(session: &Session, key: ObjectHandle) -> Result<(), Fault> {
    let shown = session.get_attributes(key, &[AttributeType::Value])?;
    if shown.is_empty() {
        return Ok(());
    }
    Err(CustodyFailure::KeyUnsuitable("the token shows its value".to_owned()).into())
}
