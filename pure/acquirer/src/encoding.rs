//! Encodings of records, by hand.

use crate::record::{
    Answer, Authorisation, BatchClose, Capture, Comparison, Decision, Enrolment, Identity, Kind, NAME_BYTES_MAX,
    NOTE_BYTES_MAX, QrPayment, Record, Reversal, ScriptNotice, SerialClaim, Signature, Stored, Undo, Upload,
    UploadedEntry,
};
use iso8583::unionpay::{DownloadSet, SIGNATURE_BYTES_MAX};
use issuer::PinTries;
use ledger::CardGroup;
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{CardToken, Currency, InstitutionId};

/// Longest list of texts or traces in a record.
const LIST_MAX: usize = 4096;

macro_rules! encode_enum {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.u8(match self { $($name::$variant => $number,)* });
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok($name::$variant),)*
                    _ => Err(reader.malformed(stringify!($name))),
                }
            }
        }
    };
}
encode_enum!(Kind {
    Sale = 1, Void = 2, Refund = 3, Balance = 4,
    PreAuthorisation = 5, PreAuthorisationVoid = 6, Completion = 7, CompletionVoid = 8, CompletionNotice = 9,
    OfflineSale = 20, TipAdjustment = 21, Instalment = 22, InstalmentVoid = 23,
    QrSale = 40, QrOrder = 41, QrVoid = 42, QrRefund = 43,
});

/// Writes a foreign value that has an encoding.
fn put<T: Encode>(writer: &mut Writer, value: &T) {
    writer.value(value);
}

fn put_option<T: Encode>(writer: &mut Writer, value: Option<&T>) {
    writer.option(value, put);
}

pub(crate) fn bounded<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<&'a [u8], Malformed> {
    let bytes = reader.bytes()?;
    if bytes.len() > limit { Err(reader.malformed("fewer bytes")) } else { Ok(bytes) }
}

fn list<T>(
    reader: &mut Reader<'_>,
    read: impl FnMut(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let values = reader.list(read)?;
    if values.len() > LIST_MAX { Err(reader.malformed("a shorter list")) } else { Ok(values) }
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.text()?.to_owned())
}

fn currency(reader: &mut Reader<'_>) -> Result<Currency, Malformed> {
    Currency::from_numeric(reader.u16()?).ok_or_else(|| reader.malformed("a currency"))
}

pub(crate) fn put_group(writer: &mut Writer, group: CardGroup) {
    writer.bool(group == CardGroup::Foreign);
}

pub(crate) fn group(reader: &mut Reader<'_>) -> Result<CardGroup, Malformed> {
    Ok(if reader.bool()? { CardGroup::Foreign } else { CardGroup::Domestic })
}

impl Encode for Enrolment {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.terminal).value(&self.merchant).u32(self.terminal_number).text(&self.name);
        writer.value(&self.master_key).u16(self.currency.numeric()).u32(self.allowed);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (terminal, merchant, terminal_number) = (reader.value()?, reader.value()?, reader.u32()?);
        let name = text(reader)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(reader.malformed("a short name"));
        }
        let (master_key, currency) = (reader.value()?, currency(reader)?);
        Ok(Self { terminal, merchant, terminal_number, name, master_key, currency, allowed: reader.u32()? })
    }
}

impl Encode for Identity {
    fn encode(&self, writer: &mut Writer) {
        put_option(writer, self.card.as_ref());
        writer.raw(&self.processing_code).u64(self.amount_minor);
        writer.option(self.original_rrn, |writer, rrn| {
            writer.raw(&rrn);
        });
        writer.option(self.authorisation_code, |writer, code| {
            writer.raw(&code);
        });
        writer.bytes(&self.original);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            card: reader.option(Reader::value)?,
            processing_code: reader.array("a processing code")?,
            amount_minor: reader.u64()?,
            original_rrn: reader.option(|reader| reader.array("a reference number"))?,
            authorisation_code: reader.option(|reader| reader.array("an authorisation code"))?,
            original: bounded(reader, NOTE_BYTES_MAX)?.to_vec(),
        })
    }
}

