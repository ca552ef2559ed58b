//! Terminal action analysis: decline, go online or approve (EMV 4.4 Book 3 §10.7).

use crate::bits::Tvr;
use crate::config::TerminalApplication;
use crate::cryptogram::CryptogramKind;
use crate::data::DataStore;
use tlv::tags;

/// Issuer action codes of a card that gives none: nothing denies, everything goes online or is refused offline.
const IAC_DENIAL_ABSENT: [u8; 5] = [0x00; 5];
const IAC_OTHER_ABSENT: [u8; 5] = [0xFF; 5];

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineCapability {
    /// Every transaction goes online.
    OnlineOnly,
    /// Either way.
    OfflineWithOnline,
    /// No transaction goes online.
    OfflineOnly,
}

/// The action codes of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionCodes {
    /// Bits that decline.
    pub denial: [u8; 5],
    /// Bits that ask for the issuer.
    pub online: [u8; 5],
    /// Bits that decline when the issuer cannot be asked.
    pub default: [u8; 5],
}

impl ActionCodes {
    /// Joins the card's action codes, tags 9F0D–9F0F, with the terminal's.
    pub fn join(application: &TerminalApplication, data: &DataStore) -> Self {
        let joined = |tag, absent, terminal: [u8; 5]| {
            let issuer: [u8; 5] = data.get_array(tag).unwrap_or(absent);
            core::array::from_fn(|index| issuer[index] | terminal[index])
        };
        ActionCodes {
            denial: joined(tags::IAC_DENIAL, IAC_DENIAL_ABSENT, application.tac_denial),
            online: joined(tags::IAC_ONLINE, IAC_OTHER_ABSENT, application.tac_online),
            default: joined(tags::IAC_DEFAULT, IAC_OTHER_ABSENT, application.tac_default),
        }
    }

    /// Which cryptogram the first GENERATE AC asks for.
    pub fn first_request(&self, tvr: Tvr, capability: OnlineCapability) -> CryptogramKind {
        if tvr.intersects(self.denial) {
            return CryptogramKind::Aac;
        }
        match capability {
            OnlineCapability::OnlineOnly => CryptogramKind::Arqc,
            OnlineCapability::OfflineWithOnline if tvr.intersects(self.online) => CryptogramKind::Arqc,
            OnlineCapability::OfflineWithOnline => CryptogramKind::Tc,
            OnlineCapability::OfflineOnly => self.without_issuer(tvr),
        }
    }

    /// Which cryptogram to ask for when the issuer cannot be reached.
    pub fn without_issuer(&self, tvr: Tvr) -> CryptogramKind {
        if tvr.intersects(self.default) { CryptogramKind::Aac } else { CryptogramKind::Tc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> ActionCodes {
        ActionCodes { denial: [0, 0x10, 0, 0, 0], online: [0, 0, 0x04, 0x80, 0], default: [0, 0x40, 0, 0, 0] }
    }

    #[test]
    fn denial_comes_before_online() {
        let tvr = Tvr([0, 0x10, 0x04, 0, 0]);
        assert_eq!(codes().first_request(tvr, OnlineCapability::OnlineOnly), CryptogramKind::Aac);
    }

    #[test]
    fn capability_decides_what_an_unremarkable_transaction_does() {
        let tvr = Tvr::default();
        assert_eq!(codes().first_request(tvr, OnlineCapability::OnlineOnly), CryptogramKind::Arqc);
        assert_eq!(codes().first_request(tvr, OnlineCapability::OfflineWithOnline), CryptogramKind::Tc);
        assert_eq!(codes().first_request(tvr, OnlineCapability::OfflineOnly), CryptogramKind::Tc);
        let over = Tvr([0, 0, 0, 0x80, 0]);
        assert_eq!(codes().first_request(over, OnlineCapability::OfflineWithOnline), CryptogramKind::Arqc);
        let expired = Tvr([0, 0x40, 0, 0, 0]);
        assert_eq!(codes().first_request(expired, OnlineCapability::OfflineOnly), CryptogramKind::Aac);
    }

    #[test]
    fn a_card_without_action_codes_goes_online_for_anything() {
        let mut application = TerminalApplication::new(&[1; 5]);
        application.tac_online = [0; 5];
        application.tac_default = [0; 5];
        application.tac_denial = [0; 5];
        let codes = ActionCodes::join(&application, &DataStore::default());
        let tvr = Tvr([0, 0, 0, 0, 0x80]);
        assert_eq!(codes.first_request(tvr, OnlineCapability::OfflineWithOnline), CryptogramKind::Arqc);
        assert_eq!(codes.without_issuer(tvr), CryptogramKind::Aac);
    }
}
