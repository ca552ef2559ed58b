//! Key blocks as a whole: known answers, round trips, every changed bit, hostile text, the whole table.

use proptest::prelude::*;

use super::binding::seal;
use super::*;

const D_KBPK: [u8; 32] = [
    0x88, 0xE1, 0xAB, 0x2A, 0x2E, 0x3D, 0xD3, 0x8C, 0x1F, 0xA0, 0x39, 0xA5, 0x36, 0x50, 0x0C, 0xC8, 0xA8, 0x7A, 0xB9,
    0xD6, 0x2D, 0xC9, 0x2C, 0x01, 0x05, 0x8F, 0xA7, 0x9F, 0x44, 0x65, 0x7D, 0xE6,
];

/// TR-31:2018 A.7.4.
const D_BLOCK: &str =
    "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34";
const D_KEY: u128 = 0x3F41_9E1C_B707_9442_AA37_474C_2EFB_F8B8;
/// TR-31:2018 A.7.2.1 and A.7.3.1.
const A_BLOCK: &str = "A0072P0TE00E0000F5161ED902807AF26F1D62263644BD24192FDB3193C730301CEE8701";
const A_KBPK: u128 = 0x89E8_8CF7_9314_44F3_34BD_7547_FC3F_380C;
const C_BLOCK: &str =
    "C0096B0TX12S0100KS1800604B120F9292800000BFB9B689CB567E66FC3FEE5AD5F52161FC6545B9D60989015D02155C";
const C_KBPK: u128 = 0xB8ED_59E0_A279_A295_E9F5_ED79_44FD_06B9;
/// ISO 20038:2017 B.2: its usage and mode of use do not go together.
const E_BLOCK: &str = "E0084B0TV16N0000B2AE5E26BBA7F246E84D5EA24167E208A6B66EF2E27E55A52DB52F0AEACB94C57547";

fn tdes(key: u128) -> ProtectionKey {
    ProtectionKey::tdes(&key.to_be_bytes()).unwrap()
}

fn d_kbpk() -> ProtectionKey {
    ProtectionKey::aes(&D_KBPK).unwrap()
}

fn e_kbpk() -> ProtectionKey {
    ProtectionKey::aes(b"256-bit AES wrapping (ISO 20038)").unwrap()
}

fn open(kbpk: &ProtectionKey, text: &str) -> Result<UnwrappedKey, KeyBlockError> {
    unwrap(kbpk, text.as_bytes(), &ImportPolicy::default())
}

fn pin_header(version: Version) -> KeyBlockHeader {
    let (usage, mode) = (KeyUsage::PIN_ENCRYPTION, ModeOfUse::Encrypt);
    KeyBlockHeader::new(version, usage, Algorithm::Tdes, mode, Exportability::Trusted)
}

fn kbpk_for(version: Version) -> ProtectionKey {
    match version {
        Version::A | Version::B | Version::C => ProtectionKey::tdes(&D_KBPK[..24]).unwrap(),
        Version::D | Version::E => d_kbpk(),
    }
}

/// An authentic block whose header no maker here would write.
fn forged(version: Version, header: &str, mut data: Vec<u8>) -> String {
    let mac = seal(version, &kbpk_for(version), header.as_bytes(), &mut data).unwrap();
    format!("{header}{}{}", hex::encode(&data), hex::encode(&mac))
}

fn clear_tdes_key() -> Vec<u8> {
    [vec![0, 128], vec![0x3B; 16], vec![0; 14]].concat()
}

#[test]
fn standards_examples_open() {
    let opened = open(&d_kbpk(), D_BLOCK).unwrap();
    assert_eq!(opened.key.expose(), D_KEY.to_be_bytes());
    assert_eq!(opened.header.usage, KeyUsage::PIN_ENCRYPTION);
    let opened = open(&tdes(A_KBPK), A_BLOCK).unwrap();
    assert_eq!(opened.key.expose(), 0xF039_121B_EC83_D26B_169B_DCD5_B22A_AF8F_u128.to_be_bytes());
    let opened = open(&tdes(C_KBPK), C_BLOCK).unwrap();
    assert_eq!(opened.key.expose(), 0xEDB3_80DD_340B_C262_0247_D445_F5B8_D678_u128.to_be_bytes());
    assert_eq!(opened.header.key_version, KeyVersion::Number(*b"12"));
}

