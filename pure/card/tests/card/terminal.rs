//! A terminal of few lines that shares no code with the card: its own TLV reader, its own certificate recovery, its own
//! cryptogram input. It checks what the card gives and panics at the first thing that is wrong.

use card::{Card, CryptogramScheme, Profile, TestCapk};
use num_bigint_dig::BigUint;
use paycrypto::mac::retail_mac;
use paycrypto::padding::Padding;
use paycrypto::{BlockCipher, TdesKey};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// All primitive objects of a TLV string, templates opened.
pub fn objects(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let [first, ..] = *rest {
        let mut tag = u32::from(first);
        let mut at = 1;
        if first & 0x1F == 0x1F {
            tag = tag << 8 | u32::from(rest[1]);
            at = 2;
        }
        let (length, start) = match rest[at] {
            0x81 => (usize::from(rest[at + 1]), at + 2),
            short if short < 0x80 => (usize::from(short), at + 1),
            other => panic!("length byte {other:02X}"),
        };
        let value = &rest[start..start + length];
        if first & 0x20 != 0 {
            found.extend(objects(value));
        } else {
            found.push((tag, value.to_vec()));
        }
        rest = &rest[start + length..];
    }
    found
}

/// Tag and length pairs of a data object list.
fn list(dol: &[u8]) -> Vec<(u32, usize)> {
    let mut entries = Vec::new();
    let mut rest = dol;
    while let [first, ..] = *rest {
        let bytes = if first & 0x1F == 0x1F { 2 } else { 1 };
        let tag = rest[..bytes].iter().fold(0, |tag, byte| tag << 8 | u32::from(*byte));
        entries.push((tag, usize::from(rest[bytes])));
        rest = &rest[bytes + 1..];
    }
    entries
}

/// RSA with the public key, to the modulus' length.
pub fn public(modulus: &[u8], exponent: &[u8], data: &[u8]) -> Vec<u8> {
    let number = |bytes| BigUint::from_bytes_be(bytes);
    let result = number(data).modpow(&number(exponent), &number(modulus)).to_bytes_be();
    [vec![0; modulus.len() - result.len()], result].concat()
}

pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest(parts.concat()).into()
}

/// Opens a signature with message recovery and checks header, trailer and hash; gives the content.
pub fn recover(
    modulus: &[u8],
    exponent: &[u8],
    signature: &[u8],
    hashed_too: &[&[u8]],
) -> Result<Vec<u8>, &'static str> {
    if signature.len() != modulus.len() {
        return Err("length");
    }
    let block = public(modulus, exponent, signature);
    let end = block.len() - 21;
    if block[0] != 0x6A || block[block.len() - 1] != 0xBC {
        return Err("header or trailer");
    }
    let mut parts = vec![&block[1..end]];
    parts.extend(hashed_too);
    if sha1(&parts) != block[end..end + 20] {
        return Err("hash");
    }
    Ok(block[1..end].to_vec())
}

/// The parts of a GENERATE AC answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Cryptogram {
    pub information: u8,
    pub counter: [u8; 2],
    pub value: [u8; 8],
    pub issuer_data: Vec<u8>,
}

pub struct Terminal {
    pub card: Card,
    /// The terminal's own data and all the card said.
    pub data: BTreeMap<u32, Vec<u8>>,
    pub static_data: Vec<u8>,
    pub pdol_data: Vec<u8>,
    pub cdol1_data: Vec<u8>,
    pub capks: Vec<TestCapk>,
}

impl Terminal {
    pub fn new(card: Card) -> Self {
        let own = [
            (0x9F02, "000000001250"),
            (0x9F03, "000000000000"),
            (0x9F1A, "0156"),
            (0x95, "0000008000"),
            (0x5F2A, "0156"),
            (0x9A, "261122"),
            (0x9C, "00"),
            (0x9F37, "A1B2C3D4"),
            (0x9F33, "E0F8C8"),
            (0x9F35, "22"),
            (0x9F34, "420300"),
            (0x8A, "3030"),
        ];
        Self {
            card,
            data: own.map(|(tag, value)| (tag, hex(value))).into(),
            static_data: Vec::new(),
            pdol_data: Vec::new(),
            cdol1_data: Vec::new(),
            capks: card::test_capks(),
        }
    }

