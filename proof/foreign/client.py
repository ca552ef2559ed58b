"""A foreign terminal: written from the dialect document alone, sharing no code with the product.

Standard library and one cipher package (`cryptography`). It enrols itself by the host's command line, signs in, sells with a
software chip of its own, reverses, voids, refunds and settles over mutual TLS, and checks every answer.

    client.py --irontill PATH --data DIR --host ADDR:PORT [--terminal 20000002] [--merchant 898310000000002]

Exit code 0: everything was as the document says. The last line is `N passed, N failed`.
"""

import hashlib
import json
import os
import secrets
import socket
import ssl
import struct
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.x509.oid import NameOID

import harness

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

# The public test card and its issuer's public test key (docs/test-cards.md).
PAN = "6222620000001001001"
EXPIRY = "3012"
PSN = 1
PIN = "123456"
IMK_AC = bytes.fromhex("F73E7A34FB250BC49E043149A25B20E5")


# --- DES and what stands on it -------------------------------------------------------------------------------------------

def tdes(key, data, decrypt=False):
    """ECB. An 8-byte key is single DES, which is triple DES with three equal keys."""
    full = {8: key * 3, 16: key + key[:8], 24: key}[len(key)]
    cipher = Cipher(TripleDES(full), modes.ECB())
    worker = cipher.decryptor() if decrypt else cipher.encryptor()
    return worker.update(data) + worker.finalize()


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def kcv(key):
    return tdes(key, bytes(8))[:4]


def unionpay_mac(key, message):
    """Document §4.6: xor of all blocks, hex, two encryptions, the first eight hex characters."""
    message += bytes(-len(message) % 8)
    total = bytes(8)
    for start in range(0, len(message), 8):
        total = xor(total, message[start:start + 8])
    text = total.hex().upper().encode()
    return tdes(key, xor(tdes(key, text[:8]), text[8:])).hex().upper()[:8].encode()


def mac_alg3(key, message):
    """ISO 9797-1 algorithm 3 with padding method 2."""
    message += b"\x80"
    message += bytes(-len(message) % 8)
    state = bytes(8)
    for start in range(0, len(message), 8):
        state = tdes(key[:8], xor(state, message[start:start + 8]))
    return tdes(key[:8], tdes(key[8:], state, decrypt=True))


def odd_parity(key):
    return bytes(b ^ (1 if bin(b).count("1") % 2 == 0 else 0) for b in key)


def pin_block(pin, pan):
    """ISO 9564 format 0."""
    left = bytes.fromhex(f"0{len(pin):X}{pin}".ljust(16, "F"))
    right = bytes.fromhex("0000" + pan[-13:-1])
    return xor(left, right)


def encrypted_track(key, digits):
    """Document §4.5."""
    count = len(digits)
    packed = bytes.fromhex(digits + ("0" if count % 2 else ""))
    at = len(packed) - 9
    return (packed[:at] + tdes(key, packed[at:at + 8]) + packed[-1:]).hex().upper()[:count]