#[test]
fn an_example_off_the_table_opens_only_where_the_policy_says_so() {
    let refused = open(&e_kbpk(), E_BLOCK);
    assert!(matches!(refused, Err(KeyBlockError::RefusedCombination { .. })), "{refused:?}");
    let lenient = ImportPolicy { combinations: CombinationPolicy::Any, ..ImportPolicy::default() };
    let opened = unwrap(&e_kbpk(), E_BLOCK.as_bytes(), &lenient).unwrap();
    assert_eq!(opened.key.expose(), b"wrapped 3DES key");
    assert_eq!(opened.padding.expose(), b"");
}

#[test]
fn every_changed_bit_is_refused() {
    let d = d_kbpk();
    let made = |version: Version| {
        let mut header = pin_header(version);
        header.optional_blocks.push(OptionalBlock::new(BlockId::LABEL, "terminal 42").unwrap());
        wrap(&kbpk_for(version), &header, &[0x5D; 16], &[7; 64], &WrapOptions::default()).unwrap()
    };
    let blocks = [
        (tdes(A_KBPK), A_BLOCK.to_owned()),
        (tdes(C_KBPK), C_BLOCK.to_owned()),
        (d, D_BLOCK.to_owned()),
        (kbpk_for(Version::B), made(Version::B)),
        (kbpk_for(Version::D), made(Version::D)),
        (kbpk_for(Version::E), made(Version::E)),
    ];
    let any = ImportPolicy { combinations: CombinationPolicy::Any, strength: StrengthPolicy::Any };
    for (kbpk, block) in blocks {
        assert!(unwrap(&kbpk, block.as_bytes(), &any).is_ok());
        for bit in 0..block.len() * 8 {
            let mut changed = block.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap(&kbpk, &changed, &any).is_err(), "{block}: bit {bit}");
        }
        for length in 0..block.len() {
            assert!(unwrap(&kbpk, &block.as_bytes()[..length], &any).is_err(), "{block}: {length} characters");
        }
        assert!(unwrap(&kbpk, format!("{block}0").as_bytes(), &any).is_err());
    }
}

#[test]
fn refusals_are_told_apart() {
    let kind = |text: &str| open(&d_kbpk(), text).unwrap_err();
    let malformed = |offset, field| KeyBlockError::Malformed { offset, field };
    assert_eq!(kind(""), malformed(0, Field::Version));
    assert_eq!(kind(&D_BLOCK.replace("D01", "DO1")), malformed(1, Field::Length));
    assert_eq!(kind(&D_BLOCK.replace("P0A", "P_A")), malformed(5, Field::KeyUsage));
    assert_eq!(kind(&D_BLOCK.replace("E0000B8", "E0030B8")), malformed(14, Field::KeyContext));
    assert_eq!(kind(&D_BLOCK.replace("0000B8", "000FB8")), malformed(15, Field::Reserved));
    assert_eq!(kind(&D_BLOCK.replace("B8267", "b8267")), malformed(16, Field::EncryptedKey));
    assert_eq!(kind(&D_BLOCK.replace("DC34", "DC3_")), malformed(111, Field::Mac));
    assert_eq!(kind(&D_BLOCK.replace("DC34", "DC35")), KeyBlockError::WrongMac);
    assert_eq!(kind(&D_BLOCK.replace("00E00", "00N00")), KeyBlockError::WrongMac);
    let stated = LengthFault::Stated { stated: 112, actual: 111 };
    assert_eq!(kind(&D_BLOCK[..111]), KeyBlockError::WrongLength(stated));
    assert_eq!(open(&e_kbpk(), D_BLOCK), Err(KeyBlockError::WrongMac));
    assert_eq!(open(&tdes(A_KBPK), D_BLOCK), Err(KeyBlockError::ProtectionKeyAlgorithm(Version::D)));
    assert_eq!(open(&d_kbpk(), A_BLOCK), Err(KeyBlockError::ProtectionKeyAlgorithm(Version::A)));
    assert_eq!(ProtectionKey::tdes(&[1; 8]).err(), Some(KeyBlockError::ProtectionKeyLength(8)));
    assert_eq!(ProtectionKey::aes(&[1; 20]).err(), Some(KeyBlockError::ProtectionKeyLength(20)));
}