    pub fn of(profile: &Profile) -> Self {
        Self::new(profile.card())
    }

    /// Sends a command; response data and status word.
    pub fn send(&mut self, command: &[u8]) -> (Vec<u8>, u16) {
        let mut response = self.card.apdu(command);
        let status = response.split_off(response.len() - 2);
        (response, u16::from_be_bytes([status[0], status[1]]))
    }

    pub fn status(&mut self, command: &str) -> u16 {
        self.send(&hex(command)).1
    }

    /// Sends a command that must succeed.
    pub fn expect(&mut self, command: &[u8]) -> Vec<u8> {
        let (data, status) = self.send(command);
        assert_eq!(status, 0x9000, "{command:02X?}");
        data
    }

    fn learn(&mut self, response: &[u8]) {
        self.data.extend(objects(response));
    }

    pub fn get(&self, tag: u32) -> &[u8] {
        self.data.get(&tag).unwrap_or_else(|| panic!("no {tag:X}"))
    }

    /// The values a list asks for; zeros for what is not known.
    pub fn build(&self, dol: &[u8]) -> Vec<u8> {
        let value = |(tag, length): (u32, usize)| match self.data.get(&tag) {
            Some(value) if value.len() == length => value.clone(),
            Some(value) => panic!("{tag:X} has {} bytes, {length} wanted", value.len()),
            None => vec![0; length],
        };
        list(dol).into_iter().flat_map(value).collect()
    }

    pub fn command(header: [u8; 4], data: &[u8]) -> Vec<u8> {
        [&header[..], &[u8::try_from(data.len()).unwrap()], data, &[0]].concat()
    }

    /// Directory, selection of its first application, GET PROCESSING OPTIONS, all records of the AFL.
    pub fn begin(&mut self) {
        self.card.reset();
        self.expect(&Self::command([0x00, 0xA4, 0x04, 0x00], b"1PAY.SYS.DDF01"));
        let directory = self.expect(&[0x00, 0xB2, 0x01, 0x0C, 0x00]);
        let aid = objects(&directory).into_iter().find(|(tag, _)| *tag == 0x4F).unwrap().1;
        self.select_and_read(&aid);
    }

    pub fn select_and_read(&mut self, aid: &[u8]) {
        let fci = self.expect(&Self::command([0x00, 0xA4, 0x04, 0x00], aid));
        self.data.remove(&0x9F38);
        self.learn(&fci);
        self.pdol_data = self.data.get(&0x9F38).map(|dol| self.build(dol)).unwrap_or_default();
        let template = [&[0x83, u8::try_from(self.pdol_data.len()).unwrap()], &self.pdol_data[..]].concat();
        let options = self.expect(&Self::command([0x80, 0xA8, 0x00, 0x00], &template));
        match options[0] {
            0x80 => {
                self.data.insert(0x82, options[2..4].to_vec());
                self.data.insert(0x94, options[4..].to_vec());
            }
            _ => self.learn(&options),
        }
        self.read_records();
    }

    fn read_records(&mut self) {
        self.static_data.clear();
        for entry in self.get(0x94).to_vec().chunks(4) {
            for record in entry[1]..=entry[2] {
                let content = self.expect(&[0x00, 0xB2, record, entry[0] | 0x04, 0x00]);
                self.learn(&content);
                if record < entry[1] + entry[3] {
                    let skip = if content[1] == 0x81 { 3 } else { 2 };
                    self.static_data.extend_from_slice(&content[skip..]);
                }
            }
        }
        if self.data.contains_key(&0x9F4A) {
            self.static_data.extend_from_slice(&self.data[&0x82]);
        }
    }

