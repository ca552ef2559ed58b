//! Issuer script commands with secure messaging (EMV 4.4 Book 3 §6.5.1–3, §6.5.10; Book 2 §9; VIS 1.6; PBOC 3.0).

use super::get_data::{TAG_LOWER_LIMIT, TAG_UPPER_LIMIT};
use super::read_record::file_and_record;
use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::issued::RECORD_BYTES_MAX;
use crate::scheme::CryptogramScheme;
use crate::state::UPDATED_RECORDS_MAX;
use crate::status::{self, StatusWord};
use paycrypto::emv::ScriptContext;
use paycrypto::pin_block::decode_format_2;
use paycrypto::{constant_time_eq, decrypt_ecb};
use tlv::{Tag, ber, tags};
use types::{Pin, SecretBytes};
use zeroize::Zeroizing;

const CARD_BLOCK: u8 = 0x16;
const APPLICATION_UNBLOCK: u8 = 0x18;
const APPLICATION_BLOCK: u8 = 0x1E;
const PIN_CHANGE_UNBLOCK: u8 = 0x24;
const PUT_DATA: u8 = 0xDA;
const UPDATE_RECORD: u8 = 0xDC;

const PIN_UNBLOCK: u8 = 0x00;
const PIN_CHANGE_WITH_CURRENT: u8 = 0x01;
const PIN_CHANGE: u8 = 0x02;

const PIN_BLOCK_BYTES: usize = 8;
/// VIS enciphers length, PIN block, 80 and zeros: two cipher blocks.
const VIS_PIN_DATA_BYTES: usize = 16;
/// Control nibble of an ISO format 2 block.
const FORMAT_2_CONTROL: u8 = 0x20;
/// Most script commands that the card verification results can count.
const COUNTED_COMMANDS_MAX: u8 = 15;
/// Script commands of one transaction; the ones behind are refused unread.
const SCRIPT_COMMANDS_MAX: u32 = 64;

impl Card {
    /// A command of an issuer script: its MAC is checked first, then it is carried out.
    pub(crate) fn issuer_command(&mut self, command: &Command<'_>) -> Handled {
        let index = self.selected_application()?;
        let context = self.script_context(index)?;
        if self.running()?.1.script_commands == 0 {
            let state = &mut self.state.applications[index];
            (state.script_commands, state.script_failed) = (0, false);
        }
        let carried_out = self
            .authentic_data(index, command, &context)
            .and_then(|data| self.carry_out(index, command, &context, data));
        let state = &mut self.state.applications[index];
        match carried_out {
            Ok(()) => state.script_commands = (state.script_commands + 1).min(COUNTED_COMMANDS_MAX),
            Err(_) => state.script_failed = true,
        }
        carried_out.map(|()| Answer::done())
    }

