"""The product's command line against its contract, on a running system.

Every test card does what its list says; exit codes; the X-ray of a payment; the decoder on the worked messages and on every way to
cut them; and hostile bytes on the host's port, which must not disturb anybody else.

    outcomes.py --irontill PATH
"""

import argparse
import contextlib
import datetime
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import client
import harness

HERE = os.path.dirname(os.path.abspath(__file__))
WORKERS = 2
# Cut at every byte; the other messages at every STRIDE-th.
CUT_EVERYWHERE = ("S3", "W5", "S1")
STRIDE = 7
RANDOM_FRAMES = 60
FLIPPED_SALES = 120
# The host's default limits: a frame, and a handshake, may take this long.
PATIENCE_SECONDS = 10
# What is added to a limit before a test calls it overrun.
GRACE_SECONDS = 8


class Tool:
    """The program under test, on one system."""

    def __init__(self, program, system):
        self.program, self.data = program, system.data

    def run(self, *words, text=None):
        return harness.run_tool(self.program, *words, text=text)

    def pay(self, amount, card, pin=None, *more):
        words = ["pay", "--json", "--data", self.data, "--card", card]
        words += ["--amount", amount] if amount else []
        code, output, complaint = self.run(*words, *(["--pin", pin] if pin else []), *more)
        assert output, f"exit {code}, no output: {complaint.strip()[:200]}"
        return code, json.loads(output)


# --- payments ------------------------------------------------------------------------------------------------------------

# Beyond approves or not: response code, and who declined. `None`: decided without the host.
CODES = {"unionpay-credit": "00", "unionpay-debit": "00", "visa-credit": "00", "mastercard-credit": "00", "unionpay-sda": "00",
         "scripted": "00", "expired": "54", "revoked-capk": None, "cda-lies": None, "pin-blocked": None, "unionpay-offline": None}


def pay_with_every_card(tool, checks):
    """Gives the trace number of each card's payment."""
    code, output, _ = tool.run("card", "list", "--json")
    cards = json.loads(output)["cards"]
    checks.check("card list", code == 0 and {card["name"] for card in cards} >= set(CODES))
    traces = {}
    for card in cards:
        with checks.step(f"pay with {card['name']}"):
            code, outcome = tool.pay("12.50", card["name"], client.PIN)
            expected = (0, "approved") if card["approves"] else (1, "declined")
            assert (code, outcome["status"]) == expected, f"exit {code}, {outcome['status']}"
            if card["name"] in CODES:
                assert outcome["response_code"] == CODES[card["name"]], outcome["response_code"]
            assert outcome["amount"] == "CNY 12.50" and len(outcome["stan"]) == 6
            assert outcome["card"] == card["card"] or not card["approves"]
            if card["approves"]:
                receipt = outcome["receipt"]
                # A card that pays without the host has its slip before there is a reference number.
                reference = outcome["rrn"] or "OFFLINE SALE"
                assert all(text in receipt for text in (reference, outcome["stan"], card["card"], "RMB 12.50", "TVR: ", "TC: "))
                assert outcome["upload"] == (None if outcome["rrn"] else "approved"), outcome["upload"]
            else:
                assert outcome["receipt"] is None or "TC: " not in outcome["receipt"]
            traces[card["name"]] = outcome
    return traces


def pay_in_other_ways(tool, checks):
    def outcome(name, expected, *payment):
        with checks.step(name):
            code, got = tool.pay(*payment)
            found = (code, got["status"], got["response_code"])
            assert found == expected, found

    # Its tries were used up by the three wrong ones of pay_with_every_card.
    outcome("a blocked PIN stays blocked for the right one", (1, "declined", None), "1.00", "pin-blocked", "258036")
    outcome("a wrong PIN", (1, "declined", "55"), "1.00", "unionpay-credit", "111111")
    outcome("the right PIN afterwards", (0, "approved", "00"), "1.00", "unionpay-credit", client.PIN)
    outcome("no PIN: the cardholder cancels", (1, "cancelled", None), "1.00", "unionpay-debit")
    outcome("above the limit for one transaction", (1, "declined", "61"), "20000.01", "unionpay-debit", client.PIN)
    outcome("a first large sale", (0, "approved", "00"), "20000", "unionpay-debit", client.PIN)
    outcome("a second large sale", (0, "approved", "00"), "20000.00", "unionpay-debit", client.PIN)
    outcome("more than there is", (1, "declined", "51"), "10000", "unionpay-debit", client.PIN)
    outcome("what is left", (0, "approved", "00"), "9987.50", "unionpay-debit", client.PIN)
    outcome("nothing is left", (1, "declined", "51"), "0.01", "unionpay-debit", client.PIN)