class Chip:
    """A UnionPay chip in software: option A master key, PBOC session key, ARQC over the document's fields."""

    def __init__(self):
        digits = (PAN + f"{PSN:02d}")[-16:]
        half = bytes.fromhex(digits)
        inverse = bytes(b ^ 0xFF for b in half)
        self.master = odd_parity(tdes(IMK_AC, half + inverse))
        # An application transaction counter that grows over runs.
        self.atc = int(time.time()) // 7 % 60000 + 1

    def field_55(self, amount, date):
        self.atc += 1
        atc = struct.pack(">H", self.atc)
        right = struct.pack(">H", self.atc ^ 0xFFFF)
        session = tdes(self.master, bytes(6) + atc) + tdes(self.master, bytes(6) + right)
        values = {
            "9F02": bytes.fromhex(f"{amount:012d}"), "9F03": bytes(6), "9F1A": b"\x01\x56", "95": bytes.fromhex("0080000000"),
            "5F2A": b"\x01\x56", "9A": bytes.fromhex(date), "9C": b"\x00", "9F37": secrets.token_bytes(4), "82": b"\x7C\x00",
            "9F36": atc,
        }
        issuer_data = bytes.fromhex("07010103A0000001")
        signed = b"".join(values[tag] for tag in ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37", "82", "9F36"))
        cryptogram = mac_alg3(session, signed + issuer_data[3:7])
        # ARPC method 1 for an approval: what field 55 of the answer must carry in tag 91.
        self.arpc = tdes(session, xor(cryptogram, b"00" + bytes(6)))
        values.update({"9F26": cryptogram, "9F27": b"\x80", "9F10": issuer_data, "9F33": bytes.fromhex("E0F8C8"),
                       "9F34": bytes.fromhex("420300"), "9F35": b"\x22", "9F1E": b"PYTHON01", "84": bytes.fromhex("A000000333010102")})
        return b"".join(bytes.fromhex(tag) + bytes([len(value)]) + value for tag, value in values.items())


# --- the message ---------------------------------------------------------------------------------------------------------

BCD_FIXED = {3: 6, 4: 12, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4, 22: 3, 23: 3, 25: 2, 26: 2, 53: 16}
BCD_VAR = {2: 1, 32: 1, 35: 1, 36: 2, 48: 2, 60: 2, 61: 2}
TEXT_FIXED = {37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 49: 3}
BYTES_VAR = {44: 1, 54: 2, 55: 2, 57: 2, 58: 2, 59: 2, 62: 2, 63: 2}
LEFT_PADDED = {23}


def encode_field(number, value):
    if number in BCD_FIXED:
        assert len(value) == BCD_FIXED[number], f"field {number}"
        odd = len(value) % 2
        return bytes.fromhex(("0" + value) if odd and number in LEFT_PADDED else value + "0" * odd)
    if number in BCD_VAR:
        length = f"{len(value):0{2 * BCD_VAR[number]}d}"
        return bytes.fromhex(length) + bytes.fromhex(value + "0" * (len(value) % 2))
    if number in BYTES_VAR:
        return bytes.fromhex(f"{len(value):0{2 * BYTES_VAR[number]}d}") + value
    if number in TEXT_FIXED:
        assert len(value) == TEXT_FIXED[number], f"field {number}"
        return value.encode()
    return value  # 52 and 64: eight bytes


def tlv(data):
    """BER-TLV, tags of one or two bytes, lengths of one to three. Gives tag (hex) and value in order."""
    at, found = 0, []
    while at < len(data):
        size = 2 if data[at] & 0x1F == 0x1F else 1
        tag, at = data[at:at + size].hex().upper(), at + size
        length, at = data[at], at + 1
        if length > 0x80:
            count = length - 0x80
            length, at = int.from_bytes(data[at:at + count], "big"), at + count
        assert at + length <= len(data), f"tag {tag} is cut"
        found.append((tag, data[at:at + length]))
        at += length
    return found


def build(mti, fields, mac_key=None):
    numbers = sorted(fields) + ([64] if mac_key else [])
    bitmap = sum(1 << (64 - number) for number in numbers)
    body = bytes.fromhex(mti) + struct.pack(">Q", bitmap) + b"".join(encode_field(n, fields[n]) for n in sorted(fields))
    if mac_key:
        body += unionpay_mac(mac_key, body)
    return body


def parse(body):
    mti, bitmap = body[:2].hex(), struct.unpack(">Q", body[2:10])[0]
    at, fields = 10, {}
    for number in range(1, 65):
        if not bitmap >> (64 - number) & 1:
            continue
        if number in BCD_FIXED:
            digits = BCD_FIXED[number]
            size = (digits + 1) // 2
            text = body[at:at + size].hex().upper()
            value = text[-digits:] if number in LEFT_PADDED else text[:digits]
        elif number in BCD_VAR:
            digits = int(body[at:at + BCD_VAR[number]].hex())
            at += BCD_VAR[number]
            size = (digits + 1) // 2
            value = body[at:at + size].hex().upper()[:digits]
        elif number in BYTES_VAR:
            size = int(body[at:at + BYTES_VAR[number]].hex())
            at += BYTES_VAR[number]
            value = body[at:at + size]
        elif number in TEXT_FIXED:
            size = TEXT_FIXED[number]
            # One character a byte: a refusal may echo what is no ASCII.
            value = body[at:at + size].decode("latin-1")
        elif number in (52, 64):
            size, value = 8, body[at:at + 8]
        else:
            raise AssertionError(f"field {number} in a response")
        assert at + size <= len(body), f"field {number} is cut"
        at += size
        fields[number] = value
    assert at == len(body), "bytes left over"
    return mti, fields


TPDU = bytes.fromhex("6000030000")
HEADER = bytes.fromhex("613100310000")
ANSWER_SECONDS = 10


def swapped(tpdu):
    return tpdu[:1] + tpdu[3:5] + tpdu[1:3]


def frame_of(body):
    frame = TPDU + HEADER + body
    return struct.pack(">H", len(frame)) + frame


# --- the terminal --------------------------------------------------------------------------------------------------------

class Terminal:
    def __init__(self, options):
        self.options = options
        self.stan = 0
        self.batch = "000001"
        self.keys = {}
        self.chip = Chip()

    def run_tool(self, *words):
        code, output, complaint = harness.run_tool(self.options.irontill, *words)
        assert code == 0, f"{words[:2]}: exit {code}: {complaint}"
        return output

    def enrol(self, folder):
        """Device key and CSR here, transport key to the key process, certificate and master key back."""
        device = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.options.terminal)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(device, hashes.SHA256())
        transport = secrets.token_bytes(16)
        public = serialization.load_pem_public_key(
            self.run_tool("host", "transport-key", "--data", self.options.data).encode())
        sealed = public.encrypt(transport, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        path = lambda leaf: os.path.join(folder, leaf)
        with open(path("device.key"), "wb") as file:
            file.write(device.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                            serialization.NoEncryption()))
        with open(path("device.csr"), "wb") as file:
            file.write(request.public_bytes(serialization.Encoding.PEM))
        with open(path("transport.hex"), "w") as file:
            file.write(sealed.hex())
        self.run_tool("host", "enrol", "--data", self.options.data, "--terminal", self.options.terminal, "--merchant",
                      self.options.merchant, "--name", "PYTHON SHOP", "--csr", path("device.csr"), "--transport-key",
                      path("transport.hex"), "--transport-check", kcv(transport).hex().upper(), "--out", folder)
        with open(path("tmk.json")) as file:
            delivery = json.load(file)
        self.master = tdes(transport, bytes.fromhex(delivery["enciphered"]), decrypt=True)
        assert kcv(self.master).hex().upper() == delivery["kcv"].upper(), "check value of the master key"
        self.tls = ssl.create_default_context(cafile=path("ca.pem"))
        self.tls.load_cert_chain(path("terminal.pem"), path("device.key"))
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3

    def connect(self, tls=None):
        address, port = self.options.host.rsplit(":", 1)
        plain = socket.create_connection((address, int(port)), timeout=ANSWER_SECONDS)
        try:
            return (tls or self.tls).wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def exchange(self, body, link=None):
        """One request on one connection, as the document's terminals do, or on a connection that is open already."""
        if link is None:
            with self.connect() as link:
                return self.exchange(body, link)
        link.sendall(frame_of(body))
        reply = self.receive_frame(link)
        assert reply[:5] == swapped(TPDU), "the reply's TPDU is not swapped"
        # Only the sixth digit is the host's own: its order to the terminal.
        sent, back = HEADER.hex(), reply[5:11].hex()
        assert (back[:5], back[6:]) == (sent[:5], sent[6:]), "the header is not echoed"
        return reply[11:]

    @classmethod
    def receive_frame(cls, link):
        return cls.receive(link, struct.unpack(">H", cls.receive(link, 2))[0])

    @staticmethod
    def receive(link, count):
        data = b""
        while len(data) < count:
            more = link.recv(count - len(data))
            assert more, "the host closed the connection"
            data += more
        return data

    def ask(self, mti, fields, with_mac=True, expect_mac=None, link=None):
        """Sends, checks type, echoes and MAC, returns the response's fields."""
        mac_key = self.keys.get("mac") if with_mac else None
        reply = self.exchange(build(mti, fields, mac_key), link)
        got_mti, got = parse(reply)
        assert got_mti == f"{int(mti) + 10:04d}", f"response type {got_mti}"
        for number in (3, 11, 41, 42):
            assert number not in fields or number not in got or got[number] == fields[number], f"field {number} is not echoed"
        if with_mac if expect_mac is None else expect_mac:
            assert 64 in got, "no MAC on the response"
            assert got[64] == unionpay_mac(self.keys["mac"], reply[:-8]), "the response's MAC is wrong"
        return got

    def identity(self):
        return {41: self.options.terminal, 42: self.options.merchant}

    def next_stan(self):
        self.stan += 1
        return f"{self.stan:06d}"

    def sign_in(self):
        got = self.ask("0800", {**self.identity(), 11: self.next_stan(), 60: f"00{self.batch}004", 63: b"01 "}, with_mac=False)
        assert got[39] == "00", f"sign-in: {got[39]}"
        assert set(got) - {64} == {11, 12, 13, 32, 37, 39, 41, 42, 60, 62}, f"fields of a sign-in response: {sorted(got)}"
        delivery = got[62]
        assert len(delivery) == 60, f"{len(delivery)} bytes of keys"
        pin, mac, track = delivery[0:16], delivery[20:36], delivery[40:56]
        self.keys["pin"] = tdes(self.master, pin, decrypt=True)
        self.keys["mac"] = tdes(self.master, mac if any(mac[8:]) else mac[:8], decrypt=True)
        self.keys["track"] = tdes(self.master, track, decrypt=True)
        for name, at in (("pin", 16), ("mac", 36), ("track", 56)):
            assert kcv(self.keys[name]) == delivery[at:at + 4], f"check value of the {name} key"
        self.batch = got[60][2:8]
        self.today = got[13]

    def sale_fields(self, amount, pin=PIN):
        year = time.strftime("%y", time.gmtime(time.time() + 8 * 3600))
        track = f"{PAN}D{EXPIRY}2010000012300"
        return {
            **self.identity(), 2: PAN, 3: "000000", 4: f"{amount:012d}", 11: self.next_stan(), 14: EXPIRY, 22: "051",
            23: f"{PSN:03d}", 25: "00", 26: "12", 35: encrypted_track(self.keys["track"], track), 49: "156",
            52: tdes(self.keys["pin"], pin_block(pin, PAN)), 53: "2610000000000000",
            55: self.chip.field_55(amount, year + self.today), 60: f"22{self.batch}00060",
        }

    def sale(self, amount, link=None):
        fields = self.sale_fields(amount)
        got = self.ask("0200", fields, link=link)
        assert got[39] == "00", f"sale: {got[39]}"
        absent, needless = SALE_RESPONSE - set(got), NEVER_IN_RESPONSE & set(got)
        assert not absent and not needless, f"sale response: without {sorted(absent)}, with {sorted(needless)}"
        assert got[4] == fields[4] and got[25] == "00" and got[49] == "156" and got[60] == fields[60], "echoes of a sale"
        assert len(got[44]) == 22 and got[63][:3] == b"CUP", "institutions and organisation"
        assert dict(tlv(got[55]))["91"] == self.chip.arpc + b"00", "the issuer authentication data"
        return fields, got

    def reversal(self, sale):
        keep = {number: sale[number] for number in (2, 3, 4, 11, 14, 22, 23, 25, 41, 42, 49, 60)}
        return self.ask("0400", {**keep, 39: "98"})[39]

    def void(self, sale, answer, amount=None):
        amount = sale[4] if amount is None else f"{amount:012d}"
        return {**self.identity(), 2: PAN, 3: "200000", 4: amount, 11: self.next_stan(), 14: EXPIRY, 22: "052", 23: "001",
                25: "00", 37: answer[37], 38: answer[38], 49: "156", 60: f"23{self.batch}00060", 61: self.batch + sale[11]}

    def refund(self, answer, amount):
        return {**self.identity(), 2: PAN, 3: "200000", 4: f"{amount:012d}", 11: self.next_stan(), 14: EXPIRY, 22: "052",
                23: "001", 25: "00", 37: answer[37], 49: "156", 60: f"25{self.batch}00060", 61: "000000000000" + self.today,
                63: b"CUP"}

    def signature(self, sale, answer, image):
        """Document §6.1: the cardholder's signature of a sale, with a merchant name, the operator and the currency in field 55."""
        name = "铁柜".encode("gbk")
        elements = b"\xFF\x00" + bytes([len(name)]) + name + b"\xFF\x02\x01\x01\xFF\x0A\x03156"
        return {**self.identity(), 2: PAN, 4: sale[4], 11: sale[11], 15: answer[15], 37: answer[37], 55: elements,
                60: f"07{self.batch}800", 62: image}

    def totals(self, debit, debit_count, credit, credit_count):
        """A 0500 (document §8.3)."""
        domestic = f"{debit:012d}{debit_count:03d}{credit:012d}{credit_count:03d}0"
        return {**self.identity(), 11: self.next_stan(), 48: domestic + "0" * 31, 49: "156", 60: f"00{self.batch}201", 63: b"01 "}

    def compare(self, request):
        """Sends a 0500, gives the two reconciliation codes."""
        got = self.ask("0500", request, with_mac=False)
        assert 39 not in got, "a settlement response has no field 39"
        assert got[48][:30] == request[48][:30] and 15 in got, "settlement response"
        return got[48][30] + got[48][61]

    def end_batch(self, network_code, count):
        end = self.ask("0320", {**self.identity(), 11: self.next_stan(), 48: f"{count:04d}", 60: f"00{self.batch}{network_code}"},
                       with_mac=False)
        assert end[39] == "00" and end[48] == f"{count:04d}", f"batch end: {end[39]}"
        self.batch = f"{int(self.batch) % 999999 + 1:06d}"

    def manage(self, mti, network_code, f62=None):
        """A management message without F11; gives F39 and F62."""
        fields = {**self.identity(), 60: f"00{self.batch}{network_code}", **({62: f62} if f62 is not None else {})}
        got = self.ask(mti, fields, with_mac=False)
        return got[39], got.get(62, b"")

    def parameters(self):
        """Document §5.4: tags of fixed width. Gives a dictionary."""
        code, field = self.manage("0800", "360")
        assert code == "00", f"parameter download: {code}"
        at, found = 0, {}
        while at < len(field):
            tag = field[at:at + 2].decode()
            width = PARAMETER_WIDTHS[tag]
            found[tag] = field[at + 2:at + 2 + width]
            assert len(found[tag]) == width, f"tag {tag} is cut"
            at += 2 + width
        code, _ = self.manage("0800", "361")
        assert code == "00", f"parameter download end: {code}"
        return found

    def download(self, status_code, item_code, end_code, key_tags):
        """Document §5.1: list, every item, end. Gives the items as dictionaries of tags."""
        listed, more = [], True
        while more:
            got = self.ask("0820", {**self.identity(), 60: f"00{self.batch}{status_code}", 62: b"1%02d" % len(listed)}, with_mac=False)
            assert got[39] == "00", f"status query: {got[39]}"
            assert got[62][:1] in (b"1", b"2"), "nothing to download"
            more = got[62][:1] == b"2"
            page = tlv(got[62][1:])
            starts = [at for at, (tag, _) in enumerate(page) if tag == "9F06"]
            listed += [dict(page[start:end]) for start, end in zip(starts, starts[1:] + [len(page)])]
            assert len(listed) < 100, "a list without an end"
        items = []
        for entry in listed:
            wanted = b"".join(bytes.fromhex(tag) + bytes([len(entry[tag])]) + entry[tag] for tag in key_tags)
            got = self.ask("0800", {**self.identity(), 60: f"00{self.batch}{item_code}", 62: wanted}, with_mac=False)
            assert got[39] == "00" and got[62][:1] == b"1", "a listed item cannot be had"
            item = dict(tlv(got[62][1:]))
            assert all(item[tag] == entry[tag] for tag in key_tags), "another item than asked for"
            items.append(item)
        assert items, "an empty list"
        end = self.ask("0800", {**self.identity(), 60: f"00{self.batch}{end_code}"}, with_mac=False)
        assert end[39] == "00", f"download end: {end[39]}"
        return items


