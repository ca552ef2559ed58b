//! Duty: read and write the encodings a chip card speaks: BER-TLV objects, data object lists and the
//! fixed structures EMV keeps inside them (AFL, GPO answer, FCI, directory, CVM list, ATR).
//! Knows: the shape of each structure and the dictionary of tags (name, format, template, sensitivity).
//! Never: decides anything about a payment, keeps a value, or prints a sensitive one unmasked.
//! Start here: [`ber::parse`] for a tree, [`ber::Elements`] for one level, [`Tag`] for tags,
//! [`Dol`] for lists, [`dictionary::lookup`] for what a tag means.

pub mod afl;
pub mod atr;
pub mod ber;
pub mod cvm;
pub mod dictionary;
pub mod directory;
pub mod dol;
pub mod fci;
pub mod gpo;
pub mod oid;
mod tag;
pub mod tags;

pub use afl::{Afl, AflEntry};
pub use atr::Atr;
pub use ber::{Builder, Content, Element, Elements, LengthForm, Node, TlvError};
pub use cvm::{CvRule, CvmList};
pub use directory::DirectoryEntry;
pub use dol::{Dol, DolEntry};
pub use fci::Fci;
pub use gpo::GpoResponse;
pub use tag::{MAX_TAG_BYTES, Tag, TagClass};