def tip_and_take_back(tool, checks, traces):
    def step(name, expected, transaction, voucher, tip=None):
        with checks.step(name):
            words = ["--transaction", transaction, "--voucher", voucher] + (["--tip", tip] if tip else [])
            exit_code, outcome = tool.pay(None, "unionpay-credit", None, *words)
            found = (exit_code, outcome["status"], outcome["amount"])
            assert found == expected, found
            return outcome

    sale = traces["unionpay-credit"]["stan"]
    step("a tip above 20 %", (1, "failed", None), "tip", sale, "2.51")
    slip = step("a tip", (0, "approved", "CNY 15.00"), "tip", sale, "2.50")["receipt"]
    with checks.step("its slip"):
        assert all(text in slip for text in ("小费 TIPS", "RMB 12.50", "RMB 2.50", "总计 TOTAL", "RMB 15.00")), slip
    step("a second tip", (1, "failed", None), "tip", sale, "0.01")
    with checks.step("a void takes back sale and tip"):
        code, outcome = tool.pay(None, "unionpay-credit", client.PIN, "--transaction", "void", "--voucher", sale)
        assert (code, outcome["status"], outcome["amount"]) == (0, "approved", "CNY 15.00"), outcome
    offline = traces["unionpay-offline"]["stan"]
    with checks.step("a void of a sale that was uploaded"):
        code, outcome = tool.pay(None, "unionpay-offline", client.PIN, "--transaction", "void", "--voucher", offline)
        assert (code, outcome["status"], outcome["amount"]) == (0, "approved", "CNY 12.50"), outcome


# A JBIG header (ITU-T T.82 6.2.2): one plane of 384 by 120 points in one stripe; then data, which nobody decodes.
SIGNATURE = bytes([0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0x40]) + bytes(range(64))


def sign_and_fetch(tool, checks, traces):
    """What an operator asks for besides payments."""
    def step(name, expected, *words):
        with checks.step(name):
            code, outcome = tool.pay(None, "unionpay-sda", None, "--transaction", *words)
            assert (code, outcome["status"]) == expected, (code, outcome)

    image = os.path.join(tool.data, "signature.jbg")
    with open(image, "wb") as file:
        file.write(SIGNATURE)
    sale = traces["unionpay-sda"]["stan"]
    sign = ["sign", "--voucher", sale, "--image", image]
    step("a signature under a sale", (0, "done"), *sign)
    step("a second signature", (1, "failed"), *sign)
    with checks.step("explain shows the signature"):
        code, output, _ = tool.run("explain", "--data", tool.data, sale)
        assert code == 0 and "384" in output and "120" in output, output
    with open(image, "wb") as file:
        file.write(b"no image")
    step("no image", (1, "failed"), "sign", "--voucher", traces["scripted"]["stan"], "--image", image)
    for each in ("capks", "aids", "terminal", "card-blacklist", "pin-free-bins", "pin-free-blacklist"):
        step(f"a download of {each}", (0, "done"), "download", "--set", each)
    step("a download of what this host does not have", (1, "failed"), "download", "--set", "contactless")
    step("a status report", (0, "done"), "report-status")


