//! Encodings of records and state. Layouts never change; a new layout gets a new number.

use crate::management::{Management, Signature, SignatureStatus};
use crate::record::{Record, SignOutReason};
use crate::settlement::{
    GroupTotals, Settlement, SettlementAnswer, SettlementReport, Totals, UploadItem, UploadKind, UploadProgress,
};
use crate::state::State;
use crate::transaction::{
    Decision, Original, PendingReversal, ScriptNotice, Transaction, TransactionKind, TransactionStatus,
};
use iso8583::unionpay::{BIN_DIGITS_MAX, BIN_LIST_ENTRIES_MAX, DownloadSet};
use machine::wire::{Encode, Malformed, Reader, Writer};

fn optional<T: Encode>(writer: &mut Writer, value: &Option<T>) {
    writer.option(value.as_ref(), |writer, value| {
        writer.value(value);
    });
}

fn read_optional<T: Encode>(reader: &mut Reader<'_>) -> Result<Option<T>, Malformed> {
    reader.option(Reader::value)
}

fn optional_text(writer: &mut Writer, value: &Option<String>) {
    writer.option(value.as_deref(), |writer, text| {
        writer.text(text);
    });
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.text()?.to_owned())
}

fn read_optional_text(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    reader.option(read_text)
}

fn list<T: Encode>(writer: &mut Writer, values: &[T]) {
    writer.list(values, |writer, value| {
        writer.value(value);
    });
}

fn read_list<T: Encode>(reader: &mut Reader<'_>) -> Result<Vec<T>, Malformed> {
    reader.list(Reader::value)
}

macro_rules! encode_enum {
    ($name:ident, $what:literal { $($variant:ident = $number:literal),* $(,)? }) => {
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.u8(match self { $($name::$variant => $number,)* });
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok($name::$variant),)*
                    _ => Err(reader.malformed($what)),
                }
            }
        }
    };
}
encode_enum!(TransactionKind, "a transaction kind" {
    Sale = 1, Void = 2, Refund = 3, Balance = 4,
    PreAuthorisation = 5, PreAuthorisationVoid = 6, Completion = 7, CompletionVoid = 8, CompletionNotice = 9,
    OfflineSale = 20, TipAdjustment = 21, Instalment = 22, InstalmentVoid = 23,
    QrSale = 40, QrOrder = 41, QrVoid = 42, QrRefund = 43,
});
encode_enum!(TransactionStatus, "a transaction status" {
    Sent = 1, Approved = 2, Declined = 3, Cancelled = 4, Reversing = 5, Reversed = 6, Queued = 7,
});
encode_enum!(SignOutReason, "a sign-out reason" { SignOff = 1, HostOrder = 2, MacWrong = 3, KeysGone = 4 });
encode_enum!(UploadKind, "an upload kind" {
    Notice = 1, Certificate = 2, Declined = 60, IssuerAuthenticationFailed = 61,
});

/// Encodes a struct field by field in the order given; each field by the pair of functions beside it. Fields that came later
/// are encoded behind it by who knows of them.
macro_rules! encode_struct {
    ($name:ident { $($field:ident: $kind:ident),* $(,)? } $(without { $($later:ident),* })?) => {
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                $(encode_struct!(@write writer, self.$field, $kind);)*
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($field: encode_struct!(@read reader, $kind),)* $($($later: Default::default(),)*)? })
            }
        }
    };
    (@write $writer:ident, $value:expr, value) => { $writer.value(&$value) };
    (@write $writer:ident, $value:expr, option) => { optional($writer, &$value) };
    (@write $writer:ident, $value:expr, list) => { list($writer, &$value) };
    (@write $writer:ident, $value:expr, text) => { $writer.text(&$value) };
    (@write $writer:ident, $value:expr, optional_text) => { optional_text($writer, &$value) };
    (@write $writer:ident, $value:expr, optional_bytes) => {
        $writer.option($value.as_deref(), |writer, bytes: &[u8]| { writer.bytes(bytes); })
    };
    (@write $writer:ident, $value:expr, $plain:ident) => { $writer.$plain($value) };
    (@read $reader:ident, value) => { $reader.value()? };
    (@read $reader:ident, option) => { read_optional($reader)? };
    (@read $reader:ident, list) => { read_list($reader)? };
    (@read $reader:ident, text) => { read_text($reader)? };
    (@read $reader:ident, optional_text) => { read_optional_text($reader)? };
    (@read $reader:ident, optional_bytes) => { $reader.option(|reader| Ok(reader.bytes()?.to_vec()))? };
    (@read $reader:ident, $plain:ident) => { $reader.$plain()? };
}