# ITU-T T.82: one layer, one plane, 384 by 120 points, one stripe.
JBIG_HEADER = bytes.fromhex("00000100 00000180 00000078 00000078 00000040")

# Document §5.4.
PARAMETER_WIDTHS = {"11": 2, "12": 2, "13": 1, "14": 14, "15": 14, "16": 14, "17": 14, "18": 1, "19": 2, "20": 1, "21": 1, "22": 40,
                    "23": 1, "24": 1, "25": 1, "26": 4}
ALL_IS_WELL = b"011021031041051"

# Document §3.3, column SAL, for a chip sale that is approved.
SALE_RESPONSE = {2, 3, 4, 11, 12, 13, 15, 25, 32, 37, 38, 39, 41, 42, 44, 49, 55, 60, 63, 64}
NEVER_IN_RESPONSE = {22, 26, 35, 36, 52, 61, 62}
CAPK_TAGS = {"9F06", "9F22", "DF05", "DF06", "DF07", "DF02", "DF04", "DF03"}
AID_TAGS = {"9F06", "DF01", "9F08", "DF11", "DF12", "DF13", "9F1B", "DF15", "DF16", "DF17", "DF14", "DF18"}


def manage(terminal, checks):
    with checks.step("echo test"):
        echo = terminal.ask("0820", {**terminal.identity(), 60: f"00{terminal.batch}301"}, with_mac=False)
        assert echo[39] == "00", echo[39]
    with checks.step("a sale before sign-in is told to sign in"):
        unknown = {**terminal.identity(), 2: PAN, 3: "000000", 4: f"{100:012d}", 11: "000900", 14: EXPIRY, 22: "052", 23: "001",
                   25: "00", 49: "156", 55: terminal.chip.field_55(100, "260101"), 60: f"22{terminal.batch}00060", 64: b"00000000"}
        assert terminal.ask("0200", unknown, with_mac=False)[39] == "77"
    with checks.step("sign-in with double-length PIN key and track key"):
        terminal.sign_in()
    with checks.step("the second sign-in replaces the keys"):
        old = terminal.keys["mac"]
        terminal.sign_in()
        assert terminal.keys["mac"] != old
    with checks.step("public keys come whole, each with its checksum"):
        for key in terminal.download("372", "370", "371", ("9F06", "9F22")):
            assert CAPK_TAGS <= set(key), f"without {sorted(CAPK_TAGS - set(key))}"
            content = key["9F06"] + key["9F22"] + key["DF02"] + key["DF04"]
            assert hashlib.sha1(content).digest() == key["DF03"], "the checksum of a public key"
            assert len(key["DF05"]) == 8 and key["DF05"].isdigit()
    with checks.step("application parameters come whole"):
        found = terminal.download("382", "380", "381", ("9F06",))
        assert any(item["9F06"].startswith(bytes.fromhex("A000000333")) for item in found)
        assert all(AID_TAGS <= set(item) for item in found)
    with checks.step("terminal parameters come with the map of what is allowed"):
        allowed = int.from_bytes(terminal.parameters()["26"], "big")
        assert allowed & 1 << 32 - 6, f"a map that forbids sales: {allowed:032b}"
    with checks.step("a list that nobody published is empty, a set that nobody published is not supported"):
        assert terminal.manage("0800", "390", b"000") == ("00", b"0000")
        assert terminal.manage("0800", "391")[0] == "00"
        assert terminal.manage("0800", "364")[0] == "40"
        assert terminal.manage("0800", "390", b"0")[0] == "30"
    with checks.step("a status upload"):
        assert terminal.manage("0820", "362", ALL_IS_WELL)[0] == "00"


