//! Area apdu-traces: selection, initiation, records, T=0, recordings, and whole transactions replayed against the kernel.

use crate::Outcome;
use crate::ber_tlv::{afl_entries, expect, expect_entries, tag_of};
use crate::emv_oda::{expect_dynamic, expect_icc, expect_issuer, expect_key};
use crate::mac::case::{Case, Check, Problem, hex, judge, refused, unknown};
use emv::apdu::{Command, Response};
use emv::gpo::{self, InitiateError};
use emv::kernel::CardError;
use emv::oda::icc::IccChecks;
use emv::oda::issuer::IssuerChecks;
use emv::oda::{Capk, CapkParts, RsaPublicKey, dda, icc, issuer, static_data};
use emv::records::{RecordError, RecordReader};
use emv::select::{
    FinalSelectError, Selection, SelectionError, SelectionStep, cardholder_selection_required, check_final_select,
    select_command,
};
use emv::t0::{ExchangeOverT0, T0Step, TpduExchange, TpduStep};
use emv::trace::{RecordedApplication, Recording};
use emv::{
    CapkSet, DataStore, Decision, EmvDate, Input, Kernel, OnlineResult, Output, PinKind, PinOutcome,
    TerminalApplication, TerminalConfig, Termination, TransactionData,
};
use paycrypto::TdesKey;
use paycrypto::emv::{
    MasterKeyOption, application_cryptogram, arpc_method_1, command_mac, common_session_key_for_atc, icc_master_key,
    pboc_session_key,
};
use paycrypto::padding::Padding;
use serde_json::Value;
use tlv::{Afl, Dol, Fci, Tag, tags};

/// Runs one case.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    match case.kind() {
        "transcript" => judge(case, transcript(case)),
        "t0-tpdu" => judge(case, t0_tpdu(case)),
        "enciphered-pin" => judge(case, enciphered_pin(case)),
        // These say in words how they end; a malformed card is one of the endings.
        "read-application-data" => told(read_application_data(case)),
        "candidate-list" => told(candidate_list(case)),
        "gpo" => told(processing_options(case)),
        "final-select" => told(final_select(case)),
        "transaction" => told(transaction(case)),
        _ => judge(case, unknown(case)),
    }
}

/// Judges a case whose expected ending has already been compared.
fn told(check: Check) -> Outcome {
    match check {
        Ok(()) => Outcome::Passed,
        Err(Problem::NotBuilt(why)) => Outcome::Skipped(why),
        Err(Problem::Unrunnable(why) | Problem::Refused(why) | Problem::Differs(why)) => Outcome::Failed(why),
    }
}

/// Compares an ending with the published words: each published ending holds the words of exactly one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Ok,
    NoApplication,
    DropApplication,
    CardBlocked,
    AflRefused,
    RecordTemplate,
    RecordData,
    CardError,
    ApprovedOnline,
    ApprovedOffline,
    Declined,
}

impl Ending {
    fn agrees_with(self, published: &str) -> bool {
        let text = published.to_lowercase();
        let has = |word: &str| text.contains(word);
        let general_error = has("card error") || has("end the transaction") || has("terminate");
        match self {
            Ending::Ok => text == "ok",
            Ending::NoApplication => has("no application") || has("not accepted") || has("no common"),
            Ending::DropApplication => has("drop"),
            Ending::CardBlocked => has("card blocked") || has("card is blocked") || general_error,
            Ending::AflRefused => has("afl") || general_error,
            Ending::RecordTemplate => has("template") || general_error,
            Ending::RecordData => has("data refused") || general_error,
            Ending::CardError => {
                general_error || has("read record") || has("refused") || has("failed") || has("mute") || has("removed")
            }
            Ending::ApprovedOnline => has("approved") && !has("offline approved") && !has("approved offline"),
            Ending::ApprovedOffline => has("approved offline") || has("offline approved") || text == "approved",
            Ending::Declined => has("declin") || has("not approved") || has("refused") || has("aac") || has("revers"),
        }
    }

    fn check(self, published: Case<'_>) -> Check {
        let text = published.text("outcome")?;
        if self.agrees_with(text) {
            Ok(())
        } else {
            Err(Problem::Differs(format!("outcome: {self:?}, published {text}")))
        }
    }
}

/// The card of a recording: answers what was recorded, in order, and only to the recorded command.
struct RecordedCard {
    steps: Vec<(Vec<u8>, Vec<u8>)>,
    position: usize,
    over_t0: bool,
}

/// What a recorded card does with a command.
enum Answer {
    Response(Vec<u8>),
    Silence,
}

impl RecordedCard {
    fn new(case: Case<'_>, over_t0: bool) -> Check<Self> {
        Ok(RecordedCard { steps: steps(case)?, position: 0, over_t0 })
    }