encode_struct!(Original { stan: option, rrn: option, authorisation_code: option, date: text });
encode_struct!(Transaction {
    kind: value,
    status: value,
    batch: value,
    stan: value,
    amount: value,
    card: value,
    template: value,
    blob: option,
    final_blob: option,
    original: option,
    at: value,
    wall_ms: u64,
    response: option,
    chip: value,
    voided_by: option,
    reversal_reason: option,
    message: value,
    trace: list,
});
encode_struct!(Decision {
    status: value,
    message: value,
    response: option,
    chip: value,
    final_blob: option,
    script_results: optional_bytes,
    trace: list,
});
encode_struct!(PendingReversal { stan: value, reason: value, occasions: u8, parked: bool });
encode_struct!(ScriptNotice { stan: value, original: value, blob: value });
encode_struct!(GroupTotals { debit_minor: u64, debit_count: u16, credit_minor: u64, credit_count: u16 });
encode_struct!(Totals { domestic: value, foreign: value });
encode_struct!(UploadItem { stan: value, kind: value });
encode_struct!(SettlementAnswer {
    domestic_code: u8,
    foreign_code: u8,
    host_totals: text,
    settlement_date: optional_text,
});
encode_struct!(UploadProgress {
    answer: value,
    items: list,
    done: u16,
    acknowledged: u16,
    end_stan: value,
    parked: bool,
    resolved_by_hand: list,
});
encode_struct!(Settlement { batch: value, stan: value, totals: value, upload: option });
encode_struct!(SettlementReport {
    batch: value,
    stan: value,
    totals: value,
    answer: value,
    acknowledged: u16,
    resolved_by_hand: list,
    other_batches: list,
    at: value,
});
encode_struct!(State {
    boot: u32,
    next_stan: value,
    stans_in_batch: u32,
    next_session: u32,
    batch: value,
    signed_in: bool,
    acquirer_id: optional_text,
    clock_skew_s: i64,
    capks_loaded: bool,
    aids_loaded: bool,
    orders: u16,
    transactions: list,
    last_batch: list,
    open_intent: option,
    reversal: option,
    script_notice: option,
    settlement: option,
    last_settlement: option,
} without { management });

/// A state with everything that came after 0.1.0.
fn whole_state(writer: &mut Writer, state: &State) {
    writer.value(state).value(&state.management);
}

fn read_whole_state(reader: &mut Reader<'_>) -> Result<Box<State>, Malformed> {
    let mut state: State = reader.value()?;
    state.management = reader.value()?;
    Ok(Box::new(state))
}

fn read_set(reader: &mut Reader<'_>) -> Result<DownloadSet, Malformed> {
    DownloadSet::of_download_code(reader.u16()?).ok_or_else(|| reader.malformed("the code of a download"))
}

/// Longest content of a set: 999 entries of a BIN list.
const SET_BYTES_MAX: usize = BIN_LIST_ENTRIES_MAX * (2 + BIN_DIGITS_MAX);

fn read_content(reader: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let content = reader.bytes()?.to_vec();
    if content.len() > SET_BYTES_MAX { Err(reader.malformed("a shorter set")) } else { Ok(content) }
}

impl Encode for Management {
    fn encode(&self, writer: &mut Writer) {
        writer.list(&self.sets.iter().collect::<Vec<_>>(), |writer, (set, content)| {
            writer.u16(set.download_code()).bytes(content);
        });
        list(writer, &self.signatures);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sets = reader.list(|reader| Ok((read_set(reader)?, read_content(reader)?)))?;
        Ok(Self { sets: sets.into_iter().collect(), signatures: read_list(reader)? })
    }
}

impl Encode for Signature {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.stan).bytes(&self.image);
        match self.status {
            SignatureStatus::Waiting { occasions } => writer.u8(1).u8(occasions),
            SignatureStatus::Uploaded => writer.u8(2),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (stan, image) = (reader.value()?, read_content(reader)?);
        let status = match reader.u8()? {
            1 => SignatureStatus::Waiting { occasions: reader.u8()? },
            2 => SignatureStatus::Uploaded,
            _ => return Err(reader.malformed("where a signature stands")),
        };
        Ok(Self { stan, image, status })
    }
}