impl Encode for Answer {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.response_code).value(&self.rrn).value(&self.at);
        put_option(writer, self.authorisation_code.as_ref());
        writer.bytes(&self.chip).raw(&self.organisation);
        writer.option(self.issuer, |writer, issuer| {
            writer.text(issuer.text());
        });
        writer.option(self.balance_minor, |writer, balance| {
            writer.i64(balance);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            response_code: reader.value()?,
            rrn: reader.value()?,
            at: reader.value()?,
            authorisation_code: reader.option(Reader::value)?,
            chip: bounded(reader, NOTE_BYTES_MAX)?.to_vec(),
            organisation: reader.array("an organisation")?,
            issuer: reader.option(institution)?,
            balance_minor: reader.option(Reader::i64)?,
        })
    }
}

pub(crate) fn institution(reader: &mut Reader<'_>) -> Result<InstitutionId, Malformed> {
    InstitutionId::parse(reader.text()?).map_err(|_| reader.malformed("an institution"))
}

fn pin_tries(reader: &mut Reader<'_>) -> Result<(CardToken, PinTries), Malformed> {
    Ok((reader.value()?, reader.value()?))
}

/// Set in a decision's kind: what the risk rules said stands at its end. Decisions of 0.1.0 have it never.
const SCREENED: u8 = 0x80;

impl Encode for Decision {
    fn encode(&self, writer: &mut Writer) {
        let marked = if self.screening.is_some() { SCREENED } else { 0 };
        writer
            .value(&self.intent)
            .raw(&self.kind.to_bytes().iter().map(|kind| kind | marked).collect::<Vec<_>>())
            .value(&self.identity);
        put_option(writer, self.truncated.as_ref());
        writer.value(&self.amount).raw(&self.entry_mode).value(&self.answer);
        put_option(writer, self.movement.as_ref());
        writer.i64(self.floor_minor);
        put_group(writer, self.group);
        writer.text(&self.rule).value(&self.checks);
        writer.option(self.pin_tries.as_ref(), |writer, (card, tries)| {
            writer.value(card).value(tries);
        });
        writer.option(self.atc_once.as_ref(), |writer, key| {
            writer.bytes(key);
        });
        writer.u64(self.wall_ms);
        // Kinds of 0.1.0 hold nothing and end here.
        if self.kind.holds() {
            put_option(writer, self.hold.as_ref());
        }
        if self.kind.is_qr() {
            put_option(writer, self.qr.as_ref());
        }
        if let Some(screening) = &self.screening {
            writer.value(screening);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (intent, kind) = (reader.value()?, reader.u8()?);
        let mut decision = Self {
            intent,
            kind: Kind::from_bytes(&[kind & !SCREENED])?,
            identity: reader.value()?,
            truncated: reader.option(Reader::value)?,
            amount: reader.value()?,
            entry_mode: reader.array("an entry mode")?,
            answer: reader.value()?,
            movement: reader.option(Reader::value)?,
            hold: None,
            qr: None,
            floor_minor: reader.i64()?,
            group: group(reader)?,
            rule: text(reader)?,
            checks: reader.value()?,
            pin_tries: reader.option(pin_tries)?,
            atc_once: reader.option(|reader| Ok(bounded(reader, NOTE_BYTES_MAX)?.to_vec()))?,
            wall_ms: reader.u64()?,
            screening: None,
        };
        if decision.kind.holds() {
            decision.hold = reader.option(Reader::value)?;
        }
        if decision.kind.is_qr() {
            decision.qr = reader.option(Reader::value)?;
        }
        if kind & SCREENED != 0 {
            decision.screening = Some(reader.value()?);
        }
        Ok(decision)
    }
}

impl Encode for QrPayment {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.code);
        put_option(writer, self.wallet.as_ref());
        writer.u64(self.expires_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { code: reader.value()?, wallet: reader.option(Reader::value)?, expires_ms: reader.u64()? })
    }
}

/// Set in the number of what a reversal undoes: risk rules look back on it.
const REMEMBERED: u8 = 0x80;

impl Undo {
    fn encode_marked(&self, mark: u8, writer: &mut Writer) {
        match self {
            Undo::Sale(movement) => writer.u8(mark | 1).value(movement),
            Undo::Void(movement) => writer.u8(mark | 2).value(movement),
            Undo::Nothing => writer.u8(mark | 3),
            Undo::Tombstone => writer.u8(mark | 4),
            Undo::Hold(hold) => writer.u8(mark | 5).value(hold),
            Undo::Release(hold) => writer.u8(mark | 6).value(hold),
            Undo::Completion(movement, hold) => writer.u8(mark | 7).value(movement).value(hold),
            Undo::Order(code) => writer.u8(mark | 40).value(code),
        };
    }

