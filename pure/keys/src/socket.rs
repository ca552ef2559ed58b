//! Batches on a socket: who asks, a ticket, and the words.

use crate::command::Command;
use crate::permission::Caller;
use crate::reply::Reply;
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Most commands in one batch.
pub const BATCH_COMMANDS_MAX: usize = 1024;
/// Largest frame on the key socket in bytes, without its four-byte length.
pub const SOCKET_FRAME_BYTES_MAX: usize = 4 << 20;

const VERSION: u8 = 1;

/// A batch of commands.
#[derive(Debug)]
pub struct SocketRequest {
    /// Who asks; the server checks it against what it knows of the connection.
    pub caller: Caller,
    /// Names the batch; the reply repeats it.
    pub ticket: u64,
    /// The commands, in order.
    pub commands: Vec<Command>,
}

impl SocketRequest {
    /// Encodes a batch that the caller does not own.
    pub fn encode_parts(caller: Caller, ticket: u64, commands: &[Command]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION).u8(caller.number()).u64(ticket);
        writer.list(commands, |writer, command| command.encode(writer));
        writer.into_bytes()
    }
}

impl Encode for SocketRequest {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&Self::encode_parts(self.caller, self.ticket, &self.commands));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("socket version 1"));
        }
        let caller = Caller::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a known caller"))?;
        let ticket = reader.u64()?;
        let commands = reader.list(Command::decode)?;
        if commands.len() > BATCH_COMMANDS_MAX {
            return Err(reader.malformed("a bounded batch"));
        }
        Ok(Self { caller, ticket, commands })
    }
}

/// The replies to a batch.
#[derive(Debug)]
pub struct SocketReply {
    /// The batch's ticket.
    pub ticket: u64,
    /// One reply for each command, in order.
    pub replies: Vec<Reply>,
}

impl Encode for SocketReply {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).u64(self.ticket);
        writer.list(&self.replies, |writer, reply| reply.encode(writer));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("socket version 1"));
        }
        Ok(Self { ticket: reader.u64()?, replies: reader.list(Reply::decode)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Owner, Refusal, Usage};

    #[test]
    fn a_batch_comes_back() {
        let commands = vec![
            Command::GenerateKey {
                usage: Usage::PinEncryption,
                algorithm: Algorithm::TdesDouble,
                owner: Owner::new("12345678").unwrap(),
                version: 3,
                exportable: false,
            },
            Command::Random { count: 8 },
        ];
        let bytes = SocketRequest { caller: Caller::Host, ticket: 7, commands }.to_bytes();
        let request = SocketRequest::from_bytes(&bytes).unwrap();
        assert_eq!(request.to_bytes(), bytes);
        assert!((0..bytes.len()).all(|length| SocketRequest::from_bytes(&bytes[..length]).is_err()));
    }

    #[test]
    fn replies_come_back() {
        let replies = vec![Reply::Refused { why: Refusal::RateLimited }, Reply::MacVerdict { right: true }];
        let bytes = SocketReply { ticket: 7, replies }.to_bytes();
        assert_eq!(SocketReply::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn words_do_not_print_their_content() {
        let command = Command::Tokenise { pan: types::Pan::parse("6222620000000000012").unwrap() };
        assert_eq!(format!("{command:?}"), "Command::Tokenise(…)");
    }
}
