//! GET DATA (EMV 4.4 Book 3 §6.5.7).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::log;
use crate::status;
use tlv::{Builder, Tag, tags};

/// Lower consecutive offline limit of PBOC and VIS, also written by PUT DATA.
pub(super) const TAG_LOWER_LIMIT: Tag = Tag::new(0x9F58);
/// Upper consecutive offline limit of PBOC and VIS, also written by PUT DATA.
pub(super) const TAG_UPPER_LIMIT: Tag = Tag::new(0x9F59);

impl Card {
    /// Counters, limits and the log format, by tag.
    pub(crate) fn get_data(&mut self, command: &Command<'_>) -> Handled {
        command.require_length(0)?;
        let index = self.selected_application()?;
        let state = &self.state.applications[index];
        let tag = Tag::new(u32::from(command.parameters()));
        let value = match tag {
            tags::ATC => state.transaction_counter.to_be_bytes().to_vec(),
            tags::LAST_ONLINE_ATC => state.last_online_transaction_counter.to_be_bytes().to_vec(),
            tags::PIN_TRY_COUNTER if self.pin_block.is_some() => vec![self.state.pin_tries_left],
            tags::LOG_FORMAT => log::FORMAT.to_vec(),
            TAG_LOWER_LIMIT => vec![state.lower_consecutive_offline_limit],
            TAG_UPPER_LIMIT => vec![state.upper_consecutive_offline_limit],
            _ => return Err(status::DATA_NOT_FOUND),
        };
        let mut object = Builder::new();
        object.push(tag, &value);
        Ok(Answer::ok(object.into_bytes()))
    }
}
