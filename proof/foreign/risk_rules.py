"""Cheats against real processes: rules tried on a day that has passed, then used, changed while the host serves, and replayed.

    risk_rules.py --irontill PATH
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile

import client
import harness

MERCHANT = "898310000000002"
# Small limits, so that a test needs few messages. The shipped rules have a test each beside their reader.
RULES = """version = 5
rule = duplicate
when = kind == "sale" && repeats(10) >= 1
then = flag
reason-zh = 十分钟内再次消费
reason-en = the same again within ten minutes
except = amount <= 300
except-zh = 小额
except-en = small things

rule = card-velocity
when = kind == "sale" && count("card", "sale", 60) >= 8
then = refuse 65
reason-zh = 一小时内多次消费
reason-en = many sales within an hour

rule = split-to-limit
when = kind == "sale" && amount < 5000 && amount >= 4000
    && between("card", "sale", 60, 4000, 5000) >= 2
then = refuse 61
reason-zh = 疑似拆分
reason-en = just below the limit, again and again

rule = cash-out
when = kind == "sale" && amount >= 9000 && amount % 1000 == 0
then = refuse
reason-zh = 疑似套现
reason-en = a large round sum
except = merchant == "000000000000000"
except-zh = 无
except-en = a shop that sells such things

rule = refund-abuse
when = kind == "refund" && count("terminal", "refund", 60) >= 2
then = refuse 59
reason-zh = 退货过多
reason-en = too many refunds

rule = refund-fishing
when = kind == "refund" && declined("terminal", "refund", 60) >= 1
then = flag
reason-zh = 曾提交无效退货
reason-en = a refund without its sale was tried before

rule = void-after-settle
when = kind == "void" && of_closed_batch
then = refuse 59
reason-zh = 试图撤销已结算的交易
reason-en = a void of what is settled
"""


class Shop:
    """A foreign terminal and what the host's operator does."""

    def __init__(self, program, system, folder, name):
        self.program, self.system = program, system
        options = argparse.Namespace(irontill=program, data=system.data, host=system.address, terminal=name, merchant=MERCHANT)
        self.terminal = client.Terminal(options)
        self.terminal.enrol(folder)
        self.terminal.sign_in()
        self.answers = []

    def sell(self, minor):
        fields = self.terminal.sale_fields(minor)
        answer = self.terminal.ask("0200", fields)
        self.answers.append((answer[39], answer[37]))
        return fields, answer

    def give_back(self, request):
        answer = self.terminal.ask("0220" if request[60].startswith("25") else "0200", request)
        self.answers.append((answer[39], answer[37]))
        return answer[39]

    def host(self, *words):
        code, out, errors = harness.run_tool(self.program, "host", *words, "--json", seconds=60)
        assert out, errors
        return code, json.loads(out)

    def replay(self, *more):
        code, report = self.host("rules", "replay", "--data", self.system.data, *more)
        assert code == 0, report
        return report, {rule["rule"]: rule for rule in report["rules"]}

    def risk_of(self, rrn):
        """What the rules said of a transaction, as `explain` shows it."""
        code, out, errors = harness.run_tool(self.program, "explain", rrn, "--data", self.system.data, "--terminal",
                                             self.terminal.options.terminal, "--json", seconds=60)
        assert code == 0, errors
        return [line["text"] for line in json.loads(out)["host"] if line["topic"].endswith(" risk")]


def cheat(shop):
    """A day with every cheat in it. Gives the response codes."""
    codes = []
    sales = [shop.sell(minor) for minor in (1250, 1250, 200, 200)]
    sales += [shop.sell(minor) for minor in (4100, 4200, 4300)]
    sales.append(shop.sell(9000))
    codes += [answer[39] for _, answer in sales]
    unknown = dict(sales[0][1])
    unknown[37] = "999999999999"
    codes.append(shop.give_back(shop.terminal.refund(unknown, 100)))
    codes += [shop.give_back(shop.terminal.refund(sales[0][1], 100)) for _ in range(3)]
    void = shop.terminal.void(*sales[2])
    void[61] = f"{int(shop.terminal.batch) + 7:06d}" + void[61][6:]
    codes.append(shop.give_back(void))
    return codes