def sell(terminal, checks):
    """Gives the sale that stays in the batch."""
    sale, first = terminal.sale(1250)
    checks.check("a chip sale with PIN is approved", True)
    with checks.step("a repeated sale gets the stored answer"):
        again = terminal.ask("0200", sale)
        assert {number: again[number] for number in (37, 38, 39)} == {number: first[number] for number in (37, 38, 39)}
    with checks.step("another message under the same number is a duplicate: 94"):
        assert terminal.ask("0200", {**sale, 4: f"{1251:012d}"})[39] == "94"
    with checks.step("a wrong PIN: 55, under the MAC"):
        assert terminal.ask("0200", terminal.sale_fields(100, pin="654321"))[39] == "55"
    with checks.step("a wrong MAC: A0"):
        forged = build("0200", terminal.sale_fields(100), terminal.keys["mac"])
        _, refused = parse(terminal.exchange(forged[:-8] + b"00000000"))
        assert refused[39] == "A0", refused[39]
    with checks.step("one digit of the amount changed under the MAC: A0"):
        forged = bytearray(build("0200", terminal.sale_fields(100), terminal.keys["mac"]))
        forged[10 + 11 + 3] ^= 0x10  # first digits of field 4, behind 10 bytes of field 2 and 3 of field 3
        _, refused = parse(terminal.exchange(bytes(forged)))
        assert refused[39] == "A0", refused[39]
    with checks.step("a wrong cryptogram is declined"):
        fields = terminal.sale_fields(100)
        chip = bytearray(fields[55])
        chip[chip.index(bytes.fromhex("9F2608")) + 3] ^= 1
        fields[55] = bytes(chip)
        assert terminal.ask("0200", fields)[39] != "00"
    with checks.step("nothing to pay: 13"):
        code = terminal.ask("0200", terminal.sale_fields(0))[39]
        assert code == "13", code
    with checks.step("an unknown transaction under the MAC: 40"):
        code = terminal.ask("0200", {**terminal.sale_fields(100), 3: "990000", 60: f"99{terminal.batch}00060"})[39]
        assert code == "40", code
    with checks.step("another terminal's number in the message is refused"):
        code = terminal.ask("0200", {**terminal.sale_fields(100), 41: "29999999"}, expect_mac=False)[39]
        assert code in ("97", "03"), code
    with checks.step("two sales on one connection"):
        with terminal.connect() as link:
            assert link.version() == "TLSv1.3", link.version()
            both = [terminal.sale(amount, link) for amount in (200, 201)]
        for fields, _ in both:
            code = terminal.reversal(fields)
            assert code == "00", code
    return sale, first