#[test]
fn keys_of_impossible_lengths_are_refused_though_authentic() {
    for bits in [0_u16, 7, 56, 129, 200, 256, 65_535] {
        let mut data = clear_tdes_key();
        data[..2].copy_from_slice(&bits.to_be_bytes());
        let block = forged(Version::D, "D0112P0TE00E0000", data);
        assert_eq!(open(&d_kbpk(), &block), Err(KeyBlockError::WrongLength(LengthFault::Key)), "{bits} bits");
    }
    let block = forged(Version::D, "D0112P0TE00E0000", clear_tdes_key());
    assert_eq!(open(&d_kbpk(), &block).unwrap().key.expose(), [0x3B; 16]);
}

#[test]
fn authentic_blocks_with_ambiguous_optional_blocks_are_refused() {
    let at = |offset| Err(KeyBlockError::Malformed { offset, field: Field::OptionalBlockId });
    let twice = forged(Version::D, "D0128P0TE00E0200LB081234LB084321", clear_tdes_key());
    assert_eq!(open(&d_kbpk(), &twice), at(24));
    let padding_first = forged(Version::D, "D0128P0TE00E0200PB080000LB084321", clear_tdes_key());
    assert_eq!(open(&d_kbpk(), &padding_first), at(16));
    let extended = forged(Version::D, "D0128P0TE00E0200LB00020A12LB0600", clear_tdes_key());
    assert_eq!(open(&d_kbpk(), &extended), at(26));
    let fine = forged(Version::D, "D0128P0TE00E0200LB081234PB084321", clear_tdes_key());
    assert_eq!(open(&d_kbpk(), &fine).unwrap().header.optional_blocks.len(), 2);
}

/// Every usage of the table and some unknown ones, with every published algorithm and mode of use and an unknown one.
#[test]
fn the_whole_matrix_is_refused_except_for_the_table() {
    let unknown = [*b"A0", *b"B9", *b"ZZ", *b"p0"].map(|code| KeyUsage::from_code(code).unwrap());
    let usages = PERMITTED.iter().map(|row| row.usage).chain(unknown);
    let mut permitted = 0;
    for usage in usages {
        for (algorithm, mode) in b"ADEHRSTZ".iter().flat_map(|first| b"BCDEGNSTVXYZ".map(|second| (*first, second))) {
            let (algorithm, mode) = (Algorithm::from_code(algorithm).unwrap(), ModeOfUse::from_code(mode).unwrap());
            let header = KeyBlockHeader::new(Version::E, usage, algorithm, mode, Exportability::Trusted);
            permitted += usize::from(goes_through_or_is_refused_both_ways(&header));
        }
    }
    let counted = PERMITTED.iter().map(|row| row.algorithms.len() * row.modes_of_use.len()).sum::<usize>();
    assert_eq!((permitted, counted), (301, 301), "the table has changed: read it again");
}