def hold_and_complete(tool, checks):
    """Each step on the hold of the one before; the books are checked by `host verify` in the end."""
    card = "unionpay-credit"

    def step(name, expected, transaction, amount, pin=None, code=None, voucher=None):
        words = ["--transaction", transaction]
        words += ["--authorisation-code", code] if code else []
        words += ["--voucher", voucher] if voucher else []
        outcome = None
        with checks.step(f"{name}"):
            exit_code, outcome = tool.pay(amount, card, pin, *words)
            found = (exit_code, outcome["status"], outcome["response_code"])
            assert found == expected, found
        return outcome

    yes, no = (0, "approved", "00"), lambda code: (1, "declined", code)
    held = step("a pre-authorisation", yes, "pre-auth", "100.00", client.PIN)
    with checks.step("its slip"):
        slip = held["receipt"]
        assert all(text in slip for text in ("预授权(AUTH)", held["authorisation_code"], "RMB 100.00", "TC: ")), slip
    code = held["authorisation_code"]
    step("a completion above the bound", no("64"), "complete", "115.01", code=code)
    step("a completion under another code", no("25"), "complete", "1.00", code="ZZZZZZ")
    step("a void of a part", no("64"), "pre-auth-void", "99.99", client.PIN, code)
    done = step("a completion at the bound", yes, "complete", "115.00", code=code)
    with checks.step("the completion's slip"):
        slip = done["receipt"]
        assert "预授权完成(请求)(AUTH COMPLETE)" in slip and f"ORIGINAL AUTH NO: {code}" in slip, slip
    step("a second completion", no("12"), "complete", "1.00", code=code)
    step("a void after the completion", no("12"), "pre-auth-void", "100.00", client.PIN, code)
    step("a completion void", yes, "complete-void", None, voucher=done["stan"])
    held = step("another pre-authorisation", yes, "pre-auth", "30.00", client.PIN)
    step("its void with a wrong PIN", no("55"), "pre-auth-void", "30.00", "111111", held["authorisation_code"])
    step("its void", yes, "pre-auth-void", "30.00", client.PIN, held["authorisation_code"])
    held = step("a third pre-authorisation", yes, "pre-auth", "20.00", client.PIN)
    step("its completion by a notice", yes, "complete-notice", "20.00", code=held["authorisation_code"])
    with checks.step("explain shows the hold and its end"):
        for stan, words in ((held["stan"], ("posting", "hold/10000001", "guard", "ledger", "PreAuthorisation")),):
            exit_code, output, _ = tool.run("explain", "--data", tool.data, stan)
            missing = [word for word in words if word not in output]
            assert exit_code == 0 and not missing, f"without {missing}"


def pay_with_a_fresh_blockable_card(program, checks):
    with checks.step("the card with PIN 258036 is approved while it has tries left"):
        words = ["pay", "--json", "--amount", "1.00", "--card", "pin-blocked", "--pin", "258036"]
        code, output, complaint = harness.run_tool(program, *words)
        assert code == 0 and json.loads(output)["status"] == "approved", f"exit {code}: {complaint[:200]}"


def misuse(tool, checks):
    data = ["--data", tool.data]
    for name, words in (
        ("an unknown command", ["sell"]),
        ("no amount", ["pay", *data]),
        ("an unknown transaction", ["pay", *data, "--transaction", "loan", "--amount", "1.00"]),
        ("a completion of nothing", ["pay", *data, "--transaction", "complete", "--amount", "1.00"]),
        ("a completion under a code too long", ["pay", *data, "--transaction", "complete", "--amount", "1.00",
                                               "--authorisation-code", "1234567"]),
        ("a signature without an image", ["pay", *data, "--transaction", "sign", "--voucher", "1"]),
        ("an image that is not there", ["pay", *data, "--transaction", "sign", "--voucher", "1", "--image", "nowhere.jbg"]),
        ("a completion void without a voucher", ["pay", *data, "--transaction", "complete-void"]),
        ("a date that is none", ["pay", *data, "--transaction", "complete", "--amount", "1.00", "--authorisation-code", "123456",
                                 "--date", "2026-02-30"]),
        ("an amount in letters", ["pay", *data, "--amount", "twelve"]),
        ("a negative amount", ["pay", *data, "--amount=-1.00"]),
        ("too many decimals", ["pay", *data, "--amount", "1.001"]),
        ("nothing to pay", ["pay", *data, "--amount", "0.00"]),
        ("an amount beyond every number", ["pay", *data, "--amount", "9" * 40]),
        ("an unknown card", ["pay", *data, "--amount", "1.00", "--card", "gold"]),
        ("a PIN in letters", ["pay", *data, "--amount", "1.00", "--pin", "abcd"]),
        ("a PIN of three digits", ["pay", *data, "--amount", "1.00", "--pin", "123"]),
        ("hex with a letter that is none", ["decode", "02Z0"]),
        ("half a byte", ["decode", "020"]),
        ("no bytes", ["decode", ""]),
        ("an unknown dialect", ["decode", "--dialect", "latin", "0200"]),
        ("a transaction that is no number", ["explain", *data, "yesterday"]),
        ("a terminal id too long", ["explain", *data, "--terminal", "123456789", "000001"]),
        ("an enrolment without files", ["host", "enrol", *data, "--terminal", "1"]),
    ):
        with checks.step(f"misuse, {name}: exit 2"):
            code, output, complaint = tool.run(*words)
            assert code == 2, f"exit {code}"
            assert complaint.strip() and not output.strip(), "a complaint, on standard error only"
    nowhere = tool.data + "-nowhere"
    for words in (["explain", "000001"], ["host", "list"], ["host", "verify"]):
        with checks.step(f"{' '.join(words)} without a system: exit 2, and none is made"):
            code, _, complaint = tool.run(*words, "--data", nowhere)
            assert code == 2 and complaint.strip() and not os.path.exists(nowhere), f"exit {code}"
    for words in (["--help"], ["--version"], ["pay", "--help"]):
        checks.equal(f"irontill {' '.join(words)}", tool.run(*words)[0], 0)