    /// The issuer's public key out of its certificate, by the CAPK the card names.
    pub fn issuer_key(&self) -> Result<Vec<u8>, &'static str> {
        let rid = &self.get(0x84)[..5];
        let index = self.get(0x8F)[0];
        let capk = self.capks.iter().find(|capk| capk.rid == rid && capk.index == index).ok_or("no such CA key")?;
        assert_eq!(capk.checksum, sha1(&[&capk.rid, &[capk.index], &capk.modulus, &capk.exponent]));
        let (exponent, remainder) = (self.get(0x9F32), self.remainder(0x92));
        let content = recover(&capk.modulus, &capk.exponent, self.get(0x90), &[remainder, exponent])?;
        assert_eq!(content[0], 0x02, "issuer certificate format");
        assert_eq!(content[1..5], self.get(0x5A)[..4], "issuer identifier");
        assert_eq!(content[10..12], [0x01, 0x01], "algorithms");
        Ok(key_from(&content[12..], remainder, exponent))
    }

    fn remainder(&self, tag: u32) -> &[u8] {
        self.data.get(&tag).map_or(&[], Vec::as_slice)
    }

    /// A card key out of its certificate (tags of certificate, exponent, remainder).
    pub fn icc_key(&self, tags: [u32; 3], static_data: &[u8]) -> Result<Vec<u8>, &'static str> {
        let issuer = self.issuer_key()?;
        let (exponent, remainder) = (self.get(tags[1]), self.remainder(tags[2]));
        let signed = [remainder, exponent, static_data];
        let content = recover(&issuer, self.get(0x9F32), self.get(tags[0]), &signed)?;
        assert_eq!(content[0], 0x04, "card certificate format");
        let pan: String = content[1..11].iter().map(|byte| format!("{byte:02X}")).collect();
        let own: String = self.get(0x5A).iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(pan.trim_end_matches('F'), own.trim_end_matches('F'), "PAN of the certificate");
        Ok(key_from(&content[18..], remainder, exponent))
    }

    pub fn signature_key(&self) -> Result<Vec<u8>, &'static str> {
        self.icc_key([0x9F46, 0x9F47, 0x9F48], &self.static_data)
    }

    /// First GENERATE AC. With `p1` bit 5 the signature is checked where there is one.
    pub fn first(&mut self, p1: u8) -> Result<Cryptogram, &'static str> {
        self.cdol1_data = self.build(self.get(0x8C));
        let response = self.expect(&Self::command([0x80, 0xAE, p1, 0x00], &self.cdol1_data));
        self.read_cryptogram(&response, &[])
    }

    pub fn second(&mut self, p1: u8) -> Result<Cryptogram, &'static str> {
        let data = self.build(self.get(0x8D));
        let response = self.expect(&Self::command([0x80, 0xAE, p1, 0x00], &data));
        self.read_cryptogram(&response, &data)
    }

    fn read_cryptogram(&self, response: &[u8], cdol2_data: &[u8]) -> Result<Cryptogram, &'static str> {
        if response[0] == 0x80 {
            let value = &response[2..];
            return Ok(Cryptogram {
                information: value[0],
                counter: value[1..3].try_into().unwrap(),
                value: value[3..11].try_into().unwrap(),
                issuer_data: value[11..].to_vec(),
            });
        }
        let found: BTreeMap<u32, Vec<u8>> = objects(response).into_iter().collect();
        let value = match found.get(&0x9F4B) {
            Some(signature) => self.signed_cryptogram(response, &found, signature, cdol2_data)?,
            None => found[&0x9F26].clone(),
        };
        Ok(Cryptogram {
            information: found[&0x9F27][0],
            counter: found[&0x9F36][..].try_into().unwrap(),
            value: value.try_into().unwrap(),
            issuer_data: found[&0x9F10].clone(),
        })
    }

    /// Checks a combined signature (EMV 4.4 Book 2 §6.6.2) and takes the cryptogram out of it.
    fn signed_cryptogram(
        &self,
        response: &[u8],
        found: &BTreeMap<u32, Vec<u8>>,
        signature: &[u8],
        cdol2_data: &[u8],
    ) -> Result<Vec<u8>, &'static str> {
        let key = self.signature_key()?;
        let content = recover(&key, self.get(0x9F47), signature, &[self.get(0x9F37)])?;
        assert_eq!(content[..2], [0x05, 0x01]);
        let dynamic = &content[3..3 + usize::from(content[2])];
        let number_bytes = usize::from(dynamic[0]);
        let rest = &dynamic[1 + number_bytes..];
        if rest[0] != found[&0x9F27][0] {
            return Err("cryptogram information");
        }
        // The signature is the last object of the template: its tag and length take four bytes.
        let skip = if response[1] == 0x81 { 3 } else { 2 };
        let unsigned = &response[skip..response.len() - signature.len() - 4];
        let hash = sha1(&[&self.pdol_data, &self.cdol1_data, cdol2_data, unsigned]);
        if rest[9..29] != hash {
            return Err("transaction data hash");
        }
        Ok(rest[1..9].to_vec())
    }
}

