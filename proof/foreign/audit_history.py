"""A second auditor, of another language and another hand: reads what people and the bank could see of a simulated run and says where
a promise was broken. It knows the dialect document and nothing of the product.

    audit_history.py --irontill PATH [--seeds 1-6] [--transactions 400]
    audit_history.py --history FILE
"""

import argparse
import collections
import json
import os
import sys
import tempfile

import harness

# Fields of the dialect by shape: digits and characters of a fixed length, or behind one or two length bytes.
DIGITS = {3: 6, 4: 12, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4, 22: 3, 23: 3, 25: 2, 26: 2, 53: 16}
CHARACTERS = {37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 49: 3}
RAW = {52: 8, 64: 8}
DIGITS_BEHIND = {2: 1, 32: 1, 35: 1, 36: 2, 48: 2, 60: 2, 61: 2}
RAW_BEHIND = {44: 1, 54: 2, 55: 2, 57: 2, 58: 2, 59: 2, 62: 2, 63: 2}

# What takes (-1) or gives (+1) a cardholder's money, by message type and type of transaction (F60.1).
KINDS = {("0200", "22"): ("sale", -1), ("0200", "23"): ("void", 1), ("0220", "25"): ("refund", 1), ("0100", "10"): ("hold", -1),
         ("0100", "11"): ("release", 1), ("0200", "20"): ("completion", -1), ("0200", "21"): ("void", 1),
         ("0220", "24"): ("completion", -1), ("0200", "36"): ("sale", -1), ("0220", "34"): ("tip", -1)}
OFFLINE_SALE, TIP = ("0200", "36"), ("0220", "34")
TIP_PERCENT = 20
COMPLETION_PERCENT = 115
AUTHORISATION_MS = 30 * 24 * 3_600_000


def read(frame):
    """The fields of a frame behind its length bytes: TPDU and header are eleven bytes."""
    body = frame[11:]
    message = {"mti": body[:2].hex()}
    bitmap, at = int.from_bytes(body[2:10], "big"), 10
    for field in (number for number in range(1, 65) if bitmap >> (64 - number) & 1):
        if field in DIGITS or field in DIGITS_BEHIND:
            digits = DIGITS.get(field)
            if digits is None:
                digits, at = int(body[at:at + DIGITS_BEHIND[field]].hex()), at + DIGITS_BEHIND[field]
            size = (digits + 1) // 2
            message[field], at = body[at:at + size].hex()[:digits], at + size
        elif field in CHARACTERS:
            message[field], at = body[at:at + CHARACTERS[field]].decode("ascii"), at + CHARACTERS[field]
        else:
            size = RAW.get(field)
            if size is None:
                size, at = int(body[at:at + RAW_BEHIND[field]].hex()), at + RAW_BEHIND[field]
            message[field], at = body[at:at + size], at + size
    assert at == len(body), "bytes behind the last field"
    return message


class Intent:
    def __init__(self, key, amount):
        self.key, self.amount = key, amount
        self.kind, self.sign = KINDS[key]
        self.forward = self.back = self.receipts = 0
        self.tombstone = self.promised = False
        self.ends = None
        self.claim = "Open"


