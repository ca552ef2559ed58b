//! Voids and completions of pre-authorisations (unionpay-pos §8.7): which one, and may it be ended so?

use crate::financial::{MILLISECONDS_A_DAY, amount_of, kind_of};
use crate::machine_impl::{Acquirer, Original, Output, Phase, Work};
use crate::record::{Authorisation, Kind, Record};
use crate::rows::{SPACE_AUTHORISATION, authorisation_key};
use crate::rule::Rule;
use crate::words::{Effect, Level};
use machine::wire::Encode;
use types::Amount;

const PERCENT: u64 = 100;

impl Acquirer {
    /// Looks the pre-authorisation up by card, authorisation code and date: whichever batch it is of, and whichever of the merchant's
    /// terminals made it.
    pub(crate) fn find_authorisation(&mut self, work: Box<Work>, out: &mut Output) {
        let Some(key) = self.key_of(&work) else {
            return self.refuse(work, Rule::AuthorisationMissing, out);
        };
        let ticket = self.wait(work, Phase::FindingAuthorisation);
        out.effects.push(Effect::Find { ticket, space: SPACE_AUTHORISATION, key });
    }

    /// Releases the oldest hold whose time is over, one behind each record that became durable.
    pub(crate) fn release_expired_hold(&mut self, out: &mut Output) {
        let allowed_ms = u64::from(self.policy().authorisation_days).saturating_mul(MILLISECONDS_A_DAY);
        let now_ms = self.now.wall_ms;
        let mut holds = self.state.holds.values();
        let expired = holds.find(|placed| now_ms.saturating_sub(placed.wall_ms) > allowed_ms);
        if let Some(hold) = expired.map(|placed| placed.hold.clone()) {
            self.log(out, Level::Information, "hold.expired", hold.authorisation.text());
            let terminal = self.terminal;
            self.write(Record::HoldExpired { hold, terminal, released: true }, out);
        }
    }

    fn key_of(&self, work: &Work) -> Option<Vec<u8>> {
        let body = &work.incoming.body;
        let merchant = self.state.enrolment.as_ref()?.merchant;
        let mmdd = body.f61.as_ref()?.date_mmdd()?;
        Some(authorisation_key(merchant, work.card.as_ref()?.token, &body.authorisation_code?, mmdd))
    }

    /// Takes the pre-authorisation that a void or completion names.
    pub(crate) fn take_authorisation(&mut self, mut work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        match self.original_of_ending(&work, value) {
            Ok(original) => {
                work.original = Some(original);
                work.checks.push("pre-authorisation found and fitting");
                self.ask_issuer(work, out);
            }
            Err(rule) => self.refuse(work, rule, out),
        }
    }

    /// Whether it was ended already, the guard on its hold says in the append: only there nobody can come in between.
    fn original_of_ending(&self, work: &Work, value: Option<Vec<u8>>) -> Result<Original, Rule> {
        let bytes = value.ok_or(Rule::AuthorisationMissing)?;
        let Authorisation { hold, wall_ms, .. } =
            Authorisation::from_bytes(&bytes).map_err(|_| Rule::AuthorisationMissing)?;
        let amount = amount_of(work, hold.amount.currency()).ok_or(Rule::AuthorisationAmount)?;
        if kind_of(work) == Kind::PreAuthorisationVoid {
            // A void after its time does what the expiry would do.
            return if amount == hold.amount { Ok(Original::Hold(hold)) } else { Err(Rule::AuthorisationAmount) };
        }
        if !is_within(amount, hold.amount, self.policy().completion_percent) {
            return Err(Rule::AuthorisationAmount);
        }
        let age_ms = self.now.wall_ms.saturating_sub(wall_ms);
        if age_ms > u64::from(self.policy().authorisation_days).saturating_mul(MILLISECONDS_A_DAY) {
            return Err(Rule::AuthorisationExpired);
        }
        Ok(Original::Hold(hold))
    }
}

/// Whether what is asked for stays within so many per cent of what was agreed. Exact: no rounding in anybody's favour.
pub(crate) fn is_within(completed: Amount, authorised: Amount, percent: u32) -> bool {
    let bound = u128::from(authorised.minor()) * u128::from(percent);
    u128::from(completed.minor()) * u128::from(PERCENT) <= bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Currency;

    #[test]
    fn the_bound_is_exact() {
        let amount = |minor: u64| Amount::from_minor(minor, Currency::CNY).unwrap();
        assert!(is_within(amount(11_500), amount(10_000), 115) && !is_within(amount(11_501), amount(10_000), 115));
        assert!(is_within(amount(1), amount(1), 115) && !is_within(amount(2), amount(1), 115));
        let most = amount(types::AMOUNT_MINOR_MAX);
        assert!(is_within(most, most, u32::MAX) && !is_within(most, most, 99));
    }
}
