"""The leak scan: after everything a system does, no card data, PIN or issuer key stands in any file, log, output or captured byte.

    leak_scan.py --irontill PATH [--seconds 3] [--keep]

Runs the system on one folder - demo, payments with every test card, explanations, the decoder, a load with settlement, the foreign
client if its cipher package is installed - with every terminal's TCP connection and the host's line to the key process going through
recording proxies, and looks for the secrets of the public test cards in ASCII, UTF-16, packed digits at both alignments, hex, and
base64 at three alignments. A canary of every coding, planted in the same places, must be found. Exit code 0: only the canaries were.
"""

import argparse
import base64
import itertools
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import harness

HERE = os.path.dirname(os.path.abspath(__file__))

# The public test cards and their issuers' public test keys (docs/test-cards.md).
CARDS = {
    "unionpay-credit": ("6222620000001001001", "3012"),
    "unionpay-debit": ("6217850000002002009", "3012"),
    "visa-credit": ("4000120000300309", "3012"),
    "mastercard-credit": ("5413330000400409", "3012"),
    "revoked-capk": ("6222620000005005008", "3012"),
    "pin-blocked": ("6222620000006006005", "3012"),
    "cda-lies": ("6222620000007007002", "3012"),
    "unionpay-sda": ("6222620000008008009", "3012"),
    "expired": ("6222620000009009006", "2012"),
    "scripted": ("6222620000001101108", "3012"),
}
PINS = ("123456", "258036")
ISSUER_KEYS = {
    "UnionPay AC": "F73E7A34FB250BC49E043149A25B20E5",
    "UnionPay MAC": "01DF5B9D2676858C75B992D55E5BB515",
    "UnionPay ENC": "45CE8FD5CB2A523DD0BAA8C1C8546407",
    "Visa AC": "E6404564F77F490283B9EF7A0776AD85",
    "Visa MAC": "B9BF3D07B63D547A8634584C8CD35E45",
    "Visa ENC": "0BF4DA32AB02D06EE9080BECE6DC4375",
    "Mastercard AC": "FD68A4DC4637F4E986ADB9D3A48CB689",
    "Mastercard MAC": "A8ECAB1AD65E9470DC10166292E5EFF7",
    "Mastercard ENC": "041052E69283CEDFA245FBC2078A5129",
}
# Shorter binary forms occur by chance.
RAW_MIN = 6
READY_WITHIN_S = 30
COMMAND_WITHIN_S = 120
# Loads until a batch is full.
LOADS_MAX = 8

checks = harness.Checks(tells=True)
check = checks.check


# --- what to look for ------------------------------------------------------------------------------------------------------

