//! ISO 8583:1987, all 128 data elements, in two common codings: ASCII with a hexadecimal bitmap,
//! and binary (packed digits, packed lengths, raw bitmap).

use std::borrow::Cow;

use crate::bitmap::{BitmapCoding, BitmapExtent, BitmapSpec};
use crate::prefix::LengthPrefix;
use crate::spec::{Encoding, FieldSpec, Fill, Kind, MTI_DIGITS, NibbleAlphabet, OddPad, Sensitivity, Spec, table};

/// Number of the last data element.
const LAST_FIELD: usize = 128;
const PACKED: Encoding = Encoding::Packed(NibbleAlphabet::Decimal);

/// Everything in ASCII characters; bits as hexadecimal text.
pub static ASCII: Spec = Spec {
    name: Cow::Borrowed("iso87-ascii"),
    header: None,
    mti: Coding::Ascii.n(MTI_DIGITS),
    bitmap: BitmapSpec::new(BitmapCoding::HexAscii, BitmapExtent::Double),
    fields: Cow::Borrowed(&ASCII_TABLE),
};

/// Digits packed two a byte, lengths in BCD, bits raw.
pub static BINARY: Spec = Spec {
    name: Cow::Borrowed("iso87-binary"),
    header: None,
    mti: Coding::Packed.n(MTI_DIGITS),
    bitmap: BitmapSpec::new(BitmapCoding::Binary, BitmapExtent::Double),
    fields: Cow::Borrowed(&BINARY_TABLE),
};

static ASCII_TABLE: [Option<FieldSpec>; LAST_FIELD + 1] = elements(Coding::Ascii);
static BINARY_TABLE: [Option<FieldSpec>; LAST_FIELD + 1] = elements(Coding::Packed);

const fn elements(coding: Coding) -> [Option<FieldSpec>; LAST_FIELD + 1] {
    let mut result = table(&primary(coding));
    let secondary: [Option<FieldSpec>; LAST_FIELD + 1] = table(&secondary(coding));
    let mut number = 65;
    while number <= LAST_FIELD {
        result[number] = secondary[number];
        number += 1;
    }
    result
}

#[derive(Clone, Copy)]
enum Coding {
    Ascii,
    Packed,
}

impl Coding {
    const fn prefix(self, digits: u8) -> LengthPrefix {
        match self {
            Self::Ascii => LengthPrefix::ascii(digits),
            Self::Packed => LengthPrefix::bcd(digits),
        }
    }

    const fn n(self, digits: usize) -> FieldSpec {
        match self {
            Self::Ascii => FieldSpec::fixed(Kind::Numeric, Encoding::Ascii, digits),
            Self::Packed => FieldSpec::fixed(Kind::Numeric, PACKED, digits).odd(OddPad::Left(0)),
        }
    }

    const fn n_var(self, max: usize) -> FieldSpec {
        let prefix = self.prefix(2);
        match self {
            Self::Ascii => FieldSpec::variable(Kind::Numeric, Encoding::Ascii, prefix, max),
            Self::Packed => FieldSpec::variable(Kind::Numeric, PACKED, prefix, max).odd(OddPad::Right(0)),
        }
    }

    const fn z_var(self, max: usize) -> FieldSpec {
        let prefix = self.prefix(2);
        match self {
            Self::Ascii => FieldSpec::variable(Kind::Track, Encoding::Latin1, prefix, max),
            Self::Packed => {
                let packed = Encoding::Packed(NibbleAlphabet::TrackEquals);
                FieldSpec::variable(Kind::Track, packed, prefix, max).odd(OddPad::Right(0))
            }
        }
    }

    const fn x_n(self, characters: usize) -> FieldSpec {
        match self {
            Self::Ascii => FieldSpec::fixed(Kind::Text, Encoding::Latin1, characters),
            Self::Packed => FieldSpec::fixed(Kind::SignedNumeric, Encoding::SignedPacked, characters),
        }
    }

    const fn ans(characters: usize) -> FieldSpec {
        FieldSpec::fixed(Kind::Text, Encoding::Latin1, characters).filled(Fill::SpaceRight)
    }

