//! A scripted PED. Its frames are the public fields plus what only a PED adds, in a private encoding.

use super::host::{self, Request};
use machine::wire::{Encode, Reader};
use pedlink::{
    AccountPart, CardDecision, CardFailure, CardSummary, ChipReceipt, Expected, OnlineAnswer, OpaqueFrame, PedCommand,
    PedReply, ResponseFault, ResponseSummary, SealedBlob, TraceLine,
};
use types::{CardToken, ResponseCode, TruncatedPan};

#[derive(Clone)]
pub struct TestCard {
    pub token: CardToken,
    pub organisation: &'static str,
    pub entry_mode: &'static str,
    pub decision: CardDecision,
    /// Whether the second cryptogram is a TC.
    pub agrees: bool,
    pub scripts: bool,
    pub failure: Option<CardFailure>,
    pub signature: bool,
    /// Whether it approves by itself if the host cannot be reached.
    pub approves_unreached: bool,
    /// TVR of the last cryptogram.
    pub tvr: &'static str,
}

impl Default for TestCard {
    fn default() -> Self {
        Self {
            token: CardToken([7; 16]),
            organisation: "CUP",
            entry_mode: "051",
            decision: CardDecision::Online,
            agrees: true,
            scripts: false,
            failure: None,
            signature: true,
            approves_unreached: false,
            tvr: "0000008000",
        }
    }
}

#[derive(Default)]
pub struct TestPed {
    pub working_keys: Option<u32>,
    pub capks: u16,
    pub aids: u16,
    pub card: TestCard,
    /// Commands whose answer never comes, by name; each is used up once.
    pub silent: Vec<&'static str>,
    /// Waits for a card that is not presented.
    pub no_card: bool,
    pub no_master_key: bool,
    /// Lets an answer through that lacks its MAC, as no sound PED does.
    pub lenient: bool,
    /// Bytes of what it tells of a card beside the rest.
    pub chatter_bytes: usize,
    /// Whether the till last wanted the host to decide.
    pub online_only: bool,
    session: Option<u32>,
    last_session: u32,
}

fn trace(topic: &str, text: &str) -> Vec<TraceLine> {
    vec![TraceLine { topic: topic.to_owned(), text: text.to_owned() }]
}

impl TestPed {
    pub fn power_cut(&mut self) {
        self.session = None;
    }

    pub fn handle(&mut self, command: PedCommand) -> Option<PedReply> {
        let name = match &command {
            PedCommand::Status => "status",
            PedCommand::InstallCapks { .. } => "capks",
            PedCommand::InstallAids { .. } => "aids",
            PedCommand::LoadWorkingKeys { .. } => "keys",
            PedCommand::ReadCard { .. } => "read",
            PedCommand::CompleteFrame { .. } => "complete",
            PedCommand::CheckResponse { .. } => "check",
            PedCommand::FinishCard { .. } => "finish",
            PedCommand::CancelCard { .. } => "cancel",
        };
        let reply = self.reply(command);
        match self.silent.iter().position(|silent| *silent == name) {
            Some(position) => {
                self.silent.remove(position);
                None
            }
            None => reply,
        }
    }

    fn reply(&mut self, command: PedCommand) -> Option<PedReply> {
        Some(match command {
            PedCommand::Status => PedReply::Status {
                master_key: !self.no_master_key,
                working_keys: self.working_keys.is_some(),
                capks: self.capks,
                aids: self.aids,
            },
            PedCommand::InstallCapks { entries, .. } => {
                self.capks = u16::try_from(entries.len()).unwrap();
                PedReply::ParametersInstalled { taken: self.capks, skipped: vec![] }
            }
            PedCommand::InstallAids { entries } => {
                self.aids = u16::try_from(entries.len()).unwrap();
                PedReply::ParametersInstalled { taken: self.aids, skipped: vec![] }
            }
            PedCommand::LoadWorkingKeys { delivery } => {
                let key = u32::from_be_bytes(delivery[..4].try_into().unwrap());
                self.working_keys = (key != 0).then_some(key);
                PedReply::WorkingKeysLoaded { loaded: key != 0 }
            }
            PedCommand::ReadCard { session, transaction } => {
                assert!(session > self.last_session, "sessions only rise");
                self.last_session = session;
                self.online_only = transaction.online_only;
                return self.read(session, transaction.account_only);
            }
            PedCommand::CompleteFrame { template, account } => {
                self.complete(Request::new(*template, &account), &account)
            }
            PedCommand::CheckResponse { frame, expected } => self.check(&frame, &expected),
            PedCommand::FinishCard { session, answer } => self.finish(session, &answer),
            // A card that has declined by itself leaves its refusal.
            PedCommand::CancelCard { session }
                if self.session == Some(session) && self.card.decision == CardDecision::DeclinedOffline =>
            {
                self.finish(session, &OnlineAnswer::NoAnswer)
            }
            PedCommand::CancelCard { session } => {
                self.session = None;
                PedReply::CardRead { session, result: Err(CardFailure::Cancelled), trace: vec![] }
            }
        })
    }