    fn exchange(&mut self, command: &Command) -> Check<Answer> {
        if !self.over_t0 {
            return self.raw(&command.encode());
        }
        let (mut exchange, first) = ExchangeOverT0::new(command.clone());
        let mut next = first;
        loop {
            let answer = match self.raw(&next)? {
                Answer::Response(answer) => answer,
                Answer::Silence => return Ok(Answer::Silence),
            };
            match exchange.on_response(&answer) {
                Ok(T0Step::Send(bytes)) => next = bytes,
                Ok(T0Step::Done(response)) => return Ok(Answer::Response(response.encode().to_vec())),
                Err(_) => return Ok(Answer::Response(answer)),
            }
        }
    }

    /// One recorded step. Recordings write a case 4 command with or without its Le.
    fn raw(&mut self, sent: &[u8]) -> Check<Answer> {
        let Some((recorded, answer)) = self.steps.get(self.position) else {
            return Ok(Answer::Silence);
        };
        let same = recorded == sent || without_le(recorded) == without_le(sent);
        if !same {
            return Err(Problem::Differs(format!(
                "command {}: sent {}, recorded {}",
                self.position,
                hex(sent),
                hex(recorded)
            )));
        }
        self.position += 1;
        Ok(if answer.is_empty() { Answer::Silence } else { Answer::Response(answer.clone()) })
    }

    fn respond(&mut self, command: &Command) -> Check<Option<Response>> {
        match self.exchange(command)? {
            Answer::Response(bytes) => Ok(Response::parse(&bytes).ok()),
            Answer::Silence => Ok(None),
        }
    }

    fn check_finished(&self) -> Check {
        expect("exchanges used", self.position, self.steps.len())
    }
}

/// A case 4 command that asks for everything, without that Le; others unchanged.
fn without_le(bytes: &[u8]) -> Vec<u8> {
    match Command::parse(bytes) {
        Ok(command) if !command.data.is_empty() && command.le.is_none_or(|le| le == 256) => {
            command.encode_without_le().to_vec()
        }
        _ => bytes.to_vec(),
    }
}

fn steps(case: Case<'_>) -> Check<Vec<(Vec<u8>, Vec<u8>)>> {
    let steps = case.0["steps"].as_array().ok_or_else(|| Problem::Unrunnable("no steps".to_owned()))?;
    steps
        .iter()
        .map(|step| {
            let step = Case(step);
            Ok((step.bytes("command")?, step.bytes_or_empty("response")?))
        })
        .collect()
}

fn t0_tpdu(case: Case<'_>) -> Check {
    let command = Command::parse(&case.bytes("c_apdu")?).map_err(refused)?;
    let exchanges = case.0["exchanges"].as_array().ok_or_else(|| Problem::Unrunnable("no exchanges".to_owned()))?;
    let (mut exchange, mut sent) = TpduExchange::new(command);
    for (index, recorded) in exchanges.iter().enumerate() {
        let recorded = Case(recorded);
        recorded.expect_bytes("terminal", &sent)?;
        match exchange.on_bytes(&recorded.bytes("card")?).map_err(refused)? {
            TpduStep::Send(bytes) => sent = bytes,
            TpduStep::Receive => return Err(Problem::Differs("waits for more bytes".to_owned())),
            TpduStep::Done(response) => {
                expect("exchanges used", index + 1, exchanges.len())?;
                let published = case.inside("expected");
                published.expect_bytes("data", &response.data)?;
                return published.expect_bytes("sw", &response.status.number().to_be_bytes());
            }
        }
    }
    Err(Problem::Differs("not finished after the recorded exchanges".to_owned()))
}

fn enciphered_pin(case: Case<'_>) -> Check {
    let key = RsaPublicKey::new(&case.bytes("icc_modulus")?, &case.bytes("icc_exponent")?).map_err(refused)?;
    let pin = types::Pin::parse(case.text("pin")?).map_err(refused)?;
    let challenge = case.array("challenge")?;
    let plaintext = case.bytes("plaintext")?;
    let random_length = emv::pin::random_length_bytes(&key);
    let random = plaintext.get(plaintext.len().saturating_sub(random_length)..).unwrap_or_default();
    case.expect_bytes("plaintext", &emv::pin::data_to_encipher(&pin, &challenge, random))?;
    let command = emv::pin::verify_enciphered(&pin, &challenge, random, &key).map_err(refused)?;
    case.expect_bytes("command", &command.encode())
}

