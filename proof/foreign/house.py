"""A system in one folder whose processes can be killed and started one by one, and the audit of what it did.

Shared by power_cut.py (a disk that forgets) and kills.py (SIGKILL, a disk that fails). Standard library only.
"""

import collections
import json
import os
import re
import sqlite3
import subprocess
import threading
import time

TERMINALS = 4
# Long enough that a load ends only by a kill.
LOAD_SECONDS = 3600
RESPONSE_TIMEOUT_MS = 1500
READY_WITHIN_S = 30
AUDIT_WITHIN_S = 240
# What the key process keeps of its environment: all that names a layer below it.
LAYER_VARIABLES = ("LD_PRELOAD", "FAILING_DISK_ROOT", "FAILING_DISK_CONTROL", "LYING_DISK_ROOT", "LYING_DISK_LOG", "LYING_DISK_SYNC_US",
                   "LYING_DISK_BROKEN")
RECEIPT = re.compile(r"^(\d{8}) (\d{6}) (\d{6}) (-?\d+) (-?\d+)$", re.M)


class NotReady(Exception):
    """A process ended, or took too long, before it said that it was ready."""


class House:
    def __init__(self, irontill, work, name):
        self.irontill = irontill
        self.data = os.path.join(work, name)
        self.receipts = os.path.join(work, name + ".receipts")
        self.captures = os.path.join(work, name + ".captures")
        os.makedirs(self.captures, exist_ok=True)
        self.running = {}
        # By process: what is put into its environment.
        self.environment = {}
        self.ended_alone = []
        self.slowest_start = {}
        self.booked = self.reversals = 0

    def set_up(self):
        """Certificates, keys, cards; four terminals enrolled. Then everything stops."""
        serve = self._spawn("serve", ["host", "serve", "--data", self.data], {})
        self._first_line("serve", serve)
        self.load("enrol", ["--errands", "1"], AUDIT_WITHIN_S)
        serve.terminate()
        serve.wait()
        # The children end when their parent does.
        self._wait_silent()

    def _wait_silent(self):
        end = time.monotonic() + READY_WITHIN_S
        while os.path.exists(os.path.join(self.data, "keys.sock")) and time.monotonic() < end:
            if not self._anybody():
                return
            time.sleep(0.05)

    def _anybody(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if self.data.encode() in words and any(word in (b"keys-process", b"host-process") for word in words):
                return True
        return False

    def _capture(self, name):
        return open(os.path.join(self.captures, name + ".err"), "ab")

    def _spawn(self, name, arguments, environment):
        with self._capture(name) as errors:
            return subprocess.Popen([self.irontill, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                    env={**os.environ, **environment})

    def _first_line(self, name, process):
        """The line by which a process says that it is ready."""
        said = []
        reader = threading.Thread(target=lambda: said.append(process.stdout.readline().decode().strip()), daemon=True)
        began = time.monotonic()
        reader.start()
        reader.join(READY_WITHIN_S)
        if not said or not said[0]:
            raise NotReady(f"{name} did not start: {self.tail(name)}")
        self.slowest_start[name] = max(self.slowest_start.get(name, 0), time.monotonic() - began)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        return said[0]

    def tail(self, name):
        path = os.path.join(self.captures, name + ".err")
        return open(path, errors="replace").read()[-600:] if os.path.exists(path) else ""

    def start(self, name, more=()):
        """Starts a process; a load with these arguments beside its own."""
        environment = self.environment.get(name, {})
        if name == "load":
            with self._capture("load") as errors, open(os.path.join(self.captures, "load.out"), "ab") as out:
                arguments = self._load_arguments(["--seconds", str(LOAD_SECONDS), *more])
                self.running[name] = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                                                      env={**os.environ, **environment})
            return
        kept = [word for variable in LAYER_VARIABLES if variable in environment for word in ("--keep-environment", variable)]
        process = self._spawn(name, [f"{name}-process", "--data", self.data, *(kept if name == "keys" else ())], environment)
        self.running[name] = process
        self._first_line(name, process)

    def _load_arguments(self, more):
        terminals = [] if "--terminals" in more else ["--terminals", str(TERMINALS)]
        return [self.irontill, "load", "--data", self.data, *terminals, "--receipts", self.receipts,
                "--response-timeout-ms", str(RESPONSE_TIMEOUT_MS), *more]

    def load(self, name, more, seconds):
        with self._capture(name) as errors:
            return subprocess.run(self._load_arguments(more), stdout=subprocess.PIPE, stderr=errors, timeout=seconds, text=True)

    def kill(self, name):
        process = self.running.pop(name)
        if process.poll() is not None:
            self.ended_alone.append(f"{name} had ended by itself with {process.returncode}: {self.tail(name)[-200:]}")
        self._end(process)

    def collect(self, name):
        """Takes a process off the list that may have ended by itself, ends it if it has not, and gives its exit code."""
        process = self.running.pop(name)
        self._end(process)
        return process.returncode

    def _end(self, process):
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()

    def stop_all(self):
        for name in ("load", "host", "keys"):
            if name in self.running:
                self.kill(name)

    def receipt_lines(self):
        """Whole lines: a line that a kill cut short was not handed out."""
        text = open(self.receipts).read() if os.path.exists(self.receipts) else ""
        return RECEIPT.findall("\n".join(text.split("\n")[:-1]))

    def audit(self):
        """Starts everything cleanly, resolves what is pending, and compares. Gives what is wrong, and the product's own report."""
        self.environment = {}
        self.start("keys")
        self.start("host")
        problems = []
        done = self.load("audit", ["--audit", "--json"], AUDIT_WITHIN_S)
        try:
            report = json.loads(done.stdout)
            problems += [f"audit: {problem}" for problem in report["problems"]]
            if report["unknown"] or done.returncode:
                problems.append(f"audit: {report['unknown']} unknown, exit code {done.returncode}")
        except (ValueError, KeyError):
            report = {}
            problems.append(f"audit: exit code {done.returncode}, {done.stdout[-300:]} {self.tail('audit')}")
        self.stop_all()
        return problems + self._own_audit(), report

    def _own_audit(self):
        """The ledger read without the product."""
        db = sqlite3.connect(f"file:{self.data}/host/host.db?mode=ro", uri=True)
        problems = []
        booked, reversed_ones, sales = booked_payments(db)
        receipts = self.receipt_lines()
        for terminal, batch, trace, paid, holds in receipts:
            name = f"{terminal}/{batch}/{trace}"
            if booked.get(name, [0, 0]) != [int(paid), int(holds)]:
                problems.append(f"receipt {name} of {paid}, holds {holds}: booked {booked.get(name)}, reversed {name in reversed_ones}")
        if len(set(receipts)) != len(receipts):
            problems.append("a receipt was handed out twice")
        per_posting = db.execute("SELECT count(*) FROM (SELECT sum(delta_minor) s FROM leg GROUP BY posting, currency HAVING s <> 0)").fetchone()[0]
        total = db.execute("SELECT coalesce(sum(delta_minor), 0) FROM leg").fetchone()[0]
        if per_posting or total:
            problems.append(f"{per_posting} postings do not sum to zero; all legs sum to {total}")
        # One pass each way: a balance without legs and legs without a balance are differences, too.
        legs = dict(((account, currency), minor) for account, currency, minor in
                    db.execute("SELECT account, currency, sum(delta_minor) FROM leg GROUP BY account, currency"))
        balances = dict(((account, currency), minor) for account, currency, minor in
                        db.execute("SELECT account, currency, balance_minor FROM balance"))
        wrong = [key for key in legs.keys() | balances.keys() if legs.get(key, 0) != balances.get(key, 0)]
        if wrong:
            problems.append(f"{len(wrong)} balances differ from their legs: {wrong[:3]}")
        self.booked, self.reversals = sales, len(reversed_ones)
        db.close()
        return problems


def booked_payments(db):
    """By payment: what the merchant is owed by it, and holds placed less holds ended. Which were reversed; how many were sales."""
    booked = collections.defaultdict(lambda: [0, 0])
    reversed_ones, sales = set(), 0
    for name, account, delta in db.execute("SELECT p.id, l.account, l.delta_minor FROM posting p JOIN leg l ON l.posting = p.number"):
        words = name.split("/")
        if len(words) != 5:
            continue
        payment = booked["/".join(words[1:4])]
        if account.startswith("merchant/") and account.endswith("/payable"):
            payment[0] += delta
            sales += words[0] == "sale"
        elif account.startswith("hold/"):
            payment[1] += (delta > 0) - (delta < 0)
        if words[4] == "0400":
            reversed_ones.add("/".join(words[1:4]))
    return booked, reversed_ones, sales


def wait_for_receipts(house, more, seconds=60):
    """Waits until so many further receipts were handed out."""
    wanted, end = len(house.receipt_lines()) + more, time.monotonic() + seconds
    while len(house.receipt_lines()) < wanted and time.monotonic() < end:
        time.sleep(0.1)
    return len(house.receipt_lines()) >= wanted


def conclude(house, checks, what, did):
    """Audits, checks and tells."""
    problems, report = house.audit()
    receipts = len(house.receipt_lines())
    detail = f"{len(problems)} problems, first: " + " | ".join(problems[:4])
    checks.check(f"{what}: {did}; {receipts} receipts, {house.booked} sales booked, {house.reversals} reversed", not problems, detail)
    checks.check(f"{what}: no process ended by itself", not house.ended_alone, " | ".join(house.ended_alone[:3]))
    slowest = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in sorted(house.slowest_start.items()))
    counts = {key: report.get(key) for key in ("approved", "declined", "reversed", "unknown")}
    print(f"      audit {json.dumps(counts)}; slowest start: {slowest}", flush=True)
    return receipts
