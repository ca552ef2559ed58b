//! Enrolment, sign-in and sign-off, downloads, echo and status.

use crate::config::PublishedContent;
use crate::machine_impl::{Acquirer, Order, Output, Phase, Work};
use crate::record::{Enrolment, NAME_BYTES_MAX, NOTE_BYTES_MAX, Record, SerialClaim, TERMINAL_NUMBER_MAX};
use crate::respond;
use crate::rule::Rule;
use crate::words::{Effect, EnrolmentRefused, Level};
use iso8583::unionpay::{
    DOWNLOAD_NOT_AVAILABLE, DownloadSet, DownloadShape, DownloadStatus, ListedCapk, MessageKind, TerminalParameters,
    format_aid_list, format_bin_page, format_capk_list, parse_aid_request, parse_bin_list_request, parse_capk_request,
    parse_status_query,
};
use keys::{Command, KeyBlock, Owner, Refusal, Reply, TerminalMaster};
use types::{ResponseCode, SecretBytes};

/// Entries of a list in one message (unionpay-pos §5.1).
const LIST_ENTRIES_MAX: usize = 12;
const SIGN_IN_DOUBLE_LENGTH: u16 = 3;
const SIGN_IN_WITH_TRACK_KEY: u16 = 4;

impl Acquirer {
    /// An operator's word on this terminal.
    pub(crate) fn enrol(&mut self, enrolment: Enrolment, out: &mut Output) {
        if let Err(why) = self.check_enrolment(&enrolment) {
            out.effects.push(Effect::Enrolled { accepted: Err(why) });
            return;
        }
        let before = self.state.enrolment.as_ref().map(|before| before.terminal_number);
        let claims_number = before != Some(enrolment.terminal_number);
        self.order = Some(Order::Enrol(enrolment.clone()));
        out.effects.push(Effect::Enrolled { accepted: Ok(()) });
        self.log(out, Level::Information, "enrolled", format!("for merchant {}", enrolment.merchant));
        self.write(Record::Enrolled { enrolment, claims_number }, out);
    }

    /// An operator's word that the terminal holds a newer master key. Its working keys, batch and intents stay: nothing that is
    /// under way notices, and the next sign-in delivers under the new key.
    pub(crate) fn replace_master_key(&mut self, master_key: KeyBlock<TerminalMaster>, out: &mut Output) {
        let accepted = self.check_master_key(&master_key);
        out.effects.push(Effect::Enrolled { accepted });
        if accepted.is_ok() {
            let text = format!("version {}", master_key.header().version);
            self.log(out, Level::Information, "master key replaced", text);
            self.order = Some(Order::ReplaceMasterKey(master_key.clone()));
            self.write(Record::MasterKeyReplaced { master_key }, out);
        }
    }

    fn check_master_key(&self, master_key: &KeyBlock<TerminalMaster>) -> Result<(), EnrolmentRefused> {
        let enrolment = self.state.enrolment.as_ref().ok_or(EnrolmentRefused::Unknown)?;
        if master_key.header().owner != Owner::of_terminal(self.terminal) {
            return Err(EnrolmentRefused::OtherOwner);
        }
        if master_key.header().version <= enrolment.master_key.header().version {
            return Err(EnrolmentRefused::NotNewer);
        }
        if self.is_busy() { Err(EnrolmentRefused::Busy) } else { Ok(()) }
    }

    fn check_enrolment(&self, enrolment: &Enrolment) -> Result<(), EnrolmentRefused> {
        if enrolment.terminal != self.terminal {
            return Err(EnrolmentRefused::OtherTerminal);
        }
        if enrolment.name.len() > NAME_BYTES_MAX {
            return Err(EnrolmentRefused::Name);
        }
        if !(1..=TERMINAL_NUMBER_MAX).contains(&enrolment.terminal_number) {
            return Err(EnrolmentRefused::Number);
        }
        if self.is_busy() {
            return Err(EnrolmentRefused::Busy);
        }
        let merchant = self.state.enrolment.as_ref().map(|before| before.merchant);
        let moves = merchant.is_some_and(|merchant| merchant != enrolment.merchant);
        if moves && !self.state.open.is_empty() { Err(EnrolmentRefused::OpenBatch) } else { Ok(()) }
    }

    /// A message without a MAC.
    pub(crate) fn manage(&mut self, work: Box<Work>, out: &mut Output) {
        use MessageKind as K;
        match work.incoming.kind {
            K::SignIn(code) => self.sign_in(work, code, out),
            K::SignOff => self.sign_off(work, out),
            K::Echo => self.accept(work, None, None, out),
            K::StatusUpload => self.take_status(work, out),
            K::CapkStatus => self.list(work, DownloadSet::Capks, out),
            K::AidStatus => self.list(work, DownloadSet::Aids, out),
            K::CapkDownload | K::AidDownload => self.download(work, out),
            K::CapkDownloadEnd => self.end_download(work, DownloadSet::Capks, out),
            K::AidDownloadEnd => self.end_download(work, DownloadSet::Aids, out),
            K::ParameterDownload(code) => self.download_set(work, DownloadSet::of_download_code(code), out),
            K::ParameterDownloadEnd(code) => match DownloadSet::of_download_code(code.saturating_sub(1)) {
                Some(set) => self.end_download(work, set, out),
                None => self.refuse_without_mac(work, Rule::NotSupported, out),
            },
            K::Settlement => self.compare_totals(work, out),
            K::BatchDetails | K::BatchIcUpload | K::BatchNotice => self.take_upload(work, out),
            K::BatchEnd { balanced } => self.end_batch(work, balanced, out),
            _ => self.refuse_without_mac(work, Rule::NotSupported, out),
        }
    }