def undo(terminal, checks):
    with checks.step("a reversal, and the same again: 00"):
        lost, _ = terminal.sale(300)
        codes = [terminal.reversal(lost), terminal.reversal(lost)]
        assert codes == ["00", "00"], codes
    with checks.step("a reversed sale that comes late is refused"):
        assert terminal.ask("0200", lost)[39] != "00"
    with checks.step("a reversal before its original: 25"):
        never = terminal.sale_fields(777)
        code = terminal.reversal(never)
        assert code == "25", code
    with checks.step("an original behind its tombstone is refused"):
        assert terminal.ask("0200", never)[39] != "00"
    with checks.step("a reversal of a declined sale: 00"):
        declined = terminal.sale_fields(100, pin="654321")
        assert terminal.ask("0200", declined)[39] == "55"
        code = terminal.reversal(declined)
        assert code == "00", code
    with checks.step("the right PIN still works"):
        kept, answer = terminal.sale(500)
    with checks.step("a void of another amount: 64"):
        code = terminal.ask("0200", terminal.void(kept, answer, amount=499))[39]
        assert code == "64", code
    with checks.step("a reversed void reinstates the sale"):
        void = terminal.void(kept, answer)
        assert terminal.ask("0200", void)[39] == "00"
        keep = {number: void[number] for number in (2, 3, 4, 11, 14, 22, 23, 25, 38, 41, 42, 49, 60, 61)}
        code = terminal.ask("0400", {**keep, 39: "98"})[39]
        assert code == "00", code
    with checks.step("a void"):
        assert terminal.ask("0200", terminal.void(kept, answer))[39] == "00"
    with checks.step("a second void of the same sale: 12"):
        code = terminal.ask("0200", terminal.void(kept, answer))[39]
        assert code == "12", code