    const fn ans_var(self, digits: u8, max: usize) -> FieldSpec {
        FieldSpec::variable(Kind::Text, Encoding::Latin1, self.prefix(digits), max)
    }

    const fn b(self, octets: usize) -> FieldSpec {
        match self {
            Self::Ascii => FieldSpec::fixed(Kind::Binary, Encoding::HexAscii, octets * 2),
            Self::Packed => FieldSpec::fixed(Kind::Binary, Encoding::Octets, octets),
        }
    }

    const fn b_var(self, max: usize) -> FieldSpec {
        FieldSpec::variable(Kind::Binary, Encoding::Octets, self.prefix(3), max)
    }
}

#[rustfmt::skip]
const fn primary(coding: Coding) -> [(u8, FieldSpec); 63] {[
    (2, coding.n_var(19).named("primary account number", "").sensitive(Sensitivity::Pan)),
    (3, coding.n(6).named("processing code", "")),
    (4, coding.n(12).named("amount, transaction", "")),
    (5, coding.n(12).named("amount, settlement", "")),
    (6, coding.n(12).named("amount, cardholder billing", "")),
    (7, coding.n(10).named("transmission date and time", "")),
    (8, coding.n(8).named("amount, cardholder billing fee", "")),
    (9, coding.n(8).named("conversion rate, settlement", "")),
    (10, coding.n(8).named("conversion rate, cardholder billing", "")),
    (11, coding.n(6).named("system trace audit number", "")),
    (12, coding.n(6).named("time, local transaction", "")),
    (13, coding.n(4).named("date, local transaction", "")),
    (14, coding.n(4).named("date, expiration", "").sensitive(Sensitivity::AccountData)),
    (15, coding.n(4).named("date, settlement", "")),
    (16, coding.n(4).named("date, conversion", "")),
    (17, coding.n(4).named("date, capture", "")),
    (18, coding.n(4).named("merchant type", "")),
    (19, coding.n(3).named("acquiring institution country code", "")),
    (20, coding.n(3).named("PAN extended country code", "")),
    (21, coding.n(3).named("forwarding institution country code", "")),
    (22, coding.n(3).named("POS entry mode", "")),
    (23, coding.n(3).named("card sequence number", "")),
    (24, coding.n(3).named("network international identifier", "")),
    (25, coding.n(2).named("POS condition code", "")),
    (26, coding.n(2).named("POS PIN capture code", "")),
    (27, coding.n(1).named("authorisation identification response length", "")),
    (28, coding.x_n(9).named("amount, transaction fee", "")),
    (29, coding.x_n(9).named("amount, settlement fee", "")),
    (30, coding.x_n(9).named("amount, transaction processing fee", "")),
    (31, coding.x_n(9).named("amount, settlement processing fee", "")),
    (32, coding.n_var(11).named("acquiring institution id", "")),
    (33, coding.n_var(11).named("forwarding institution id", "")),
    (34, coding.ans_var(2, 28).named("PAN extended", "").sensitive(Sensitivity::Pan)),
    (35, coding.z_var(37).named("track 2 data", "").sensitive(Sensitivity::Track)),
    (36, coding.ans_var(3, 104).named("track 3 data", "").sensitive(Sensitivity::Track)),
    (37, Coding::ans(12).named("retrieval reference number", "")),
    (38, Coding::ans(6).named("authorisation identification response", "")),
    (39, Coding::ans(2).named("response code", "")),
    (40, Coding::ans(3).named("service restriction code", "")),
    (41, Coding::ans(8).named("card acceptor terminal id", "")),
    (42, Coding::ans(15).named("card acceptor id", "")),
    (43, Coding::ans(40).named("card acceptor name and location", "")),
    (44, coding.ans_var(2, 25).named("additional response data", "")),
    (45, coding.ans_var(2, 76).named("track 1 data", "").sensitive(Sensitivity::Track)),
    (46, coding.ans_var(3, 999).named("additional data, ISO", "").sensitive(Sensitivity::Opaque)),
    (47, coding.ans_var(3, 999).named("additional data, national", "").sensitive(Sensitivity::Opaque)),
    (48, coding.ans_var(3, 999).named("additional data, private", "").sensitive(Sensitivity::Opaque)),
    (49, Coding::ans(3).named("currency code, transaction", "")),
    (50, Coding::ans(3).named("currency code, settlement", "")),
    (51, Coding::ans(3).named("currency code, cardholder billing", "")),
    (52, coding.b(8).named("PIN data", "").sensitive(Sensitivity::Pin)),
    (53, coding.n(16).named("security related control information", "")),
    (54, coding.ans_var(3, 120).named("additional amounts", "")),
    (55, coding.b_var(999).named("reserved, ISO (IC data)", "").sensitive(Sensitivity::AccountData)),
    (56, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (57, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (58, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (59, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (60, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (61, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (62, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (63, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (64, coding.b(8).named("message authentication code", "")),
]}

#[rustfmt::skip]
const fn secondary(coding: Coding) -> [(u8, FieldSpec); 64] {[
    (65, coding.b(1).named("extended bitmap indicator", "")),
    (66, coding.n(1).named("settlement code", "")),
    (67, coding.n(2).named("extended payment code", "")),
    (68, coding.n(3).named("receiving institution country code", "")),
    (69, coding.n(3).named("settlement institution country code", "")),
    (70, coding.n(3).named("network management information code", "")),
    (71, coding.n(4).named("message number", "")),
    (72, coding.n(4).named("message number, last", "")),
    (73, coding.n(6).named("date, action", "")),
    (74, coding.n(10).named("credits, number", "")),
    (75, coding.n(10).named("credits, reversal number", "")),
    (76, coding.n(10).named("debits, number", "")),
    (77, coding.n(10).named("debits, reversal number", "")),
    (78, coding.n(10).named("transfers, number", "")),
    (79, coding.n(10).named("transfers, reversal number", "")),
    (80, coding.n(10).named("inquiries, number", "")),
    (81, coding.n(10).named("authorisations, number", "")),
    (82, coding.n(12).named("credits, processing fee amount", "")),
    (83, coding.n(12).named("credits, transaction fee amount", "")),
    (84, coding.n(12).named("debits, processing fee amount", "")),
    (85, coding.n(12).named("debits, transaction fee amount", "")),
    (86, coding.n(16).named("credits, amount", "")),
    (87, coding.n(16).named("credits, reversal amount", "")),
    (88, coding.n(16).named("debits, amount", "")),
    (89, coding.n(16).named("debits, reversal amount", "")),
    (90, coding.n(42).named("original data elements", "")),
    (91, Coding::ans(1).named("file update code", "")),
    (92, Coding::ans(2).named("file security code", "")),
    (93, Coding::ans(5).named("response indicator", "")),
    (94, Coding::ans(7).named("service indicator", "")),
    (95, Coding::ans(42).named("replacement amounts", "")),
    (96, coding.b(8).named("message security code", "").sensitive(Sensitivity::Key)),
    (97, coding.x_n(17).named("amount, net settlement", "")),
    (98, Coding::ans(25).named("payee", "")),
    (99, coding.n_var(11).named("settlement institution id", "")),
    (100, coding.n_var(11).named("receiving institution id", "")),
    (101, coding.ans_var(2, 17).named("file name", "")),
    (102, coding.ans_var(2, 28).named("account identification 1", "").sensitive(Sensitivity::Opaque)),
    (103, coding.ans_var(2, 28).named("account identification 2", "").sensitive(Sensitivity::Opaque)),
    (104, coding.ans_var(3, 100).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (105, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (106, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (107, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (108, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (109, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (110, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (111, coding.ans_var(3, 999).named("reserved, ISO", "").sensitive(Sensitivity::Opaque)),
    (112, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (113, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (114, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (115, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (116, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (117, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (118, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (119, coding.ans_var(3, 999).named("reserved, national", "").sensitive(Sensitivity::Opaque)),
    (120, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (121, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (122, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (123, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (124, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (125, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (126, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (127, coding.ans_var(3, 999).named("reserved, private", "").sensitive(Sensitivity::Opaque)),
    (128, coding.b(8).named("message authentication code", "")),
]}
