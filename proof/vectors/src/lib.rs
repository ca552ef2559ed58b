//! Published vectors, run through the product's own code.
//!
//! *Duty*: load vector files (a JSON array of objects with `id` and `type`), hand each case to the area that knows its
//! type, and report. *Never*: compute an expected value. *Start here*: [`run_files`].

mod apdu_traces;
mod ber_tlv;
mod boundary;
mod card_verification;
mod dukpt;
mod emv_crypto;
mod emv_oda;
mod iso8583;
mod key_mgmt;
mod mac;
mod pin_blocks;
mod sm;
mod tr31;
mod tracks;

pub use boundary::{KeyDoors, KeyProcesses, run_files_through};

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The product's answer is the published one.
    Passed,
    /// It is not, or the case could not be run.
    Failed(String),
    /// Nothing built yet runs this type; the reason says what is missing.
    Skipped(String),
}

/// Cases of one area.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Cases that agree.
    pub passed: usize,
    /// Cases that do not.
    pub failed: usize,
    /// Cases of types not built yet.
    pub skipped: usize,
}

/// A case that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// File it stands in.
    pub file: String,
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// What differs.
    pub why: String,
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Over all files.
    pub total: Counts,
    /// By file stem.
    pub areas: BTreeMap<String, Counts>,
    /// Each failure.
    pub failures: Vec<Failure>,
    /// Reasons of the skipped cases, with their number.
    pub skips: BTreeMap<String, usize>,
}

impl Report {
    /// The stable JSON of the command line.
    pub fn to_json(&self) -> Value {
        let counts =
            |counts: &Counts| json!({"passed": counts.passed, "failed": counts.failed, "skipped": counts.skipped});
        let areas: serde_json::Map<String, Value> =
            self.areas.iter().map(|(name, area)| (name.clone(), counts(area))).collect();
        let failure = |failure: &Failure| json!({"file": failure.file, "id": failure.id, "type": failure.kind, "why": failure.why});
        json!({
            "passed": self.total.passed,
            "failed": self.total.failed,
            "skipped": self.total.skipped,
            "areas": areas,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "skips": self.skips.iter().map(|(reason, count)| json!({"reason": reason, "count": count})).collect::<Vec<_>>(),
        })
    }

    fn record(&mut self, file: &Path, case: &Value, outcome: Outcome) {
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let area = self.areas.entry(name).or_default();
        match outcome {
            Outcome::Passed => {
                area.passed += 1;
                self.total.passed += 1;
            }
            Outcome::Skipped(reason) => {
                area.skipped += 1;
                self.total.skipped += 1;
                *self.skips.entry(reason).or_default() += 1;
            }
            Outcome::Failed(why) => {
                area.failed += 1;
                self.total.failed += 1;
                let field = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
                self.failures.push(Failure {
                    file: file.display().to_string(),
                    id: field("id"),
                    kind: field("type"),
                    why,
                });
            }
        }
    }
}

/// Runs files, and every `*.json` directly inside a folder that is named. A file that cannot be read or is no array of
/// objects is an error: nothing is run by half.
pub fn run_files(paths: &[PathBuf]) -> anyhow::Result<Report> {
    let files = expand(paths)?;
    let mut loaded = Vec::new();
    for file in files {
        let cases = load(&file)?;
        loaded.push((file, cases));
    }
    let everywhere: BTreeMap<String, Value> = loaded.iter().flat_map(|(_, cases)| specs(cases)).collect();
    let mut report = Report::default();
    for (file, cases) in &loaded {
        let mut known = everywhere.clone();
        known.extend(specs(cases));
        for case in cases {
            report.record(file, case, run_case(case, &known));
        }
    }
    Ok(report)
}

fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        let mut inside: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        inside.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn load(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(file).map_err(|cause| anyhow::anyhow!("{}: {cause}", file.display()))?;
    let value: Value = serde_json::from_slice(&text).map_err(|cause| anyhow::anyhow!("{}: {cause}", file.display()))?;
    match value {
        Value::Array(cases) if cases.iter().all(Value::is_object) => Ok(cases),
        _ => anyhow::bail!("{}: expected a JSON array of objects", file.display()),
    }
}

/// ISO 8583 layouts by name: later cases refer to them.
fn specs(cases: &[Value]) -> impl Iterator<Item = (String, Value)> + '_ {
    cases
        .iter()
        .filter(|case| case["type"] == "spec")
        .filter_map(|case| Some((case["name"].as_str()?.to_owned(), case.clone())))
}

