//! `CompleteFrame`: adds what only the PED may hold, makes the MAC, and seals what a later message needs.

use crate::account::{EntryMode, StoredTransaction};
use crate::chip::ChipRecord;
use crate::compose::{self, AccountFields, Columns, MAC_BYTES, SignatureFields};
use crate::machine::Ped;
use crate::session::Stage;
use keys::{Refusal, WorkingKeys};
use pedlink::{AccountPart, ChipData, FrameTemplate, OpaqueFrame, PedReply, SealedBlob};
use types::{SecretBytes, Track2};
use zeroize::Zeroizing;

/// Why a message is not completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incomplete {
    #[error("the message is another terminal's or merchant's")]
    Foreign,
    #[error("no session {0}")]
    NoSession(u32),
    #[error("the card is still being read")]
    StillReading,
    #[error("no working keys: sign in first")]
    NoWorkingKeys,
    #[error("no track key: sign in again")]
    NoTrackKey,
    #[error("the PIN was enciphered under older keys: read the card again")]
    PinOutdated,
    #[error("the blob cannot be opened: {0}")]
    Blob(Refusal),
    #[error("the chip gave no data for this message")]
    NoChipData,
    #[error("vault: {0}")]
    Vault(Refusal),
    #[error("{0}")]
    Field(#[from] iso8583::EncodeError),
    #[error("TPDU or header are not digits of the right count")]
    Envelope,
}

impl Incomplete {
    /// Whether signing in again mends it.
    fn sign_in_needed(&self) -> bool {
        matches!(self, Incomplete::NoWorkingKeys | Incomplete::NoTrackKey)
    }
}

/// What goes into a message, and what is kept of it.
struct Parts {
    fields: AccountFields,
    stored: StoredTransaction,
}

impl Ped {
    pub(crate) fn complete_frame(&mut self, template: &FrameTemplate, account: &AccountPart) {
        match self.complete(template, account) {
            Ok(reply) => self.reply(reply),
            Err(fault) => {
                let sign_in_needed = fault.sign_in_needed();
                self.reply(PedReply::FrameRefused { why: fault.to_string(), sign_in_needed });
            }
        }
    }

    fn complete(&mut self, template: &FrameTemplate, account: &AccountPart) -> Result<PedReply, Incomplete> {
        if template.terminal != self.config.terminal || template.merchant != self.config.merchant {
            return Err(Incomplete::Foreign);
        }
        let parts = self.parts(template, account)?;
        let fields = parts.as_ref().map(|parts| &parts.fields);
        let mut body = match account {
            AccountPart::Signature { blob, settlement_date, elements } => {
                let fields = self.signature_fields(blob.as_ref(), settlement_date.as_deref(), elements)?;
                compose::signature_body(template, &fields)?
            }
            _ => compose::body(template, fields)?,
        };
        if template.with_mac {
            self.put_mac(&mut body)?;
        }
        let frame = OpaqueFrame::new(compose::frame(template, &body).ok_or(Incomplete::Envelope)?);
        let trace = self.explain_message("request", &frame);
        let blob = parts.map(|parts| self.keep(&parts.stored, account)).transpose()?;
        Ok(PedReply::FrameCompleted { frame, blob, trace })
    }

    fn working_keys(&self) -> Result<WorkingKeys, Incomplete> {
        self.holdings.working_keys.clone().ok_or(Incomplete::NoWorkingKeys)
    }

    /// F64 over everything before it (unionpay-pos §4.6).
    fn put_mac(&mut self, body: &mut Zeroizing<Vec<u8>>) -> Result<(), Incomplete> {
        let key = self.working_keys()?.mac;
        let Some((message, place)) = body.split_last_chunk_mut::<MAC_BYTES>() else { return Err(Incomplete::Envelope) };
        *place = self.vault.make_mac(&key, self.config.mac_algorithm, message).map_err(Incomplete::Vault)?;
        Ok(())
    }

    fn parts(&mut self, template: &FrameTemplate, account: &AccountPart) -> Result<Option<Parts>, Incomplete> {
        let columns = Columns::of(&template.mti, &template.private_60);
        match account {
            AccountPart::None | AccountPart::Signature { .. } => Ok(None),
            AccountPart::Session { session, with_pin, chip } => {
                self.session_parts(*session, *with_pin, *chip, columns).map(Some)
            }
            AccountPart::Blob { blob, chip, .. } => self.blob_parts(blob, *chip, columns).map(Some),
        }
    }