# --- the X-ray -----------------------------------------------------------------------------------------------------------

def explain(tool, checks, outcomes):
    paid = outcomes["unionpay-credit"]
    for wanted in (paid["stan"], paid["rrn"]):
        with checks.step("explain as JSON"):
            code, output, complaint = tool.run("explain", "--data", tool.data, "--json", wanted)
            assert code == 0, f"exit {code}: {complaint[:200]}"
            xray_is_whole(json.loads(output), paid)
        with checks.step("explain as text"):
            code, output, complaint = tool.run("explain", "--data", tool.data, wanted)
            assert code == 0, f"exit {code}: {complaint[:200]}"
            words = ("GENERATE AC", "TVR", "tvr ", "ARQC ", "TC ", "request ", "response ", "issuer.approved", "ledger ", "posting ",
                     "RECEIPT", paid["rrn"], paid["stan"])
            missing = [word for word in words if word not in output]
            assert not missing, f"without {missing}"
            assert client.PAN not in output and client.EXPIRY + "2010000012300" not in output, "account data in the open"
    with checks.step("explain into a pipe that closes early ends without a word"):
        process = subprocess.Popen([tool.program, "explain", "--data", tool.data, paid["stan"]], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b"", "a complaint"
        process.wait(harness.TOOL_SECONDS)
        process.stderr.close()
    with checks.step("explain shows the receipt that was printed"):
        _, output, _ = tool.run("explain", "--data", tool.data, "--json", paid["stan"])
        receipt = json.loads(output)["receipt"].strip()
        assert receipt in paid["receipt"], "another receipt than the printed one"
    with checks.step("explain says plainly what happened"):
        _, output, _ = tool.run("explain", "--data", tool.data, "--json", paid["stan"])
        xray = json.loads(output)
        plainly, money = xray["plainly"], xray["money"]
        assert money == {"moved_minor": -1250, "undone_minor": 0} and not plainly["uncertain"], (money, plainly)
        assert "CNY 12.50" in plainly["shopper"]["en"] and "只扣一次" in plainly["shopper"]["zh"], plainly
    with checks.step("explain says plainly that nothing happened"):
        _, output, _ = tool.run("explain", "--data", tool.data, "--json", outcomes["expired"]["stan"])
        xray = json.loads(output)
        assert xray["money"] == {"moved_minor": 0, "undone_minor": 0} and "Nothing was taken" in xray["plainly"]["shopper"]["en"], xray
    with checks.step("explain a payment that the host declined"):
        code, output, _ = tool.run("explain", "--data", tool.data, "--json", outcomes["expired"]["stan"])
        host = json.loads(output)["host"]
        assert code == 0 and any(line["text"].startswith("54") for line in host), "without the host's 54"
    with checks.step("explain a payment that the card declined"):
        code, output, _ = tool.run("explain", "--data", tool.data, "--json", outcomes["cda-lies"]["stan"])
        lines = json.loads(output)["terminal"]
        assert code == 0 and any("AAC" in line["text"] for line in lines), "without the card's AAC"
    with checks.step("explain a payment with an issuer script"):
        code, output, _ = tool.run("explain", "--data", tool.data, "--json", outcomes["scripted"]["stan"])
        assert code == 0 and "PUT DATA" in output, "without the script's command"
    for name, wanted in (("trace", "999998"), ("reference", "999999999998")):
        checks.equal(f"explain of an unknown {name}: exit 1", tool.run("explain", "--data", tool.data, wanted)[0], 1)


def xray_is_whole(xray, paid):
    terminal, host = ([(line["topic"], line["text"]) for line in xray[half]] for half in ("terminal", "host"))
    topics = {topic for topic, _ in terminal}
    missing = {"apdu", "aip", "tvr", "tsi", "cvm", "cryptogram", "request", "response"} - topics
    assert not missing, f"terminal's half without {sorted(missing)}"
    apdus = [text for topic, text in terminal if topic == "apdu"]
    for command in ("SELECT", "GET PROCESSING OPTIONS", "READ RECORD", "GENERATE AC"):
        both = [any(text.startswith(f"{command} {way}") for text in apdus) for way in "><"]
        assert all(both), f"{command} without command or answer"
    cryptograms = [text.split()[0] for topic, text in terminal if topic == "cryptogram"]
    assert "ARQC" in cryptograms and "TC" in cryptograms, "cryptograms"
    fields = {text.split()[0] for topic, text in terminal if topic == "request"}
    assert {"2", "3", "4", "11", "41", "42", "52", "55", "60", "64"} <= fields, "the request's fields"
    fields = {text.split()[0] for topic, text in terminal if topic == "response"}
    assert {"37", "38", "39", "64"} <= fields, "the response's fields"
    words = {topic.split(" ", 2)[2]: text for topic, text in host}
    assert words["rule"] == "issuer.approved" and words["answer"].startswith("00"), "the host's rule"
    legs = [int(text.rsplit(" ", 1)[1]) for topic, text in host if topic.endswith(" leg")]
    assert legs and sum(legs) == 0 and 1250 in legs and -1250 in legs, f"legs {legs}"
    assert any(topic.endswith(" ledger") and "1250" in text for topic, text in host), "what the ledger holds"
    assert paid["rrn"] in xray["receipt"] and "TVR" in xray["receipt"], "the receipt"


# --- the decoder ---------------------------------------------------------------------------------------------------------

def decode_worked_messages(tool, checks, messages):
    for message in messages:
        with checks.step(f"decode {message['id']}"):
            decoded = decode(tool, message["hex"])
            body = bytes.fromhex(message["hex"])[13:]
            assert decoded["mti"] == message["mti"], decoded["mti"]
            wrong = [number for number, value in message["fields"].items() if decoded["fields"].get(number) != value]
            assert not wrong, f"fields {wrong} are not the table's"
            _, own = client.parse(body)
            mine = {str(number): as_decoded(number, value) for number, value in own.items()}
            assert decoded["fields"] == mine, "fields differ from this test's own codec"
            parts = {line["path"]: line["value"] for line in decoded["lines"]}
            assert all(parts[part] == message[part] for part in ("tpdu", "header", "bitmap") if part in message)
            assert decoded["reencodes"] is True
            for start, where in ((0, "frame"), (2, "tpdu"), (13, "body")):
                again = decode(tool, message["hex"][2 * start:], "--from", where)
                found = decode(tool, message["hex"][2 * start:])
                assert again["fields"] == decoded["fields"] == found["fields"], f"otherwise from {where}"
    with checks.step("decode from standard input, with spaces and line ends"):
        text = " ".join(messages[0]["hex"]) + "\n"
        code, output, _ = tool.run("decode", "--json", "--test-data", "-", text=text)
        assert code == 0 and json.loads(output)["mti"] == messages[0]["mti"]
    with checks.step("decode masks account data unless it is told that it is test data"):
        sale = next(message for message in messages if message["id"] == "S3")
        for words in (["decode", sale["hex"]], ["decode", "--json", sale["hex"]]):
            code, output, _ = tool.run(*words)
            assert code == 0
            secrets = (sale["fields"]["2"], sale["fields"]["35"], sale["fields"]["52"], sale["fields"]["14"] + "2011")
            assert not any(secret in output for secret in secrets), "account data in the open"


def decode(tool, text, *words):
    code, output, complaint = tool.run("decode", "--json", "--test-data", *words, text)
    assert code == 0, f"exit {code}: {output[:200]}{complaint[:200]}"
    return json.loads(output)


def as_decoded(number, value):
    """A value of this test's codec as the product's JSON shows it."""
    if not isinstance(value, bytes):
        return value
    return value.decode() if number in (44, 54, 63, 64) else value.hex().upper()


def decode_cut_messages(tool, checks, messages):
    """Every truncation exits 1 with the place and the field."""
    def cut(job):
        message, length, mode = job
        code, output, complaint = tool.run("decode", *mode, message["hex"][:2 * length])
        name = f"{message['id']} cut to {length} bytes {' '.join(mode)}"
        if code != 1:
            return f"{name}: exit {code}"
        if "--json" not in mode:
            return None if "byte" in complaint or "offset" in complaint else f"{name}: {complaint.strip()[:100]}"
        error = json.loads(output)["error"]
        whole = 0 <= error["offset"] <= len(message["hex"]) // 2 and error["path"] and error["message"]
        return None if whole else f"{name}: {error}"

    jobs = []
    for message in messages:
        size = len(message["hex"]) // 2
        stride = 1 if message["id"] in CUT_EVERYWHERE else STRIDE
        jobs += [(message, length, ["--json", "--from", "frame"]) for length in range(1, size, stride)]
        jobs += [(message, length, ["--json"]) for length in range(1, size, 5 * STRIDE)]
        jobs += [(message, length, []) for length in range(1, size, 5 * STRIDE)]
    with ThreadPoolExecutor(WORKERS) as pool:
        wrong = [fault for fault in pool.map(cut, jobs) if fault]
    checks.check(f"{len(jobs)} cut messages", not wrong, f"{len(wrong)}, first: {wrong[:3]}")


# --- hostile bytes on the port -------------------------------------------------------------------------------------------

class Port:
    """The host's port, with a well-behaved terminal that must never notice anything."""

    def __init__(self, options, system, folder, checks):
        self.checks, self.system = checks, system
        self.witness = self.enrolled(options, system, "20000011", os.path.join(folder, "witness"))
        self.attacker = self.enrolled(options, system, "20000012", os.path.join(folder, "attacker"))
        self.link = self.witness.connect()

    @staticmethod
    def enrolled(options, system, name, folder):
        os.mkdir(folder)
        terminal = client.Terminal(argparse.Namespace(
            irontill=options.irontill, data=system.data, host=system.address, terminal=name, merchant="898310000000002"))
        terminal.enrol(folder)
        terminal.sign_in()
        return terminal

    def undisturbed(self):
        echo = {**self.witness.identity(), 60: f"00{self.witness.batch}301"}
        assert self.witness.ask("0820", echo, with_mac=False, link=self.link)[39] == "00", "the other connection is disturbed"

    @contextlib.contextmanager
    def step(self, name):
        """A case, after which the other connection must work as before."""
        with self.checks.step(name):
            yield
            self.undisturbed()

    def send(self, raw):
        """Bytes on a fresh authenticated connection: the answer's body, or `None` if it is closed without one."""
        with self.attacker.connect() as link:
            link.sendall(raw)
            return answer_or_close(link)


def answer_or_close(link):
    """One frame's body, or `None` if the connection ends without a byte of one."""
    try:
        head = link.recv(1)
    except TimeoutError:
        raise AssertionError("neither answered nor closed") from None
    except OSError:
        return None
    if not head:
        return None
    size = struct.unpack(">H", head + client.Terminal.receive(link, 1))[0]
    return client.Terminal.receive(link, size)[11:]


def is_closed(link, seconds):
    """Waits until the peer closes; anything it says instead is an answer that nobody asked for."""
    link.settimeout(seconds)
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def malformed_frames(port):
    good = port.attacker.sale_fields(100)
    body = client.build("0200", good, port.attacker.keys["mac"])
    for name, length in (("zero", 0), ("one above the limit", 4097), ("65535", 65535)):
        with port.step(f"a frame of {name} bytes: closed"):
            assert port.send(struct.pack(">H", length) + b"\x60" * 20) is None
    for name, frame in (
        ("one byte", b"\x60"), ("no message type", client.TPDU + client.HEADER), ("letters for a message type", client.TPDU + client.HEADER + b"\xAB\xCD" + body[2:]),
        ("another TPDU", b"\x11" * 11 + body), ("a response instead of a request", client.TPDU + client.HEADER + b"\x02\x10" + body[2:]),
    ):
        with port.step(f"{name}: closed or refused"):
            answer = port.send(struct.pack(">H", len(frame)) + frame)
            assert answer is None or client.parse(answer)[1][39] == "30", "answered"
    missing = {number: value for number, value in good.items() if number != 4}
    secondary = bytearray(body)
    secondary[2] |= 0x80
    unknown = bytearray(body)
    unknown[2] |= 0x08  # field 5, which the dialect does not have
    for name, message in (
        ("a secondary bitmap", bytes(secondary)), ("a field that the dialect does not have", bytes(unknown)),
        ("a cut message", body[:60]), ("bytes behind the message", body + b"\x00"), ("only a message type", body[:2]),
        ("a length of a field beyond the message", body[:10] + b"\x99" + body[11:]),
        ("a mandatory field missing", client.build("0200", missing, port.attacker.keys["mac"])),
    ):
        with port.step(f"{name}: 30"):
            answer = port.send(client.frame_of(message))
            assert answer is not None, "closed without an answer"
            mti, fields = client.parse(answer)
            assert (mti, fields[39]) == ("0210", "30"), (mti, fields[39])


def silence(port):
    """Half a frame, half a handshake: closed when their time is up, and nobody else waits meanwhile."""
    begun = time.monotonic()
    half_frame = port.attacker.connect()
    half_frame.sendall(client.frame_of(client.build("0820", {**port.attacker.identity(), 60: "00000001301"}))[:20])
    half_length = port.attacker.connect()
    half_length.sendall(b"\x00")
    no_handshake = socket.create_connection(port.system.endpoint())
    half_handshake = socket.create_connection(port.system.endpoint())
    half_handshake.sendall(bytes.fromhex("16030100F5010000F10303"))
    return begun, [("half a frame, then silence", half_frame), ("half a length, then silence", half_length),
                   ("a connection that says nothing", no_handshake), ("half a handshake, then silence", half_handshake)]


def silence_ends(port, begun, quiet):
    for name, link in quiet:
        left = begun + PATIENCE_SECONDS + GRACE_SECONDS - time.monotonic()
        with port.step(f"{name}: closed in time"):
            assert is_closed(link, max(left, 0.1)), "still open, or answered"
        link.close()


def certificates(port, folder):
    endpoint = port.system.endpoint()

    def refused(context):
        """In TLS 1.3 a client learns only from its first read that its certificate was not taken."""
        frame = client.frame_of(client.build("0820", {**port.attacker.identity(), 60: "00000001301"}))
        try:
            with socket.create_connection(endpoint, timeout=client.ANSWER_SECONDS) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as link:
                    link.sendall(frame)
                    return link.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    authority = os.path.join(folder, "attacker", "ca.pem")
    with port.step("the enrolled certificate is taken"):
        assert not refused(port.attacker.tls)
    with port.step("no certificate: refused"):
        assert refused(ssl.create_default_context(cafile=authority))
    with port.step("a certificate that signs itself: refused"):
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(*self_signed(folder, port.attacker.options.terminal))
        assert refused(context)
    with port.step("TLS 1.2: refused"):
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(os.path.join(folder, "attacker", "terminal.pem"), os.path.join(folder, "attacker", "device.key"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert refused(context)
    with port.step("no TLS at all: closed"):
        with socket.create_connection(endpoint, timeout=client.ANSWER_SECONDS) as plain:
            plain.sendall(client.frame_of(client.build("0820", {60: "00000001301"})))
            # A TLS alert (type 21), or nothing, and then the end.
            said = b""
            with contextlib.suppress(ConnectionError):
                while more := plain.recv(64):
                    said += more
            assert said == b"" or said[0] == 21, "an answer without TLS"


def self_signed(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
    paths = os.path.join(folder, "self.pem"), os.path.join(folder, "self.key")
    with open(paths[0], "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(paths[1], "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


def noise(port):
    chance = random.Random(20_260_101)
    with port.step(f"{RANDOM_FRAMES} frames of random bytes are closed or refused"):
        for _ in range(RANDOM_FRAMES):
            content = chance.randbytes(chance.randrange(1, 300))
            if chance.random() < 0.5:
                content = client.TPDU + client.HEADER + chance.choice([b"\x02\x00", b"\x08\x00", b"\x04\x00", b"\x05\x00"]) + content
            answer = port.send(struct.pack(">H", len(content)) + content)
            assert answer is None or client.parse(answer)[1].get(39) not in ("00", None), "accepted"
    with port.step(f"{FLIPPED_SALES} sales with one bit changed are never approved"):
        terminal = port.attacker
        for _ in range(FLIPPED_SALES):
            body = bytearray(client.build("0200", terminal.sale_fields(100), terminal.keys["mac"]))
            bit = chance.randrange(8 * len(body))
            body[bit // 8] ^= 1 << bit % 8
            answer = port.send(client.frame_of(bytes(body)))
            assert answer is None or client.parse(answer)[1].get(39) not in ("00", None), f"bit {bit} is not covered"


def crowd(port):
    with port.step("more connections of one terminal than it may have: the surplus is closed, the others work"):
        links = [port.attacker.connect() for _ in range(5)]
        try:
            echo = client.frame_of(client.build("0820", {**port.attacker.identity(), 60: "00000001301"}))
            answered = 0
            for link in links:
                with contextlib.suppress(OSError):
                    link.sendall(echo)
                    answered += answer_or_close(link) is not None
            assert answered == 4, f"{answered} answered"
        finally:
            for link in links:
                link.close()
    with port.step("connections that come and go without a word"):
        for _ in range(40):
            socket.create_connection(port.system.endpoint()).close()


def hostile_bytes(options, system, checks):
    with tempfile.TemporaryDirectory(prefix="irontill-foreign-") as folder:
        port = Port(options, system, folder, checks)
        begun, quiet = silence(port)
        malformed_frames(port)
        certificates(port, folder)
        noise(port)
        silence_ends(port, begun, quiet)
        crowd(port)
        with port.step("afterwards both terminals sell as before"):
            port.witness.sale(100, port.link)
            wait_for_place(port)
            port.attacker.sale(100)
        port.link.close()


def wait_for_place(port):
    """The host notices that connections were closed a moment later."""
    def served():
        with contextlib.suppress(OSError, AssertionError):
            echo = {**port.attacker.identity(), 60: f"00{port.attacker.batch}301"}
            return port.attacker.ask("0820", echo, with_mac=False)[39] == "00"
    assert harness.wait_until(served, GRACE_SECONDS), "the terminal's places stay taken"


def main():
    parser = harness.arguments(__doc__.splitlines()[0])
    options = parser.parse_args()

    def work(checks):
        with open(os.path.join(HERE, "worked_messages.json"), encoding="utf-8") as file:
            messages = json.load(file)["messages"]
        with harness.System(options.irontill) as system:
            tool = Tool(options.irontill, system)
            outcomes = pay_with_every_card(tool, checks)
            explain(tool, checks, outcomes)
            tip_and_take_back(tool, checks, outcomes)
            sign_and_fetch(tool, checks, outcomes)
            hold_and_complete(tool, checks)
            pay_in_other_ways(tool, checks)
            misuse(tool, checks)
            hostile_bytes(options, system, checks)
            code, _, _ = tool.run("host", "verify", "--data", system.data, "--json")
            checks.equal("the host's books are in order afterwards", code, 0)
            checks.check("the same host process serves still", system.process.poll() is None)
            pay_with_a_fresh_blockable_card(options.irontill, checks)
            decode_worked_messages(tool, checks, messages)
            decode_cut_messages(tool, checks, messages)
            system.stop_and_check_gone(checks)

    harness.main(work)


if __name__ == "__main__":
    main()
