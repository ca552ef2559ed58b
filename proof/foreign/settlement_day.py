"""A terminal's day from its first sale to the payout file, on real processes; then a network's file with planted differences.

    settlement_day.py --irontill PATH
"""

import concurrent.futures
import datetime
import hashlib
import json
import os

import client
import harness

CARD = "unionpay-credit"
CHINA = datetime.timezone(datetime.timedelta(hours=8))


class House:
    def __init__(self, program, system):
        self.program = program
        self.system = system
        self.out = os.path.join(system.base, "files")

    def run(self, *words):
        code, out, errors = harness.run_tool(self.program, *words, seconds=120)
        assert out, errors
        return code, json.loads(out)

    def pay(self, transaction, amount=None, **named):
        words = ["pay", "--json", "--data", self.system.data, "--card", CARD, "--pin", client.PIN, "--transaction", transaction]
        words += ["--amount", amount] if amount else []
        for name, value in named.items():
            words += [f"--{name}", value]
        return self.run(*words)

    def settle(self, *more):
        return self.run("host", "settle", "--json", "--data", self.system.data, "--out", self.out, *more)

    def files(self):
        contents = {}
        for name in sorted(os.listdir(self.out)):
            with open(os.path.join(self.out, name), encoding="ascii") as file:
                contents[name] = file.read()
        return contents