def pack(nibbles):
    return bytes.fromhex(nibbles[:len(nibbles) // 2 * 2])


def base64_cores(data):
    """The characters that do not depend on what stands around the data, for each alignment, in both alphabets."""
    for skip in range(3):
        usable = (len(data) - skip) // 3 * 3
        if usable >= RAW_MIN:
            core = base64.b64encode(data[skip:skip + usable])
            yield core
            yield core.translate(bytes.maketrans(b"+/", b"-_"))


class Scanner:
    """Needles in three haystacks: the bytes, the bytes in upper case, and the same without blanks and separators."""

    def __init__(self):
        self.plain, self.folded, self.joined = {}, {}, {}

    def binary(self, name, coding, data):
        if len(data) >= RAW_MIN:
            self.plain.setdefault(data, (name, coding))
            for core in base64_cores(data):
                self.plain.setdefault(core, (name, f"base64 of {coding}"))
            self.folded.setdefault(data.hex().upper().encode(), (name, f"hex of {coding}"))
            self.joined.setdefault(data.hex().upper().encode(), (name, f"spaced hex of {coding}"))

    def text(self, name, text):
        self.binary(name, "ascii", text.encode())
        self.joined.setdefault(text.upper().encode(), (name, "grouped ascii"))
        self.plain.setdefault(text.encode("utf-16-le"), (name, "utf-16"))
        self.plain.setdefault(text.encode("utf-16-be"), (name, "utf-16"))

    def nibbles(self, name, nibbles):
        self.binary(name, "packed", pack(nibbles))
        self.binary(name, "packed, odd", pack(nibbles[1:]))

    def pan(self, name, pan):
        self.text(name, pan)
        self.nibbles(name, pan)

    def track(self, name, pan, expiry):
        """From the last digits of the PAN on: what a track holds beside the PAN."""
        self.nibbles(name, f"{pan[-7:]}D{expiry}")
        for separator in "D=^":
            self.text(name, f"{pan[-7:]}{separator}{expiry}")

    def pin(self, pin):
        name = f"PIN {len(pin)}"
        for label, between in itertools.product(("pin", "PIN", "Pin"), ("=", ":", ": ", " ", '":"', '": "', '="', '("', "(")):
            self.plain.setdefault(f"{label}{between}{pin}".encode(), (name, "labelled"))
        for control in "012":
            self.nibbles(name, f"{control}{len(pin)}{pin}".ljust(14, "F"))
        for pan, _ in CARDS.values():
            field = bytes.fromhex(f"0{len(pin)}{pin}".ljust(16, "F"))
            account = bytes.fromhex("0000" + pan[-13:-1])
            self.binary(name, "clear block", bytes(a ^ b for a, b in zip(field, account)))

    def key(self, name, key):
        self.binary(name, "raw", key)
        # Half a double-length key is a leak as well.
        for half in (key[:8], key[8:]):
            self.binary(name, "half", half)

    def scan(self, data):
        """(name of the secret, coding) of everything found."""
        upper = data.upper()
        joined = re.sub(rb"[\s:,.\-]+", b"", upper)
        found = set()
        for needles, haystack in ((self.plain, data), (self.folded, upper), (self.joined, joined)):
            found.update(what for needle, what in needles.items() if needle in haystack)
        return found

    def __len__(self):
        return len(self.plain) + len(self.folded) + len(self.joined)


def card_keys():
    """The cards' own keys: option A of EMV Book 2, A1.4.1, with odd parity. Needs the cipher package."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, modes
        try:
            from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
        except ImportError:
            from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES
    except ImportError:
        return
    for card, (pan, _) in CARDS.items():
        scheme = {"visa-credit": "Visa", "mastercard-credit": "Mastercard"}.get(card, "UnionPay")
        left = bytes.fromhex((pan + "01")[-16:])
        right = bytes(byte ^ 0xFF for byte in left)
        for use in ("AC", "MAC", "ENC"):
            master = bytes.fromhex(ISSUER_KEYS[f"{scheme} {use}"])
            worker = Cipher(TripleDES(master + master[:8]), modes.ECB()).encryptor()
            clear = worker.update(left + right)
            yield f"{card} {use}", bytes(byte if bin(byte).count("1") % 2 else byte ^ 1 for byte in clear)


def make_scanner():
    scanner = Scanner()
    for card, (pan, expiry) in CARDS.items():
        scanner.pan(f"PAN {card}", pan)
        scanner.track(f"track {card}", pan, expiry)
    for pin in PINS:
        scanner.pin(pin)
    for name, key in ISSUER_KEYS.items():
        scanner.key(f"key {name}", bytes.fromhex(key))
    for name, key in card_keys():
        scanner.key(f"card key {name}", key)
    return scanner


def canaries():
    """Every kind of secret in every coding, as it might stand in a file."""
    pan, expiry = CARDS["visa-credit"]
    long_pan = CARDS["scripted"][0]
    key = bytes.fromhex(ISSUER_KEYS["Mastercard ENC"])
    block = bytes(a ^ b for a, b in zip(bytes.fromhex("06123456FFFFFFFF"), bytes.fromhex("0000" + pan[-13:-1])))
    yield "ascii", f"card={pan};".encode()
    yield "grouped", " ".join(pan[at:at + 4] for at in range(0, 16, 4)).encode()
    yield "utf-16-le", f"x{long_pan}".encode("utf-16-le")
    yield "utf-16-be", f"x{long_pan}".encode("utf-16-be")
    yield "packed", bytes.fromhex(f"16{pan}")
    yield "packed, odd length", bytes.fromhex(f"{long_pan}F")
    yield "packed, shifted", bytes.fromhex(f"A{long_pan}")
    yield "hex of ascii, lower", long_pan.encode().hex().encode()
    yield "hex of ascii, upper", long_pan.encode().hex().upper().encode()
    for before in range(3):
        yield f"base64 of ascii, {before}", base64.b64encode(b"z" * before + pan.encode() + b"!!")
        yield f"base64 of packed, {before}", base64.b64encode(b"z" * before + bytes.fromhex(pan) + b"!!")
        yield f"base64url of a key, {before}", base64.urlsafe_b64encode(b"z" * before + key + b"!!")
    yield "track, packed", bytes.fromhex(f"37{pan}D{expiry}2010000000000".ljust(40, "F"))
    yield "track without its PAN's head", f"{pan[-8:]}={expiry}201".encode()
    yield "PIN, labelled", b'{"pin":"123456"}'
    yield "PIN block, raw", block
    yield "PIN block, hex", block.hex().encode()
    yield "PIN block, format 2", bytes.fromhex("26123456FFFFFFFF")
    yield "key, raw", key
    yield "key, hex", key.hex().encode()
    yield "key, spaced hex", key.hex(" ").upper().encode()
    yield "key, one half", key[8:]


# --- the recording proxies ------------------------------------------------------------------------------------------------

class Recorder:
    """Passes connections on and keeps every byte of both directions in one file a connection."""

    def __init__(self, family, listen, target, folder, name):
        self.family, self.target, self.folder, self.name = family, target, folder, name
        self.connections = 0
        self.bytes = 0
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(listen)
        self.listener.listen(128)
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            try:
                outer = socket.socket(self.family, socket.SOCK_STREAM)
                outer.connect(self.target)
            except OSError:
                inner.close()
                continue
            self.connections += 1
            for source, sink, way in ((inner, outer, "out"), (outer, inner, "in")):
                path = os.path.join(self.folder, f"{self.name}.{self.connections}.{way}")
                threading.Thread(target=self._pass_on, args=(source, sink, path), daemon=True).start()

    def _pass_on(self, source, sink, path):
        with open(path, "ab", buffering=0) as file:
            try:
                while data := source.recv(65536):
                    file.write(data)
                    self.bytes += len(data)
                    sink.sendall(data)
            except OSError:
                pass
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                end.shutdown(how)
            except OSError:
                pass

    def close(self):
        self.listener.close()


# --- what the system does ---------------------------------------------------------------------------------------------------

class Run:
    def __init__(self, irontill, work):
        self.irontill, self.work = irontill, work
        self.data = os.path.join(work, "data")
        self.outputs = os.path.join(work, "outputs")
        self.captured = os.path.join(work, "captured")
        for folder in (self.outputs, self.captured):
            os.makedirs(folder)
        self.commands = 0

    def irontill_does(self, name, *arguments, input_text=None):
        """One command; what it says is kept for the scan."""
        done = subprocess.run([self.irontill, *arguments], capture_output=True, timeout=COMMAND_WITHIN_S,
                              input=input_text.encode() if input_text else b"")
        self._keep(name, done.stdout, done.stderr)
        return done

    def _keep(self, name, out, err):
        self.commands += 1
        for kind, data in (("out", out), ("err", err)):
            with open(os.path.join(self.outputs, f"{self.commands:02}-{name}.{kind}"), "wb") as file:
                file.write(data)

    def serve(self):
        out = open(os.path.join(self.outputs, "serve.out"), "wb")
        err = open(os.path.join(self.outputs, "serve.err"), "wb")
        process = subprocess.Popen([self.irontill, "host", "serve", "--data", self.data], stdin=subprocess.PIPE, stdout=out, stderr=err)
        end = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end and process.poll() is None:
            if text := open(os.path.join(self.outputs, "serve.out")).read().strip():
                return process, text.splitlines()[0]
            time.sleep(0.05)
        process.kill()
        raise RuntimeError("the host did not start: " + open(os.path.join(self.outputs, "serve.err")).read()[-400:])


def decoder_message():
    """A sale with everything in clear that may stand in one: F2, F14, F35, F52, F55 with 5A and 57 (unionpay-pos.md §2)."""
    pan, expiry = CARDS["unionpay-credit"]
    track = f"{pan}D{expiry}2010000000000"
    chip = f"5A0A{pan}F" + f"57{(len(track) + 1) // 2:02X}{track}" + "F" * (len(track) % 2) + "9F2701809F360200015F24033012319F0206000000001250"
    fields = {
        2: f"{len(pan):02}{pan}0", 3: "000000", 4: "000000001250", 11: "000017", 14: expiry, 22: "0510", 25: "00",
        35: f"{len(track):02}{track}" + "0" * (len(track) % 2), 41: b"10000001".hex(), 42: b"898310000000001".hex(), 49: b"156".hex(),
        52: "06125ABCDEF01234", 55: f"{len(chip) // 2:04}{chip}",
    }
    bitmap = sum(1 << (64 - field) for field in fields)
    return "0200" + f"{bitmap:016X}" + "".join(fields[field] for field in sorted(fields))


def exercise(run, seconds):
    """Everything once. The first step has the system to itself; the others go through the proxies."""
    done = run.irontill_does("demo", "demo", "--once", "--data", run.data)
    check("demo --once", done.returncode == 0, done.stderr[-300:])
    recorders = [tap_key_socket(run)]
    serve, address = run.serve()
    try:
        host, port = address.rsplit(":", 1)
        terminals = Recorder(socket.AF_INET, ("127.0.0.1", 0), (host, int(port)), run.captured, "tcp")
        recorders.append(terminals)
        proxy = f"127.0.0.1:{terminals.address[1]}"
        # Every program that joins a running system looks here.
        with open(os.path.join(run.data, "host", "address"), "w") as file:
            file.write(proxy)
        pay_with_every_card(run)
        look_at_it(run)
        load_and_settle(run, seconds)
        foreign_client(run, proxy)
        check("terminals spoke through the proxy", terminals.connections >= len(CARDS) and terminals.bytes > 10_000,
              f"{terminals.connections} connections, {terminals.bytes} bytes")
        check("the host spoke to its keys through the proxy", recorders[0].bytes > 10_000, f"{recorders[0].bytes} bytes")
        plant_on_the_wire(terminals)
        print(f"      captured: {terminals.connections} terminal connections, {terminals.bytes} bytes; key socket {recorders[0].bytes} bytes")
    finally:
        serve.terminate()
        try:
            serve.wait(10)
        except subprocess.TimeoutExpired:
            serve.kill()
            serve.wait()
        for recorder in recorders:
            recorder.close()


def tap_key_socket(run):
    """The host speaks to the key process through a recorder of its own."""
    tap = os.path.join(run.data, "tap.sock")
    settings = os.path.join(run.data, "host", "host.conf")
    text = open(settings).read()
    line = re.search(r"^key-socket = (.*)$", text, re.M)
    with open(settings, "w") as file:
        file.write(re.sub(r"^key-socket = .*$", f"key-socket = {tap}", text, flags=re.M))
    return Recorder(socket.AF_UNIX, tap, line.group(1), run.captured, "keys")


def pay_with_every_card(run):
    approved = 0
    for card in CARDS:
        for more in (("--json",), ()):
            pin = PINS[1] if card == "pin-blocked" and more else PINS[0]
            done = run.irontill_does(f"pay-{card}", "pay", "--data", run.data, "--amount", "12.50", "--card", card, "--pin", pin, *more)
            approved += done.returncode == 0
            check(f"pay with {card} came to an outcome", done.returncode in (0, 1), f"{done.returncode} {done.stderr[-200:]}")
    check("most payments were approved", approved >= 12, f"{approved}")


def look_at_it(run):
    explained = 0
    for trace in range(1, 60):
        done = run.irontill_does("explain", "explain", "--data", run.data, f"{trace:06}", *(("--json",) if trace % 2 else ()))
        explained += done.returncode == 0
        if done.returncode and explained > 10:
            break
    check("payments were explained", explained > 10, f"{explained}")
    message = decoder_message()
    for name, text in (("decode", message), ("decode-cut", message[:-20]), ("decode-cut-pan", message[:30]), ("decode-odd", message[:-1]),
                       ("decode-bad", message.replace("D3012", "EE012"))):
        for more in ((), ("--json",)):
            done = run.irontill_does(name, "decode", "-", "--from", "body", *more, input_text=text)
            if name == "decode":
                check(f"the decoder reads a message full of card data {more}", done.returncode == 0 and done.stdout, done.stderr[-300:])
    for name, arguments in (("list", ("host", "list")), ("verify", ("host", "verify", "--json")), ("transport", ("host", "transport-key"))):
        run.irontill_does(name, *arguments, "--data", run.data)
    run.irontill_does("cards", "card", "list")


def load_and_settle(run, seconds):
    receipts = os.path.join(run.outputs, "receipts")
    batches = set()
    for _ in range(LOADS_MAX):
        done = run.irontill_does("load", "load", "--data", run.data, "--terminals", "1", "--seconds", str(seconds), "--receipts", receipts,
                                 "--card", "visa-credit", "--json")
        if not check("load", done.returncode == 0, done.stdout[-300:] + done.stderr[-300:]):
            break
        batches = {line.split(" ")[1] for line in open(receipts)}
        if len(batches) > 1:
            break
    check("a batch was settled", len(batches) > 1, f"batches {batches}; more --seconds?")
    done = run.irontill_does("audit", "load", "--data", run.data, "--terminals", "1", "--audit", "--receipts", receipts, "--json")
    check("audit", done.returncode == 0, done.stdout[-300:] + done.stderr[-300:])


def foreign_client(run, proxy):
    done = subprocess.run([sys.executable, os.path.join(HERE, "client.py"), "--irontill", run.irontill, "--data", run.data, "--host", proxy],
                          capture_output=True, timeout=COMMAND_WITHIN_S)
    if b"No module named 'cryptography'" in done.stderr:
        print("      skipped: the foreign client (no cipher package)")
        return
    run._keep("client", done.stdout, done.stderr)
    check("the foreign client sold, reversed and settled", done.returncode == 0, (done.stdout + done.stderr)[-300:])


def plant_on_the_wire(recorder):
    """A terminal that forgets TLS: what it says must be in the capture."""
    with socket.create_connection(recorder.address) as line:
        line.sendall(b"\x00\x20canary " + CARDS["visa-credit"][0].encode())
        line.settimeout(2)
        try:
            line.recv(100)
        except OSError:
            pass
    time.sleep(0.2)


# --- the scan ------------------------------------------------------------------------------------------------------------

def scan_tree(scanner, root, only=None):
    """(path, findings) of every file (or of some) with findings, and how much was read."""
    findings, files, size = [], 0, 0
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or (only is not None and os.path.relpath(path, root) not in only):
                continue
            data = open(path, "rb").read()
            files, size = files + 1, size + len(data)
            # A file's own name is a byte string too.
            found = scanner.scan(data) | scanner.scan(name.encode())
            if found:
                findings.append((os.path.relpath(path, root), sorted(found)))
    return findings, files, size


def plant(root, seed=7):
    """One file a canary, at an odd offset between random bytes, in folders of the data."""
    rng = random.Random(seed)
    planted = {}
    for number, (coding, data) in enumerate(canaries()):
        folder = os.path.join(root, ("host", "log", "terminals", "cards")[number % 4])
        path = os.path.join(folder, f"canary-{number:02}.bin")
        with open(path, "wb") as file:
            file.write(rng.randbytes(1 + 2 * rng.randint(0, 500)) + data + rng.randbytes(rng.randint(0, 500)))
        planted[os.path.relpath(path, root)] = coding
    return planted


def scan_everything(run, scanner):
    noise = scanner.scan(random.Random(3).randbytes(4 << 20))
    check("random bytes hold no finding", not noise, f"{noise}")
    wire = "captured/tcp"
    findings, files, size = scan_tree(scanner, run.work)
    on_wire = [path for path, _ in findings if path.startswith(wire)]
    check("canary: card data outside TLS is found in the capture", len(on_wire) == 1, f"{on_wire}")
    others = [(path, found) for path, found in findings if path not in on_wire]
    for path, found in others:
        print(f"      LEAK {path}: " + "; ".join(f"{name} in {coding}" for name, coding in found[:6]))
    check(f"no secret in {files} files, {size} bytes ({len(scanner)} forms)", not others, f"{len(others)} files")
    planted = plant(run.data)
    found = {path for path, _ in scan_tree(scanner, run.data, only=planted)[0]}
    missed = [coding for path, coding in planted.items() if path not in found]
    check(f"canary: each of {len(planted)} planted secrets is found", not missed, f"missed: {missed}")


def stores_are_readable(run):
    """The scan is worth little if the stores were empty."""
    db = sqlite3.connect(f"file:{run.data}/host/host.db?mode=ro", uri=True)
    records = db.execute("SELECT count(*) FROM journal").fetchone()[0]
    db.close()
    check("the host's journal holds what was done", records > 100, f"{records} records")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--irontill", required=True)
    parser.add_argument("--seconds", type=int, default=3, help="length of one load; loads follow until a batch is full")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    work = os.path.realpath(tempfile.mkdtemp(prefix="irontill-leak-"))
    began = time.monotonic()
    try:
        run = Run(os.path.abspath(arguments.irontill), work)
        exercise(run, arguments.seconds)
        stores_are_readable(run)
        scan_everything(run, make_scanner())
    except Exception as fault:  # noqa: BLE001 - whatever stops the test fails it
        check("the test came to its end", False, f"{type(fault).__name__}: {fault}")
    finally:
        if arguments.keep or checks.failed:
            print(f"      files kept in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print(f"      {time.monotonic() - began:.0f} s")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