    fn decode_behind(number: u8, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match number {
            1 => Ok(Undo::Sale(reader.value()?)),
            2 => Ok(Undo::Void(reader.value()?)),
            3 => Ok(Undo::Nothing),
            4 => Ok(Undo::Tombstone),
            5 => Ok(Undo::Hold(reader.value()?)),
            6 => Ok(Undo::Release(reader.value()?)),
            7 => Ok(Undo::Completion(reader.value()?, reader.value()?)),
            40 => Ok(Undo::Order(reader.value()?)),
            _ => Err(reader.malformed("what a reversal undoes")),
        }
    }
}

impl Encode for Reversal {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.intent).value(&self.original).value(&self.identity).value(&self.reason);
        writer.value(&self.answer);
        self.undo.encode_marked(if self.remembered { REMEMBERED } else { 0 }, writer);
        writer.text(&self.rule).u64(self.wall_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (intent, original, identity) = (reader.value()?, reader.value()?, reader.value()?);
        let (reason, answer, undo) = (reader.value()?, reader.value()?, reader.u8()?);
        Ok(Self {
            intent,
            original,
            identity,
            reason,
            answer,
            undo: Undo::decode_behind(undo & !REMEMBERED, reader)?,
            rule: text(reader)?,
            wall_ms: reader.u64()?,
            remembered: undo & REMEMBERED != 0,
        })
    }
}

impl Encode for ScriptNotice {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.intent).value(&self.identity).bytes(&self.results).value(&self.answer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (intent, identity) = (reader.value()?, reader.value()?);
        let results = bounded(reader, NOTE_BYTES_MAX)?.to_vec();
        Ok(Self { intent, identity, results, answer: reader.value()? })
    }
}

const SIGNATURE_VERSION: u8 = 1;

impl Encode for Signature {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(SIGNATURE_VERSION).value(&self.intent).bytes(&self.image).bytes(&self.elements);
        writer.option(self.feature_code, |writer, code| {
            writer.raw(&code);
        });
        writer.value(&self.at);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != SIGNATURE_VERSION {
            return Err(reader.malformed("signature version 1"));
        }
        Ok(Self {
            intent: reader.value()?,
            image: bounded(reader, SIGNATURE_BYTES_MAX)?.to_vec(),
            elements: bounded(reader, NOTE_BYTES_MAX)?.to_vec(),
            feature_code: reader.option(|reader| reader.array("a feature code"))?,
            at: reader.value()?,
        })
    }
}

impl Encode for Comparison {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.batch).value(&self.stan).value(&self.terminal).value(&self.host);
        writer.value(&self.rrn).value(&self.at);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            batch: reader.value()?,
            stan: reader.value()?,
            terminal: reader.value()?,
            host: reader.value()?,
            rrn: reader.value()?,
            at: reader.value()?,
        })
    }
}

impl Encode for UploadedEntry {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.stan).u64(self.amount_minor).bool(self.agrees);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { stan: reader.value()?, amount_minor: reader.u64()?, agrees: reader.bool()? })
    }
}

impl Encode for Upload {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.batch).u16(self.network_code).list(&self.entries, put).value(&self.rrn);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            batch: reader.value()?,
            network_code: reader.u16()?,
            entries: list(reader, |reader| reader.value())?,
            rrn: reader.value()?,
        })
    }
}

impl Encode for BatchClose {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.batch).value(&self.stan).bool(self.terminal_balanced).bool(self.host_balanced);
        writer.u16(self.announced).value(&self.totals).list(&self.not_uploaded, put);
        writer.value(&self.rrn).value(&self.at);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            batch: reader.value()?,
            stan: reader.value()?,
            terminal_balanced: reader.bool()?,
            host_balanced: reader.bool()?,
            announced: reader.u16()?,
            totals: reader.value()?,
            not_uploaded: list(reader, |reader| reader.value())?,
            rrn: reader.value()?,
            at: reader.value()?,
        })
    }
}

impl Stored {
    /// The encoding of a decision that is stored, without a copy of it.
    pub(crate) fn of_decision(decision: &Decision) -> Vec<u8> {
        encoded_behind(STORED_DECISION, decision)
    }