def listed_fee(minor, rate_ppm, cap=None):
    """The price list in words: rounded half up, at least a cent, at most the cap, never more than the sale."""
    fee = max((minor * rate_ppm + 500_000) // 1_000_000, 1)
    return min(fee, cap or fee, minor)


def sell(checks, house):
    """Three sales, one of them voided, one refunded in part; a balance inquiry; the batch is closed."""
    sales = []
    for amount in ("100.00", "33.33", "0.50"):
        code, sale = house.pay("sale", amount)
        checks.equal(f"a sale of {amount}", (code, sale["status"]), (0, "approved"))
        sales.append(sale)
    code, void = house.pay("void", voucher=sales[1]["stan"])
    checks.equal("its void", (code, void["status"]), (0, "approved"))
    code, refund = house.pay("refund", "40.00", rrn=sales[0]["rrn"])
    checks.equal("a refund of a part", (code, refund["status"]), (0, "approved"))
    code, refused = house.pay("refund", "60.01", rrn=sales[0]["rrn"])
    checks.equal("a refund of more than is left", (code, refused["status"]), (1, "declined"))
    code, balance = house.pay("balance")
    checks.check("a balance inquiry", code == 0 and isinstance(balance["balance_minor"], int), str(balance)[:200])
    code, nothing = house.settle()
    checks.equal("nothing to settle before the batch is closed", (code, nothing["settled"], nothing["files"]), (0, [], []))
    code, closed = house.pay("settle")
    checks.check("the batch is closed", code == 0 and closed["status"] == "done", str(closed)[:300])
    return sales


def settle_at_the_same_time(checks, house):
    """Two runs over one more batch: it is settled by one of them, and both end well."""
    code, sale = house.pay("sale", "2.00")
    checks.equal("a sale of the next batch", (code, sale["status"]), (0, "approved"))
    checks.equal("the next batch is closed", house.pay("settle")[0], 0)
    with concurrent.futures.ThreadPoolExecutor() as two:
        runs = [two.submit(house.settle) for _ in range(2)]
        ended = [run.result() for run in runs]
    settled = sum(len(report["settled"]) for _, report in ended)
    checks.equal("settled once by two runs", ([code for code, _ in ended], settled), ([0, 0], 1))


def settle(checks, house, sales):
    fees = [listed_fee(minor, 5000, 2000) for minor in (10000, 3333, 50)]
    returned = fees[0] * 4000 // 10000
    code, report = house.settle()
    expected = {
        "sales_minor": 13383, "voids_minor": 3333, "refunds_minor": 4000, "fees_minor": fees[0] - returned + fees[2],
        "balanced": True, "batch": 1, "lines": 6,
    }
    checks.equal("one batch is settled", (code, len(report["settled"]), report["refused"]), (0, 1, []))
    settled = report["settled"][0]
    checks.equal("what it comes to", {name: settled[name] for name in expected}, expected)
    checks.equal("net", settled["net_minor"], 13383 - 3333 - 4000 - expected["fees_minor"])
    files = house.files()
    checks.equal("two files", len(files), 2)
    for text in files.values():
        body, _, last = text.rstrip("\n").rpartition("\n")
        digest = hashlib.sha256((body + "\n").encode()).hexdigest()
        checks.check("a file's hash", last.endswith(digest))
    code, again = house.settle()
    checks.equal("nothing is settled twice", (code, again["settled"], house.files()), (0, [], files))
    for sale, fee in zip(sales, fees):
        code, found = house.run("host", "fee", "--json", "--data", house.system.data, "--rrn", sale["rrn"])
        checks.equal("the fee of a sale", (code, found["fee_minor"], found["rule"]), (0, fee, "debit.standard"))
    code, verified = house.run("host", "verify", "--json", "--data", house.system.data)
    checks.equal("the books", (code, verified["findings"]), (0, []))
    return next(text for name, text in files.items() if name.startswith("clearing"))


def sealed(lines):
    """A clearing file around these records: totals and hash are worked out anew."""
    def signed(line):
        fields = line.split("|")
        sign = {"S": 1, "V": -1, "R": -1}[fields[5]]
        return sign * int(fields[8]) if fields[7] == "A" else 0

    body = "".join(line + "\n" for line in lines)
    records = [line for line in lines if line.startswith("D|")]
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"{body}T|{len(records)}|{sum(map(signed, records))}|{digest}\n"


def changed(line, field, value):
    fields = line.split("|")
    fields[field] = value
    return "|".join(fields)


def reconcile(checks, house, ours):
    head, *records = ours.splitlines()[:-1]
    approved = next(line for line in records if "|S|" in line and "|A|" in line)
    others = [line for line in records if line != approved]
    planted = {
        None: records,
        "amount-differs": others + [changed(approved, 8, str(int(approved.split("|")[8]) + 1))],
        "status-differs": others + [changed(approved, 7, "X")],
        "fee-differs": others + [changed(approved, 9, str(int(approved.split("|")[9]) + 1))],
        "missing-there": others,
        "missing-here": records + [changed(approved, 4, "999999")],
        "duplicate-there": records + [approved],
    }
    paths = [os.path.join(house.system.base, name) for name in ("ours.txt", "theirs.txt")]
    for name, lines in planted.items():
        for path, text in zip(paths, (ours, sealed([head, *lines]))):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        code, report = house.run("host", "reconcile", "--json", "--ours", paths[0], "--theirs", paths[1])
        found = [difference["class"] for difference in report["differences"]]
        checks.equal(f"differences: {name}", (code, found), (int(name is not None), [name] if name else []))
    with open(paths[1], "a", encoding="ascii") as file:
        file.write("\n")
    code, _, errors = harness.run_tool(house.program, "host", "reconcile", "--ours", paths[0], "--theirs", paths[1])
    checks.check("a file that is none", code == 3 and "network" in errors, errors)


def misuse(checks, house):
    path = os.path.join(house.system.base, "pricing")
    with open(path, "w", encoding="ascii") as file:
        file.write("category = 5999\ncard = gold\n")
    data = ["--data", house.system.data, "--out", house.out]
    tomorrow = (datetime.datetime.now(CHINA) + datetime.timedelta(days=2)).strftime("%Y%m%d")
    for name, words, complaint in (
        ("a pricing that is none", ["settle", *data, "--pricing", path], "line 2: expected `debit` or `credit`"),
        ("a day to come", ["settle", *data, "--day", tomorrow], "--day"),
        ("a day that is none", ["settle", *data, "--day", "20260230"], "--day"),
    ):
        code, _, errors = harness.run_tool(house.program, "host", *words)
        checks.check(name, code == 2 and complaint in errors, f"exit {code}: {errors[:200]}")


def work(checks):
    options = harness.arguments(__doc__).parse_args()
    with harness.System(options.irontill) as system:
        house = House(options.irontill, system)
        sales = sell(checks, house)
        ours = settle(checks, house, sales)
        reconcile(checks, house, ours)
        misuse(checks, house)
        settle_at_the_same_time(checks, house)


if __name__ == "__main__":
    harness.main(work)
