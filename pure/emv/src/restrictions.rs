//! Processing restrictions: may this card be used here, now, for this (EMV 4.4 Book 3 §10.4).

use crate::bits::Tvr;
use crate::config::{TerminalConfig, TransactionData};
use crate::data::DataStore;
use crate::date::EmvDate;
use tlv::tags;

/// Application usage control bits (Book 3 Annex C2).
mod usage {
    pub const DOMESTIC_CASH: (usize, u8) = (0, 0x80);
    pub const INTERNATIONAL_CASH: (usize, u8) = (0, 0x40);
    /// Goods or services.
    pub const DOMESTIC_PURCHASE: (usize, u8) = (0, 0x20 | 0x08);
    pub const INTERNATIONAL_PURCHASE: (usize, u8) = (0, 0x10 | 0x04);
    pub const AT_ATM: (usize, u8) = (0, 0x02);
    pub const ELSEWHERE: (usize, u8) = (0, 0x01);
    pub const DOMESTIC_CASHBACK: (usize, u8) = (1, 0x80);
    pub const INTERNATIONAL_CASHBACK: (usize, u8) = (1, 0x40);
}

/// Purchase of goods or services.
const TYPE_PURCHASE: u8 = 0x00;

/// Sets the bits of TVR byte 2 that apply.
pub fn apply(config: &TerminalConfig, transaction: &TransactionData, data: &DataStore, tvr: &mut Tvr) {
    let card_version = data.get(tags::APPLICATION_VERSION_CARD);
    if card_version.is_some_and(|card| data.get(tags::APPLICATION_VERSION_TERMINAL) != Some(card)) {
        tvr.set(Tvr::DIFFERENT_VERSIONS);
    }
    if !usage_allows(config, transaction, data) {
        tvr.set(Tvr::SERVICE_NOT_ALLOWED);
    }
    let date = |tag| data.get(tag).map(EmvDate::from_value);
    match date(tags::EFFECTIVE_DATE) {
        Some(Ok(effective)) if transaction.date < effective => tvr.set(Tvr::NOT_YET_EFFECTIVE),
        _ => {}
    }
    match date(tags::EXPIRATION_DATE) {
        Some(Ok(expiration)) if transaction.date <= expiration => {}
        _ => tvr.set(Tvr::EXPIRED),
    }
}

fn usage_allows(config: &TerminalConfig, transaction: &TransactionData, data: &DataStore) -> bool {
    let Some(control) = data.get_array::<2>(tags::APPLICATION_USAGE_CONTROL) else {
        return true;
    };
    let allows = |(byte, mask): (usize, u8)| control[byte] & mask != 0;
    if !allows(if config.is_atm() { usage::AT_ATM } else { usage::ELSEWHERE }) {
        return false;
    }
    let Some(issuer_country) = data.get(tags::ISSUER_COUNTRY_CODE) else {
        return true;
    };
    let domestic = issuer_country == config.country_code;
    let by_country = |at_home, abroad| allows(if domestic { at_home } else { abroad });
    let cash_ok = !transaction.is_cash() || by_country(usage::DOMESTIC_CASH, usage::INTERNATIONAL_CASH);
    let is_purchase = transaction.transaction_type == TYPE_PURCHASE || transaction.has_cashback();
    let purchase_ok = !is_purchase || by_country(usage::DOMESTIC_PURCHASE, usage::INTERNATIONAL_PURCHASE);
    let cashback_ok =
        !transaction.has_cashback() || by_country(usage::DOMESTIC_CASHBACK, usage::INTERNATIONAL_CASHBACK);
    cash_ok && purchase_ok && cashback_ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TerminalApplication;

    fn run(change: impl FnOnce(&mut TransactionData, &mut DataStore)) -> Tvr {
        let config = TerminalConfig::merchant([0x01, 0x56], vec![TerminalApplication::new(&[1; 5])]);
        let date = EmvDate::new(2025, 11, 22).expect("date");
        let mut transaction = TransactionData::purchase(100, [0x01, 0x56], date, [0; 4]);
        let mut data = DataStore::default();
        data.set_card(tags::EXPIRATION_DATE, &[0x30, 0x12, 0x31]);
        data.set_card(tags::ISSUER_COUNTRY_CODE, &[0x01, 0x56]);
        data.set_card(tags::APPLICATION_USAGE_CONTROL, &[0xFF, 0xC0]);
        data.set_card(tags::APPLICATION_VERSION_CARD, &[0x00, 0x20]);
        data.set_terminal(tags::APPLICATION_VERSION_TERMINAL, &[0x00, 0x20]);
        change(&mut transaction, &mut data);
        let mut tvr = Tvr::default();
        apply(&config, &transaction, &data, &mut tvr);
        tvr
    }

    #[test]
    fn an_ordinary_card_is_unrestricted() {
        assert_eq!(run(|_, _| {}), Tvr::default());
    }

    #[test]
    fn dates_are_inclusive() {
        let tvr = run(|_, data| data.set_card(tags::EXPIRATION_DATE, &[0x25, 0x11, 0x22]));
        assert_eq!(tvr, Tvr::default());
        let tvr = run(|_, data| data.set_card(tags::EXPIRATION_DATE, &[0x25, 0x11, 0x21]));
        assert!(tvr.has(Tvr::EXPIRED));
        let tvr = run(|_, data| data.set_card(tags::EFFECTIVE_DATE, &[0x25, 0x11, 0x23]));
        assert!(tvr.has(Tvr::NOT_YET_EFFECTIVE));
        let tvr = run(|_, data| data.set_card(tags::EXPIRATION_DATE, &[0x25, 0x13, 0x23]));
        assert!(tvr.has(Tvr::EXPIRED), "a date that is none counts as expired");
    }

    #[test]
    fn usage_depends_on_country_and_kind() {
        let tvr = run(|_, data| data.set_card(tags::APPLICATION_USAGE_CONTROL, &[0xD7, 0x00]));
        assert!(tvr.has(Tvr::SERVICE_NOT_ALLOWED), "no domestic goods or services");
        let tvr = run(|transaction, data| {
            transaction.transaction_type = 0x01;
            data.set_card(tags::APPLICATION_USAGE_CONTROL, &[0x81, 0x00]);
        });
        assert!(!tvr.has(Tvr::SERVICE_NOT_ALLOWED), "domestic cash");
        let tvr = run(|transaction, data| {
            transaction.amount_other_minor = 10;
            data.set_card(tags::APPLICATION_USAGE_CONTROL, &[0xFF, 0x40]);
        });
        assert!(tvr.has(Tvr::SERVICE_NOT_ALLOWED), "no domestic cash back");
        let tvr = run(|_, data| data.set_card(tags::APPLICATION_USAGE_CONTROL, &[0xFE, 0x00]));
        assert!(tvr.has(Tvr::SERVICE_NOT_ALLOWED), "only at ATMs");
    }

    #[test]
    fn versions_must_be_equal() {
        let tvr = run(|_, data| data.set_card(tags::APPLICATION_VERSION_CARD, &[0x00, 0x30]));
        assert!(tvr.has(Tvr::DIFFERENT_VERSIONS));
    }
}