    /// What the MAC is bound to: counter and first cryptogram of this transaction. For M/Chip the cryptogram counts up
    /// with every authentic command.
    fn script_context(&mut self, index: usize) -> Result<ScriptContext, StatusWord> {
        let scheme = self.applications[index].scheme;
        let atc = self.state.applications[index].transaction_counter.to_be_bytes();
        let (_, transaction) = self.running()?;
        let first = transaction.first.ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        if transaction.script_commands >= SCRIPT_COMMANDS_MAX {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        let ahead = if scheme == CryptogramScheme::MastercardCvn20 { transaction.script_commands } else { 0 };
        let cryptogram = u64::from_be_bytes(first.value).wrapping_add(u64::from(ahead)).to_be_bytes();
        Ok(ScriptContext { atc, cryptogram })
    }

    /// The data in front of the MAC, once the MAC is right.
    fn authentic_data<'c>(
        &mut self,
        index: usize,
        command: &Command<'c>,
        context: &ScriptContext,
    ) -> Result<&'c [u8], StatusWord> {
        let application = &self.applications[index];
        let mac_bytes = application.scheme.script_mac_bytes();
        let data_bytes = command.data.len().checked_sub(mac_bytes).ok_or(status::WRONG_LENGTH)?;
        let (data, mac) = command.data.split_at(data_bytes);
        let length = u8::try_from(command.data.len()).map_err(|_| status::WRONG_LENGTH)?;
        let header = [command.cla, command.ins, command.p1, command.p2, length];
        let version = application.scheme.version();
        let expected =
            version.script_mac(&application.keys.integrity, &header, context, data).expect("a double-length key");
        if !constant_time_eq(mac, &expected[..mac_bytes]) {
            return Err(status::SECURE_MESSAGING_INCORRECT);
        }
        self.running()?.1.script_commands += 1;
        Ok(data)
    }

    fn carry_out(
        &mut self,
        index: usize,
        command: &Command<'_>,
        context: &ScriptContext,
        data: &[u8],
    ) -> Result<(), StatusWord> {
        match command.ins {
            CARD_BLOCK | APPLICATION_BLOCK | APPLICATION_UNBLOCK => self.change_blocks(index, command, data),
            PIN_CHANGE_UNBLOCK => self.change_or_unblock_pin(index, command, context, data),
            PUT_DATA => self.put_data(index, command, data),
            UPDATE_RECORD => self.update_record(index, command, data),
            _ => Err(status::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    fn change_blocks(&mut self, index: usize, command: &Command<'_>, data: &[u8]) -> Result<(), StatusWord> {
        command.require_parameters(0)?;
        if !data.is_empty() {
            return Err(status::WRONG_LENGTH);
        }
        match command.ins {
            CARD_BLOCK => self.state.card_blocked = true,
            APPLICATION_BLOCK => self.state.applications[index].blocked = true,
            _ => self.unblock_application(index)?,
        }
        Ok(())
    }

    fn unblock_application(&mut self, index: usize) -> Result<(), StatusWord> {
        let state = &mut self.state.applications[index];
        if state.transaction_counter == u16::MAX {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        state.blocked = false;
        Ok(())
    }

    fn change_or_unblock_pin(
        &mut self,
        index: usize,
        command: &Command<'_>,
        context: &ScriptContext,
        data: &[u8],
    ) -> Result<(), StatusWord> {
        if command.p1 != 0 {
            return Err(status::WRONG_PARAMETERS);
        }
        if self.pin_block.is_none() {
            return Err(status::DATA_NOT_FOUND);
        }
        match command.p2 {
            PIN_UNBLOCK if data.is_empty() => {}
            PIN_UNBLOCK => return Err(status::WRONG_LENGTH),
            PIN_CHANGE | PIN_CHANGE_WITH_CURRENT => {
                let pin = self.deciphered_pin(index, context, data, command.p2 == PIN_CHANGE_WITH_CURRENT)?;
                self.change_pin(&pin);
            }
            _ => return Err(status::WRONG_PARAMETERS),
        }
        self.state.pin_tries_left = self.pin_tries_max;
        Ok(())
    }

    fn deciphered_pin(
        &self,
        index: usize,
        context: &ScriptContext,
        data: &[u8],
        with_current: bool,
    ) -> Result<Pin, StatusWord> {
        let application = &self.applications[index];
        let scheme = application.scheme;
        let key = scheme.version().script_session_key(&application.keys.confidentiality, context);
        let mut clear = Zeroizing::new(data.to_vec());
        decrypt_ecb(&key.expect("a double-length key"), &mut clear).map_err(|_| status::WRONG_LENGTH)?;
        if scheme == CryptogramScheme::MastercardCvn20 {
            let block = clear.as_slice().try_into().map_err(|_| status::WRONG_LENGTH)?;
            return if with_current { Err(status::WRONG_PARAMETERS) } else { pin_of_format_2(block) };
        }
        let block = vis_block(&clear)?;
        self.pin_of_vis_block(index, block, with_current)
    }

    /// Takes the card's key, and the current PIN where it was mixed in, out of a VIS PIN block (VIS 1.6 annex C.11).
    fn pin_of_vis_block(
        &self,
        index: usize,
        mut block: Zeroizing<[u8; PIN_BLOCK_BYTES]>,
        with_current: bool,
    ) -> Result<Pin, StatusWord> {
        let key = &self.applications[index].keys.cryptogram.expose_bytes()[4..8];
        block[4..].iter_mut().zip(key).for_each(|(byte, mask)| *byte ^= mask);
        if with_current {
            let current = self.current_pin_mask().ok_or(status::DATA_NOT_FOUND)?;
            block.iter_mut().zip(current.iter()).for_each(|(byte, mask)| *byte ^= mask);
        }
        // What is left is a format 2 block but for its control nibble.
        if block[0] & 0xF0 != 0 {
            return Err(status::WRONG_DATA);
        }
        block[0] |= FORMAT_2_CONTROL;
        pin_of_format_2(&block)
    }

    /// The current PIN's digits from the left, zeros behind.
    fn current_pin_mask(&self) -> Option<Zeroizing<[u8; PIN_BLOCK_BYTES]>> {
        let pin = decode_format_2(self.pin_block.as_ref()?.expose()).ok()?;
        let mut mask = Zeroizing::new([0; PIN_BLOCK_BYTES]);
        for (position, digit) in pin.expose().bytes().enumerate() {
            let nibble = digit - b'0';
            mask[position / 2] |= if position % 2 == 0 { nibble << 4 } else { nibble };
        }
        Some(mask)
    }

    fn put_data(&mut self, index: usize, command: &Command<'_>, data: &[u8]) -> Result<(), StatusWord> {
        let state = &mut self.state.applications[index];
        let limit = match Tag::new(u32::from(command.parameters())) {
            TAG_LOWER_LIMIT => &mut state.lower_consecutive_offline_limit,
            TAG_UPPER_LIMIT => &mut state.upper_consecutive_offline_limit,
            _ => return Err(status::DATA_NOT_FOUND),
        };
        let [value] = data else {
            return Err(status::WRONG_LENGTH);
        };
        *limit = *value;
        Ok(())
    }

    /// Replaces a record that exists by another whole template 70.
    fn update_record(&mut self, index: usize, command: &Command<'_>, data: &[u8]) -> Result<(), StatusWord> {
        let key = file_and_record(command)?;
        if !self.applications[index].records.contains_key(&key) {
            return Err(status::RECORD_NOT_FOUND);
        }
        if data.len() > RECORD_BYTES_MAX {
            return Err(status::WRONG_LENGTH);
        }
        ber::single_template(data, tags::RECORD_TEMPLATE).map_err(|_| status::WRONG_DATA)?;
        let updated = &mut self.state.applications[index].updated_records.0;
        if updated.len() >= UPDATED_RECORDS_MAX && !updated.contains_key(&key) {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        updated.insert(key, SecretBytes::copy_from(data));
        Ok(())
    }
}

/// `08 ‖ block ‖ 80 ‖ zeros`.
fn vis_block(clear: &[u8]) -> Result<Zeroizing<[u8; PIN_BLOCK_BYTES]>, StatusWord> {
    if clear.len() != VIS_PIN_DATA_BYTES {
        return Err(status::WRONG_LENGTH);
    }
    let (length, rest) = (clear[0], &clear[1..]);
    let (block, padding) = rest.split_first_chunk::<PIN_BLOCK_BYTES>().ok_or(status::WRONG_LENGTH)?;
    let padded = padding.first() == Some(&0x80) && padding[1..].iter().all(|byte| *byte == 0);
    if usize::from(length) != PIN_BLOCK_BYTES || !padded {
        return Err(status::WRONG_DATA);
    }
    Ok(Zeroizing::new(*block))
}

fn pin_of_format_2(block: &[u8; PIN_BLOCK_BYTES]) -> Result<Pin, StatusWord> {
    decode_format_2(block).map_err(|_| status::WRONG_DATA)
}