def restart(system):
    harness.stop(system.process)
    system.process = subprocess.Popen([system.program, "host", "serve", "--data", system.data], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    system.address = harness.first_line(system.process, harness.START_SECONDS)


def configure(system, merchants):
    folder = os.path.join(system.data, "host")
    with open(os.path.join(folder, "risk.rules"), "w", encoding="utf-8") as file:
        file.write(RULES)
    with open(os.path.join(folder, "merchants.txt"), "w", encoding="ascii") as file:
        file.write(merchants)
    with open(os.path.join(folder, "host.conf"), "a", encoding="ascii") as file:
        file.write("rules = risk.rules\nmerchants = merchants.txt\n")
    restart(system)


def host_process(system):
    """The process that serves, by its command line."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if system.data in words and len(words) > 1 and words[1].startswith("host-"):
            return int(name)
    raise AssertionError("no host process")


def before_use(checks, shop, path):
    """Nobody is stopped; the rules say afterwards whom they would have stopped."""
    codes = cheat(shop)
    checks.equal("without rules only what has no sale is refused", codes, ["00"] * 8 + ["25"] + ["00"] * 3 + ["25"])
    report, rules = shop.replay("--rules", path)
    said = {name: (rule["flagged"], rule["refused"], rule["excused"]) for name, rule in rules.items()}
    checks.equal("what the rules would have done", said, {
        "duplicate": (1, 0, 1), "card-velocity": (0, 0, 0), "split-to-limit": (0, 1, 0), "cash-out": (0, 1, 0),
        "refund-abuse": (0, 1, 0), "refund-fishing": (3, 0, 0), "void-after-settle": (1, 0, 0)})
    checks.equal("payments that would have been lost", report["lost"], 3)
    example = rules["cash-out"]["examples"][0]
    checks.check("an example is masked", example["card"].count("*") >= 4 and client.PAN not in json.dumps(report), str(example))
    checks.equal("an example's reference and amount", (example["rrn"], example["amount_minor"]), (shop.answers[7][1], 9000))


def in_use(checks, shop):
    """The same cheats, now stopped, each with its reason on record."""
    codes = cheat(shop)
    expected = ["00"] * 6 + ["61", "59", "25", "00", "00", "59", "25"]
    checks.equal("with rules", codes, expected)
    reasons = [shop.risk_of(rrn) for _, rrn in shop.answers]
    names = [[line.split(":")[1].split("(")[0].strip() for line in lines] for lines in reasons]
    checks.equal("which rule spoke", names, [
        [], ["duplicate"], [], ["duplicate"], [], [], ["split-to-limit"], ["cash-out"], [], ["refund-fishing"],
        ["refund-fishing"], ["refund-abuse", "refund-fishing"], ["void-after-settle"]])
    checks.check("a reason in both languages", "疑似拆分 / just below the limit" in reasons[6][0], reasons[6][0])
    checks.check("the false alarm is excused with its reason", "excused" in reasons[3][0] and "small things" in reasons[3][0],
                 reasons[3][0])
    report, _ = shop.replay()
    checks.equal("the replay says what the host said", report["differing"], [])


def while_serving(checks, shop, system, path):
    """Rules change at SIGHUP; a file with a mistake changes nothing."""
    pid = host_process(system)
    with open(path, "w", encoding="utf-8") as file:
        file.write("version = 6\nrule = broken\nwhen = amuont > 1\n")
    code, report = shop.host("rules", "check", path)
    checks.check("a mistake has rule, line and column", code == 1 and "rule broken, line 3, column 8" in report["error"], str(report))
    os.kill(pid, signal.SIGHUP)
    checks.equal("the old rules stay", harness.wait_until(lambda: shop.sell(9000)[1][39] == "59", 3), True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(RULES.replace("version = 5", "version = 6").replace("amount >= 9000", "amount >= 20000"))
    code, report = shop.host("rules", "check", path)
    checks.equal("a file in order", (code, report["version"], len(report["rules"])), (0, 6, 7))
    os.kill(pid, signal.SIGHUP)
    checks.check("the new rules are in use", harness.wait_until(lambda: shop.sell(9000)[1][39] == "00", 5))


def policies(checks, system, shop):
    """Another merchant policy: nothing is refused, voids are forbidden."""
    with open(os.path.join(system.data, "host", "merchants.txt"), "w", encoding="ascii") as file:
        file.write(f"merchant = {MERCHANT}\nrules = flag\nvoids = no\n")
    restart(system)
    shop.terminal.options.host = system.address
    sale = shop.sell(20000)
    checks.equal("a policy that only flags", sale[1][39], "00")
    checks.check("it is on record", shop.risk_of(sale[1][37])[0].startswith("flagged, not refused"), str(shop.risk_of(sale[1][37])))
    checks.equal("a policy without voids", shop.give_back(shop.terminal.void(*sale)), "58")


def work(checks):
    options = harness.arguments(__doc__).parse_args()
    with harness.System(options.irontill) as system, tempfile.TemporaryDirectory(prefix="irontill-risk-") as folder:
        def enrolled(name):
            path = os.path.join(folder, name)
            os.mkdir(path)
            return Shop(options.irontill, system, path, name)

        path = os.path.join(folder, "tried.rules")
        with open(path, "w", encoding="utf-8") as file:
            file.write(RULES)
        before_use(checks, enrolled("20000021"), path)
        configure(system, f"merchant = {MERCHANT}\ncategory = 5812\nrules = refuse\n")
        shop = enrolled("20000022")
        in_use(checks, shop)
        while_serving(checks, shop, system, os.path.join(system.data, "host", "risk.rules"))
        policies(checks, system, shop)
        code, report = shop.host("verify", "--data", system.data)
        checks.equal("the books", (code, report["findings"]), (0, []))


if __name__ == "__main__":
    harness.main(work)
