"""A foreign terminal: written from the dialect document alone, sharing no code with the product.

Standard library and one cipher package (`cryptography`). It enrols itself by the host's command line, signs in, sells with a
software chip of its own, reverses, voids, refunds and settles over mutual TLS, and checks every answer.

    client.py --irontill PATH --data DIR --host ADDR:PORT [--terminal 20000002] [--merchant 898310000000002]

Exit code 0: everything was as the document says.
"""

import argparse
import json
import os
import secrets
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.x509.oid import NameOID

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
        assert len(value) == BCD_FIXED[number], (number, value)
        odd = len(value) % 2
        return bytes.fromhex(("0" + value) if odd and number in LEFT_PADDED else value + "0" * odd)
    if number in BCD_VAR:
        length = f"{len(value):0{2 * BCD_VAR[number]}d}"
        return bytes.fromhex(length) + bytes.fromhex(value + "0" * (len(value) % 2))
    if number in BYTES_VAR:
        return bytes.fromhex(f"{len(value):0{2 * BYTES_VAR[number]}d}") + value
    if number in TEXT_FIXED:
        assert len(value) == TEXT_FIXED[number], (number, value)
        return value.encode()
    return value  # 52 and 64: eight bytes


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
            value = body[at:at + size].decode()
        elif number in (52, 64):
            size, value = 8, body[at:at + 8]
        else:
            raise AssertionError(f"field {number} in a response")
        assert at + size <= len(body), f"field {number} is cut"
        at += size
        fields[number] = value
    assert at == len(body), "bytes left over"
    return mti, fields


# --- the terminal --------------------------------------------------------------------------------------------------------