fn read_application_data(case: Case<'_>) -> Check {
    let published = case.inside("expected");
    let afl = match Afl::parse(&case.bytes("afl")?) {
        Ok(afl) => afl,
        Err(_) => return Ending::AflRefused.check(published),
    };
    let mut card = RecordedCard::new(case, false)?;
    let mut reader = RecordReader::new(&afl).map_err(refused)?;
    let ending = loop {
        let Some(command) = reader.next_command() else {
            break reader.check_mandatory().err();
        };
        let response = card.respond(&command)?.ok_or_else(|| Problem::Differs("no answer recorded".to_owned()))?;
        if let Err(error) = reader.on_response(&response) {
            break Some(error);
        }
    };
    card.check_finished()?;
    record_ending(ending).check(published)?;
    let Some(objects) = published.0["tags"].as_object() else {
        return Ok(());
    };
    objects.keys().try_for_each(|name| {
        let wanted = tag_of(name)?;
        let value = reader.objects().find(|(tag, _)| *tag == wanted).map(|(_, value)| hex(value));
        expect(name, value.as_deref(), objects[name].as_str())
    })
}

fn record_ending(error: Option<RecordError>) -> Ending {
    match error {
        None => Ending::Ok,
        Some(RecordError::Template { .. }) => Ending::RecordTemplate,
        Some(RecordError::Data { .. }) => Ending::RecordData,
        Some(_) => Ending::CardError,
    }
}

fn terminal_applications(case: Case<'_>) -> Check<Vec<TerminalApplication>> {
    let list = case.0["terminal_aids"].as_array().ok_or_else(|| Problem::Unrunnable("no terminal_aids".to_owned()))?;
    list.iter()
        .map(|entry| {
            let entry = Case(entry);
            let mut application = TerminalApplication::new(&entry.bytes("aid")?);
            application.partial_match = entry.0["partial"].as_bool().unwrap_or(false);
            Ok(application)
        })
        .collect()
}

fn candidate_list(case: Case<'_>) -> Check {
    let published = case.inside("expected");
    let mut card = RecordedCard::new(case, true)?;
    let (mut selection, mut step) = Selection::start(&terminal_applications(case)?, true);
    let candidates = loop {
        let command = match step {
            SelectionStep::Done(candidates) => break candidates,
            SelectionStep::Send(command) => command,
        };
        let Some(response) = card.respond(&command)? else {
            card.check_finished()?;
            return Ending::CardError.check(published);
        };
        step = match selection.on_response(&response) {
            Ok(step) => step,
            Err(SelectionError::CardBlocked) => {
                card.check_finished()?;
                return Ending::CardBlocked.check(published);
            }
        };
    };
    card.check_finished()?;
    let ending = if candidates.is_empty() { Ending::NoApplication } else { Ending::Ok };
    ending.check(published)?;
    let as_entries: Vec<_> = candidates
        .iter()
        .map(|candidate| tlv::DirectoryEntry {
            aid: candidate.aid.clone(),
            label: candidate.label.clone(),
            preferred_name: candidate.preferred_name.clone(),
            priority: candidate.priority,
            confirmation_required: candidate.confirmation_required,
            kernel_identifier: None,
        })
        .collect();
    expect_entries(&as_entries, &published.0["candidates"])?;
    match published.0["cardholder_selection_required"].as_bool() {
        Some(required) => expect("selection required", cardholder_selection_required(&candidates), required),
        None => Ok(()),
    }
}

fn processing_options(case: Case<'_>) -> Check {
    let published = case.inside("expected");
    let fci_bytes = case.bytes("fci")?;
    let fci = Fci::parse(&fci_bytes).map_err(refused)?;
    let data = terminal_data(case)?;
    let mut card = RecordedCard::new(case, false)?;
    let result = match gpo::build_command(fci.pdol(), &data) {
        Ok(initiate) => match card.respond(&initiate.command)? {
            Some(response) => gpo::read_response(&response),
            None => return Ending::CardError.check(published),
        },
        Err(error) => Err(error),
    };
    card.check_finished()?;
    match result {
        Ok(options) => {
            Ending::Ok.check(published)?;
            published.expect_bytes_if_given("aip", &options.aip)?;
            if !published.has("afl") {
                return Ok(());
            }
            expect("afl", afl_entries(Some(&options.afl)), published.0["afl"].clone())
        }
        Err(InitiateError::ConditionsNotSatisfied) => Ending::DropApplication.check(published),
        Err(_) => Ending::CardError.check(published),
    }
}

fn terminal_data(case: Case<'_>) -> Check<DataStore> {
    let mut data = DataStore::default();
    let objects = case.inside("terminal_data");
    for name in objects.0.as_object().map(|object| object.keys()).into_iter().flatten() {
        data.set_terminal(tag_of(name)?, &objects.bytes(name)?);
    }
    Ok(data)
}

