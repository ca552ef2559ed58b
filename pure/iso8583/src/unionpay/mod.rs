//! The words of the UnionPay POS dialect, on top of [`crate::dialect::unionpay`].
//!
//! Receiving: [`frame::split`](split) the stream, [`open`] the payload, look at
//! [`MessageKind::of`], then read [`Body::from_message`]. Sending: fill a [`Body`], then
//! [`Frame::encode`] (or [`Body::encode_with_mac`] where the MAC key is).

mod batch;
mod body;
mod codes;
mod describe;
mod download;
mod envelope;
mod key_delivery;
mod kind;
mod parameters;
mod private;
mod response;
mod sets;
mod signature;
mod tags59;

pub use batch::{
    BATCH_DETAILS_MAX, BatchDetail, CardClass, IcUpload, IcUploadFailure, MinorTotals, Reconciliation, TOTALS_DIGITS,
    Totals, batch_end_count, format_batch_details, format_batch_end, parse_batch_details,
};
pub use body::{Body, mac_input};
pub use codes::{
    ConditionCode, Entry, EntryMode, PinEntry, PinFormat, ProcessingCode, SecurityAlgorithm, SecurityControl,
};
pub use describe::{describe, describe_opened};
pub use download::{
    AidParameters, Capk, CapkExpiry, DOWNLOAD_NOT_AVAILABLE, DownloadStatus, ListedCapk, aid_request, capk_request,
    format_aid_list, format_capk_list, parse_aid_list, parse_aid_request, parse_capk_list, parse_capk_request,
    parse_status_query, status_query,
};
pub use envelope::{
    Frame, HEADER_OCTETS, Header, LENGTH_PREFIX, Layout, MAX_FRAME_OCTETS, Opened, Requirement, TPDU_OCTETS, Tpdu,
    locate, open, open_frame, split,
};
pub use key_delivery::{DeliveredKey, KEY_CHECK_OCTETS, KeyDelivery};
pub use kind::{MessageKind, Query};
pub use parameters::{
    BIN_DIGITS_MAX, BIN_LIST_ENTRIES_MAX, BinPage, ContactlessParameter, DeviceState, F62_BYTES_MAX,
    MERCHANT_NAME_BYTES, PHONE_CHARACTERS, TerminalParameters, TipMode, bin_list_request, format_bin_page, format_bins,
    format_contactless, format_status, parse_bin_list_request, parse_bin_page, parse_bins, parse_contactless,
};
pub use private::{Balance, F60, F61, Institutions, OperatorOrCard};
pub use response::{ActionClass, ResponseInfo, info};
pub use sets::{DownloadSet, DownloadShape};
pub use signature::{
    SIGNATURE_BYTES_MAX, SignatureElement, SignatureSize, feature_code, feature_code_offline, feature_code_text,
    format_signature_elements, parse_signature_elements, signature_size, signature_tags,
};
pub use tags59::{Tag59, format_tags59, parse_tags59};