/// Making and importing must agree with the table; true if it permits the header.
fn goes_through_or_is_refused_both_ways(header: &KeyBlockHeader) -> bool {
    let (usage, algorithm, mode_of_use) = (header.usage, header.algorithm, header.mode_of_use);
    let key = if algorithm == Algorithm::Des { [0x17; 8].as_slice() } else { [0x17; 16].as_slice() };
    let options = WrapOptions { length_hiding: LengthHiding::None, ..WrapOptions::default() };
    let made = wrap(&d_kbpk(), header, key, &[], &options);
    if permitted_by_table(usage, algorithm, mode_of_use) == Verdict::Permitted {
        assert!(open(&d_kbpk(), &made.unwrap()).is_ok());
        return true;
    }
    let off_table = KeyBlockError::RefusedCombination { usage, algorithm, mode_of_use };
    assert_eq!(made, Err(off_table));
    let text = header.to_text(16 + 2 * (2 + 16 + 16)).unwrap();
    let block = forged(Version::E, &text, [[0, 128].as_slice(), &[0x17; 16]].concat());
    assert_eq!(open(&d_kbpk(), &block), Err(off_table), "{block}");
    false
}

#[test]
fn unknown_letters_are_never_permitted() {
    let letters = || b'A'..=b'z';
    let codes = PERMITTED.iter().flat_map(|row| letters().flat_map(move |a| letters().map(move |m| (row.usage, a, m))));
    let permitted = codes.filter(|(usage, algorithm, mode)| {
        let fields = Algorithm::from_code(*algorithm).zip(ModeOfUse::from_code(*mode));
        fields.is_some_and(|(algorithm, mode)| permitted_by_table(*usage, algorithm, mode) == Verdict::Permitted)
    });
    assert_eq!(permitted.count(), 301);
}

#[test]
fn the_table_names_each_usage_once() {
    for (index, row) in PERMITTED.iter().enumerate() {
        assert!(PERMITTED[..index].iter().all(|earlier| earlier.usage < row.usage), "{:?}", row.usage);
        assert!(row.modes_of_use.contains('N'));
    }
}

#[test]
fn proprietary_codes_are_kept_and_need_a_policy() {
    let block = forged(Version::D, "D01121_TN00E0000".replace('_', "0").as_str(), clear_tdes_key());
    let parsed = KeyBlockHeader::parse(block.as_bytes()).unwrap();
    assert_eq!(parsed.header.usage.to_string(), "10");
    assert!(matches!(open(&d_kbpk(), &block), Err(KeyBlockError::RefusedCombination { .. })));
    let agreed = ImportPolicy { combinations: CombinationPolicy::TableOrProprietary, ..ImportPolicy::default() };
    let opened = unwrap(&d_kbpk(), block.as_bytes(), &agreed).unwrap();
    assert!(opened.header.usage.is_proprietary());
    assert!(unwrap(&e_kbpk(), E_BLOCK.as_bytes(), &agreed).is_err(), "off the table is not proprietary");
    let unmade = wrap(&d_kbpk(), &opened.header, opened.key.expose(), &[0; 64], &WrapOptions::default());
    assert!(matches!(unmade, Err(KeyBlockError::RefusedCombination { .. })));
}

#[test]
fn variants_are_never_made() {
    for version in [Version::A, Version::C] {
        let made = wrap(&kbpk_for(version), &pin_header(version), &[1; 16], &[0; 64], &WrapOptions::default());
        assert_eq!(made, Err(KeyBlockError::ImportOnly(version)));
    }
}

#[test]
fn weak_protection_is_a_policy() {
    let aes_128 = ProtectionKey::aes(&[3; 16]).unwrap();
    let mut header = pin_header(Version::D);
    header.algorithm = Algorithm::Aes;
    let too_weak = Err(KeyBlockError::ProtectionKeyTooWeak { key_bits: 256, protection_bits: 128 });
    assert_eq!(wrap(&aes_128, &header, &[9; 32], &[0; 64], &WrapOptions::default()), too_weak);
    let any = WrapOptions { strength: StrengthPolicy::Any, ..WrapOptions::default() };
    let block = wrap(&aes_128, &header, &[9; 32], &[0; 64], &any).unwrap();
    assert_eq!(open(&aes_128, &block).map(|_| ()), too_weak.map(|_: String| ()));
    header.algorithm = Algorithm::Tdes;
    assert!(wrap(&aes_128, &header, &[9; 24], &[0; 64], &WrapOptions::default()).is_ok());
    let tdes_2 = ProtectionKey::tdes(&D_KBPK[..16]).unwrap();
    header.version = Version::B;
    let made = wrap(&tdes_2, &header, &[9; 24], &[0; 64], &WrapOptions::default());
    assert_eq!(made, Err(KeyBlockError::ProtectionKeyTooWeak { key_bits: 112, protection_bits: 80 }));
}