    fn session_parts(
        &mut self,
        number: u32,
        with_pin: bool,
        chip: ChipData,
        columns: Columns,
    ) -> Result<Parts, Incomplete> {
        let session = self.session.as_ref().filter(|session| session.number == number);
        let session = session.ok_or(Incomplete::NoSession(number))?;
        if session.is_reading() {
            return Err(Incomplete::StillReading);
        }
        let account = session.account.as_ref().filter(|_| matches!(session.stage, Stage::Till));
        let account = account.ok_or(Incomplete::NoSession(number))?;
        if with_pin && columns.pin && session.pin_outdated {
            return Err(Incomplete::PinOutdated);
        }
        let pin_block = session.pin_block.as_ref().filter(|_| with_pin && columns.pin).map(|block| **block);
        let mut stored = StoredTransaction {
            pan: account.pan.duplicate(),
            expiry: account.expiry,
            card_sequence: account.card_sequence,
            entry_mode: EntryMode::of_pin(pin_block.is_some()),
            chip: session.chip.clone(),
        };
        let track2 = account.track2.as_ref().filter(|_| columns.track).map(Track2::duplicate);
        let mut fields = stored_fields(&mut stored, chip, columns)?;
        fields.pin_block = pin_block;
        fields.track2 = track2.map(|track2| self.protected_track(&track2)).transpose()?;
        Ok(Parts { fields, stored })
    }

    /// F35: under the TDK if there is one; in the clear only where the suite allows it.
    fn protected_track(&mut self, track2: &Track2) -> Result<(SecretBytes, bool), Incomplete> {
        match self.working_keys()?.track {
            Some(key) => {
                let enciphered = self.vault.encipher_track(&key, track2).map_err(Incomplete::Vault)?;
                Ok((enciphered, true))
            }
            None if self.config.suite.demands_track_key() => Err(Incomplete::NoTrackKey),
            None => Ok((SecretBytes::copy_from(track2.expose().as_bytes()), false)),
        }
    }

    /// Of an earlier transaction: what may be kept of it, so neither track nor PIN.
    fn blob_parts(&mut self, blob: &SealedBlob, chip: ChipData, columns: Columns) -> Result<Parts, Incomplete> {
        let mut stored = self.blob_owner().open(&mut self.vault, blob).map_err(Incomplete::Blob)?;
        if !columns.original_entry_mode {
            stored.entry_mode = EntryMode::of_pin(false);
        }
        let fields = stored_fields(&mut stored, chip, columns)?;
        Ok(Parts { fields, stored })
    }

    fn signature_fields<'a>(
        &mut self,
        blob: Option<&SealedBlob>,
        settlement_date: Option<&'a str>,
        elements: &'a [u8],
    ) -> Result<SignatureFields<'a>, Incomplete> {
        let owner = self.blob_owner();
        let stored = blob.map(|blob| owner.open(&mut self.vault, blob).map_err(Incomplete::Blob)).transpose()?;
        Ok(SignatureFields { pan: stored.map(|stored| stored.pan.duplicate()), settlement_date, elements })
    }

    /// Seals the blob from which a reversal or an upload of this message is rebuilt.
    fn keep(&mut self, stored: &StoredTransaction, account: &AccountPart) -> Result<SealedBlob, Incomplete> {
        if let (AccountPart::Session { .. }, Some(session)) = (account, self.session.as_mut()) {
            session.sent_entry_mode = Some(stored.entry_mode);
        }
        self.blob_owner().seal(&mut self.vault, stored).map_err(Incomplete::Vault)
    }
}

/// The fields of a message that can be made from what is kept. A message that goes out without chip data leaves none behind:
/// its own reversal carries none either (C9).
fn stored_fields(
    stored: &mut StoredTransaction,
    chip: ChipData,
    columns: Columns,
) -> Result<AccountFields, Incomplete> {
    let content = stored.chip.field_55(chip);
    let optional = matches!(chip, ChipData::None | ChipData::Reversal | ChipData::CardDeclined);
    if content.is_none() && !optional {
        return Err(Incomplete::NoChipData);
    }
    if chip == ChipData::None && !columns.original_entry_mode {
        stored.chip = ChipRecord::default();
    }
    Ok(AccountFields {
        pan: stored.pan.duplicate(),
        expiry: stored.expiry.filter(|_| columns.expiry),
        entry_mode: stored.entry_mode,
        card_sequence: stored.card_sequence.filter(|_| columns.card_sequence),
        pin_block: None,
        track2: None,
        chip: content,
    })
}
