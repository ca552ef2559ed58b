//! ISO 8583: layouts described in the vector file itself, run through the product's engine.
//!
//! A refusal must name the published element. Published offsets follow two habits: the first byte of the refused
//! element, or the first byte behind it; the engine reports both ends, and either may be the published one.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, hex, judge, refused, unknown};
use iso8583::bitmap::{BitmapCoding, BitmapExtent, BitmapSpec};
use iso8583::dialect::unionpay::MAC_FIELD;
use iso8583::spec::{Kind, NibbleAlphabet, OddPad};
use iso8583::vector_spec::{
    FieldDescription, PyFieldDescription, PySpecDescription, SpecDescription, frame_prefix, length_prefix,
};
use iso8583::{
    DecodeError, Encoder, Field, FieldPath, FieldSpec, LengthPrefix, Message, Reader, Spec, decode, decode_prefix,
    frame,
};
use paycrypto::mac::{unionpay_ecb_mac, x9_9_mac, x9_19_mac};
use paycrypto::{Sm4Key, TdesKey};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest length in a vector that gives no maximum.
const NO_MAXIMUM: usize = usize::MAX;

/// Runs one case. `specs` holds the cases of type `spec` by name.
pub fn run(case: &Value, specs: &BTreeMap<String, Value>) -> Outcome {
    let case = Case(case);
    let check = match case.kind() {
        "spec" => layout(case.inside("spec"), case).map(|_| ()),
        "message" => return refusal_or(case, message(case, specs)),
        "pyiso8583-decode" => return refusal_or(case, py_decode(case)),
        "pyiso8583-encode" => return refusal_or(case, py_encode(case)),
        "length-prefix" => length_write(case),
        "length-prefix-decode" => length_read(case),
        "bcd-decode" => bcd(case),
        "bitmap" => bitmap(case),
        "frame-length" => frame_length(case),
        "frame" => whole_frame(case),
        "truncation-sweep" => truncations(case, specs),
        "byte-flip-sweep" => flips(case, specs),
        _ => unknown(case),
    };
    judge(case, check)
}

/// What the engine refused, in the vocabulary of the vector.
struct Refusal {
    element: String,
    ends: Option<(usize, usize)>,
    why: String,
}

/// The result of a check that may end with a refusal that has to be compared.
type Compared = Result<Result<(), Refusal>, Problem>;

fn refusal_or(case: Case<'_>, compared: Compared) -> Outcome {
    let check = match compared {
        Err(problem) => Err(problem),
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => match disagreement(case, &refusal) {
            Some(why) => return Outcome::Failed(why),
            None => Err(Problem::Refused(refusal.why)),
        },
    };
    judge(case, check)
}

fn disagreement(case: Case<'_>, refusal: &Refusal) -> Option<String> {
    let published = case.text("error_field").ok()?;
    if published != refusal.element {
        return Some(format!("refused field {}, published {published} ({})", refusal.element, refusal.why));
    }
    let (published, (start, end)) = (case.number("error_offset").ok()?, refusal.ends?);
    let agrees = [start, end].iter().any(|&offset| offset as u64 == published);
    (!agrees).then(|| format!("refused at {start}..{end}, published offset {published} ({})", refusal.why))
}

fn of_decode(error: &DecodeError) -> Refusal {
    Refusal { element: error.path.to_string(), ends: Some((error.offset, error.end)), why: error.to_string() }
}

// The language of `spec` objects.

fn small(case: Case<'_>, name: &str) -> Check<u8> {
    let number = case.number(name)?;
    u8::try_from(number).map_err(|_| Problem::Unrunnable(format!("{name} is {number}")))
}

fn size(case: Case<'_>, name: &str) -> Check<usize> {
    let number = case.number(name)?;
    usize::try_from(number).map_err(|_| Problem::Unrunnable(format!("{name} is {number}")))
}