#[test]
fn all_lengths_of_one_algorithm_look_alike() {
    let kbpk = d_kbpk();
    let mut header = pin_header(Version::D);
    let lengths = |header: &KeyBlockHeader, keys: &[usize]| {
        let made = |bytes: &usize| wrap(&kbpk, header, &vec![5; *bytes], &[0; 64], &WrapOptions::default());
        keys.iter().map(|bytes| made(bytes).unwrap().len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&header, &[8, 16, 24]), [112; 3]);
    header.algorithm = Algorithm::Aes;
    assert_eq!(lengths(&header, &[16, 24, 32]), [144; 3]);
    header.version = Version::E;
    assert_eq!(lengths(&header, &[16, 24, 32]), [116; 3]);
}

#[test]
fn limits_of_making() {
    let kbpk = d_kbpk();
    let mut header = pin_header(Version::D);
    let made = |header: &KeyBlockHeader, key: &[u8], random: &[u8]| {
        wrap(&kbpk, header, key, random, &WrapOptions::default()).unwrap_err()
    };
    assert_eq!(made(&header, &[1; 16], &[0; 13]), KeyBlockError::RandomBytes { needed: 14, given: 13 });
    for bytes in [0, 7, 20, 32, 9000] {
        assert_eq!(made(&header, &vec![1; bytes], &[0; 64]), KeyBlockError::WrongLength(LengthFault::Key));
    }
    header.reserved = 0xE9;
    assert_eq!(made(&header, &[1; 16], &[0; 64]), KeyBlockError::Malformed { offset: 15, field: Field::Reserved });
    header.reserved = b'0';
    header.exportability = Exportability::Other(b'_');
    assert!(matches!(made(&header, &[1; 16], &[0; 64]), KeyBlockError::Malformed { offset: 11, .. }));
    header.exportability = Exportability::Trusted;
    let long = OptionalBlock::new(BlockId::LABEL, &"L".repeat(OPTIONAL_BLOCK_DATA_BYTES_MAX)).unwrap();
    header.optional_blocks.push(long);
    assert_eq!(made(&header, &[1; 16], &[0; 64]), KeyBlockError::WrongLength(LengthFault::TooLong));
    let id = |index: usize| BlockId::from_code([b'0' + (index / 10) as u8, b'0' + (index % 10) as u8]).unwrap();
    header.optional_blocks = (0..100).map(|index| OptionalBlock::new(id(index % 100), "0000").unwrap()).collect();
    assert_eq!(made(&header, &[1; 16], &[0; 64]), KeyBlockError::WrongLength(LengthFault::TooLong));
    header.optional_blocks.pop();
    header.optional_blocks.iter_mut().for_each(|block| *block = OptionalBlock::new(block.id(), "").unwrap());
    header.optional_blocks.truncate(96);
    let full = wrap(&kbpk, &header, &[1; 16], &[0; 64], &WrapOptions::default()).unwrap();
    assert_eq!(open(&kbpk, &full).unwrap().header.optional_blocks.len(), 96);
}

#[test]
fn long_optional_blocks_use_the_extended_length() {
    let mut header = pin_header(Version::B);
    header.optional_blocks.push(OptionalBlock::new(BlockId::LABEL, &"P".repeat(256)).unwrap());
    let text = header.to_text(header.text_bytes().unwrap()).unwrap();
    assert_eq!(&text[..26], "B0288P0TE00E0200LB0004010A");
    assert!(text.ends_with("PPB0600"));
    let parsed = KeyBlockHeader::parse(text.as_bytes()).unwrap();
    assert_eq!((parsed.header_bytes, parsed.stated_bytes), (288, 288));
}