class Terminal:
    def __init__(self, options):
        self.options = options
        self.stan = 0
        self.batch = "000001"
        self.keys = {}
        self.chip = Chip()

    def run_tool(self, *arguments):
        done = subprocess.run([self.options.irontill, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
        return done.stdout

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
                      path("transport.hex"), "--out", folder)
        with open(path("tmk.json")) as file:
            delivery = json.load(file)
        self.master = tdes(transport, bytes.fromhex(delivery["enciphered"]), decrypt=True)
        assert kcv(self.master).hex().upper() == delivery["kcv"].upper(), "check value of the master key"
        self.tls = ssl.create_default_context(cafile=path("ca.pem"))
        self.tls.load_cert_chain(path("terminal.pem"), path("device.key"))
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3

    def exchange(self, body):
        """One request on one connection, as the document's terminals do."""
        frame = bytes.fromhex("6000030000") + bytes.fromhex("613100310000") + body
        address, port = self.options.host.rsplit(":", 1)
        with socket.create_connection((address, int(port)), timeout=10) as plain:
            with self.tls.wrap_socket(plain, server_hostname="localhost") as link:
                link.sendall(struct.pack(">H", len(frame)) + frame)
                head = self.receive(link, 2)
                reply = self.receive(link, struct.unpack(">H", head)[0])
        assert reply[:5] == bytes.fromhex("6000000003"), "the reply's TPDU is not swapped"
        assert reply[5:7] == bytes.fromhex("6131"), "the header is not echoed"
        return reply[11:]

    @staticmethod
    def receive(link, count):
        data = b""
        while len(data) < count:
            more = link.recv(count - len(data))
            assert more, "the host closed the connection"
            data += more
        return data

    def ask(self, mti, fields, with_mac=True, expect_mac=None):
        """Sends, checks type, echoes and MAC, returns the response's fields."""
        mac_key = self.keys.get("mac") if with_mac else None
        reply = self.exchange(build(mti, fields, mac_key))
        got_mti, got = parse(reply)
        assert got_mti == f"{int(mti) + 10:04d}", f"response type {got_mti}"
        for number in (3, 11, 41, 42):
            if number in fields and number in got:
                assert got[number] == fields[number], f"field {number}: {got[number]!r}"
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
        print(f"signed in, batch {self.batch}")

    def sale_fields(self, amount, pin=PIN):
        year = time.strftime("%y", time.gmtime(time.time() + 8 * 3600))
        track = f"{PAN}D{EXPIRY}2010000012300"
        return {
            **self.identity(), 2: PAN, 3: "000000", 4: f"{amount:012d}", 11: self.next_stan(), 14: EXPIRY, 22: "051",
            23: f"{PSN:03d}", 25: "00", 26: "12", 35: encrypted_track(self.keys["track"], track), 49: "156",
            52: tdes(self.keys["pin"], pin_block(pin, PAN)), 53: "2610000000000000",
            55: self.chip.field_55(amount, year + self.today), 60: f"22{self.batch}00060",
        }

    def sale(self, amount):
        fields = self.sale_fields(amount)
        got = self.ask("0200", fields)
        assert got[39] == "00", f"sale: {got[39]}"
        assert got[4] == fields[4] and len(got[37]) == 12 and len(got[38]) == 6
        assert b"\x91" in got[55], "no issuer authentication data"
        print(f"sold {amount / 100:.2f}, reference {got[37]}")
        return fields, got

    def reversal(self, sale):
        keep = {number: sale[number] for number in (2, 3, 4, 11, 14, 22, 23, 25, 41, 42, 49, 60)}
        return self.ask("0400", {**keep, 39: "98"})[39]

    def settle(self, debit, debit_count, credit, credit_count):
        domestic = f"{debit:012d}{debit_count:03d}{credit:012d}{credit_count:03d}0"
        got = self.ask("0500", {**self.identity(), 11: self.next_stan(), 48: domestic + "0" * 31, 49: "156",
                                60: f"00{self.batch}201", 63: b"01 "}, with_mac=False)
        assert 39 not in got, "a settlement response has no field 39"
        assert (got[48][30], got[48][61]) == ("1", "1"), f"not balanced: {got[48]}"
        end = self.ask("0320", {**self.identity(), 11: self.next_stan(), 48: "0000", 60: f"00{self.batch}207"}, with_mac=False)
        assert end[39] == "00", f"batch end: {end[39]}"
        print(f"settled batch {self.batch}")
        self.batch = f"{int(self.batch) % 999999 + 1:06d}"


def run(terminal):
    echo = terminal.ask("0820", {**terminal.identity(), 60: f"00{terminal.batch}301"}, with_mac=False)
    assert echo[39] == "00"
    terminal.sign_in()

    sale, first = terminal.sale(1250)
    again = terminal.ask("0200", sale)
    assert (again[39], again[37], again[38]) == ("00", first[37], first[38]), "a repeated sale must get the stored answer"
    other = dict(sale)
    other[4] = f"{1251:012d}"
    assert terminal.ask("0200", other)[39] == "94", "another message under the same number"

    wrong = terminal.sale_fields(100, pin="654321")
    assert terminal.ask("0200", wrong)[39] == "55", "a wrong PIN"

    forged = build("0200", terminal.sale_fields(100), terminal.keys["mac"])
    _, refused = parse(terminal.exchange(forged[:-8] + b"00000000"))
    assert refused[39] == "A0", f"a wrong MAC: {refused[39]}"

    lost, _ = terminal.sale(300)
    assert terminal.reversal(lost) == "00", "the reversal"
    assert terminal.reversal(lost) == "00", "the same reversal again"
    assert terminal.ask("0200", lost)[39] != "00", "a reversed sale that comes late"

    never = terminal.sale_fields(777)
    assert terminal.reversal(never) == "25", "a reversal before its original"
    assert terminal.ask("0200", never)[39] != "00", "an original behind its tombstone"

    sold, answer = terminal.sale(500)
    void = {**terminal.identity(), 2: PAN, 3: "200000", 4: sold[4], 11: terminal.next_stan(), 14: EXPIRY, 22: "052", 23: "001",
            25: "00", 37: answer[37], 38: answer[38], 49: "156", 60: f"23{terminal.batch}00060",
            61: terminal.batch + sold[11]}
    assert terminal.ask("0200", void)[39] == "00", "the void"

    refund = {**terminal.identity(), 2: PAN, 3: "200000", 4: f"{250:012d}", 11: terminal.next_stan(), 14: EXPIRY, 22: "052",
              23: "001", 25: "00", 37: first[37], 49: "156", 60: f"25{terminal.batch}00060",
              61: "000000000000" + terminal.today, 63: b"CUP"}
    assert terminal.ask("0220", refund)[39] == "00", "the refund"

    terminal.settle(debit=1250 + 500, debit_count=2, credit=500 + 250, credit_count=2)
    stale = terminal.sale_fields(100)
    stale[60] = stale[60][:2] + f"{int(terminal.batch) - 1:06d}" + stale[60][8:]
    assert terminal.ask("0200", stale, expect_mac=False)[39] == "77", "a closed batch"
    terminal.sign_in()
    terminal.sale(100)
    print("foreign terminal: 14 passed, 0 failed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--irontill", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--terminal", default="20000002")
    parser.add_argument("--merchant", default="898310000000002")
    terminal = Terminal(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        terminal.enrol(folder)
        run(terminal)
    return 0


if __name__ == "__main__":
    sys.exit(main())