fn final_select(case: Case<'_>) -> Check {
    let published = case.inside("expected");
    let mut card = RecordedCard::new(case, true)?;
    let first = card.steps.first().ok_or_else(|| Problem::Unrunnable("no steps".to_owned()))?;
    let aid = Command::parse(&first.0).map_err(refused)?.data;
    let Some(response) = card.respond(&select_command(&aid))? else {
        return Ending::CardError.check(published);
    };
    card.check_finished()?;
    let ending = match check_final_select(&aid, &response) {
        Ok(_) => Ending::Ok,
        Err(FinalSelectError::CardBlocked) => Ending::CardBlocked,
        Err(_) => Ending::DropApplication,
    };
    ending.check(published)
}

fn transcript(case: Case<'_>) -> Check {
    let steps = steps(case)?;
    let recording = Recording::read(steps.iter().map(|(command, response)| (&command[..], &response[..])));
    let published = case.inside("expected");
    if published.has("directory") {
        expect_entries(&recording.directory, &published.0["directory"])?;
    }
    let applications = published.0["applications"].as_array().map(Vec::as_slice).unwrap_or_default();
    expect("applications", recording.applications.len(), applications.len())?;
    for (application, published) in recording.applications.iter().zip(applications) {
        recorded_application(application, Case(published))?;
    }
    let cryptograms = published.0["generate_ac"].as_array().map(Vec::as_slice).unwrap_or_default();
    expect("cryptograms", recording.cryptograms.len(), cryptograms.len())?;
    recording.cryptograms.iter().zip(cryptograms).try_for_each(|(recorded, published)| {
        let published = Case(published);
        let answer = &recorded.response;
        expect("command", hex(&without_le(&recorded.command)), hex(&without_le(&published.bytes("command")?)))?;
        let control = [recorded.requested_kind(), recorded.reference_control].map(|byte| hex(&[byte]));
        let published_control = published.text("reference_control")?;
        expect("reference control", control.iter().any(|control| control == published_control), true)?;
        expect("format", u64::from(answer.format), published.number("format")?)?;
        published.expect_bytes_if_given("cid", &[answer.cid])?;
        published.expect_bytes_if_given("atc", &answer.atc)?;
        published.expect_bytes_if_given("ac", &answer.application_cryptogram.unwrap_or_default())?;
        published.expect_bytes_if_given("iad", &answer.issuer_application_data)
    })
}

fn recorded_application(application: &RecordedApplication, published: Case<'_>) -> Check {
    published.expect_bytes("aid", &application.aid)?;
    let aip = application.aip.map(|aip| hex(&aip));
    expect("aip", aip.as_deref(), published.0["aip"].as_str())?;
    let options = application.processing_options_data.as_deref().map(hex);
    expect("pdol_data", options.as_deref(), published.0["pdol_data"].as_str())?;
    if published.has("afl") {
        expect("afl", afl_entries(application.afl.as_ref()), published.0["afl"].clone())?;
    }
    if published.has("afl_hex") {
        published.expect_bytes("afl_hex", &application.afl.as_ref().map(Afl::encode).unwrap_or_default())?;
    }
    let records: Value = application.records.iter().map(|(sfi, record)| format!("{sfi}.{record}")).collect();
    expect("records", records, published.0["records_read"].clone())?;
    for (name, value) in published.0["tags"].as_object().into_iter().flatten() {
        let values = application.objects.get(&tag_of(name)?).cloned().unwrap_or_default();
        let found = values.iter().any(|found| Some(hex(found).as_str()) == value.as_str());
        expect(&format!("tag {name}"), found, true)?;
    }
    if published.has("oda") { recorded_oda(application, published.inside("oda")) } else { Ok(()) }
}

/// Follows the certificate chain of a recording as far as it is published.
fn recorded_oda(application: &RecordedApplication, published: Case<'_>) -> Check {
    let signed = application.signed_records();
    if let Some(complete) = published.0["static_complete"].as_bool() {
        expect("static data complete", signed.is_some(), complete)?;
    }
    let aip = application.aip.unwrap_or_default();
    let covered = static_data::build(signed.as_deref(), application.get(tags::SDA_TAG_LIST), &aip);
    if published.has("static_data_to_be_authenticated") {
        published.expect_bytes("static_data_to_be_authenticated", covered.as_deref().map_err(refused)?)?;
    }
    if !published.0["issuer_pk"].is_object() {
        return Ok(());
    }
    let issuer_key = recorded_issuer(application, published)?;
    let static_data = covered.unwrap_or_default();
    if published.inside("sda").has("recovered") {
        let signature = application.get(tags::SIGNED_STATIC_APPLICATION_DATA).unwrap_or_default();
        let signed = emv::oda::sda::recover(&issuer_key, signature).map_err(refused)?;
        published.inside("sda").expect_bytes("recovered", signed.recovered())?;
        signed.verify(&static_data).map_err(refused)?;
    }
    if !published.0["icc_pk"].is_object() {
        return Ok(());
    }
    let icc_key = recorded_icc(application, published.inside("icc_pk"), &issuer_key, &static_data)?;
    let dynamic = published.0["dda"].as_array().map(Vec::as_slice).unwrap_or_default();
    expect("dynamic signatures", application.dynamic_authentications.len() >= dynamic.len(), true)?;
    dynamic.iter().zip(&application.dynamic_authentications).try_for_each(|(published, (data, signature))| {
        let published = Case(published);
        published.expect_bytes_if_given("ddol_data", data)?;
        published.expect_bytes_if_given("sdad", signature)?;
        if !published.0["result"].is_object() {
            return Ok(());
        }
        let signed = dda::recover(&icc_key, signature).map_err(refused)?;
        expect_dynamic(published.inside("result"), &signed)?;
        signed.verify(data).map_err(refused)
    })
}

