//! What a card forgets when it loses power.

use crate::cvr::{CryptogramKind, IssuerAuthentication, PinVerification};
use std::collections::BTreeMap;
use tlv::{Dol, Tag};

/// Length of a challenge (EMV 4.4 Book 3 §6.5.6).
pub(crate) const CHALLENGE_BYTES: usize = 8;

/// What SELECT chose last.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Selected {
    #[default]
    Nothing,
    Directory,
    /// Index of the application.
    Application(usize),
}

/// How far a transaction went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// GET PROCESSING OPTIONS was answered.
    Initiated,
    /// The first cryptogram was an ARQC.
    OnlineRequested,
    /// The last cryptogram was given.
    Completed,
}

/// The first cryptogram of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct FirstCryptogram {
    pub kind: CryptogramKind,
    pub value: [u8; 8],
}

/// From GET PROCESSING OPTIONS to the next SELECT or reset.
pub(crate) struct Transaction {
    pub stage: Stage,
    pub pdol_data: Vec<u8>,
    pub cdol1_data: Vec<u8>,
    /// The latest value of every object the terminal sent through CDOL1 and CDOL2.
    values: BTreeMap<Tag, Vec<u8>>,
    pub first: Option<FirstCryptogram>,
    pub challenge: Option<[u8; CHALLENGE_BYTES]>,
    pub pin: PinVerification,
    pub pin_enciphered: bool,
    pub issuer_authentication: IssuerAuthentication,
    /// Card status update that came with a right ARPC of method 2.
    pub card_status_update: Option<[u8; 4]>,
    /// The transaction before this one asked to go online and was never completed.
    pub previous_incomplete: bool,
    pub dynamic_signature_given: bool,
    pub combined_signature_given: bool,
    /// Script commands of this transaction that were authentic.
    pub script_commands: u32,
}

impl Transaction {
    pub fn new(pdol_data: Vec<u8>) -> Self {
        Self {
            stage: Stage::Initiated,
            pdol_data,
            cdol1_data: Vec::new(),
            values: BTreeMap::new(),
            first: None,
            challenge: None,
            pin: PinVerification::NotPerformed,
            pin_enciphered: false,
            issuer_authentication: IssuerAuthentication::NotPerformed,
            card_status_update: None,
            previous_incomplete: false,
            dynamic_signature_given: false,
            combined_signature_given: false,
            script_commands: 0,
        }
    }

    /// Takes the objects of a list's data. `None` if the data is not as long as the list says.
    pub fn take_values(&mut self, list: &Dol, data: &[u8]) -> Option<()> {
        for (tag, value) in list.split(data).ok()? {
            self.values.insert(tag, value.to_vec());
        }
        Some(())
    }

    /// The latest value of an object; empty if the terminal never sent it.
    pub fn value(&self, tag: Tag) -> &[u8] {
        self.values.get(&tag).map_or(&[], Vec::as_slice)
    }

    /// The latest value of an object, if the terminal sent it.
    pub fn known_value(&self, tag: Tag) -> Option<&[u8]> {
        self.values.get(&tag).map(Vec::as_slice)
    }

    /// The value of an object as exactly `N` bytes, on the right of zeros or cut to its rightmost ones.
    pub fn array<const N: usize>(&self, tag: Tag) -> [u8; N] {
        let mut array = [0; N];
        let value = self.value(tag);
        let count = value.len().min(N);
        array[N - count..].copy_from_slice(&value[value.len() - count..]);
        array
    }
}

/// The volatile half of the card.
#[derive(Default)]
pub(crate) struct Session {
    pub selected: Selected,
    pub transaction: Option<Transaction>,
    /// Response bytes that wait for GET RESPONSE.
    pub pending: Vec<u8>,
}