def sign(terminal, checks):
    """A sale that is signed, and reversed so that the batch's totals stay."""
    with checks.step("an electronic signature, and the same again: 00"):
        sale, answer = terminal.sale(600)
        signature = terminal.signature(sale, answer, JBIG_HEADER + bytes(100))
        for _ in range(2):
            got = terminal.ask("0820", signature)
            assert got[39] in ("00", "94") and got[37] == answer[37], got[39]
            assert not {2, 4, 55, 62} & set(got), f"fields of a signature response: {sorted(got)}"
    with checks.step("another signature of the same sale: 94"):
        code = terminal.ask("0820", {**signature, 62: JBIG_HEADER + bytes(101)})[39]
        assert code == "94", code
    with checks.step("a signature of another amount: 25"):
        code = terminal.ask("0820", {**signature, 4: f"{601:012d}"})[39]
        assert code == "25", code
    with checks.step("a signature that is no image: 30"):
        code = terminal.ask("0820", {**signature, 62: b"PNG" * 20})[39]
        assert code == "30", code
    with checks.step("the signed sale is undone"):
        assert terminal.reversal(sale) == "00"


def refund(terminal, checks, answer):
    with checks.step("a refund"):
        request = terminal.refund(answer, 250)
        got = terminal.ask("0220", request)
        assert got[39] == "00", got[39]
    with checks.step("the same refund again: 00 or 94"):
        assert terminal.ask("0220", request)[39] in ("00", "94")
    with checks.step("more than is left to refund is refused"):
        assert terminal.ask("0220", terminal.refund(answer, 1001))[39] != "00"