fn layout(spec: Case<'_>, case: Case<'_>) -> Check<Spec> {
    let mut fields = Vec::new();
    let described = spec.0["fields"].as_object().ok_or_else(|| Problem::Unrunnable("no fields".to_owned()))?;
    for (number, field) in described {
        let number = number.parse().map_err(|_| Problem::Unrunnable(format!("field number {number}")))?;
        fields.push((number, field_description(Case(field))?));
    }
    let description = SpecDescription {
        name: case.text("name").unwrap_or_default(),
        header_octets: if spec.has("header") { size(spec, "header")? } else { 0 },
        mti: spec.text("mti")?,
        bitmap: spec.text("bitmap")?,
        single_bitmap: spec.0["single_bitmap"] == true,
        always_double: spec.0["bitmap_always16"] == true,
        fields,
    };
    description.build().map_err(refused)
}

fn field_description(field: Case<'_>) -> Check<FieldDescription<'_>> {
    let fixed = match field.text("t")? {
        "fixed" => true,
        "var" => false,
        other => return Err(Problem::Unrunnable(format!("field type {other}"))),
    };
    Ok(FieldDescription {
        fixed,
        length: size(field, if fixed { "len" } else { "max" })?,
        digits: if fixed { 0 } else { small(field, "digits")? },
        encoding: field.text("enc")?,
        length_encoding: if fixed { "" } else { field.text("len_enc")? },
        odd: field.text("odd").ok(),
        digits_only: field.0["cls"] == "n",
    })
}

fn named_layout(case: Case<'_>, specs: &BTreeMap<String, Value>) -> Check<Spec> {
    let name = case.text("spec")?;
    let described = specs.get(name).ok_or_else(|| Problem::Unrunnable(format!("no spec named {name}")))?;
    layout(Case(described).inside("spec"), Case(described))
}

fn message(case: Case<'_>, specs: &BTreeMap<String, Value>) -> Compared {
    let spec = named_layout(case, specs)?;
    let data = case.bytes("data")?;
    let message = match decode(&spec, &data) {
        Ok(message) => message,
        Err(error) => return Ok(Err(of_decode(&error))),
    };
    if case.has("expected") {
        expect_message(case.inside("expected"), &message)?;
    }
    if case.0["roundtrip"] == true {
        round_trip(&message, &data)?;
    }
    if case.has("mac_key") {
        expect_mac(case, &message)?;
    }
    if case.has("frame_length_ok") {
        let whole = frame::exactly(iso8583::unionpay::LENGTH_PREFIX, NO_MAXIMUM, &data).is_ok();
        expect("frame_length_ok", &whole, &(case.0["frame_length_ok"] == true))?;
    }
    Ok(Ok(()))
}

fn expect<T: PartialEq + core::fmt::Debug + ?Sized>(name: &str, computed: &T, published: &T) -> Check {
    if computed == published {
        return Ok(());
    }
    Err(Problem::Differs(format!("{name}: computed {computed:?}, published {published:?}")))
}

fn mti_text(message: &Message<'_>) -> String {
    message.mti().iter().map(|&character| char::from(character)).collect()
}

fn bitmap_hex(message: &Message<'_>) -> String {
    let bitmap = message.bitmap();
    (0..bitmap.group_count()).map(|index| format!("{:016X}", bitmap.group(index))).collect()
}

fn expect_message(expected: Case<'_>, message: &Message<'_>) -> Check {
    if expected.has("header") {
        let header = message.header().map_or_else(String::new, |field| field.text());
        expected.expect_text("header", &header)?;
    }
    expected.expect_text("mti", &mti_text(message))?;
    expected.expect_text("bitmap", &bitmap_hex(message))?;
    expect_fields(&expected.0["fields"], message)
}

fn expect_fields(published: &Value, message: &Message<'_>) -> Check {
    let published = published.as_object().ok_or_else(|| Problem::Unrunnable("no expected fields".to_owned()))?;
    for field in message.fields() {
        let path = field.path().to_string();
        let value = published.get(&path).and_then(Value::as_str);
        expect(&path, &Some(field.text().as_str()), &value)?;
    }
    expect("number of fields", &message.fields().count(), &published.len())
}

/// Once from values, as a program would build it, and once copying each field's bytes. The first may differ from what
/// came only where the wire holds something that values do not: a filler nibble, the case of a hexadecimal bitmap.
fn round_trip(message: &Message<'_>, data: &[u8]) -> Check {
    let mut copied = Vec::new();
    message.encode(&mut copied).map_err(refused)?;
    let header = message.header().map(|field| field.characters().collect::<Vec<u8>>());
    let mut built = Vec::new();
    let mut encoder =
        Encoder::with_header(message.spec(), header.as_deref(), &message.mti(), &mut built).map_err(refused)?;
    encoder.force_bitmap(message.bitmap().group_count(), message.bitmap().contains(1));
    for field in message.fields() {
        encoder.text(field.number_in_message(), &field.text()).map_err(refused)?;
    }
    encoder.finish();
    if built != data {
        let again = decode(message.spec(), &built).map_err(refused)?;
        let texts = |message: &Message<'_>| message.fields().map(|field| field.text()).collect::<Vec<_>>();
        expect("values after a round trip", &texts(&again), &texts(message))?;
    }
    expect("round trip", &hex(&copied), &hex(data))
}

/// Field 64 over everything before it, in one of the algorithms that acquirers use; the wire does not say which.
fn expect_mac(case: Case<'_>, message: &Message<'_>) -> Check {
    let key = case.bytes("mac_key")?;
    let input = message.body_before(MAC_FIELD);
    let published = message.field(MAC_FIELD).map_or(&[][..], |field| field.bytes());
    let des = TdesKey::new(&key).map_err(refused)?;
    let mut computed = vec![unionpay_ecb_mac(&des, input), x9_9_mac(&des, input)];
    computed.extend(x9_19_mac(&des, input).ok());
    computed.extend(Sm4Key::new(&key).ok().map(|sm4| unionpay_ecb_mac(&sm4, input)));
    if computed.iter().any(|mac| mac == published) {
        return Ok(());
    }
    Err(Problem::Differs(format!("MAC: computed {}, published {}", hex(&computed[0]), hex(published))))
}

// The language of `pyiso8583-…` objects.

fn py_field(field: Case<'_>) -> Check<PyFieldDescription<'_>> {
    Ok(PyFieldDescription {
        data_enc: field.text("data_enc")?,
        len_enc: field.text("len_enc")?,
        len_type: small(field, "len_type")?,
        max_len: size(field, "max_len")?,
        count_nibbles: field.0["len_count"] == "nibbles",
        left_pad: field.text("left_pad").ok(),
        right_pad: field.text("right_pad").ok(),
    })
}

/// The layout, or the refusal of a layout that names an unknown coding.
fn py_layout(case: Case<'_>) -> Check<Result<Spec, Refusal>> {
    let spec = case.inside("spec");
    let described = spec.0.as_object().ok_or_else(|| Problem::Unrunnable("no spec".to_owned()))?;
    let mut fields = Vec::new();
    for (name, field) in described {
        if let Ok(number) = name.parse() {
            fields.push((number, py_field(Case(field))?));
        }
    }
    fields.sort_by_key(|(number, _)| *number);
    let description = PySpecDescription {
        header: if spec.has("h") { Some(py_field(spec.inside("h"))?) } else { None },
        mti: py_field(spec.inside("t"))?,
        primary: py_field(spec.inside("p"))?,
        fields,
    };
    Ok(description.build().map_err(|error| Refusal {
        element: py_name(error.path, None),
        ends: None,
        why: error.to_string(),
    }))
}

/// The name of an element; what follows the message is blamed on the last element before it.
fn py_name(path: FieldPath, last: Option<&Message<'_>>) -> String {
    match path {
        FieldPath::Header => "h".to_owned(),
        FieldPath::Mti => "t".to_owned(),
        FieldPath::Bitmap(1) => "p".to_owned(),
        FieldPath::Bitmap(_) => "1".to_owned(),
        FieldPath::Trailer => match last {
            Some(message) => match message.fields().last() {
                Some(field) => field.path().to_string(),
                None if message.bitmap().group_count() > 1 => "1".to_owned(),
                None => "p".to_owned(),
            },
            None => path.to_string(),
        },
        _ => path.to_string(),
    }
}

fn py_decode(case: Case<'_>) -> Compared {
    let spec = match py_layout(case)? {
        Ok(spec) => spec,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let data = case.bytes("data")?;
    let message = match decode(&spec, &data) {
        Ok(message) => message,
        Err(error) => {
            let before = decode_prefix(&spec, &data, &mut Reader::new(&data)).ok();
            let element = py_name(error.path, before.as_ref());
            return Ok(Err(Refusal { element, ..of_decode(&error) }));
        }
    };
    let published = case.0["expected"].as_object().ok_or_else(|| Problem::Unrunnable("no expected".to_owned()))?;
    let computed = py_values(&message);
    for (name, value) in &computed {
        expect(name, &Some(value.as_str()), &published.get(name).and_then(Value::as_str))?;
    }
    expect("number of elements", &computed.len(), &published.len())?;
    round_trip(&message, &data)?;
    Ok(Ok(()))
}

fn py_values(message: &Message<'_>) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> =
        message.fields().map(|field| (field.path().to_string(), field.text())).collect();
    if let Some(header) = message.header() {
        values.insert("h".to_owned(), header.text());
    }
    values.insert("t".to_owned(), mti_text(message));
    let groups = message.bitmap().group_count();
    let text = |index: usize| match message.spec().bitmap.codings.get(index) {
        Some(BitmapCoding::HexAscii) => String::from_utf8_lossy(message.bitmap_wire(index)).into_owned(),
        _ => format!("{:016X}", message.bitmap().group(index)),
    };
    values.insert("p".to_owned(), text(0));
    if groups > 1 {
        values.insert("1".to_owned(), (1..groups).map(text).collect());
    }
    values
}

fn py_encode(case: Case<'_>) -> Compared {
    let spec = match py_layout(case)? {
        Ok(spec) => spec,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut out = Vec::new();
    if let Err(refusal) = py_build(case.inside("fields"), &spec, &mut out) {
        return Ok(Err(refusal));
    }
    if case.has("expected") {
        case.expect_bytes("expected", &out)?;
        let again = decode(&spec, &out).map_err(refused)?;
        round_trip(&again, &out)?;
    }
    Ok(Ok(()))
}

fn py_build(fields: Case<'_>, spec: &Spec, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let refuse = |error: iso8583::EncodeError| Refusal {
        element: match error.path {
            // A number that no bitmap announces is the bitmap's fault in this language.
            FieldPath::Field(number) if number == 0 || number > spec.bitmap.max_field() => "p".to_owned(),
            path => py_name(path, None),
        },
        ends: None,
        why: error.to_string(),
    };
    let mut values = Vec::new();
    for (name, value) in fields.0.as_object().into_iter().flatten() {
        match name.parse::<u16>() {
            Ok(number) => values.push((u8::try_from(number).unwrap_or(u8::MAX), value)),
            Err(_) => continue,
        }
    }
    values.sort_by_key(|(number, _)| *number);
    let header = fields.text("h").ok().map(str::as_bytes);
    let mti: Vec<u8> =
        fields.text("t").unwrap_or_default().chars().map(|c| u8::try_from(c).unwrap_or(u8::MAX)).collect();
    let mut encoder = Encoder::with_header(spec, header, &mti, out).map_err(refuse)?;
    for (number, value) in values {
        if spec.bitmap.is_presence_bit(number) {
            continue;
        }
        encoder.text(number, value.as_str().unwrap_or_default()).map_err(refuse)?;
    }
    encoder.finish();
    Ok(())
}

// Parts of messages.

fn prefix(case: Case<'_>) -> Check<(LengthPrefix, usize)> {
    let coding = case.text("coding")?;
    let prefix = length_prefix(coding, small(case, "digits")?)
        .ok_or_else(|| Problem::Unrunnable(format!("length coding {coding}")))?;
    let max = if case.has("max") { size(case, "max")? } else { NO_MAXIMUM };
    Ok((prefix, max))
}

fn length_write(case: Case<'_>) -> Check {
    let (prefix, max) = prefix(case)?;
    let length = size(case, "length")?;
    let mut out = Vec::new();
    prefix.write(length, max, FieldPath::Length, &mut out).map_err(refused)?;
    case.expect_bytes("expected", &out)?;
    let read = prefix.read(&mut Reader::new(&out), max, FieldPath::Length).map_err(refused)?;
    expect("length read back", &read, &length)
}

fn length_read(case: Case<'_>) -> Check {
    let (prefix, max) = prefix(case)?;
    let data = case.bytes("data")?;
    let read = prefix.read(&mut Reader::new(&data), max, FieldPath::Length).map_err(refused)?;
    let name = if case.has("expected") { "expected" } else { "length" };
    expect(name, &(read as u64), &case.number(name)?)
}

fn bcd(case: Case<'_>) -> Check {
    let odd = match case.text("justification")? {
        "right-justified" => OddPad::Left(0),
        "left-justified" => OddPad::Right(0),
        other => return Err(Problem::Unrunnable(format!("justification {other}"))),
    };
    let digits = size(case, "digits")?;
    let packed = iso8583::spec::Encoding::Packed(NibbleAlphabet::Decimal);
    let spec = FieldSpec::fixed(Kind::Numeric, packed, digits).odd(odd);
    let data = case.bytes("data")?;
    // The field takes the bytes of its digits; what follows them belongs to the next field.
    let own = data.get(..digits.div_ceil(2)).unwrap_or(&data);
    let field = Field::parse(FieldPath::Field(0), &spec, own).map_err(refused)?;
    case.expect_text("expected", &field.text())
}

fn bitmap(case: Case<'_>) -> Check {
    let spec = BitmapSpec::new(BitmapCoding::HexAscii, BitmapExtent::Triple);
    let mut reader = Reader::new(case.text("bitmap")?.as_bytes());
    let bitmap = spec.read(&mut reader).map_err(refused)?;
    reader.finish().map_err(refused)?;
    let numbers = |presence: bool| -> Value {
        bitmap.iter().filter(|&number| spec.is_presence_bit(number) == presence).collect()
    };
    expect("fields", &numbers(false), &case.0["fields"])?;
    if case.has("presence_bits") { expect("presence_bits", &numbers(true), &case.0["presence_bits"]) } else { Ok(()) }
}

fn frame_length(case: Case<'_>) -> Check {
    let coding = case.text("coding")?;
    let prefix = frame_prefix(coding).ok_or_else(|| Problem::Unrunnable(format!("length coding {coding}")))?;
    let read = |data: &[u8]| prefix.read(&mut Reader::new(data), NO_MAXIMUM, FieldPath::Length).map_err(refused);
    if case.has("data") {
        let length = read(&case.bytes("data")?)?;
        let name = if case.has("length") { "length" } else { "expected" };
        return expect(name, &(length as u64), &case.number(name)?);
    }
    let length = size(case, "length")?;
    let mut out = Vec::new();
    prefix.write(length, NO_MAXIMUM, FieldPath::Length, &mut out).map_err(refused)?;
    case.expect_bytes("expected", &out)?;
    expect("length read back", &read(&out)?, &length)
}

fn whole_frame(case: Case<'_>) -> Check {
    let data = case.bytes("data")?;
    let prefix = iso8583::unionpay::LENGTH_PREFIX;
    let progress = frame::split(prefix, NO_MAXIMUM, &data).map_err(refused)?;
    let complete = matches!(progress, frame::Progress::Complete { total, .. } if total == data.len());
    expect("complete", &Value::Bool(complete), &case.0["complete"])?;
    expect("exactly one frame", &frame::exactly(prefix, NO_MAXIMUM, &data).is_ok(), &complete)
}

fn truncations(case: Case<'_>, specs: &BTreeMap<String, Value>) -> Check {
    let spec = named_layout(case, specs)?;
    let data = case.bytes("data")?;
    decode(&spec, &data).map_err(refused)?;
    let accepted: Vec<u64> =
        case.0["accepted_prefix_lengths"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    for length in 0..data.len() {
        let result = decode(&spec, &data[..length]);
        let name = format!("prefix of {length} bytes accepted");
        expect(&name, &result.is_ok(), &accepted.contains(&(length as u64)))?;
        if let Err(error) = result {
            expect(&format!("offset within {length} bytes"), &(error.offset <= length), &true)?;
        }
    }
    Ok(())
}

fn flips(case: Case<'_>, specs: &BTreeMap<String, Value>) -> Check {
    let spec = named_layout(case, specs)?;
    let original = case.bytes("data")?;
    decode(&spec, &original).map_err(refused)?;
    let flips = case.0["flips"].as_array().ok_or_else(|| Problem::Unrunnable("no flips".to_owned()))?;
    for flip in flips.iter().map(Case) {
        let [byte] = flip.array("byte")?;
        let offset = size(flip, "offset")?;
        let mut data = original.clone();
        *data.get_mut(offset).ok_or_else(|| Problem::Unrunnable(format!("offset {offset}")))? = byte;
        let result = if decode(&spec, &data).is_ok() { "accepted" } else { "refused" };
        expect(&format!("flip of byte {offset} to {byte:02X}"), result, flip.text("result")?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn specs() -> BTreeMap<String, Value> {
        let field = |t: &str| json!({"t": t, "len": 6, "max": 19, "digits": 2, "enc": "bcd", "len_enc": "bcd", "odd": "right0"});
        let spec = json!({"mti": "bcd", "bitmap": "binary", "single_bitmap": true,
            "fields": {"2": field("var"), "3": field("fixed")}});
        BTreeMap::from([("small".to_owned(), json!({"type": "spec", "name": "small", "spec": spec}))])
    }

    fn accepted(fields: Value) -> Value {
        json!({"type": "message", "spec": "small", "data": "02006000000000000000031230000001", "roundtrip": true,
            "expected": {"mti": "0200", "bitmap": "6000000000000000", "fields": fields}})
    }

    fn malformed(field: &str, offset: u64) -> Value {
        json!({"type": "message", "spec": "small", "data": "020060000000000000001A1230000001", "malformed": true,
            "expect": "error", "error_field": field, "error_offset": offset})
    }

    #[test]
    fn a_layout_that_nobody_compiled_in_runs() {
        assert_eq!(run(&accepted(json!({"2": "123", "3": "000001"})), &specs()), Outcome::Passed);
        assert_eq!(run(&malformed("2", 10), &specs()), Outcome::Passed);
    }

    #[test]
    fn wrong_expectations_are_caught() {
        let cases = [
            accepted(json!({"2": "124", "3": "000001"})),
            accepted(json!({"2": "123"})),
            accepted(json!({"2": "123", "3": "000001", "4": "0"})),
            malformed("3", 10),
            malformed("2", 9),
            json!({"type": "message", "spec": "another", "data": ""}),
            json!({"type": "length-prefix", "coding": "bcd", "digits": 3, "length": 200, "expected": "0201"}),
            json!({"type": "bitmap", "bitmap": "4000000000000000", "fields": [3]}),
            json!({"type": "bitmap", "bitmap": "4000000000000000", "fields": [2], "malformed": true}),
            json!({"type": "frame", "data": "000100", "complete": false}),
        ];
        for case in cases {
            assert!(matches!(run(&case, &specs()), Outcome::Failed(_)), "{case}");
        }
    }
}