#[test]
fn headers_are_read_for_showing_whatever_they_claim() {
    let parsed = KeyBlockHeader::parse(b"B9999ZZ9qcX0X097and more").unwrap_err();
    assert_eq!(parsed, KeyBlockError::Malformed { offset: 12, field: Field::OptionalBlockCount });
    let parsed = KeyBlockHeader::parse(b"B9999ZZ9qc37007and more").unwrap();
    assert_eq!((parsed.stated_bytes, parsed.header_bytes), (9999, 16));
    let header = parsed.header;
    assert_eq!(header.key_version, KeyVersion::Component(b'3'));
    assert_eq!(header.algorithm, Algorithm::Other(b'9'));
    assert_eq!(header.exportability, Exportability::Other(b'7'));
}

#[test]
fn keys_never_print() {
    let opened = open(&d_kbpk(), D_BLOCK).unwrap();
    let shown = format!("{opened:?} {:?}", derive_keys(Version::D, &d_kbpk()).unwrap());
    assert!(shown.contains("KeyData(16 bytes, ***)") && !shown.contains("3F") && !shown.contains("63, 65"), "{shown}");
    assert_eq!(format!("{:?}", d_kbpk()), "Aes(AesKey(256 bits, ***))");
}

#[test]
fn a_check_value_is_compared() {
    let kbpk = d_kbpk();
    let mut header = pin_header(Version::D);
    let made = |header: &KeyBlockHeader| {
        let block = wrap(&kbpk, header, &[0x31; 16], &[0; 64], &WrapOptions::default()).unwrap();
        open(&kbpk, &block).unwrap().check_value_agrees()
    };
    assert_eq!(made(&header), None);
    let right = CheckValue::of_key(Algorithm::Tdes, &[0x31; 16]).unwrap();
    let wrong = CheckValue::of_key(Algorithm::Tdes, &[0x32; 16]).unwrap();
    for (value, agrees) in [(right, true), (wrong, false)] {
        let block = OptionalBlock::with_content(&BlockContent::KeyCheckValue(value)).unwrap();
        header.optional_blocks = vec![block];
        assert_eq!(made(&header), Some(agrees));
    }
}

fn contents() -> Vec<BlockContent> {
    let certificate = |text: &str| Certificate { format: CertificateFormat::Emv, base64: text.to_owned() };
    let allowed = DerivationAllowed {
        usage: KeyUsage::PIN_ENCRYPTION,
        algorithm: Algorithm::Aes,
        mode_of_use: ModeOfUse::Encrypt,
        exportability: Exportability::NotExportable,
    };
    let legacy = CheckValue { method: CheckValueMethod::Legacy, value: vec![1, 2, 3] };
    let cmac = CheckValue { method: CheckValueMethod::Cmac, value: vec![1, 2, 3, 4, 5] };
    vec![
        BlockContent::AsymmetricKeyLife(KeyLife::Static),
        BlockContent::BdkIdentifier(BdkIdentifier::Tdes([1, 2, 3, 4, 5])),
        BlockContent::BdkIdentifier(BdkIdentifier::Aes([1, 2, 3, 4])),
        BlockContent::Certificates(vec![certificate("MIIB")]),
        BlockContent::Certificates(vec![certificate("MIIB"), certificate(&"A".repeat(700))]),
        BlockContent::DerivationsAllowed(vec![allowed, allowed]),
        BlockContent::HmacHash(HmacHash::Sha256),
        BlockContent::InitialKeyIdentifier(*b"12345678"),
        BlockContent::KeyCheckValue(legacy.clone()),
        BlockContent::ProtectionKeyCheckValue(cmac),
        BlockContent::ExportProtectionKeyCheckValue(legacy),
        BlockContent::KeySerialNumber(vec![0xFF; 10]),
        BlockContent::KeySerialNumber(vec![0xFF; 8]),
        BlockContent::KeyBlockValues("0100".to_owned()),
        BlockContent::Label("shop 12, lane 3".to_owned()),
        BlockContent::TimeOfCreation("20200818221218Z".to_owned()),
        BlockContent::TimeStamp("2020-08-18T22:12:18.50Z".to_owned()),
        BlockContent::WrappingPedigree(Pedigree::Asymmetric),
        BlockContent::Text(BlockId::from_code(*b"10").unwrap(), "ours".to_owned()),
    ]
}