def settle(terminal, checks):
    with checks.step("settlement: balanced"):
        totals = terminal.totals(debit=1250 + 500, debit_count=2, credit=500 + 250, credit_count=2)
        codes = terminal.compare(totals)
        assert codes == "11", codes
    with checks.step("batch end 207"):
        terminal.end_batch("207", 0)
    with checks.step("the settlement again after the close: the same answer"):
        codes = terminal.compare(totals)
        assert codes == "11", codes
    with checks.step("a sale in the closed batch: 77"):
        stale = terminal.sale_fields(100)
        stale[60] = stale[60][:2] + f"{int(terminal.batch) - 1:06d}" + stale[60][8:]
        code = terminal.ask("0200", stale, expect_mac=False)[39]
        assert code == "77", code
    with checks.step("sign-in gives the next batch"):
        expected = terminal.batch
        terminal.sign_in()
        assert terminal.batch == expected, terminal.batch


def settle_unbalanced(terminal, checks):
    with checks.step("a sale in the next batch"):
        sale, answer = terminal.sale(100)
    with checks.step("settlement with other totals: not balanced"):
        codes = terminal.compare(terminal.totals(debit=101, debit_count=1, credit=0, credit_count=0))
        assert codes[0] == "2", codes
    with checks.step("chip upload, batch end 202, next batch"):
        upload = {**terminal.identity(), 2: PAN, 4: sale[4], 11: sale[11], 22: "051", 23: "001", 55: sale[55],
                  60: f"00{terminal.batch}20560", 62: f"610000{sale[4]}156".encode()}
        code = terminal.ask("0320", upload, with_mac=False)[39]
        assert code == "00", code
        terminal.end_batch("202", 1)
        expected = terminal.batch
        terminal.sign_in()
        assert terminal.batch == expected, terminal.batch
    with checks.step("a refund of a sale of an earlier batch"):
        code = terminal.ask("0220", terminal.refund(answer, 100))[39]
        assert code == "00", code


def sign_off(terminal, checks):
    with checks.step("sign-off, then a sale: 77"):
        got = terminal.ask("0820", {**terminal.identity(), 11: terminal.next_stan(), 60: f"00{terminal.batch}002"}, with_mac=False)
        assert got[39] == "00", got[39]
        code = terminal.ask("0200", terminal.sale_fields(100), expect_mac=False)[39]
        assert code == "77", code


def run(options, checks):
    """Everything, by a terminal that is new to the host."""
    terminal = Terminal(options)
    with tempfile.TemporaryDirectory(prefix="irontill-foreign-") as folder:
        terminal.enrol(folder)
        checks.check("enrolment", True)
        manage(terminal, checks)
        _, answer = sell(terminal, checks)
        undo(terminal, checks)
        sign(terminal, checks)
        refund(terminal, checks, answer)
        settle(terminal, checks)
        settle_unbalanced(terminal, checks)
        sign_off(terminal, checks)


def main():
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--host", required=True)
    add_identity(parser)
    options = parser.parse_args()
    harness.main(lambda checks: run(options, checks))


def add_identity(parser):
    parser.add_argument("--terminal", default="20000002")
    parser.add_argument("--merchant", default="898310000000002")


if __name__ == "__main__":
    main()