type Runner = fn(&Value) -> Outcome;

/// MACs and paddings.
const MAC_TYPES: &[&str] = &[
    "padding",
    "retail_mac_alg3",
    "cbc_mac_alg1_tdes",
    "iso9797_1",
    "cmac_aes128",
    "cmac_aes192",
    "cmac_aes256",
    "cmac_tdes3",
    "cmac_tdes2",
    "hmac_sha256",
    "aes_cmac_wycheproof",
    "hmac_sm3_wycheproof",
    "cup_ecb_mac",
    "x99_cbc_mac",
    "cup_sm4_mac",
    "sm4_cbc_mac",
    "pboc_x919_mac",
];
/// PIN blocks.
const PIN_BLOCK_TYPES: &[&str] = &[
    "format0_encode",
    "format0_decode",
    "format2_encode",
    "format3_decode",
    "format4_encipher",
    "format4_decipher",
    "format4_pan_field",
    "format4_pin_field",
    "format3_encode",
    "format2_decode",
    "format1_encode",
    "visa3_decode",
    "eci3_decode",
    "format1_decode",
    "sm4_pin_block",
    "translate",
    "format0_decipher",
    "format3_decipher",
    "eci2_decode",
    "format0_enciphered",
    "format1_enciphered",
];
/// Card codes and PIN verification values.
const CARD_VERIFICATION_TYPES: &[&str] = &["cvc3", "ibm3624_pin", "ibm3624_offset", "pvv", "cvv", "cavv", "dcvv"];
/// Key blocks.
const TR31_TYPES: &[&str] = &[
    "unwrap",
    "derive_kbek_kbak",
    "wrap_header",
    "parse_header",
    "parse_header_malformed",
    "unwrap_malformed",
    "header_attributes_malformed",
];
/// The national suite.
const SM_TYPES: &[&str] = &[
    "sm2_sign",
    "sm2_encrypt",
    "sm2_key_exchange",
    "sm2_verify_malformed",
    "sm2_scalar_base_mul",
    "sm3",
    "sm3_long",
    "sm4_block",
    "sm4_block_1000000",
    "sm4_cbc",
    "sm4_ctr",
    "sm4_cfb128",
    "sm4_ofb",
    "sm4_gcm",
    "sm4_ccm",
    "sm4_kcv",
];
/// Key management.
const KEY_MANAGEMENT_TYPES: &[&str] = &[
    "aes_kw",
    "aes_kwp",
    "kcv_tdes",
    "kcv_des",
    "kcv_aes",
    "component_xor",
    "odd_parity",
    "key_variant",
    "cup_tmk_transport",
    "cup_mak",
    "cup_signon_keys",
    "tdes_weak_key",
    "sm4_working_key",
    "variant_lmk",
];
/// Card and issuer cryptography, beside every `scheme_`.
const EMV_TYPES: &[&str] = &[
    "derive_common_sk",
    "generate_ac",
    "generate_arpc_1",
    "generate_arpc_2",
    "derive_icc_mk_a",
    "derive_icc_mk_b",
    "derive_visa_sm_sk",
    "generate_command_mac",
    "format_iso9564_2_pin_block",
    "encrypt_command_data",
    "format_vis_pin_block",
    "generate_cvc3",
    "derive_emv2000_tree_sk",
    "pboc_arqc",
    "pboc_full",
    "arqc",
    "arpc",
    "script_mac",
    "pin_change_script",
    "pboc_mk",
    "pboc_session_key",
    "pboc_arpc",
    "pboc_epurse_load",
    "pboc_epurse_purchase",
];
/// DUKPT of both kinds.
const DUKPT_TYPES: &[&str] = &[
    "derive_ik",
    "txn_sequence",
    "derive_txn_key",
    "derive_update_key",
    "working_key_matrix",
    "ksn_valid",
    "ksn_advance",
    "working_keys",
    "intermediate_registers",
    "data_encrypt_ecb",
    "ksn_to_parts",
    "ksn80_compat_to_parts",
    "data_key",
    "track_decrypt_pin_variant_cbc",
    "pin_key",
    "track_decrypt_cbc",
    "ksn_count",
];

