//! ISO 8583 messages: one codec engine, layouts as values, the UnionPay POS dialect and its words.
//!
//! Duty: turn bytes into fields and fields into bytes, strictly, and say exactly where a message
//! is wrong. Knows: layouts ([`Spec`]), the compiled-in [`dialect`]s, and the typed words of the
//! UnionPay dialect ([`unionpay`]). Never: keys, ciphers, clocks, sockets; no allocation while
//! decoding; no bounds check outside [`Reader`].
//!
//! Start here: [`decode`], [`Encoder`], then [`unionpay::Frame`] and [`unionpay::Body`].

pub mod bitmap;
mod content;
pub mod describe;
pub mod dialect;
pub mod ebcdic;
mod encode;
mod error;
pub mod frame;
pub mod gbk;
mod message;
mod prefix;
mod reader;
pub mod spec;
pub mod unionpay;
pub mod vector_spec;

pub use content::{Characters, Nibbles};
pub use encode::Encoder;
pub use error::{DecodeError, EncodeError, Expected, FieldPath, Found, SpecError};
pub use message::{Field, Message, decode, decode_from, decode_prefix};
pub use prefix::{LengthPrefix, PrefixCoding};
pub use reader::Reader;
pub use spec::{FieldSpec, Spec};