/// Encodes the records: number, then the fields in the order given. What an earlier version wrote is read and never written.
macro_rules! encode_records {
    (
        $($number:literal => $variant:ident { $($field:ident: $kind:ident),* $(,)? })*
        earlier { $($old:literal => $old_variant:ident { $($old_field:ident: $old_kind:ident),* $(,)? })* }
    ) => {
        impl Encode for Record {
            fn encode(&self, writer: &mut Writer) {
                match self {
                    $(Record::$variant { $($field),* } => {
                        writer.u8($number);
                        $(encode_records!(@write writer, $field, $kind);)*
                    })*
                }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                match reader.u8()? {
                    $($number => Ok(Record::$variant { $($field: encode_records!(@read reader, $kind)),* }),)*
                    $($old => Ok(Record::$old_variant { $($old_field: encode_records!(@read reader, $old_kind)),* }),)*
                    _ => Err(reader.malformed("a till record of a known kind")),
                }
            }
        }
    };
    (@write $writer:ident, $value:ident, value) => { $writer.value($value) };
    (@write $writer:ident, $value:ident, whole_state) => { whole_state($writer, $value) };
    (@write $writer:ident, $value:ident, set) => { $writer.u16($value.download_code()) };
    (@write $writer:ident, $value:ident, content) => { $writer.bytes($value) };
    (@write $writer:ident, $value:ident, boxed) => { $writer.value(&**$value) };
    (@write $writer:ident, $value:ident, option) => { optional($writer, $value) };
    (@write $writer:ident, $value:ident, optional_u32) => {
        $writer.option(*$value, |writer, number| { writer.u32(number); })
    };
    (@write $writer:ident, $value:ident, list) => { list($writer, $value) };
    (@write $writer:ident, $value:ident, optional_text) => { optional_text($writer, $value) };
    (@write $writer:ident, $value:ident, $plain:ident) => { $writer.$plain(*$value) };
    (@read $reader:ident, value) => { $reader.value()? };
    (@read $reader:ident, whole_state) => { read_whole_state($reader)? };
    (@read $reader:ident, set) => { read_set($reader)? };
    (@read $reader:ident, content) => { read_content($reader)? };
    (@read $reader:ident, boxed) => { Box::new($reader.value()?) };
    (@read $reader:ident, option) => { read_optional($reader)? };
    (@read $reader:ident, optional_u32) => { $reader.option(Reader::u32)? };
    (@read $reader:ident, list) => { read_list($reader)? };
    (@read $reader:ident, optional_text) => { read_optional_text($reader)? };
    (@read $reader:ident, $plain:ident) => { $reader.$plain()? };
}
encode_records! {
    1 => PoweredOn { boot: u32 }
    2 => SignedIn { batch: value, acquirer_id: optional_text, clock_skew_s: i64 }
    3 => SignedOut { reason: value }
    4 => CapksLoaded { count: u16 }
    5 => AidsLoaded { count: u16 }
    6 => ParametersLost { capks: bool, aids: bool }
    7 => OrderPending { order: u8 }
    8 => StanTaken { stan: value, session: optional_u32 }
    9 => IntentSent { transaction: value }
    10 => IntentCancelled { stan: value, message: value }
    11 => DeclinedOffline { transaction: value }
    12 => ReversalDue { stan: value, reason: value }
    13 => Decided { stan: value, decision: boxed }
    14 => ReversalTried { stan: value, parked: bool }
    15 => ReversalAcknowledged { stan: value, response_code: value, trace: list }
    16 => NoticeQueued { stan: value }
    17 => NoticeAcknowledged { stan: value, decision: boxed }
    18 => ScriptNoticeDue { notice: value }
    19 => ScriptNoticeDone { original: value, response_code: option }
    20 => SettlementStarted { batch: value, stan: value, totals: value }
    21 => SettlementAnswered { answer: value, items: list, end_stan: value }
    22 => UploadDone { stan: value, response_code: value }
    23 => UploadParked { stan: value }
    24 => BatchClosed { report: boxed }
    25 => ParkedResolved { stan: value, proof: value }
    27 => ApprovedOffline { transaction: value }
    60 => Snapshot { state: whole_state }
    61 => SetTaken { set: set, content: content }
    62 => SetAcknowledged { set: set }
    63 => StatusReported {}
    64 => SignatureTaken { stan: value, image: content }
    65 => SignatureTried { stan: value }
    66 => SignatureUploaded { stan: value, response_code: value }
    67 => SignatureLeft { stan: value }
    earlier { 26 => Snapshot { state: boxed } }
}
