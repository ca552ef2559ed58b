//! Encodings, by hand: of what is remembered (`Past`), and of what the rules said (`Screening`).

use crate::question::Past;
use crate::screening::{Answer, Finding, FindingKind, Reason, Screening, TEXT_BYTES_MAX};
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Most findings in a screening.
const FINDINGS_MAX: usize = 256;
const PAST_VERSION: u8 = 1;

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = reader.text()?;
    if text.len() > TEXT_BYTES_MAX { Err(reader.malformed("a shorter text")) } else { Ok(text.to_owned()) }
}

impl Encode for Past {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(PAST_VERSION).value(&self.intent).text(&self.kind);
        writer.option(self.card.as_ref(), |writer, card| {
            writer.value(card);
        });
        writer.value(&self.amount).bool(self.approved);
        writer.option(self.undoes.as_ref(), |writer, intent| {
            writer.value(intent);
        });
        writer.u64(self.wall_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != PAST_VERSION {
            return Err(reader.malformed("past version 1"));
        }
        Ok(Self {
            intent: reader.value()?,
            kind: text(reader)?,
            card: reader.option(Reader::value)?,
            amount: reader.value()?,
            approved: reader.bool()?,
            undoes: reader.option(Reader::value)?,
            wall_ms: reader.u64()?,
        })
    }
}

impl Encode for Answer {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(match self {
            Answer::Suspected => 1,
            Answer::Amount => 2,
            Answer::Frequency => 3,
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Answer::Suspected),
            2 => Ok(Answer::Amount),
            3 => Ok(Answer::Frequency),
            _ => Err(reader.malformed("an answer of a rule")),
        }
    }
}

impl Encode for Finding {
    fn encode(&self, writer: &mut Writer) {
        writer.text(&self.rule);
        match &self.kind {
            FindingKind::Flagged => writer.u8(1),
            FindingKind::Refused(answer) => writer.u8(2).value(answer),
            FindingKind::Softened(answer) => writer.u8(3).value(answer),
            FindingKind::Excused => writer.u8(4),
        };
        writer.text(&self.reason.zh).text(&self.reason.en);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let rule = text(reader)?;
        let kind = match reader.u8()? {
            1 => FindingKind::Flagged,
            2 => FindingKind::Refused(reader.value()?),
            3 => FindingKind::Softened(reader.value()?),
            4 => FindingKind::Excused,
            _ => return Err(reader.malformed("what a rule says")),
        };
        Ok(Self { rule, kind, reason: Reason { zh: text(reader)?, en: text(reader)? } })
    }
}

impl Encode for Screening {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.version).list(&self.findings, |writer, finding| {
            writer.value(finding);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (version, findings) = (reader.u32()?, reader.list(Reader::value)?);
        if findings.len() > FINDINGS_MAX {
            return Err(reader.malformed("fewer findings"));
        }
        Ok(Self { version, findings })
    }
}