    fn sign_in(&mut self, work: Box<Work>, code: u16, out: &mut Output) {
        if !matches!(code, SIGN_IN_DOUBLE_LENGTH | SIGN_IN_WITH_TRACK_KEY) {
            let text = format!("sign-in {code:03}: single-length and SM4 keys are not made here; use 003 or 004");
            self.log(out, Level::Warning, Rule::SuiteNotSupported.id(), text);
            return self.refuse_without_mac(work, Rule::SuiteNotSupported, out);
        }
        let Some(enrolment) = &self.state.enrolment else {
            return self.refuse_without_mac(work, Rule::TerminalUnknown, out);
        };
        let command = Command::GenerateWorkingKeys {
            master: enrolment.master_key.clone(),
            version: self.state.key_version.saturating_add(1),
            with_track_key: code == SIGN_IN_WITH_TRACK_KEY,
            double_length_mac_key: self.config.double_length_mac_key,
        };
        self.ask_keys(work, Phase::MakingKeys, vec![command], out);
    }

    /// Takes new working keys; they are in force once their record is durable.
    pub(crate) fn take_working_keys(&mut self, work: Box<Work>, replies: Vec<Reply>, out: &mut Output) {
        let (keys, delivery) = match replies.into_iter().next() {
            Some(Reply::WorkingKeysMade { keys, delivery }) => (keys, delivery),
            Some(Reply::Refused { why: Refusal::Unavailable }) | None => {
                return self.abandon(work, "the key service made no working keys", out);
            }
            Some(_) => return self.refuse_without_mac(work, Rule::KeyService, out),
        };
        let rrn = self.state.next_rrn(0);
        let code = Some(ResponseCode::APPROVED);
        let mut body = respond::referenced(&work.incoming, &self.config, self.civil_time(), code, &rrn);
        body.f60 = body.f60.map(|f60| f60.with_batch(self.state.open_batch().number()));
        body.f62 = Some(SecretBytes::new(delivery));
        let network_code = work.incoming.body.f60.as_ref().map_or(0, |f60| f60.network_code());
        let version = self.state.key_version.saturating_add(1);
        let serial = bounded_f62(&work);
        self.log(out, Level::Information, "signed in", format!("{network_code:03}, keys version {version}"));
        let overlap_until_ms = match self.config.key_overlap_ms {
            0 => 0,
            overlap_ms => self.now.wall_ms.saturating_add(overlap_ms),
        };
        let claim = self.claim_of(&serial, work.serial_known);
        let record = Record::SignedIn { network_code, version, keys, serial, claim, overlap_until_ms, rrn };
        self.conclude_without_mac(work, Some(Box::new(record)), &body, out);
    }

    fn claim_of(&self, serial: &[u8], known: bool) -> SerialClaim {
        match serial {
            [] => SerialClaim::None,
            serial if known || serial == self.state.serial => SerialClaim::Stands,
            _ => SerialClaim::Made(self.terminal),
        }
    }

    fn sign_off(&mut self, work: Box<Work>, out: &mut Output) {
        let rrn = self.state.next_rrn(0);
        let code = Some(ResponseCode::APPROVED);
        let body = respond::referenced(&work.incoming, &self.config, self.civil_time(), code, &rrn);
        self.conclude_without_mac(work, Some(Box::new(Record::SignedOff { rrn })), &body, out);
    }

    /// Answers 00, with F62 and a record where there is one.
    fn accept(&mut self, work: Box<Work>, f62: Option<Vec<u8>>, record: Option<Record>, out: &mut Output) {
        let mut body = respond::base(&work.incoming, self.civil_time(), Some(ResponseCode::APPROVED));
        body.f62 = f62.map(SecretBytes::new);
        self.conclude_without_mac(work, record.map(Box::new), &body, out);
    }

    fn take_status(&mut self, work: Box<Work>, out: &mut Output) {
        let version = self.config.parameters.status_version;
        let record = Record::StatusReported { status: bounded_f62(&work), version };
        self.accept(work, None, Some(record), out);
    }

    fn list(&mut self, work: Box<Work>, set: DownloadSet, out: &mut Output) {
        let received = work.incoming.body.f62.as_ref().and_then(|f62| parse_status_query(f62.expose()).ok());
        let Some(received) = received else {
            return self.refuse_without_mac(work, Rule::Format, out);
        };
        let page = match set {
            DownloadSet::Capks => self.capk_page(usize::from(received)),
            _ => self.aid_page(usize::from(received)),
        };
        self.accept(work, Some(page), None, out);
    }