    /// The encoding of a reversal that is stored, without a copy of it.
    pub(crate) fn of_reversal(reversal: &Reversal) -> Vec<u8> {
        encoded_behind(STORED_REVERSAL, reversal)
    }
}

fn encoded_behind<T: Encode>(number: u8, value: &T) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u8(number).value(value);
    writer.into_bytes()
}

const STORED_DECISION: u8 = 1;
const STORED_REVERSAL: u8 = 2;

impl Encode for Stored {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Stored::Decision(decision) => writer.u8(STORED_DECISION).value(&**decision),
            Stored::Reversal(reversal) => writer.u8(STORED_REVERSAL).value(&**reversal),
            Stored::ScriptNotice(notice) => writer.u8(3).value(&**notice),
            Stored::Tombstone(reversal) => writer.u8(4).value(reversal),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            STORED_DECISION => Ok(Stored::Decision(Box::new(reader.value()?))),
            STORED_REVERSAL => Ok(Stored::Reversal(Box::new(reader.value()?))),
            3 => Ok(Stored::ScriptNotice(Box::new(reader.value()?))),
            4 => Ok(Stored::Tombstone(reader.value()?)),
            _ => Err(reader.malformed("a stored decision")),
        }
    }
}

impl Encode for SerialClaim {
    fn encode(&self, writer: &mut Writer) {
        match self {
            SerialClaim::None => writer.u8(0),
            SerialClaim::Made(terminal) => writer.u8(1).value(terminal),
            SerialClaim::Stands => writer.u8(2),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(SerialClaim::None),
            1 => Ok(SerialClaim::Made(reader.value()?)),
            2 => Ok(SerialClaim::Stands),
            _ => Err(reader.malformed("a claim of a serial number")),
        }
    }
}

const CAPTURE_VERSION: u8 = 1;

impl Encode for Capture {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(CAPTURE_VERSION).value(&self.movement).value(&self.card).value(&self.at).u64(self.wall_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != CAPTURE_VERSION {
            return Err(reader.malformed("capture version 1"));
        }
        Ok(Self { movement: reader.value()?, card: reader.value()?, at: reader.value()?, wall_ms: reader.u64()? })
    }
}

const AUTHORISATION_VERSION: u8 = 1;

impl Encode for Authorisation {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(AUTHORISATION_VERSION).value(&self.hold).value(&self.at).u64(self.wall_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != AUTHORISATION_VERSION {
            return Err(reader.malformed("authorisation version 1"));
        }
        Ok(Self { hold: reader.value()?, at: reader.value()?, wall_ms: reader.u64()? })
    }
}