fn recorded_issuer(application: &RecordedApplication, published: Case<'_>) -> Check<RsaPublicKey> {
    let capk = published.inside("capk");
    let capk = RsaPublicKey::new(&capk.bytes("modulus")?, &capk.bytes("exponent")?).map_err(refused)?;
    let get = |tag| application.get(tag).unwrap_or_default();
    let certificate = issuer::recover(&capk, get(tags::ISSUER_PUBLIC_KEY_CERTIFICATE)).map_err(refused)?;
    expect_issuer(published.inside("issuer_pk"), &certificate)?;
    let checks = IssuerChecks {
        remainder: get(tags::ISSUER_PUBLIC_KEY_REMAINDER),
        exponent: get(tags::ISSUER_PUBLIC_KEY_EXPONENT),
        pan: None,
        date: None,
    };
    let key = certificate.verify(&checks).map_err(refused)?;
    expect_key(published.inside("issuer_pk"), &key)?;
    Ok(key)
}

fn recorded_icc(
    application: &RecordedApplication,
    published: Case<'_>,
    issuer_key: &RsaPublicKey,
    static_data: &[u8],
) -> Check<RsaPublicKey> {
    let get = |tag| application.get(tag).unwrap_or_default();
    let certificate = icc::recover(issuer_key, get(tags::ICC_PUBLIC_KEY_CERTIFICATE)).map_err(refused)?;
    expect_icc(published, &certificate)?;
    let checks = IccChecks {
        remainder: get(tags::ICC_PUBLIC_KEY_REMAINDER),
        exponent: get(tags::ICC_PUBLIC_KEY_EXPONENT),
        static_data,
        pan: application.get(tags::PAN),
        date: None,
    };
    let key = certificate.verify(&checks).map_err(refused)?;
    expect_key(published, &key)?;
    Ok(key)
}

/// A whole transaction: the kernel must send every recorded command, and nothing else.
fn transaction(case: Case<'_>) -> Check {
    let host = Host::from_steps(case)?;
    let over_t0 = case.text("interface").unwrap_or_default().contains("T=0");
    let mut card = RecordedCard::new(case, over_t0)?;
    let mut kernel = Kernel::new(transaction_config(case)?, capks(case)?, transaction_data(case)?).map_err(refused)?;
    let mut observed = Observed::default();
    let mut input = Input::Start;
    let outcome = loop {
        input = match kernel.step(input) {
            Output::Transmit(command) => {
                observed.before_command(&command, &kernel);
                let answer = card.exchange(&command)?;
                match answer {
                    Answer::Response(bytes) => Input::CardResponse(bytes),
                    Answer::Silence => Input::CardGone,
                }
            }
            Output::ChooseApplication(_) => Input::ApplicationChosen(0),
            Output::AskPin(request) => Input::PinEntered(entered_pin(&card.steps, request.kind)),
            Output::GoOnline(_) => {
                observed.at_first_cryptogram(case, &kernel);
                Input::OnlineResult(host.answer.clone())
            }
            Output::Finished(outcome) => break outcome,
        };
    };
    card.check_finished()?;
    let published = case.inside("expected");
    ending_of(&outcome).check(published)?;
    observed.check(published)?;
    if !case.has("fault") {
        host.check(published)?;
    }
    published.expect_bytes_if_given("tvr_final", &outcome.tvr.0)?;
    if let Some(first) = &outcome.first_cryptogram {
        published.expect_bytes_if_given("atc", &first.atc)?;
        published.expect_bytes_if_given("iad", &first.issuer_application_data)?;
        published.expect_bytes_if_given("cryptogram", &first.application_cryptogram)?;
    } else if published.has("cryptogram") {
        return Err(Problem::Differs("no first cryptogram".to_owned()));
    }
    if let Some(second) = &outcome.second_cryptogram {
        published.expect_bytes_if_given("cryptogram2", &second.application_cryptogram)?;
    } else if published.has("cryptogram2") {
        return Err(Problem::Differs("no second cryptogram".to_owned()));
    }
    if published.has("second_icc_dynamic_number") {
        let number = kernel.data().get(tags::ICC_DYNAMIC_NUMBER).unwrap_or_default();
        published.expect_bytes("second_icc_dynamic_number", number)?;
    }
    symmetric_keys(case, &kernel)
}

