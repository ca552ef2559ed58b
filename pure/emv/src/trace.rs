//! Reading a recorded session between some terminal and some card: applications, records, cryptograms. For recordings
//! the kernel did not make, where commands may be odd, repeated or out of order.

use crate::apdu::{Command, Response, ins};
use crate::cryptogram::{self, GenerateAcResponse};
use std::collections::BTreeMap;
use tlv::gpo::AIP_BYTES;
use tlv::{Afl, DirectoryEntry, Fci, GpoResponse, Tag, ber, directory, tags};

const CONTROL_MASK: u8 = 0xC0;

/// One application as it was recorded, from its SELECT to the next.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RecordedApplication {
    /// DF name it answered.
    pub aid: Vec<u8>,
    /// Application interchange profile, when GET PROCESSING OPTIONS succeeded.
    pub aip: Option<[u8; AIP_BYTES]>,
    /// Data field of the GET PROCESSING OPTIONS command, template included.
    pub processing_options_data: Option<Vec<u8>>,
    /// The AFL.
    pub afl: Option<Afl>,
    /// Records that were answered, in order, each once: SFI and number.
    pub records: Vec<(u8, u8)>,
    /// Content of the records, by SFI and number, template included.
    pub record_data: BTreeMap<(u8, u8), Vec<u8>>,
    /// Every primitive object seen, with all its values in order.
    pub objects: BTreeMap<Tag, Vec<Vec<u8>>>,
    /// Data sent by INTERNAL AUTHENTICATE with the signature answered.
    pub dynamic_authentications: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One GENERATE AC.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedCryptogram {
    /// The command as sent.
    pub command: Vec<u8>,
    /// Reference control parameter, P1.
    pub reference_control: u8,
    /// The answer.
    pub response: GenerateAcResponse,
}

impl RecordedCryptogram {
    /// The cryptogram kind asked for: P1 without the bit that asks for a signature.
    pub fn requested_kind(&self) -> u8 {
        self.reference_control & CONTROL_MASK
    }
}

/// What a recording contains.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Entries of the payment system directory.
    pub directory: Vec<DirectoryEntry>,
    /// Applications in the order they were selected.
    pub applications: Vec<RecordedApplication>,
    /// GENERATE AC exchanges that were answered.
    pub cryptograms: Vec<RecordedCryptogram>,
    in_environment: bool,
    pending: Option<Command>,
}

impl Recording {
    /// Reads commands and responses in order. Answers that cannot be read are passed over.
    pub fn read<'s>(steps: impl IntoIterator<Item = (&'s [u8], &'s [u8])>) -> Recording {
        let mut recording = Recording::default();
        for (command, response) in steps {
            recording.step(command, response);
        }
        recording
    }

    fn step(&mut self, command: &[u8], response: &[u8]) {
        let (Ok(command), Ok(response)) = (Command::parse(command), Response::parse(response)) else {
            self.pending = None;
            return;
        };
        // GET RESPONSE, and a command repeated with the right Le, belong to the command before.
        let effective = match (command.ins, self.pending.take()) {
            (ins::GET_RESPONSE, Some(pending)) => pending,
            _ => command,
        };
        if matches!(response.status.sw1(), 0x61 | 0x6C) {
            self.pending = Some(effective);
            return;
        }
        if response.status.is_ok() {
            self.on_success(&effective, &response.data);
        }
    }

    fn on_success(&mut self, command: &Command, data: &[u8]) {
        match command.ins {
            ins::SELECT => self.on_select(command, data),
            ins::READ_RECORD => self.on_record(command, data),
            ins::GET_PROCESSING_OPTIONS => self.on_processing_options(command, data),
            ins::GENERATE_AC => self.on_cryptogram(command, data),
            ins::INTERNAL_AUTHENTICATE => self.on_dynamic_authentication(command, data),
            _ => {}
        }
    }

    fn on_select(&mut self, command: &Command, data: &[u8]) {
        let name = &command.data[..];
        self.in_environment = name == tags::PSE_NAME || name == tags::PPSE_NAME;
        if self.in_environment {
            if let Ok(entries) = directory::parse_ppse(data) {
                self.directory.extend(entries);
            }
            return;
        }
        let Ok(fci) = Fci::parse(data) else {
            return;
        };
        let mut application = RecordedApplication { aid: fci.df_name.to_vec(), ..RecordedApplication::default() };
        application.add_objects(data);
        self.applications.push(application);
    }

    fn on_record(&mut self, command: &Command, data: &[u8]) {
        if self.in_environment {
            if let Ok(entries) = directory::parse_record(data) {
                self.directory.extend(entries);
            }
            return;
        }
        let Some(application) = self.applications.last_mut() else {
            return;
        };
        let address = (command.p2 >> 3, command.p1);
        if application.record_data.insert(address, data.to_vec()).is_none() {
            application.records.push(address);
            if ber::single_template(data, tags::RECORD_TEMPLATE).is_ok() {
                application.add_objects(data);
            }
        }
    }

    fn on_processing_options(&mut self, command: &Command, data: &[u8]) {
        let (Some(application), Ok(options)) = (self.applications.last_mut(), GpoResponse::parse(data)) else {
            return;
        };
        application.aip = Some(options.aip);
        application.afl = options.afl;
        application.processing_options_data = Some(command.data.to_vec());
        for object in options.objects {
            application.objects.entry(object.tag).or_default().push(object.value.to_vec());
        }
    }

    fn on_cryptogram(&mut self, command: &Command, data: &[u8]) {
        let response = Response::new(data, crate::apdu::StatusWord::OK);
        if let Ok(response) = cryptogram::read_response(&response) {
            self.cryptograms.push(RecordedCryptogram {
                command: command.encode().to_vec(),
                reference_control: command.p1,
                response,
            });
        }
    }

    fn on_dynamic_authentication(&mut self, command: &Command, data: &[u8]) {
        let signature = dynamic_signature(data);
        if let (Some(application), Some(signature)) = (self.applications.last_mut(), signature) {
            application.dynamic_authentications.push((command.data.to_vec(), signature));
        }
    }
}