    fn read(&mut self, session: u32, account_only: bool) -> Option<PedReply> {
        if self.no_card {
            return None;
        }
        self.session = Some(session);
        let missing = CardFailure::ParametersMissing { capks: self.capks == 0, aids: self.aids == 0 };
        let result = match &self.card.failure {
            _ if self.capks == 0 || self.aids == 0 => Err(missing),
            Some(failure) => Err(failure.clone()),
            None => Ok(CardSummary {
                session,
                token: self.card.token,
                truncated: TruncatedPan::parse("622262*********0012").unwrap(),
                aid: vec![0xA0, 0, 0, 3, 0x33, 1, 1, 2],
                label: "UNIONPAY CREDIT".to_owned(),
                organisation: self.card.organisation.to_owned(),
                entry_mode: self.card.entry_mode.to_owned(),
                decision: self.decision(account_only),
                pin_entered: true,
                signature: self.card.signature,
            }),
        };
        let told = format!("SELECT{}", "·".repeat(self.chatter_bytes / 2));
        Some(PedReply::CardRead { session, result, trace: trace("apdu", &told) })
    }

    /// A card that may not approve by itself asks the host.
    fn decision(&self, account_only: bool) -> CardDecision {
        match self.card.decision {
            _ if account_only => CardDecision::AccountOnly,
            CardDecision::ApprovedOffline if self.online_only => CardDecision::Online,
            decision => decision,
        }
    }

    fn complete(&self, mut request: Request, account: &AccountPart) -> PedReply {
        if request.template.with_mac {
            let Some(key) = self.working_keys else {
                return PedReply::FrameRefused { why: "no working keys".to_owned(), sign_in_needed: true };
            };
            request.mac_key = key;
        }
        match account {
            AccountPart::None => {}
            AccountPart::Session { session, .. } if self.session != Some(*session) => {
                return PedReply::FrameRefused { why: "unknown session".to_owned(), sign_in_needed: false };
            }
            AccountPart::Session { .. } => request.token = self.card.token,
            AccountPart::Signature { blob, .. } => {
                let blob = blob.as_ref().expect("an approved payment of the open batch has its blob");
                request.token = CardToken::from_slice(&blob.0[1..17]).expect("one of our blobs");
            }
            AccountPart::Blob { blob, .. } => {
                request.token = CardToken::from_slice(&blob.0[1..17]).expect("one of our blobs");
            }
        }
        let blob = (*account != AccountPart::None).then(|| SealedBlob([&b"B"[..], &request.token.0].concat()));
        PedReply::FrameCompleted {
            frame: OpaqueFrame::new(request.to_bytes()),
            blob,
            trace: trace("request", &request.template.mti),
        }
    }

    fn check(&self, frame: &OpaqueFrame, expected: &Expected) -> PedReply {
        let result = self.open(frame.expose(), expected).map(Box::new);
        PedReply::ResponseChecked { result, trace: trace("response", "checked") }
    }

    fn open(&self, bytes: &[u8], expected: &Expected) -> Result<ResponseSummary, ResponseFault> {
        let malformed = |_| ResponseFault::Malformed { detail: "offset 0".to_owned() };
        let mut reader = Reader::new(bytes);
        let mac_key = reader.u32().map_err(malformed)?;
        let mut summary: ResponseSummary = reader.value().map_err(malformed)?;
        let differs = |field: &str| Err(ResponseFault::Mismatch { field: field.to_owned() });
        if summary.mti != expected.mti {
            return differs("0");
        }
        if expected.stan.is_some() && summary.stan.is_some() && summary.stan != expected.stan {
            return differs("11");
        }
        let amount = expected.amount.map(types::Amount::minor).filter(|_| !expected.amount_may_differ);
        if amount.is_some() && summary.amount_minor.is_some() && summary.amount_minor != amount {
            return differs("4");
        }
        if mac_key != 0 && Some(mac_key) != self.working_keys {
            return Err(ResponseFault::MacWrong);
        }
        let excused = summary.response_code.is_some_and(host::may_lack_mac);
        if mac_key == 0 && expected.mac_required && !excused && !self.lenient {
            return Err(ResponseFault::MacMissing);
        }
        summary.mac_verified = mac_key != 0;
        Ok(summary)
    }

    fn finish(&mut self, session: u32, answer: &OnlineAnswer) -> PedReply {
        let online = matches!(answer, OnlineAnswer::Answered { response_code } if response_code.is_approval());
        let unasked = matches!(answer, OnlineAnswer::NoAnswer);
        let alone = unasked && (self.card.approves_unreached || self.decision(false) == CardDecision::ApprovedOffline);
        let approved = (online || alone) && self.card.agrees && self.session == Some(session);
        self.session = None;
        let kind = if approved { "TC" } else { "AAC" };
        PedReply::CardFinished {
            session,
            approved,
            receipt: ChipReceipt {
                aid: "A000000333010102".to_owned(),
                label: "UNIONPAY CREDIT".to_owned(),
                cryptogram: "AE60C8CABA4C02F9".to_owned(),
                cryptogram_kind: kind.to_owned(),
                tvr: self.card.tvr.to_owned(),
                tsi: "F800".to_owned(),
                atc: 0x1E,
                cvm_results: "020300".to_owned(),
            },
            blob: Some(SealedBlob([&b"F"[..], &self.card.token.0].concat())),
            script_results: (self.card.scripts && online).then(|| vec![0x10, 0, 0, 0, 1]),
            detail: if approved { String::new() } else { "second cryptogram is an AAC".to_owned() },
            trace: trace("cryptogram", kind),
        }
    }
}

pub fn code(text: &str) -> ResponseCode {
    ResponseCode::parse(text).unwrap()
}
