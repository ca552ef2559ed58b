//! What the machine is told and what it asks for.

use crate::record::Enrolment;
use core::fmt;
use issuer::{IssuerReply, IssuerRequest};
use keys::{Command, KeyBlock, Reply, TerminalMaster};
use machine::store::{AccountName, Outcome};
use risk::{Question, Screening};
use types::{Currency, MerchantId, TerminalId};

/// Who stands at the other end, as the client certificate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its merchant.
    pub merchant: MerchantId,
}

/// What the outside tells the machine. Tickets are those of the [`Effect`] answered.
pub enum Event {
    /// The machine was restored. The host has nothing uncertain to resolve.
    PowerOn,
    /// An operator enrols the terminal, or enrols it anew.
    Enrol(Box<Enrolment>),
    /// An operator gives the terminal a newer master key, which the terminal holds already. Answered as an enrolment is; working
    /// keys, open batch and intents stay.
    ReplaceMasterKey(Box<KeyBlock<TerminalMaster>>),
    /// A frame came in.
    Request {
        /// Where the answer goes.
        connection: u64,
        /// Who sent it.
        peer: PeerIdentity,
        /// TPDU, header and message: everything behind the two length bytes.
        frame: Vec<u8>,
    },
    /// Answers to [`Effect::Keys`], in order.
    KeyReplies {
        /// Of the effect.
        ticket: u64,
        /// One for each command.
        replies: Vec<Reply>,
    },
    /// Answer to [`Effect::Issuer`].
    IssuerReply {
        /// Of the effect.
        ticket: u64,
        /// The answer.
        reply: Box<IssuerReply>,
    },
    /// Answer to [`Effect::Find`].
    Found {
        /// Of the effect.
        ticket: u64,
        /// The value, if the key is there.
        value: Option<Vec<u8>>,
    },
    /// Answer to [`Effect::Balance`].
    Balance {
        /// Of the effect.
        ticket: u64,
        /// Minor units.
        balance_minor: i64,
    },
    /// Answer to [`Effect::Screen`].
    Screened {
        /// Of the effect.
        ticket: u64,
        /// What the risk rules say.
        screening: Screening,
    },
    /// What became of the last batch with records.
    Appended(Outcome),
    /// The deadline has come.
    Wake,
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Event::PowerOn => "PowerOn",
            Event::Enrol(_) => "Enrol(…)",
            Event::ReplaceMasterKey(_) => "ReplaceMasterKey(…)",
            Event::Request { .. } => "Request(…)",
            Event::KeyReplies { .. } => "KeyReplies(…)",
            Event::IssuerReply { .. } => "IssuerReply(…)",
            Event::Found { .. } => "Found(…)",
            Event::Balance { .. } => "Balance(…)",
            Event::Screened { .. } => "Screened",
            Event::Appended(_) => "Appended(…)",
            Event::Wake => "Wake",
        };
        write!(formatter, "Event::{name}")
    }
}

/// What the machine asks for. Its tickets are unique within one machine value.
pub enum Effect {
    /// Send this (TPDU, header, message; the sender puts the length in front).
    Respond {
        /// Where to.
        connection: u64,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// Close the connection: it gets no answer.
    Close {
        /// Which.
        connection: u64,
    },
    /// Execute these key commands; answer [`Event::KeyReplies`].
    Keys {
        /// For the answer.
        ticket: u64,
        /// The commands, in order.
        commands: Vec<Command>,
    },
    /// Ask the issuer; answer [`Event::IssuerReply`].
    Issuer {
        /// For the answer.
        ticket: u64,
        /// The request.
        request: Box<IssuerRequest>,
    },
    /// Look up a unique or put key; answer [`Event::Found`].
    Find {
        /// For the answer.
        ticket: u64,
        /// The space.
        space: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// Look up a balance; answer [`Event::Balance`].
    Balance {
        /// For the answer.
        ticket: u64,
        /// The account.
        account: AccountName,
        /// Its currency.
        currency: Currency,
    },
    /// Ask the risk rules; answer [`Event::Screened`].
    Screen {
        /// For the answer.
        ticket: u64,
        /// What they are asked.
        question: Box<Question>,
    },
    /// Tell the operator what became of an enrolment or of a new master key.
    Enrolled {
        /// Accepted and durable, or why not.
        accepted: Result<(), EnrolmentRefused>,
    },
    /// Write this line to the log.
    Log(LogLine),
}

impl fmt::Debug for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Respond { connection, frame } => {
                write!(formatter, "Effect::Respond({connection}, {} bytes)", frame.len())
            }
            Effect::Close { connection } => write!(formatter, "Effect::Close({connection})"),
            Effect::Keys { ticket, commands } => write!(formatter, "Effect::Keys({ticket}, {commands:?})"),
            Effect::Issuer { ticket, .. } => write!(formatter, "Effect::Issuer({ticket}, …)"),
            Effect::Find { ticket, space, .. } => write!(formatter, "Effect::Find({ticket}, {space})"),
            Effect::Balance { ticket, account, .. } => {
                write!(formatter, "Effect::Balance({ticket}, {})", account.text())
            }
            Effect::Screen { ticket, question } => {
                write!(formatter, "Effect::Screen({ticket}, {})", question.intent.text())
            }
            Effect::Enrolled { accepted } => write!(formatter, "Effect::Enrolled({accepted:?})"),
            Effect::Log(line) => write!(formatter, "Effect::Log({line})"),
        }
    }
}

/// Why an enrolment was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefused {
    /// It names another terminal than this machine's.
    #[error("the enrolment is for another terminal")]
    OtherTerminal,
    /// The terminal number is not 1 to 999,999.
    #[error("the terminal number must be 1 to 999999")]
    Number,
    /// The name is too long.
    #[error("the name must have at most 64 bytes")]
    Name,
    /// Another terminal has this number.
    #[error("the terminal number is taken")]
    NumberTaken,
    /// The terminal has transactions for its present merchant that are not settled.
    #[error("the open batch must be settled before the merchant changes")]
    OpenBatch,
    /// There is no such terminal to give a master key to.
    #[error("the terminal is not enrolled")]
    Unknown,
    /// The master key belongs to another owner.
    #[error("the master key is not this terminal's")]
    OtherOwner,
    /// The terminal has a master key of this version or a later one.
    #[error("the master key is not newer than the terminal's")]
    NotNewer,
    /// The machine is in the middle of something else.
    #[error("the terminal is busy, try again")]
    Busy,
}

/// How loud a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// For the record.
    Information,
    /// Somebody should look at it some time.
    Warning,
    /// Somebody must look at it now.
    Alarm,
}

/// One line of the log. It never holds card data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The terminal it is about.
    pub terminal: TerminalId,
    /// The rule or subject.
    pub topic: &'static str,
    /// In words.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {} {}: {}", self.level, self.terminal, self.topic, self.text)
    }
}