impl RecordedApplication {
    fn add_objects(&mut self, data: &[u8]) {
        let Ok(nodes) = ber::parse(data) else {
            return;
        };
        ber::for_each_primitive(&nodes, &mut |tag, value| {
            self.objects.entry(tag).or_default().push(value.to_vec());
        });
    }

    /// The first value of an object.
    pub fn get(&self, tag: Tag) -> Option<&[u8]> {
        self.objects.get(&tag).and_then(|values| values.first()).map(Vec::as_slice)
    }

    /// The signed records in AFL order, joined; `None` when one was not recorded or is unusable.
    pub fn signed_records(&self) -> Option<Vec<u8>> {
        let mut joined = Vec::new();
        for address in self.afl.as_ref()?.records().filter(|address| address.signed) {
            let record = self.record_data.get(&(address.sfi, address.record))?;
            let template = ber::single_template(record, tags::RECORD_TEMPLATE).ok()?;
            let covered = if address.sfi <= crate::records::LAST_EMV_FILE { template.value } else { &record[..] };
            joined.extend_from_slice(covered);
        }
        Some(joined)
    }
}

/// The signature in an answer to INTERNAL AUTHENTICATE: the whole of format 1, tag 9F4B of format 2.
pub fn dynamic_signature(data: &[u8]) -> Option<Vec<u8>> {
    if let Ok(format_1) = ber::single_template(data, tags::RESPONSE_FORMAT_1) {
        return Some(format_1.value.to_vec());
    }
    let format_2 = ber::single_template(data, tags::RESPONSE_FORMAT_2).ok()?;
    let signature = ber::find(format_2.value, tags::SIGNED_DYNAMIC_APPLICATION_DATA).ok()??;
    Some(signature.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_recording_is_read(steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let recording = Recording::read(steps.iter().map(|(command, response)| (&command[..], &response[..])));
            for application in &recording.applications {
                let _ = application.signed_records();
            }
        }
    }

    #[test]
    fn get_response_belongs_to_the_command_before() {
        let select = [0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0, 0, 0, 3];
        let fci = [0x6F, 0x09, 0x84, 0x05, 0xA0, 0, 0, 0, 3, 0xA5, 0x00, 0x90, 0x00];
        let recording = Recording::read([(&select[..], &[0x61, 0x0B][..]), (&[0x00, 0xC0, 0, 0, 0x0B], &fci)]);
        assert_eq!(recording.applications.len(), 1);
    }
}