fn ending_of(outcome: &emv::Outcome) -> Ending {
    match outcome.decision {
        Decision::Approved if outcome.went_online => Ending::ApprovedOnline,
        Decision::Approved => Ending::ApprovedOffline,
        Decision::Declined => Ending::Declined,
        Decision::Terminated { reason, .. } => match reason {
            Termination::NoApplication => Ending::NoApplication,
            Termination::CardBlocked => Ending::CardBlocked,
            Termination::CardError(CardError::Records(error)) => record_ending(Some(error)),
            _ => Ending::CardError,
        },
    }
}

/// What is looked at while the transaction runs.
#[derive(Default)]
struct Observed {
    tvr_at_first: Option<Vec<u8>>,
    dynamic_number: Option<Vec<u8>>,
    cryptogram_data: Option<Vec<u8>>,
}

impl Observed {
    fn before_command(&mut self, command: &Command, kernel: &Kernel) {
        if command.ins == emv::apdu::ins::GENERATE_AC && self.tvr_at_first.is_none() {
            self.tvr_at_first = kernel.data().get(tags::TVR).map(<[u8]>::to_vec);
        }
    }

    fn at_first_cryptogram(&mut self, case: Case<'_>, kernel: &Kernel) {
        let data = kernel.data();
        self.dynamic_number = data.get(tags::ICC_DYNAMIC_NUMBER).map(<[u8]>::to_vec);
        self.cryptogram_data = cryptogram_input(case.inside("keys").text("derivation").unwrap_or_default(), data);
    }

    fn check(&self, published: Case<'_>) -> Check {
        published.expect_bytes_if_given("tvr_at_gac1", self.tvr_at_first.as_deref().unwrap_or_default())?;
        published.expect_bytes_if_given("icc_dynamic_number", self.dynamic_number.as_deref().unwrap_or_default())?;
        match &self.cryptogram_data {
            Some(data) => published.expect_bytes_if_given("ac_data", data),
            None => Ok(()),
        }
    }
}

/// What the card signed, by the list at the end of the recording's derivation: tags, and CVR for the card verification
/// results inside the issuer application data. `None` when the list or the issuer application data has another shape.
fn cryptogram_input(derivation: &str, data: &DataStore) -> Option<Vec<u8>> {
    let (_, list) = derivation.rsplit_once(" over ")?;
    let mut input = Vec::new();
    for name in list.split_whitespace() {
        if name == "CVR" {
            input.extend_from_slice(card_verification_results(data.get(tags::ISSUER_APPLICATION_DATA)?)?);
        } else {
            input.extend_from_slice(data.get(tag_of(name).ok()?)?);
        }
    }
    Some(input)
}

/// The four bytes behind length, key index and version, as Visa and PBOC lay the issuer application data out.
fn card_verification_results(issuer_application_data: &[u8]) -> Option<&[u8]> {
    match issuer_application_data {
        [0x06 | 0x07, _, _, results @ ..] => results.get(..4),
        _ => None,
    }
}