class Auditor:
    def __init__(self):
        self.intents, self.findings = {}, []
        self.balances, self.postings = collections.Counter(), set()
        self.captures, self.holds, self.placed, self.expired = collections.Counter(), collections.Counter(), {}, set()
        self.references, self.named, self.adjusts, self.tips = {}, {}, {}, collections.Counter()
        self.clock_off, self.clock_before, self.jumped = 0, 0, None
        self.counts = collections.Counter()

    def say(self, promise, detail):
        self.findings.append(f"{promise}: {detail}")

    def hear(self, step):
        what, now = step["what"], self.clock(step["at_ms"])
        self.counts[what["kind"]] += 1
        if what["kind"] in ("request", "response"):
            message = read(bytes.fromhex(what["frame"]))
            getattr(self, what["kind"])(message)
        elif what["kind"] == "posting":
            self.posting(what["id"], what["legs"], now)
        elif what["kind"] == "host-clock":
            self.clock_before, self.clock_off, self.jumped = self.clock_off, what["off_ms"], step["at_ms"]
        elif what["kind"] == "promise":
            self.promise(self.name(what), what["amount"])
        elif what["kind"] == "receipt":
            self.receipt(self.name(what))
        elif what["kind"] == "claim":
            self.intents[self.name(what)].claim = what["claim"]

    def clock(self, at_ms):
        """What the hosts' clock said when what is booked now was decided: earliest and latest, for it may just have jumped."""
        before = self.clock_before if self.jumped is not None and at_ms < self.jumped + 5_000 else self.clock_off
        return at_ms + min(before, self.clock_off), at_ms + max(before, self.clock_off)

    @staticmethod
    def name(what):
        return what["terminal"], what["batch"], what["trace"]

    @staticmethod
    def name_of(message):
        if 60 not in message or 11 not in message:
            return None
        return message[41], int(message[60][2:8]), int(message[11])

    def request(self, message):
        key = (message["mti"], message.get(60, "")[:2])
        name = self.name_of(message)
        if key in KINDS and name:
            amount = int(message[48] if key == TIP else message.get(4, "0"))
            intent = self.intents.setdefault(name, Intent(key, amount))
            if key == OFFLINE_SALE and intent.promised:
                intent.key = key
            if key == TIP:
                self.tip(name, message)
            if (intent.key, intent.amount) != (key, amount):
                self.say("O1", f"{name} is two different messages")
        if key == ("0220", "25"):
            self.named[name] = message[37]

    def tip(self, name, message):
        sale = (message[41], int(message[61][:6]), int(message[61][6:12]))
        self.adjusts[name] = sale
        if sale not in self.intents or self.intents[sale].amount + int(message[48]) != int(message[4]):
            self.say("T1", f"the total of {name} is not {sale} and the tip")

    def promise(self, name, amount):
        """A slip is out for a sale that the bank has not heard of. Whether a frame of it had left, only the line knows."""
        intent = self.intents.setdefault(name, Intent(OFFLINE_SALE, amount))
        if intent.promised or intent.amount != amount or intent.key not in (OFFLINE_SALE, ("0200", "22")) or intent.forward:
            self.say("M13", f"{name} was promised behind something else")
        intent.promised, intent.receipts = True, intent.receipts + 1

    def response(self, message):
        name = self.name_of(message)
        if message["mti"] == "0410" and message.get(39) == "25" and name in self.intents:
            self.intents[name].tombstone = True
            if self.intents[name].forward > self.intents[name].back:
                self.say("M6", f"a reversal of the booked {name} was answered 25")
        if message["mti"] == "0210" and message.get(60, "")[:2] in ("22", "36") and message.get(39) == "00":
            self.references[message[37]] = name

    def posting(self, identity, legs, now):
        if identity in self.postings:
            self.say("M1", f"{identity} was booked twice")
        self.postings.add(identity)
        if sum(delta for _, delta in legs):
            self.say("M10", f"{identity} does not sum to zero")
        moved = collections.Counter()
        for account, delta in legs:
            self.balances[account] += delta
            moved[account.split("/")[0] + ("/" + account.split("/")[-1] if account.startswith("merchant/") else "")] += delta
            if account.startswith("capture/") and self.balances[account] < 0:
                self.say("M9", f"{identity} leaves {self.balances[account]} on {account}")
        verb, *rest = identity.split("/")
        if verb == "opening":
            return
        payer = moved["card"] + moved["wallet"]
        if payer + moved["hold"] + moved["merchant/payable"]:
            self.say("M14", f"{identity}: what leaves card or wallet is not what is held or owed")
        name = (rest[0], int(rest[1]), int(rest[2]))
        intent = self.intents.get(name)
        if intent is None:
            return self.say("M1", f"{identity} is of a message that no terminal sent")
        self.book(verb, name, intent, identity, legs, payer, now)

    def book(self, verb, name, intent, identity, legs, card, now):
        held = next((account.split("/")[1:] for account, _ in legs if account.startswith("hold/")), None)
        held = held and (held[0], int(held[1]), int(held[2]))
        if verb in ("hold", "rehold"):
            self.placed[held] = now
        if verb == "expiry":
            self.expired.add(name)
            if now[1] - self.placed.get(name, now)[0] < AUTHORISATION_MS:
                self.say("H3", f"{identity} came too early")
            return
        if held and self.balances["hold/" + "/".join(self.texts(held))] not in (0, self.intents[held].amount):
            self.say("H1", f"{identity} leaves a part of a hold")
        if verb == "release":
            intent.ends = held
        if verb in ("release", "rehold") and intent.kind != "release":
            return
        if verb in ("sale", "void", "refund", "adjustment", "hold", "completion", "release"):
            self.forward(verb, name, intent, identity, legs, card)
        elif verb in ("reversal", "reinstatement", "unhold", "rehold"):
            intent.back += 1
            if intent.back > intent.forward or card != -intent.sign * intent.amount:
                self.say("M5", f"{identity} gives back what was not taken")

    @staticmethod
    def texts(name):
        return name[0], f"{name[1]:06}", f"{name[2]:06}"

    def forward(self, verb, name, intent, identity, legs, card):
        intent.forward += 1
        if card != intent.sign * intent.amount:
            self.say("M1", f"{identity} moves {card} and not {intent.sign * intent.amount}")
        if intent.forward - intent.back > 1:
            self.say("M1", f"{name} stands twice")
        if intent.tombstone:
            self.say("M6", f"{identity} was booked behind its tombstone")
        if verb == "completion":
            held = intent.ends and self.intents[intent.ends].amount
            if not held or intent.amount * 100 > held * COMPLETION_PERCENT:
                self.say("H2", f"{identity} takes {intent.amount} of {held}")
        if verb == "adjustment":
            self.adjusted(name, identity, legs, card)
        sale = self.references.get(self.named.get(name))
        if verb == "refund" and sale and f"capture/{'/'.join(self.texts(sale))}" not in {account for account, _ in legs}:
            self.say("M16", f"{identity} is taken from another sale than it names")

    def adjusted(self, name, identity, legs, card):
        sale = self.adjusts[name]
        self.tips[sale] += 1
        if f"capture/{'/'.join(self.texts(sale))}" not in {account for account, _ in legs}:
            self.say("T1", f"{identity} is added to another sale than it names")
        if self.tips[sale] > 1 or -card * 100 > self.intents[sale].amount * TIP_PERCENT:
            self.say("T1", f"{identity} is too much for {sale}")

    def receipt(self, name):
        intent = self.intents.get(name)
        if intent is None or intent.forward <= intent.back:
            self.say("M3", f"a receipt for {name}, which is not booked")
        if intent:
            intent.receipts += 1
            if intent.receipts > 1:
                self.say("M3", f"two first receipts for {name}")

    def at_rest(self):
        for name, intent in self.intents.items():
            stands = intent.forward > intent.back
            if intent.claim == "Open":
                self.say("L1", f"{name} was never resolved")
            elif intent.promised and intent.claim != "Approved":
                self.say("M13", f"{name} was promised and is {intent.claim}")
            elif (intent.claim == "Approved") != stands and not (intent.claim == "Reversed" and name in self.expired):
                self.say("M2" if not stands else "M4", f"{name} is {intent.claim} at the terminal, booked: {stands}")
        ended = collections.Counter(intent.ends for intent in self.intents.values() if intent.ends and intent.claim == "Approved")
        for name, intent in self.intents.items():
            if intent.kind == "hold":
                expected = intent.amount if intent.claim == "Approved" and not ended[name] and name not in self.expired else 0
                found = self.balances["hold/" + "/".join(self.texts(name))]
                if found != expected or ended[name] > 1:
                    self.say("H1", f"{name} holds {found} and should hold {expected}; ended {ended[name]} times")
        if sum(self.balances.values()):
            self.say("M10", "the books do not sum to zero")
        return self.findings