impl Encode for Record {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Record::Enrolled { enrolment, claims_number } => writer.u8(1).value(enrolment).bool(*claims_number),
            Record::SignedIn { network_code, version, keys, serial, claim, overlap_until_ms, rrn } => {
                writer.u8(15).u16(*network_code).u32(*version).value(keys).bytes(serial).value(rrn);
                writer.value(claim).u64(*overlap_until_ms)
            }
            Record::SignedOff { rrn } => writer.u8(3).value(rrn),
            Record::Downloaded { set, version } => encode_downloaded(*set, *version, writer),
            Record::StatusReported { status, version } => writer.u8(61).bytes(status).u32(*version),
            Record::Decided(decision) => writer.u8(6).value(&**decision),
            Record::Reversed(reversal) => writer.u8(7).value(&**reversal),
            Record::ScriptNoticed(notice) => writer.u8(8).value(&**notice),
            Record::Signed(signature) => writer.u8(62).value(&**signature),
            Record::Repeated { intent } => writer.u8(9).value(intent),
            Record::Refused { rule, stan, rrn } => {
                writer.u8(10).text(rule);
                put_option(writer, stan.as_ref());
                writer.value(rrn)
            }
            Record::Compared(comparison) => writer.u8(11).value(&**comparison),
            Record::Uploaded(upload) => writer.u8(12).value(&**upload),
            Record::BatchClosed(close) => writer.u8(13).value(&**close),
            Record::Snapshot(state) => writer.u8(14).value(&**state),
            Record::MasterKeyReplaced { master_key } => writer.u8(16).value(master_key),
            Record::HoldExpired { hold, terminal, released } => {
                writer.u8(17).value(hold).value(terminal).bool(*released)
            }
            Record::OrderPaid { sale, payment } => writer.u8(40).value(sale).value(&**payment),
            Record::Queried { original, stan, response_code } => {
                writer.u8(41).value(original);
                put_option(writer, stan.as_ref());
                writer.value(response_code)
            }
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Record::Enrolled { enrolment: reader.value()?, claims_number: reader.bool()? }),
            kind @ (2 | 15) => decode_signed_in(reader, kind),
            3 => Ok(Record::SignedOff { rrn: reader.value()? }),
            kind @ (4 | 60) => decode_downloaded(reader, kind),
            kind @ (5 | 61) => decode_status(reader, kind),
            6 => Ok(Record::Decided(Box::new(reader.value()?))),
            7 => Ok(Record::Reversed(Box::new(reader.value()?))),
            8 => Ok(Record::ScriptNoticed(Box::new(reader.value()?))),
            9 => Ok(Record::Repeated { intent: reader.value()? }),
            10 => decode_refused(reader),
            11 => Ok(Record::Compared(Box::new(reader.value()?))),
            12 => Ok(Record::Uploaded(Box::new(reader.value()?))),
            13 => Ok(Record::BatchClosed(Box::new(reader.value()?))),
            14 => Ok(Record::Snapshot(Box::new(reader.value()?))),
            16 => Ok(Record::MasterKeyReplaced { master_key: reader.value()? }),
            17 => {
                Ok(Record::HoldExpired { hold: reader.value()?, terminal: reader.value()?, released: reader.bool()? })
            }
            40 => Ok(Record::OrderPaid { sale: reader.value()?, payment: Box::new(reader.value()?) }),
            41 => Ok(Record::Queried {
                original: reader.value()?,
                stan: reader.option(Reader::value)?,
                response_code: reader.value()?,
            }),
            62 => Ok(Record::Signed(Box::new(reader.value()?))),
            _ => Err(reader.malformed("a known record kind")),
        }
    }
}

/// The two sets of 0.1.0 keep their kind.
fn encode_downloaded(set: DownloadSet, version: u32, writer: &mut Writer) -> &mut Writer {
    match set {
        DownloadSet::Capks => writer.u8(4).u8(1).u32(version),
        DownloadSet::Aids => writer.u8(4).u8(2).u32(version),
        set => writer.u8(60).u16(set.download_code()).u32(version),
    }
}

fn decode_downloaded(reader: &mut Reader<'_>, kind: u8) -> Result<Record, Malformed> {
    let set = match kind {
        4 => match reader.u8()? {
            1 => DownloadSet::Capks,
            2 => DownloadSet::Aids,
            _ => return Err(reader.malformed("a set of 0.1.0")),
        },
        _ => download_set(reader)?,
    };
    Ok(Record::Downloaded { set, version: reader.u32()? })
}

pub(crate) fn download_set(reader: &mut Reader<'_>) -> Result<DownloadSet, Malformed> {
    DownloadSet::of_download_code(reader.u16()?).ok_or_else(|| reader.malformed("the code of a download"))
}

/// Kind 5 is of 0.1.0: nobody had asked for a status.
fn decode_status(reader: &mut Reader<'_>, kind: u8) -> Result<Record, Malformed> {
    let status = bounded(reader, NOTE_BYTES_MAX)?.to_vec();
    Ok(Record::StatusReported { status, version: if kind == 5 { 0 } else { reader.u32()? } })
}

/// Kind 2 is of 0.1.0: a sign-in ended the earlier keys at once and claimed nothing.
fn decode_signed_in(reader: &mut Reader<'_>, kind: u8) -> Result<Record, Malformed> {
    let (network_code, version, keys) = (reader.u16()?, reader.u32()?, reader.value()?);
    let serial = bounded(reader, NOTE_BYTES_MAX)?.to_vec();
    let rrn = reader.value()?;
    let (claim, overlap_until_ms) = if kind == 2 { (SerialClaim::None, 0) } else { (reader.value()?, reader.u64()?) };
    Ok(Record::SignedIn { network_code, version, keys, serial, claim, overlap_until_ms, rrn })
}

fn decode_refused(reader: &mut Reader<'_>) -> Result<Record, Malformed> {
    Ok(Record::Refused { rule: text(reader)?, stan: reader.option(Reader::value)?, rrn: reader.value()? })
}