#[test]
fn contents_read_back() {
    for content in contents() {
        let block = OptionalBlock::with_content(&content).unwrap();
        assert_eq!(block.id(), content.id());
        assert_eq!(block.content().unwrap(), content);
    }
}

#[test]
fn contents_off_their_tables_are_refused() {
    let refused = |id: BlockId, data: &str| assert!(OptionalBlock::new(id, data).unwrap().content().is_err(), "{data}");
    refused(BlockId::ASYMMETRIC_KEY_LIFE, "0102");
    refused(BlockId::BDK_IDENTIFIER, "000102030405FF");
    refused(BlockId::CERTIFICATE, "02000010MIIB");
    refused(BlockId::DERIVATIONS_ALLOWED, "01P0TE");
    refused(BlockId::HMAC_HASH, "26");
    refused(BlockId::KEY_CHECK_VALUE, "0001020304");
    refused(BlockId::KEY_CHECK_VALUE, "00");
    refused(BlockId::KEY_SERIAL_NUMBER, "00604B120F9292");
    refused(BlockId::TIME_STAMP, "20200818221218");
    refused(BlockId::WRAPPING_PEDIGREE, "004");
    let odd = BlockContent::KeySerialNumber(vec![1; 9]);
    assert!(OptionalBlock::with_content(&odd).is_err());
    assert!(OptionalBlock::with_content(&BlockContent::Label("tab\t".to_owned())).is_err());
    assert!(OptionalBlock::with_content(&BlockContent::Certificates(Vec::new())).is_ok());
    let misplaced = BlockContent::Text(BlockId::HMAC_HASH, "21".to_owned());
    assert!(OptionalBlock::with_content(&misplaced).is_err());
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::B), Just(Version::D), Just(Version::E)]
}

/// A header that the table permits, with distinct optional blocks.
fn any_header() -> impl Strategy<Value = KeyBlockHeader> {
    let rows: Vec<(KeyUsage, u8, u8)> = PERMITTED
        .iter()
        .flat_map(|row| row.algorithms.bytes().map(move |algorithm| (row, algorithm)))
        .flat_map(|(row, algorithm)| row.modes_of_use.bytes().map(move |mode| (row.usage, algorithm, mode)))
        .collect();
    let blocks = proptest::collection::btree_map("[A-OQ-Z0-9][A-Z0-9]", "[ -~]{0,300}", 0..5);
    let version = prop_oneof![Just("00".to_owned()), "c[0-9A-Z]", "[A-Z0-9]{2}"];
    (any_version(), proptest::sample::select(rows), version, "[ENS]", "[012]", blocks).prop_map(
        |(version, (usage, algorithm, mode), number, export, context, blocks)| {
            let (algorithm, mode) = (Algorithm::from_code(algorithm).unwrap(), ModeOfUse::from_code(mode).unwrap());
            let exportability = Exportability::from_code(export.as_bytes()[0]).unwrap();
            let mut header = KeyBlockHeader::new(version, usage, algorithm, mode, exportability);
            header.key_version = KeyVersion::from_code(number.into_bytes().try_into().unwrap()).unwrap();
            header.context = KeyContext::from_code(context.as_bytes()[0]).unwrap();
            let block = |(id, data): (&String, &String)| {
                OptionalBlock::new(BlockId::from_code([id.as_bytes()[0], id.as_bytes()[1]]).unwrap(), data).unwrap()
            };
            header.optional_blocks = blocks.iter().map(block).collect();
            header
        },
    )
}