    fn capk_page(&self, received: usize) -> Vec<u8> {
        let capks = &self.config.parameters.capks;
        let rest = capks.get(received..).unwrap_or_default();
        let page = &rest[..rest.len().min(LIST_ENTRIES_MAX)];
        let listed: Vec<ListedCapk> =
            page.iter().map(|capk| ListedCapk { rid: capk.rid, index: capk.index, expiry: capk.expiry }).collect();
        format_capk_list(page_status(capks.len(), rest.len()), &listed)
    }

    fn aid_page(&self, received: usize) -> Vec<u8> {
        let aids = &self.config.parameters.aids;
        let rest = aids.get(received..).unwrap_or_default();
        let listed: Vec<&[u8]> = rest.iter().take(LIST_ENTRIES_MAX).map(|entry| &entry.aid[..]).collect();
        format_aid_list(page_status(aids.len(), rest.len()), &listed)
    }

    fn download(&mut self, work: Box<Work>, out: &mut Output) {
        let f62 = work.incoming.body.f62.as_ref().map_or(&[][..], SecretBytes::expose);
        let content = if work.incoming.kind == MessageKind::CapkDownload {
            parse_capk_request(f62).ok().map(|wanted| self.capk(wanted))
        } else {
            parse_aid_request(f62).ok().map(|wanted| self.aid(&wanted))
        };
        match content {
            Some(content) => {
                let content = content.unwrap_or_else(|| DOWNLOAD_NOT_AVAILABLE.to_vec());
                self.accept(work, Some(content), None, out);
            }
            None => self.refuse_without_mac(work, Rule::Format, out),
        }
    }

    fn capk(&self, (rid, index): ([u8; 5], u8)) -> Option<Vec<u8>> {
        let mut capks = self.config.parameters.capks.iter();
        capks.find(|capk| capk.rid == rid && capk.index == index).map(iso8583::unionpay::Capk::format)
    }

    fn aid(&self, wanted: &[u8]) -> Option<Vec<u8>> {
        let mut aids = self.config.parameters.aids.iter();
        aids.find(|entry| entry.aid == wanted).map(iso8583::unionpay::AidParameters::format)
    }

    /// A set that travels whole or in pages.
    fn download_set(&mut self, work: Box<Work>, set: Option<DownloadSet>, out: &mut Output) {
        let f62 = work.incoming.body.f62.as_ref().map_or(&[][..], SecretBytes::expose);
        match set.ok_or(Rule::NotSupported).and_then(|set| self.content(set, f62)) {
            Ok(content) => self.accept(work, Some(content), None, out),
            Err(rule) => self.refuse_without_mac(work, rule, out),
        }
    }

    fn content(&self, set: DownloadSet, f62: &[u8]) -> Result<Vec<u8>, Rule> {
        if set == DownloadSet::Terminal {
            return self.terminal_parameters();
        }
        let published = self.config.parameters.published.get(&set).map(|published| &published.content);
        match (published, set.shape()) {
            (Some(PublishedContent::Whole(content)), _) => Ok(content.clone()),
            (Some(PublishedContent::List(bins)), _) => page_of(bins, f62),
            (None, DownloadShape::Paged) => page_of(&[], f62),
            (None, _) => Err(Rule::NotSupported),
        }
    }

    /// What the book says of this terminal, and what its enrolment allows. A map of zeros would be no map (unionpay-pos §5.4).
    fn terminal_parameters(&self) -> Result<Vec<u8>, Rule> {
        let enrolment = self.state.enrolment.as_ref().ok_or(Rule::TerminalUnknown)?;
        let allowed = Some(enrolment.allowed).filter(|allowed| *allowed != 0);
        let parameters = self.config.parameters.terminal.of(enrolment.merchant, self.terminal);
        let content = TerminalParameters { allowed, ..parameters }.format().ok_or(Rule::NotSupported)?;
        if content.is_empty() { Err(Rule::NotSupported) } else { Ok(content) }
    }

    fn end_download(&mut self, work: Box<Work>, set: DownloadSet, out: &mut Output) {
        let version = self.config.parameters.version(set);
        let record = (version != self.state.version(set)).then_some(Record::Downloaded { set, version });
        self.accept(work, None, record, out);
    }
}

/// The page of a list behind the start index of F62.
fn page_of(bins: &[String], f62: &[u8]) -> Result<Vec<u8>, Rule> {
    let start = parse_bin_list_request(f62).map_err(|_| Rule::Format)?;
    Ok(format_bin_page(bins.get(start..).unwrap_or_default()))
}

fn page_status(total: usize, rest: usize) -> DownloadStatus {
    if total == 0 {
        DownloadStatus::Nothing
    } else if rest > LIST_ENTRIES_MAX {
        DownloadStatus::More
    } else {
        DownloadStatus::Complete
    }
}

fn bounded_f62(work: &Work) -> Vec<u8> {
    let f62 = work.incoming.body.f62.as_ref().map_or(&[][..], SecretBytes::expose);
    f62[..f62.len().min(NOTE_BYTES_MAX)].to_vec()
}