fn key_from(described: &[u8], remainder: &[u8], exponent: &[u8]) -> Vec<u8> {
    let length = usize::from(described[0]);
    assert_eq!(usize::from(described[1]), exponent.len());
    let inside = &described[2..];
    if length <= inside.len() {
        assert!(inside[length..].iter().all(|byte| *byte == 0xBB), "padding");
        return inside[..length].to_vec();
    }
    [inside, remainder].concat()
}

/// The issuer's end, from the published rules with single primitives only.
pub struct Issuer {
    scheme: CryptogramScheme,
    master_keys: [TdesKey; 3],
}

impl Issuer {
    pub fn of(profile: &Profile) -> Self {
        Self::with_scheme(profile, profile.scheme)
    }

    pub fn with_scheme(profile: &Profile, scheme: CryptogramScheme) -> Self {
        let account = profile.account();
        let keys = &account.issuer_keys;
        let master_keys = [&keys.cryptogram, &keys.integrity, &keys.confidentiality]
            .map(|key| icc_master_key(key.expose(), account.pan.expose(), account.sequence_number));
        Self { scheme, master_keys }
    }

    fn cryptogram_key(&self, counter: [u8; 2]) -> TdesKey {
        let key = &self.master_keys[0];
        match self.scheme {
            CryptogramScheme::UnionPay => {
                let [a, b] = counter;
                two_halves(key, [0, 0, 0, 0, 0, 0, a, b], [0, 0, 0, 0, 0, 0, !a, !b])
            }
            CryptogramScheme::VisaCvn10 => TdesKey::new(key.expose_bytes()).unwrap(),
            CryptogramScheme::VisaCvn18 | CryptogramScheme::MastercardCvn20 => {
                common(key, [counter[0], counter[1], 0, 0, 0, 0, 0, 0])
            }
        }
    }

    /// Key of script MACs (1) or encipherment (2).
    pub fn script_key(&self, which: usize, counter: [u8; 2], cryptogram: [u8; 8]) -> TdesKey {
        let key = &self.master_keys[which];
        let [a, b] = counter;
        match self.scheme {
            CryptogramScheme::UnionPay => two_halves(key, [0, 0, 0, 0, 0, 0, a, b], [0, 0, 0, 0, 0, 0, !a, !b]),
            CryptogramScheme::MastercardCvn20 => common(key, cryptogram),
            _ => {
                let mut bytes = key.expose_bytes().to_vec();
                bytes[6] ^= a;
                bytes[7] ^= b;
                bytes[14] ^= !a;
                bytes[15] ^= !b;
                TdesKey::new(&bytes).unwrap()
            }
        }
    }

    pub fn master_key_ac(&self) -> &TdesKey {
        &self.master_keys[0]
    }

    /// What the cryptogram must be, from the terminal's data and the card's own.
    pub fn expected(&self, terminal: &Terminal, got: &Cryptogram) -> [u8; 8] {
        self.expected_from(&|tag| terminal.get(tag).to_vec(), got)
    }

