//! GET PROCESSING OPTIONS (EMV 4.4 Book 3 §6.5.8).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::personalisation::ResponseFormat;
use crate::session::Transaction;
use crate::status::{self, StatusWord};
use tlv::{Builder, ber, tags};

impl Card {
    /// Begins a transaction: counts it and says what the card can do and where its data is.
    pub(crate) fn get_processing_options(&mut self, command: &Command<'_>) -> Handled {
        command.require_parameters(0)?;
        let index = self.selected_application()?;
        if self.session.transaction.is_some() {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        let application = &self.applications[index];
        let pdol_data = command_template(command.data)?;
        if pdol_data.len() != application.pdol.total_length() {
            return Err(status::WRONG_LENGTH);
        }
        let state = &mut self.state.applications[index];
        let Some(counter) = state.transaction_counter.checked_add(1) else {
            // Book 2 §6.6.1 asks for a counter that never repeats: the application ends with it.
            state.blocked = true;
            return Err(status::CONDITIONS_NOT_SATISFIED);
        };
        state.transaction_counter = counter;
        self.session.transaction = Some(Transaction::new(pdol_data));
        Ok(Answer::ok(processing_options(application.response_format, application.aip, &application.afl)))
    }
}

/// The value of template 83.
fn command_template(data: &[u8]) -> Result<Vec<u8>, StatusWord> {
    match ber::single_template(data, tags::COMMAND_TEMPLATE) {
        Ok(template) => Ok(template.value.to_vec()),
        Err(_) => Err(status::WRONG_DATA),
    }
}

fn processing_options(format: ResponseFormat, aip: [u8; 2], afl: &[u8]) -> Vec<u8> {
    let mut response = Builder::new();
    match format {
        ResponseFormat::One => response.push(tags::RESPONSE_FORMAT_1, &[&aip[..], afl].concat()),
        ResponseFormat::Two => response.push_template(tags::RESPONSE_FORMAT_2, |template| {
            template.push(tags::AIP, &aip);
            template.push(tags::AFL, afl);
        }),
    }
    response.into_bytes()
}
