//! Area ber-tlv: tags, objects, lists and the fixed structures inside them.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, hex, judge, refused, unknown};
use serde_json::Value;
use tlv::{
    Afl, Atr, Builder, Content, CvmList, DirectoryEntry, Dol, Fci, GpoResponse, LengthForm, Node, Tag, TlvError, ber,
    directory, oid,
};

/// Runs one case.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    if let Some(outcome) = misplaced_error(case) {
        return outcome;
    }
    let check = match case.kind() {
        "decode" => decode(case),
        "encode" => encode(case, LengthForm::Definite),
        "encode-one-byte-length" => encode(case, LengthForm::OneByte),
        "encode-fixed" => encode_fixed(case),
        "encode-large" => encode_large(case),
        "tag" => tag(case),
        "dol" => dol(case),
        "dol-build" => dol_build(case),
        "dol-split" => dol_split(case),
        "afl" => afl(case),
        "gpo-response" => gpo_response(case),
        "ppse" => ppse(case),
        "fci" => fci(case),
        "cvm-list" => cvm_list(case),
        "atr" => atr(case),
        "oid" => object_identifier(case),
        "truncation-sweep" => truncation_sweep(case),
        _ => unknown(case),
    };
    judge(case, check)
}

fn differs(what: &str, computed: impl core::fmt::Debug, published: impl core::fmt::Debug) -> Problem {
    Problem::Differs(format!("{what}: computed {computed:?}, published {published:?}"))
}

pub(crate) fn expect<T: PartialEq + core::fmt::Debug>(what: &str, computed: T, published: T) -> Check {
    if computed == published { Ok(()) } else { Err(differs(what, computed, published)) }
}

/// A refused decoding must also name the published offset and tag.
fn misplaced_error(case: Case<'_>) -> Option<Outcome> {
    if case.kind() != "decode" || !case.has("error_offset") {
        return None;
    }
    let input = case.bytes("input").ok()?;
    let error = ber::parse(&input).err()?;
    let offset = case.number("error_offset").ok()?;
    let tag = case.text("error_tag").ok();
    let named = error.tag().or_else(|| last_tag(&error, &input)).map(|tag| tag.to_string());
    let agrees = error.offset() as u64 == offset && (tag.is_none() || named.as_deref() == tag);
    (!agrees)
        .then(|| Outcome::Failed(format!("refused at {} ({named:?}), published {offset} ({tag:?})", error.offset())))
}

/// Errors inside a tag name no tag; the published tag is then what was there of it.
fn last_tag(error: &TlvError, input: &[u8]) -> Option<Tag> {
    let byte = *input.get(error.offset().checked_sub(1)?)?;
    Some(Tag::new(u32::from(byte)))
}

pub(crate) fn tag_of(text: &str) -> Check<Tag> {
    let number = u32::from_str_radix(text, 16).map_err(|_| Problem::Unrunnable(format!("tag {text}")))?;
    Ok(Tag::new(number))
}

