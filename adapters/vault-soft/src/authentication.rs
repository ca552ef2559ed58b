//! CMAC and HMAC over messages, and how much of a code must be shown.

use crate::limits::Subject;
use crate::vault::{Answer, MAC_MESSAGE_BYTES_MAX, SoftVault};
use keys::{Algorithm, AuthenticationKey, Refusal, Reply};
use paycrypto::mac::{HmacSha256Key, cmac};
use paycrypto::{AesKey, Sm4Key, TdesKey, constant_time_eq};
use types::SecretBytes;

/// Fewest bytes of a code that are verified: half of it (ISO/IEC 9797-1 §6.7 and FIPS 198-1 §5 leave it to the user).
pub fn least_bytes(code: &[u8]) -> usize {
    code.len() / 2
}

/// Whether a code, perhaps truncated, is the leading part of the computed one; in constant time.
pub fn agrees(computed: &[u8], code: &[u8]) -> bool {
    computed.get(..code.len()).is_some_and(|leading| constant_time_eq(leading, code))
}

impl SoftVault {
    fn authentication_code(&self, key: &AuthenticationKey, message: &SecretBytes) -> Result<Vec<u8>, Refusal> {
        if message.len() > MAC_MESSAGE_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let (block, message) = (key.any(), message.expose());
        if matches!(key, AuthenticationKey::Hmac(_)) {
            return Ok(self.key_of::<HmacSha256Key>(block)?.mac(&[message]).to_vec());
        }
        match block.header.algorithm {
            Algorithm::Sm4 => Ok(cmac(&self.key_of::<Sm4Key>(block)?, message).to_vec()),
            algorithm if algorithm.is_aes() => Ok(cmac(&self.key_of::<AesKey>(block)?, message).to_vec()),
            _ => Ok(cmac(&self.key_of::<TdesKey>(block)?, message).to_vec()),
        }
    }

    pub(crate) fn make_authentication_code(&self, key: &AuthenticationKey, message: &SecretBytes) -> Answer {
        Ok(Reply::AuthenticationCode { code: self.authentication_code(key, message)? })
    }

    pub(crate) fn verify_authentication_code(
        &self,
        key: &AuthenticationKey,
        message: &SecretBytes,
        code: &[u8],
    ) -> Answer {
        let subject = Subject::Mac(key.any().header.owner.text().to_owned());
        self.limiter.check(&subject)?;
        let computed = self.authentication_code(key, message)?;
        if code.len() < least_bytes(&computed) {
            return Err(Refusal::Parameter);
        }
        let right = agrees(&computed, code);
        self.limiter.note(subject, right)?;
        Ok(Reply::MacVerdict { right })
    }
}