/// The keys and cryptograms of the recording, recomputed where their derivation is the one the product builds.
fn symmetric_keys(case: Case<'_>, kernel: &Kernel) -> Check {
    let (keys, published) = (case.inside("keys"), case.inside("expected"));
    let derivation = keys.text("derivation").unwrap_or_default();
    if !published.has("mk_ac") || !derivation.starts_with("MK option A") {
        return Ok(());
    }
    let session_key = if derivation.contains("xor FFFF") { pboc_session_key } else { common_session_key_for_atc };
    let atc = published.array("atc")?;
    let digits = hex(kernel.data().get(tags::PAN).unwrap_or_default());
    let account = digits.trim_end_matches('F').as_bytes();
    let sequence = kernel.data().get_array::<1>(tags::PAN_SEQUENCE_NUMBER).unwrap_or_default()[0];
    let sequence = emv::date::bcd_value(sequence).unwrap_or_default();
    let derive = |name: &str| -> Check<(TdesKey, TdesKey)> {
        let issuer_key = TdesKey::new(&keys.bytes(name)?).map_err(refused)?;
        let master = icc_master_key(MasterKeyOption::A, &issuer_key, account, sequence).map_err(refused)?;
        let session = session_key(&master, atc).map_err(refused)?;
        Ok((master, session))
    };
    let (master, session) = derive("imk_ac")?;
    published.expect_bytes("mk_ac", master.expose_bytes())?;
    published.expect_bytes_if_given("sk_ac", session.expose_bytes())?;
    for (data, cryptogram) in [("ac_data", "cryptogram"), ("ac2_data", "cryptogram2")] {
        if published.has(data) && published.has(cryptogram) {
            let computed = application_cryptogram(&session, &published.bytes(data)?, Padding::Marker);
            published.expect_bytes(cryptogram, &computed.map_err(refused)?)?;
        }
    }
    if published.has("arpc") && published.has("arc") {
        let code = published.text("arc")?.as_bytes().try_into().map_err(refused)?;
        let computed = arpc_method_1(&session, &published.array("cryptogram")?, code).map_err(refused)?;
        published.expect_bytes("arpc", &computed)?;
    }
    if published.has("script_mac") {
        let (master, session) = derive("imk_smi")?;
        published.expect_bytes_if_given("mk_smi", master.expose_bytes())?;
        published.expect_bytes_if_given("sk_smi", session.expose_bytes())?;
        let mac = command_mac(&session, &published.bytes("script_mac_input")?).map_err(refused)?;
        published.expect_leading_bytes("script_mac", &mac)?;
    }
    Ok(())
}

/// The PIN that was entered, read from a recorded plaintext VERIFY.
fn entered_pin(steps: &[(Vec<u8>, Vec<u8>)], kind: PinKind) -> PinOutcome {
    let block = steps
        .iter()
        .filter_map(|(command, _)| Command::parse(command).ok())
        .find(|command| command.ins == emv::apdu::ins::VERIFY && command.p2 == 0x80);
    let pin = block.and_then(|command| {
        let text = hex(&command.data);
        let length = usize::from(command.data.first()? & 0x0F);
        types::Pin::parse(text.get(2..2 + length)?).ok()
    });
    match (kind, pin) {
        (PinKind::Online, _) => PinOutcome::Entered,
        (PinKind::OfflinePlaintext, Some(pin)) => PinOutcome::Offline { pin, random: Vec::new() },
        _ => PinOutcome::Unavailable,
    }
}

fn capks(case: Case<'_>) -> Check<CapkSet> {
    let mut set = CapkSet::new();
    let capk = case.inside("capk");
    if capk.has("modulus") {
        let (modulus, exponent) = (capk.bytes("modulus")?, capk.bytes("exponent")?);
        let parts = CapkParts {
            rid: capk.array("rid")?,
            index: capk.array::<1>("index")?[0],
            modulus: &modulus,
            exponent: &exponent,
            expiry: None,
            checksum: None,
        };
        set.insert(Capk::new(&parts).map_err(refused)?);
    }
    Ok(set)
}

/// A terminal as the recording describes it. What it leaves open is chosen so that only the card's own wishes decide:
/// no terminal action codes, the card's application version, floor limit zero.
fn transaction_config(case: Case<'_>) -> Check<TerminalConfig> {
    let steps = steps(case)?;
    let recording = Recording::read(steps.iter().map(|(command, response)| (&command[..], &response[..])));
    let version = recording.applications.iter().find_map(|application| application.get(tags::APPLICATION_VERSION_CARD));
    let version = version.and_then(|version| version.try_into().ok()).unwrap_or([0x00, 0x20]);
    let mut applications: Vec<TerminalApplication> = Vec::new();
    for (command, _) in &steps {
        let Ok(command) = Command::parse(command) else {
            continue;
        };
        let is_name = command.ins == emv::apdu::ins::SELECT && command.data[..] != *tags::PSE_NAME;
        if is_name && !applications.iter().any(|known| known.aid == command.data[..]) {
            applications.push(open_application(&command.data, version));
        }
    }
    let data = case.inside("terminal_data");
    let mut config = TerminalConfig::merchant(data.array("9F1A")?, applications);
    config.capabilities = data.array("9F33")?;
    config.terminal_type = data.array::<1>("9F35")?[0];
    config.additional_capabilities = data.array("9F40")?;
    for (name, _) in data.0.as_object().into_iter().flatten() {
        config.extra_data.push((tag_of(name)?, data.bytes(name)?));
    }
    Ok(config)
}

fn open_application(aid: &[u8], version: [u8; 2]) -> TerminalApplication {
    let mut application = TerminalApplication::new(aid);
    application.version = version;
    application.tac_default = [0; 5];
    application.tac_denial = [0; 5];
    application.tac_online = [0; 5];
    application
}