fn tree(nodes: &[Node<'_>]) -> Value {
    nodes
        .iter()
        .map(|node| match &node.content {
            Content::Primitive(value) => serde_json::json!({"tag": node.tag.to_string(), "value": hex(value)}),
            Content::Constructed(children) => {
                serde_json::json!({"tag": node.tag.to_string(), "children": tree(children)})
            }
        })
        .collect()
}

fn decode(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let nodes = ber::parse(&input).map_err(refused)?;
    if case.has("expected") {
        expect("objects", tree(&nodes), case.0["expected"].clone())?;
    }
    match case.0["canonical_encoding"].as_bool() {
        Some(canonical) => expect("canonical encoding", ber::encode(&nodes) == input, canonical),
        None => Ok(()),
    }
}

fn build_tree(builder: &mut Builder, form: LengthForm, nodes: &Value) -> Check {
    for node in nodes.as_array().map(Vec::as_slice).unwrap_or_default() {
        let node = Case(node);
        let tag = tag_of(node.text("tag")?)?;
        if node.has("children") {
            let mut inner = Builder::new();
            build_tree(&mut inner, form, &node.0["children"])?;
            builder.push_as(form, tag, inner.as_bytes());
        } else {
            builder.push_as(form, tag, &node.bytes("value")?);
        }
    }
    Ok(())
}

fn encode(case: Case<'_>, form: LengthForm) -> Check {
    let mut builder = Builder::new();
    build_tree(&mut builder, form, &case.0["tree"])?;
    case.expect_bytes("expected", builder.as_bytes())
}

fn encode_fixed(case: Case<'_>) -> Check {
    let mut builder = Builder::new();
    builder.push_as(LengthForm::TwoByteTag, tag_of(case.text("tag")?)?, &case.bytes("value")?);
    case.expect_bytes("expected", builder.as_bytes())
}

fn encode_large(case: Case<'_>) -> Check {
    let length = usize::try_from(case.number("value_length")?).map_err(refused)?;
    let [fill] = case.array::<1>("value_fill")?;
    let mut builder = Builder::new();
    builder.push(tag_of(case.text("tag")?)?, &vec![fill; length]);
    let bytes = builder.into_bytes();
    case.expect_bytes("expected_header", &bytes[..bytes.len() - length])?;
    let nodes = ber::parse(&bytes).map_err(refused)?;
    expect("objects read back", nodes.len(), 1)
}

fn tag(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let tag = Tag::from_bytes(&input).map_err(refused)?;
    expect("bytes", tag.encoded_len(), input.len())?;
    if case.has("tag_class") {
        case.expect_text("tag_class", tag.class().name())?;
    }
    if case.has("constructed") {
        expect("constructed", Some(tag.is_constructed()), case.0["constructed"].as_bool())?;
    }
    if case.has("length") {
        expect("length", tag.encoded_len() as u64, case.number("length")?)?;
    }
    Ok(())
}

fn dol(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let dol = Dol::parse(&input).map_err(refused)?;
    let entries: Value = dol
        .entries()
        .iter()
        .map(|entry| serde_json::json!({"tag": entry.tag.to_string(), "length": entry.length}))
        .collect();
    if case.has("expected") {
        expect("entries", entries, case.0["expected"].clone())?;
    }
    if case.has("total_length") {
        expect("total length", dol.total_length() as u64, case.number("total_length")?)?;
    }
    expect("encoding", hex(&dol.encode()), hex(&input))
}

fn source(case: Case<'_>, name: &str) -> Check<Vec<(Tag, Vec<u8>)>> {
    let Some(object) = case.0[name].as_object() else {
        return Ok(Vec::new());
    };
    object.keys().map(|key| Ok((tag_of(key)?, case.inside(name).bytes(key)?))).collect()
}

fn dol_build(case: Case<'_>) -> Check {
    let dol = Dol::parse(&case.bytes("dol")?).map_err(refused)?;
    let mut objects = source(case, "first_source")?;
    objects.extend(source(case, "second_source")?);
    let data = dol.build(|tag| objects.iter().find(|(known, _)| *known == tag).map(|(_, value)| value.as_slice()));
    case.expect_bytes("expected", &data)
}

fn dol_split(case: Case<'_>) -> Check {
    let dol = Dol::parse(&case.bytes("dol")?).map_err(refused)?;
    let data = case.bytes("data")?;
    let parts: Value = dol
        .split(&data)
        .map_err(refused)?
        .iter()
        .map(|(tag, value)| serde_json::json!({"tag": tag.to_string(), "value": hex(value)}))
        .collect();
    expect("objects", parts, case.0["expected"].clone())
}

pub(crate) fn afl_entries(afl: Option<&Afl>) -> Value {
    let entries = afl.map(Afl::entries).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "sfi": entry.sfi, "first": entry.first_record, "last": entry.last_record, "oda": entry.signed_records,
            })
        })
        .collect()
}

fn afl(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let afl = Afl::parse(&input).map_err(refused)?;
    expect("encoding", hex(&afl.encode()), hex(&input))?;
    if !case.has("expected") {
        return Ok(());
    }
    expect("entries", afl_entries(Some(&afl)), case.0["expected"].clone())
}

fn gpo_response(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let response = GpoResponse::parse(&input).map_err(refused)?;
    case.expect_bytes_if_given("aip", &response.aip)?;
    if !case.has("afl") {
        return Ok(());
    }
    expect("afl", afl_entries(response.afl.as_ref()), case.0["afl"].clone())
}