def audit(path):
    auditor = Auditor()
    with open(path, encoding="utf-8") as file:
        for line in file:
            auditor.hear(json.loads(line))
    return auditor.at_rest(), auditor.counts


# Planted bugs that a look at money and messages alone must find, with the faults that show them.
PLANTED = (("SaleDoubled", "none"), ("RefundCentOff", "none"), ("ReversalNotPosted", "loss"), ("StuckHolds", "none"), ("LooseBound", "none"),
           ("HoldsFallEarly", "none"), ("FindsAnother", "none"), ("ForgetfulHost", "host-crash,loss"), ("OfflineDropped", "none"),
           ("OfflineNotPosted", "none"), ("TipDoubled", "none"), ("TipMovesSale", "none"))


def export(options, seed, faults, *more):
    with tempfile.TemporaryDirectory(prefix="irontill-history-") as folder:
        path = os.path.join(folder, "history")
        code, _, errors = harness.run_tool(options.irontill, "sim", "export", "--seed", str(seed), "--transactions",
                                           str(options.transactions), "--faults", faults, "--out", path, *more, seconds=300)
        assert code in (0, 1), errors
        findings, counts = audit(path)
        return code, findings, counts


def work(checks):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--irontill", help="the product's program")
    parser.add_argument("--history", help="a file that `irontill sim export` wrote")
    parser.add_argument("--seeds", default="1-6")
    parser.add_argument("--transactions", type=int, default=400)
    options = parser.parse_args()
    if options.history:
        findings, counts = audit(options.history)
        print("\n".join(findings), dict(counts))
        return checks.equal("findings", findings, [])
    first, last = (int(number) for number in options.seeds.split("-"))
    for seed in range(first, last + 1):
        with checks.step(f"seed {seed}"):
            code, findings, counts = export(options, seed, "all")
            assert (code, findings) == (0, []), (code, findings[:3])
            assert min(counts[kind] for kind in ("request", "response", "posting", "receipt", "claim")) > 20, dict(counts)
    for bug, faults in PLANTED:
        with checks.step(f"the planted {bug} is seen"):
            found = any(export(options, seed, faults, "--bug", bug)[1] for seed in range(1, 11))
            assert found, "in none of ten worlds"


if __name__ == "__main__":
    sys.exit(harness.main(work))