fn transaction_data(case: Case<'_>) -> Check<TransactionData> {
    let data = case.inside("terminal_data");
    let amount = |name: &str| -> Check<u64> { data.text(name)?.parse().map_err(refused) };
    let date = EmvDate::from_bcd(data.array("9A")?).map_err(refused)?;
    let mut transaction = TransactionData::purchase(amount("9F02")?, data.array("5F2A")?, date, data.array("9F37")?);
    transaction.amount_other_minor = amount("9F03")?;
    transaction.transaction_type = data.array::<1>("9C")?[0];
    transaction.time = data.array("9F21")?;
    Ok(transaction)
}

/// The host of a recording, read from what the terminal passed on to the card.
struct Host {
    answer: OnlineResult,
}

impl Host {
    fn from_steps(case: Case<'_>) -> Check<Host> {
        let steps = steps(case)?;
        let commands: Vec<Command> = steps.iter().filter_map(|(command, _)| Command::parse(command).ok()).collect();
        let cryptograms: Vec<usize> =
            (0..commands.len()).filter(|&index| commands[index].ins == emv::apdu::ins::GENERATE_AC).collect();
        let (first, second) = (cryptograms.first().copied(), cryptograms.get(1).copied());
        let passed_on = second_list_values(&steps, second.map(|index| &commands[index]));
        let value = |tag: Tag| passed_on.iter().find(|(known, _)| *known == tag).map(|(_, value)| value.clone());
        let code = value(tags::AUTHORISATION_RESPONSE_CODE)
            .or_else(|| case.inside("expected").text("arc").ok().map(|text| text.as_bytes().to_vec()))
            .and_then(|code| <[u8; 2]>::try_from(code).ok());
        if matches!(&code, Some([b'Y' | b'Z', _])) {
            return Ok(Host { answer: OnlineResult::Unable });
        }
        let approves = second.is_some_and(|index| commands[index].p1 & 0xC0 == 0x40);
        let response_code = code.unwrap_or(if approves { *b"00" } else { *b"05" });
        let mut issuer_data = tlv::Builder::new();
        let authenticate = commands.iter().find(|command| command.ins == emv::apdu::ins::EXTERNAL_AUTHENTICATE);
        let authentication =
            authenticate.map(|command| command.data.to_vec()).or_else(|| value(tags::ISSUER_AUTHENTICATION_DATA));
        if let Some(data) = authentication {
            issuer_data.push(tags::ISSUER_AUTHENTICATION_DATA, &data);
        }
        let between = |from: Option<usize>, to: Option<usize>| -> Vec<&Command> {
            let (Some(from), to) = (from, to.unwrap_or(commands.len())) else {
                return Vec::new();
            };
            commands[from + 1..to].iter().filter(|command| is_script_command(command)).collect()
        };
        push_script(&mut issuer_data, tags::ISSUER_SCRIPT_TEMPLATE_1, &between(first, second));
        push_script(&mut issuer_data, tags::ISSUER_SCRIPT_TEMPLATE_2, &between(second, None));
        Ok(Host { answer: OnlineResult::Answered { response_code, issuer_data: issuer_data.into_bytes() } })
    }
}

impl Host {
    /// What the terminal passed on must be what the published host made. Only told of recordings without a fault.
    fn check(&self, published: Case<'_>) -> Check {
        let OnlineResult::Answered { issuer_data, .. } = &self.answer else {
            return Ok(());
        };
        let passed_on = hex(issuer_data);
        ["arpc", "script_mac"].into_iter().filter(|name| published.has(name)).try_for_each(|name| {
            let text = published.text(name)?;
            expect(name, passed_on.contains(text), true)
        })
    }
}

fn is_script_command(command: &Command) -> bool {
    !matches!(command.ins, emv::apdu::ins::EXTERNAL_AUTHENTICATE | emv::apdu::ins::GET_RESPONSE)
}

fn push_script(issuer_data: &mut tlv::Builder, template: Tag, commands: &[&Command]) {
    if commands.is_empty() {
        return;
    }
    issuer_data.push_template(template, |script| {
        for command in commands {
            script.push(tags::ISSUER_SCRIPT_COMMAND, &command.encode());
        }
    });
}

/// The values the second GENERATE AC carried, by the card's CDOL2.
fn second_list_values(steps: &[(Vec<u8>, Vec<u8>)], command: Option<&Command>) -> Vec<(Tag, Vec<u8>)> {
    let recording = Recording::read(steps.iter().map(|(command, response)| (&command[..], &response[..])));
    let list = recording.applications.iter().find_map(|application| application.get(tags::CDOL2));
    let (Some(Ok(dol)), Some(command)) = (list.map(Dol::parse), command) else {
        return Vec::new();
    };
    let parts = dol.split(&command.data).unwrap_or_default();
    parts.into_iter().map(|(tag, value)| (tag, value.to_vec())).collect()
}