/// Compares directory entries, field by field as far as they are published.
pub(crate) fn expect_entries(computed: &[DirectoryEntry], published: &Value) -> Check {
    let published = published.as_array().map(Vec::as_slice).unwrap_or_default();
    expect("entries", computed.len(), published.len())?;
    computed.iter().zip(published).try_for_each(|(entry, published)| {
        let published = Case(published);
        published.expect_bytes("aid", &entry.aid)?;
        let priority = published.0["priority"].as_u64();
        expect("priority", entry.priority.map(u64::from), priority)?;
        if published.has("label") {
            let label = String::from_utf8_lossy(entry.label.as_deref().unwrap_or_default()).into_owned();
            published.expect_text("label", &label)?;
        }
        let confirmation = published.0["confirmation_required"].as_bool().unwrap_or(false);
        expect("confirmation", entry.confirmation_required, confirmation)
    })
}

fn ppse(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let entries = directory::parse_ppse(&input).map_err(refused)?;
    if case.has("expected") { expect_entries(&entries, &case.0["expected"]) } else { Ok(()) }
}

fn fci(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let fci = Fci::parse(&input).map_err(refused)?;
    case.expect_bytes_if_given("df_name", fci.df_name)?;
    match fci.pdol() {
        Some(pdol) => case.expect_bytes_if_given("pdol", pdol),
        None => expect("PDOL", false, case.has("pdol")),
    }
}

fn cvm_list(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let list = CvmList::parse(&input).map_err(refused)?;
    expect("encoding", hex(&list.encode()), hex(&input))?;
    if !case.has("expected") {
        return Ok(());
    }
    let rules: Value = list
        .rules
        .iter()
        .map(|rule| {
            serde_json::json!({
                "code": hex(&[rule.code]),
                "method": hex(&[rule.method()]),
                "apply_next_if_unsuccessful": rule.apply_next_if_unsuccessful(),
                "condition": hex(&[rule.condition]),
            })
        })
        .collect();
    let computed = serde_json::json!({"x": list.amount_x_minor, "y": list.amount_y_minor, "rules": rules});
    expect("list", computed, case.0["expected"].clone())
}

fn interface_bytes(atr: &Atr) -> Value {
    let mut object = serde_json::Map::new();
    for (index, round) in atr.rounds.iter().enumerate() {
        for (letter, byte) in [("TA", round.ta), ("TB", round.tb), ("TC", round.tc), ("TD", round.td)] {
            if let Some(byte) = byte {
                object.insert(format!("{letter}{}", index + 1), Value::from(hex(&[byte])));
            }
        }
    }
    Value::Object(object)
}

fn atr(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let parsed = Atr::parse(&input);
    let conformant = parsed.as_ref().is_ok_and(|atr| atr.check_emv().is_ok());
    let published = case.0["emv_conformant"].as_bool();
    if case.has("expected") {
        let atr = parsed.as_ref().map_err(refused)?;
        let computed = serde_json::json!({
            "interface": interface_bytes(atr),
            "protocols": atr.protocols,
            "historical": hex(&atr.historical),
            "tck": atr.check.map(|check| hex(&[check])),
            "tck_ok": atr.check_ok,
            "length_ok": atr.length_ok,
        });
        expect("ATR", computed, case.0["expected"].clone())?;
    }
    if case.0["malformed"] == true {
        return if conformant { Ok(()) } else { Err(Problem::Refused("not an EMV ATR".to_owned())) };
    }
    expect("conformance", Some(conformant), published)
}

fn object_identifier(case: Case<'_>) -> Check {
    case.expect_bytes("expected", &oid::encode(case.text("oid")?).map_err(refused)?)
}

fn truncation_sweep(case: Case<'_>) -> Check {
    let input = case.bytes("input")?;
    let accepted: Vec<u64> = case.0["accepted_prefix_lengths"]
        .as_array()
        .ok_or_else(|| Problem::Unrunnable("no accepted lengths".to_owned()))?
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    let computed: Vec<u64> =
        (0..input.len()).filter(|&length| ber::parse(&input[..length]).is_ok()).map(|length| length as u64).collect();
    expect("accepted prefixes", computed, accepted)
}