/// Types by area. `truncation-sweep` stands in two areas and is told apart by its `spec`.
const AREAS: &[(&[&str], Runner)] = &[
    (MAC_TYPES, mac::run),
    (PIN_BLOCK_TYPES, pin_blocks::run),
    (CARD_VERIFICATION_TYPES, card_verification::run),
    (TR31_TYPES, tr31::run),
    (SM_TYPES, sm::run),
    (KEY_MANAGEMENT_TYPES, key_mgmt::run),
    (EMV_TYPES, emv_crypto::run),
    (
        &[
            "decode",
            "encode",
            "encode-one-byte-length",
            "encode-large",
            "tag",
            "encode-fixed",
            "dol",
            "dol-build",
            "dol-split",
            "afl",
            "gpo-response",
            "ppse",
            "fci",
            "cvm-list",
            "atr",
            "oid",
            "truncation-sweep",
        ],
        ber_tlv::run,
    ),
    (
        &[
            "capk",
            "capk_bad_checksum",
            "capk_download_tlv",
            "issuer_cert",
            "icc_cert_format_only",
            "issuer_cert_malformed",
            "dda_malformed",
            "issuer_cert_expiry",
            "dda",
            "sda",
            "icc_cert",
            "cda",
            "icc_cert_malformed",
            "sda_malformed",
            "cda_malformed",
            "capk_sm2",
            "sda_format_only",
            "issuer_cert_format_only",
        ],
        emv_oda::run,
    ),
    (
        &[
            "transcript",
            "read-application-data",
            "candidate-list",
            "gpo",
            "final-select",
            "t0-tpdu",
            "enciphered-pin",
            "transaction",
        ],
        apdu_traces::run,
    ),
    (
        &[
            "luhn",
            "luhn-check-digit",
            "pan",
            "track2-text",
            "track2-equivalent",
            "track1-chip-tag56",
            "track1-text",
            "service-code",
            "track-lrc",
        ],
        tracks::run,
    ),
    (DUKPT_TYPES, dukpt::run),
];

const ISO8583: &[&str] = &[
    "pyiso8583-decode",
    "pyiso8583-encode",
    "spec",
    "message",
    "length-prefix",
    "length-prefix-decode",
    "bcd-decode",
    "bitmap",
    "frame-length",
    "byte-flip-sweep",
    "frame",
];

/// Types whose code a later issue builds, with what is missing.
const LATER: &[(&[&str], &str)] = &[
    (&["emv-mpm-crc", "emv-mpm", "crc16", "emv-cpm", "payment-code"], "QR codes are not built yet"),
    (&["where", "currency", "country", "mcc"], "reference lists: no code of the product reads them yet"),
];

fn run_case(case: &Value, specs: &BTreeMap<String, Value>) -> Outcome {
    let Some(kind) = case["type"].as_str() else {
        return Outcome::Skipped("a case without a type".to_owned());
    };
    let is_iso8583_sweep = kind == "truncation-sweep" && case.get("spec").is_some();
    if ISO8583.contains(&kind) || is_iso8583_sweep {
        return iso8583::run(case, specs);
    }
    if kind.starts_with("scheme_") {
        return emv_crypto::run(case);
    }
    if let Some((_, run)) = AREAS.iter().find(|(kinds, _)| kinds.contains(&kind)) {
        return run(case);
    }
    match LATER.iter().find(|(kinds, _)| kinds.contains(&kind)) {
        Some((_, reason)) => Outcome::Skipped((*reason).to_owned()),
        None => Outcome::Skipped(format!("unknown type {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_case_of_a_built_area_passes() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data");
        let report = run_files(&[folder]).expect("the vector files load");
        let failures: Vec<String> =
            report.failures.iter().map(|failure| format!("{}: {}", failure.id, failure.why)).collect();
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
        assert!(report.total.passed > 900, "only {} cases ran", report.total.passed);
        let unknown: Vec<&String> = report.skips.keys().filter(|reason| reason.starts_with("unknown")).collect();
        assert!(unknown.is_empty(), "types without an area: {unknown:?}");
    }

    #[test]
    fn nothing_of_the_cryptographic_areas_is_skipped() {
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data");
        for area in ["card-verification", "pin-blocks", "sm"] {
            let report = run_files(&[data.join(format!("{area}.json"))]).expect("the vector file loads");
            assert!(report.total.passed > 0 && report.total.skipped + report.total.failed == 0, "{area}: {report:?}");
        }
    }

    #[test]
    fn a_wrong_expectation_is_caught() {
        let case = json!({"id": "canary", "type": "luhn", "input": "4111111111111112", "valid": true});
        assert!(matches!(run_case(&case, &BTreeMap::new()), Outcome::Failed(_)));
    }
}