    pub fn expected_from(&self, value: &dyn Fn(u32) -> Vec<u8>, got: &Cryptogram) -> [u8; 8] {
        let tags = [0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82];
        let mut data: Vec<u8> = tags.iter().flat_map(|tag| value(*tag)).collect();
        data.extend(got.counter);
        let (at, version) = match self.scheme {
            CryptogramScheme::UnionPay => (3..7, (2, 0x01)),
            CryptogramScheme::VisaCvn10 => (3..7, (2, 0x0A)),
            CryptogramScheme::VisaCvn18 => (0..7, (2, 0x12)),
            CryptogramScheme::MastercardCvn20 => (2..8, (1, 0x14)),
        };
        assert_eq!(got.issuer_data[version.0], version.1, "cryptogram version number");
        data.extend(&got.issuer_data[at]);
        let padding = if self.scheme == CryptogramScheme::VisaCvn10 { Padding::Zeros } else { Padding::Marker };
        retail_mac(&self.cryptogram_key(got.counter), &data, padding).unwrap()
    }

    /// Tag 91 with response code 00 (or an approving card status update).
    pub fn authentication_data(&self, got: &Cryptogram) -> Vec<u8> {
        let key = self.cryptogram_key(got.counter);
        if self.scheme == CryptogramScheme::VisaCvn18 {
            return self.status_update(got, [0x00, 0x80, 0x00, 0x00]);
        }
        let mut block = got.value;
        block[0] ^= 0x30;
        block[1] ^= 0x30;
        [&key.encrypted(block)[..], b"00"].concat()
    }

    /// Tag 91 of method 2.
    pub fn status_update(&self, got: &Cryptogram, update: [u8; 4]) -> Vec<u8> {
        let key = self.cryptogram_key(got.counter);
        let mac = retail_mac(&key, &[&got.value[..], &update].concat(), Padding::Marker).unwrap();
        [&mac[..4], &update].concat()
    }

    /// A script command with its MAC. `ahead` is how many commands went before in this transaction.
    pub fn script(&self, got: &Cryptogram, header: [u8; 4], data: &[u8], ahead: u64) -> Vec<u8> {
        let mac_bytes = if self.scheme == CryptogramScheme::UnionPay { 4 } else { 8 };
        let cryptogram = self.script_cryptogram(got, ahead);
        let lc = u8::try_from(data.len() + mac_bytes).unwrap();
        let input = [&header[..], &[lc], &got.counter, &cryptogram, data].concat();
        let mac = retail_mac(&self.script_key(1, got.counter, cryptogram), &input, Padding::Marker).unwrap();
        [&header[..], &[lc], data, &mac[..mac_bytes]].concat()
    }

    pub fn script_cryptogram(&self, got: &Cryptogram, ahead: u64) -> [u8; 8] {
        match self.scheme {
            CryptogramScheme::MastercardCvn20 => (u64::from_be_bytes(got.value).wrapping_add(ahead)).to_be_bytes(),
            _ => got.value,
        }
    }
}

fn icc_master_key(issuer: &[u8], pan: &str, sequence_number: u8) -> TdesKey {
    let digits = format!("{pan}{sequence_number:02}");
    let y: [u8; 8] = hex(&digits[digits.len() - 16..]).try_into().unwrap();
    let issuer = TdesKey::new(issuer).unwrap();
    let mut bytes = [issuer.encrypted(y), issuer.encrypted(y.map(|byte| !byte))].concat();
    for byte in &mut bytes {
        *byte = *byte & 0xFE | (*byte >> 1).count_ones() as u8 & 1 ^ 1;
    }
    TdesKey::new(&bytes).unwrap()
}

fn two_halves(key: &TdesKey, left: [u8; 8], right: [u8; 8]) -> TdesKey {
    TdesKey::new(&[key.encrypted(left), key.encrypted(right)].concat()).unwrap()
}

fn common(key: &TdesKey, r: [u8; 8]) -> TdesKey {
    let with = |mark| {
        let mut half = r;
        half[2] = mark;
        half
    };
    two_halves(key, with(0xF0), with(0x0F))
}
