//! The encoding of what settling leaves behind, by hand.

use crate::settle::{SaleFee, Settled, SettledLine};
use ledger::{ClearingKind, ClearingLine, ClearingStatus, FEE_RULE_NAME_BYTES_MAX, NetPosition};
use machine::wire::{Encode, Malformed, Reader, Writer};
use types::{Currency, LocalDate};

/// Version of the record.
const RECORD_VERSION: u8 = 1;
const KINDS: [ClearingKind; 3] = [ClearingKind::Sale, ClearingKind::Void, ClearingKind::Refund];
const STATUSES: [ClearingStatus; 3] = [ClearingStatus::Approved, ClearingStatus::Declined, ClearingStatus::Reversed];

fn put_place<T: PartialEq>(writer: &mut Writer, table: &[T], value: &T) {
    let place = table.iter().position(|other| other == value).expect("the table has every value");
    writer.u8(u8::try_from(place).expect("a short table"));
}

fn place<T: Copy>(reader: &mut Reader<'_>, table: &[T], what: &'static str) -> Result<T, Malformed> {
    let place = usize::from(reader.u8()?);
    table.get(place).copied().ok_or_else(|| reader.malformed(what))
}

fn rule(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = reader.text()?;
    let fits = text.len() <= FEE_RULE_NAME_BYTES_MAX;
    fits.then(|| text.to_owned()).ok_or_else(|| reader.malformed("a rule's name"))
}

impl Encode for SaleFee {
    fn encode(&self, writer: &mut Writer) {
        writer.option(self.fee_minor, |writer, minor| {
            writer.u64(minor);
        });
        writer.text(&self.rule).u64(self.sale_minor).u64(self.given_back_minor);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            fee_minor: reader.option(Reader::u64)?,
            rule: rule(reader)?,
            sale_minor: reader.u64()?,
            given_back_minor: reader.u64()?,
        })
    }
}

impl Encode for SettledLine {
    fn encode(&self, writer: &mut Writer) {
        let ClearingLine { merchant, terminal, batch, stan, kind, rrn, status, amount_minor, fee_minor } = &self.line;
        writer.value(merchant).value(terminal).value(batch).value(stan);
        put_place(writer, &KINDS, kind);
        writer.value(rrn);
        put_place(writer, &STATUSES, status);
        writer.u64(*amount_minor).u64(*fee_minor).text(&self.rule);
        writer.option(self.truncated.as_ref(), |writer, truncated| {
            writer.value(truncated);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let line = ClearingLine {
            merchant: reader.value()?,
            terminal: reader.value()?,
            batch: reader.value()?,
            stan: reader.value()?,
            kind: place(reader, &KINDS, "a kind of line")?,
            rrn: reader.value()?,
            status: place(reader, &STATUSES, "a line's status")?,
            amount_minor: reader.u64()?,
            fee_minor: reader.u64()?,
        };
        Ok(Self { line, rule: rule(reader)?, truncated: reader.option(Reader::value)? })
    }
}

fn put_position(writer: &mut Writer, position: &NetPosition) {
    let NetPosition { sales_minor, voids_minor, refunds_minor, fees_minor } = *position;
    writer.u64(sales_minor).u64(voids_minor).u64(refunds_minor).i64(fees_minor);
}

impl Encode for Settled {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(RECORD_VERSION).u16(self.day.year()).u8(self.day.month()).u8(self.day.day());
        writer
            .value(&self.merchant)
            .value(&self.terminal)
            .value(&self.batch)
            .u64(self.sequence)
            .u16(self.currency.numeric());
        writer.bool(self.balanced);
        writer.list(&self.lines, |writer, line| {
            writer.value(line);
        });
        put_position(writer, &self.position);
        writer.list(&self.fees, |writer, (sale, fee)| {
            writer.value(sale).value(fee);
        });
        writer.u32(self.volume.0).u64(self.volume.1);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != RECORD_VERSION {
            return Err(reader.malformed("version 1 of a settled batch"));
        }
        let (year, month, day) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let day = LocalDate::new(year, month, day).ok_or_else(|| reader.malformed("a date"))?;
        let (merchant, terminal, batch) = (reader.value()?, reader.value()?, reader.value()?);
        let (sequence, currency, balanced) = (reader.u64()?, reader.u16()?, reader.bool()?);
        let currency = Currency::from_numeric(currency).ok_or_else(|| reader.malformed("a currency"))?;
        let lines: Vec<SettledLine> = reader.list(Reader::value)?;
        let (sales_minor, voids_minor) = (reader.u64()?, reader.u64()?);
        let (refunds_minor, fees_minor) = (reader.u64()?, reader.i64()?);
        let written = NetPosition { sales_minor, voids_minor, refunds_minor, fees_minor };
        let position = NetPosition::of(lines.iter().map(|settled| &settled.line)).ok();
        // A position that is not its lines' would be paid out.
        let position = position.filter(|position| *position == written);
        let position = position.ok_or_else(|| reader.malformed("the position of the lines"))?;
        let fees = reader.list(|reader| Ok((reader.value()?, reader.value()?)))?;
        let volume = (reader.u32()?, reader.u64()?);
        Ok(Self { day, merchant, terminal, batch, sequence, currency, balanced, lines, position, fees, volume })
    }
}