proptest! {
    #[test]
    fn made_blocks_open_to_the_same_key(
        header in any_header(),
        size in 0_usize..3,
        long in proptest::collection::vec(any::<u8>(), 1..1200),
        random in proptest::collection::vec(any::<u8>(), 200..201),
        hiding in prop_oneof![
            Just(LengthHiding::None), Just(LengthHiding::LongestOfAlgorithm), (0_usize..100).prop_map(LengthHiding::AtLeast),
        ],
        wide: bool,
        at: usize,
        bit in 0_u8..8,
    ) {
        let bytes = match header.algorithm {
            Algorithm::Tdes => [8, 16, 24][size],
            Algorithm::Aes => [16, 24, 32][size],
            Algorithm::Des => 8,
            _ => long.len(),
        };
        let key: Vec<u8> = long.iter().copied().cycle().take(bytes).collect();
        let kbpk = match header.version {
            Version::B => ProtectionKey::tdes(&D_KBPK[..if wide { 24 } else { 16 }]).unwrap(),
            _ => ProtectionKey::aes(&D_KBPK[..if wide { 32 } else { 24 }]).unwrap(),
        };
        let options = WrapOptions { length_hiding: hiding, strength: StrengthPolicy::Any };
        let block = wrap(&kbpk, &header, &key, &random, &options).unwrap();
        let policy = ImportPolicy { strength: StrengthPolicy::Any, ..ImportPolicy::default() };
        let opened = unwrap(&kbpk, block.as_bytes(), &policy).unwrap();
        prop_assert_eq!(opened.key.expose(), &key[..]);
        let needed = padding_bytes_needed(header.version, header.algorithm, bytes, hiding);
        prop_assert_eq!(opened.padding.expose(), &random[..needed]);
        let mut unpadded = opened.header.clone();
        unpadded.optional_blocks.retain(|optional| optional.id() != BlockId::PADDING);
        prop_assert_eq!(&unpadded, &header);
        prop_assert!(block.starts_with(&header.to_text(block.len()).unwrap()));
        let mut changed = block.into_bytes();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        prop_assert!(unwrap(&kbpk, &changed, &policy).is_err());
    }

    #[test]
    fn hostile_text_never_panics(text: Vec<u8>, digits in "[A-E][0-9]{4}[A-Z0-9]{7}[0-9]{4}[A-Z0-9]{0,120}") {
        for text in [&text[..], digits.as_bytes()] {
            if let Ok(parsed) = KeyBlockHeader::parse(text) {
                let _ = parsed.header.optional_blocks.iter().map(OptionalBlock::content).collect::<Vec<_>>();
                let _ = parsed.header.to_text(text.len());
            }
            for kbpk in [&tdes(A_KBPK), &d_kbpk()] {
                prop_assert!(unwrap(kbpk, text, &ImportPolicy::default()).is_err());
            }
        }
    }

    #[test]
    fn hostile_optional_blocks_never_panic(id in "[A-Z][A-Z]", data in "[ -~]{0,80}") {
        let block = OptionalBlock::new(BlockId::from_code([id.as_bytes()[0], id.as_bytes()[1]]).unwrap(), &data).unwrap();
        if let Ok(content) = block.content() {
            prop_assert_eq!(OptionalBlock::with_content(&content).unwrap().content(), Ok(content));
        }
    }

    #[test]
    fn what_is_read_is_written_the_same_way_again(header in any_header()) {
        let bytes = header.text_bytes().unwrap();
        let text = header.to_text(bytes).unwrap();
        prop_assert_eq!(text.len(), bytes);
        let parsed = KeyBlockHeader::parse(text.as_bytes()).unwrap();
        prop_assert_eq!((parsed.header_bytes, parsed.stated_bytes), (bytes, bytes));
        prop_assert_eq!(parsed.header.to_text(bytes).unwrap(), text);
    }

    #[test]
    fn hostile_keys_have_a_strength(key: Vec<u8>) {
        for algorithm in [Algorithm::Rsa, Algorithm::EllipticCurve, Algorithm::Dsa, Algorithm::Tdes] {
            prop_assert!(key_strength_bits(algorithm, &key) <= 256);
        }
    }
}
