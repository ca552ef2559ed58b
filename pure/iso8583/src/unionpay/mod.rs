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
mod private;
mod response;
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
pub use private::{Balance, F60, F61, Institutions, OperatorOrCard};
pub use response::{ActionClass, ResponseInfo, info};
pub use tags59::{Tag59, format_tags59, parse_tags59};
