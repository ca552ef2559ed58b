"""SIGKILL on real processes, at random and at every storage operation, and disks that fail: what must be true afterwards.

    kills.py --irontill PATH [--kills 500] [--stride 40] [--fail-stride 60] [--houses 3] [--folder F] [--seed S] [--keep]

Several small systems ("houses") work side by side, each with host, key process and terminals, and each takes jobs:

* enumerated kills: the process dies before, after or in the middle of its n-th storage operation (failing_disk.c, preloaded), for every
  n from its start through a day of every kind of transaction down to the settlement (`--stride 1`; otherwise one n in so many);
* failing disks: the n-th write fails with EIO or ENOSPC, the n-th sync with EIO, or the disk of a machine is full from its n-th
  operation on and stays so while the processes are started again and again, then has room once more (`--fail-stride`);
* random kills, until `--kills` are done: any process, at any moment, sometimes two at once, sometimes while another starts.

Every kill counts that a process really died of. Each house is audited every few hundred kills and after each job: every receipt handed
out is booked once, with its amount; every payment of a till without an answer is reversed or proved; till and host agree on each open
batch; the ledger sums to zero; nothing is pending. A process that a failing disk stops must have said so. Canaries: the layer strikes
where it is told to, and the audit sees a receipt that nobody booked.

With `--folder` the houses and the count stay there: SIGTERM ends a run with an audit of every house, and the same command goes on. Exit code 0: all of it held.
"""

import argparse
import collections
import errno
import json
import mmap
import os
import queue
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import harness
from house import House, NotReady, TERMINALS, conclude, wait_for_receipts
from power_cut import UNSEEN, imports

HERE = os.path.dirname(os.path.abspath(__file__))
PROCESSES = ("keys", "host", "load")
# Errands of `irontill load --every-kind` that make up a day.
DAY_ERRANDS = 16
DAY_WITHIN_S = 120
# Pauses between two random kills: short ones fall into starts and recoveries, long ones into work.
PAUSES_S = ((0.0, 0.15), (0.15, 0.6))
STAYS_AWAY_S = (0, 0, 0, 0.3)
TWO_AT_ONCE = 0.15
# Kills of a house between two audits.
AUDIT_EVERY = 400
# How long a full disk stays full, and how often the processes are started on it meanwhile.
FULL_FOR_S = 0.8
FULL_STARTS = 2
# More than any process does from its start to the end of a day.
OPERATIONS_MAX = 20_000
# What an honest message about a disk says.
HONEST = re.compile(r"disk I/O error|disk is full|No space left|os error (5|28)|Input/output error", re.I)

# Roughly: a sync among so many operations.
SYNC_IS_ONE_IN = 12

NOTHING, KILL_BEFORE, KILL_AFTER, KILL_TORN, ERROR, FULL = range(6)
NAME, WRITE, SHRINK, SYNC = 1, 2, 4, 8
ANY = NAME | WRITE | SHRINK | SYNC

KILLS = {"before": (KILL_BEFORE, ANY), "after": (KILL_AFTER, ANY), "torn": (KILL_TORN, WRITE)}
FAILURES = {
    "write EIO": (ERROR, WRITE, errno.EIO),
    "write ENOSPC": (ERROR, NAME | WRITE, errno.ENOSPC),
    "sync EIO": (ERROR, SYNC, errno.EIO),
}


class Control:
    """The page that this test shares with the layer below a process (failing_disk.c: struct control)."""

    PAGE = struct.Struct("=7Q")

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.write(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def arm(self, strike, at, of, error=0):
        self.page[:self.PAGE.size] = self.PAGE.pack(strike, at, of, error, 0, 0, 0)

    def disarm(self):
        self.arm(NOTHING, 0, 0)

    @property
    def count(self):
        return self.PAGE.unpack(self.page[:self.PAGE.size])[4]

    @property
    def struck(self):
        return self.PAGE.unpack(self.page[:self.PAGE.size])[5]


class Tally:
    """What all houses have done, and where it is kept between runs."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.kills = collections.Counter()
        self.failures = collections.Counter()
        self.jobs_done = []
        if os.path.exists(path):
            kept = json.load(open(path))
            self.kills.update(kept["kills"])
            self.failures.update(kept["failures"])
            self.jobs_done = kept["jobs_done"]

    def kill(self, what, count=1):
        with self.lock:
            self.kills[what] += count

    def fail(self, what):
        with self.lock:
            self.failures[what] += 1

    def total(self):
        return sum(self.kills.values())

    def keep(self, job=None):
        """What is counted so far is audited."""
        with self.lock:
            if job:
                self.jobs_done.append(job)
            draft = self.path + ".draft"
            with open(draft, "w") as file:
                json.dump({"kills": self.kills, "failures": self.failures, "jobs_done": self.jobs_done}, file)
            os.replace(draft, self.path)


class Worker:
    """One house and what is done to it."""

    def __init__(self, run, number):
        self.run, self.number = run, number
        self.rng = random.Random(f"{run.seed}/{number}")
        name = f"house-{number}"
        known = os.path.exists(os.path.join(run.work, name, "host", "host.conf"))
        self.house = House(run.irontill, run.work, name)
        self.control = Control(os.path.join(run.work, name + ".control"))
        self.since_audit = 0
        if not known:
            self.house.set_up()

    def layer(self):
        return {"LD_PRELOAD": self.run.library, "FAILING_DISK_ROOT": self.house.data, "FAILING_DISK_CONTROL": self.control.path}

    def work(self):
        try:
            while not self.run.is_over():
                try:
                    job = self.run.jobs.get_nowait()
                except queue.Empty:
                    break
                self.do(job)
            while not self.run.is_over() and self.run.tally.total() < self.run.kills:
                self.random_kills()
        except Exception as fault:  # noqa: BLE001 - whatever stops a house fails the run
            self.run.check(f"house {self.number} came to its end", False, f"{type(fault).__name__}: {fault}")
            self.run.broken.set()
        finally:
            self.house.stop_all()

    def do(self, job):
        kind, victim, how = job
        began = time.monotonic()
        if kind == "kill":
            strikes, last = self.enumerate_kills(victim, how)
        else:
            strikes, last = self.fail(victim, how)
        whole = not self.run.is_over()
        if whole:
            self.run.check(f"{kind} {victim} {how}: the layer struck", strikes > 0)
        did = f"{kind} {victim} {how}: {strikes} strikes up to operation {last}, {time.monotonic() - began:.0f} s"
        self.audit(did, job if whole else None)

    def audit(self, what, job=None):
        self.house.stop_all()
        before = self.run.checks.failed
        with self.run.checks_lock:
            conclude(self.house, self.run.checks, f"house {self.number}", what)
        self.house.ended_alone.clear()
        self.since_audit = 0
        self.run.tally.keep(job)
        if self.run.checks.failed > before:
            self.run.broken.set()

    # --- random kills --------------------------------------------------------------------------------------------------------

    def random_kills(self):
        """A stretch between two audits."""
        self.house.environment = {}
        self.start_all()
        self.run.check(f"house {self.number} works before the kills", wait_for_receipts(self.house, 3), self.house.tail("load"))
        done = collections.Counter()
        while sum(done.values()) < AUDIT_EVERY and self.run.tally.total() < self.run.kills and not self.run.is_over():
            time.sleep(self.rng.uniform(*self.rng.choice(PAUSES_S)))
            victims = self.rng.sample(PROCESSES, 2 if self.rng.random() < TWO_AT_ONCE else 1)
            for victim in victims:
                self.house.kill(victim)
                done[victim] += 1
                self.run.tally.kill(f"random {victim}")
            time.sleep(self.rng.choice(STAYS_AWAY_S))
            for victim in sorted(victims, key=PROCESSES.index):
                self.start(victim)
        self.run.check(f"house {self.number} works after the kills", wait_for_receipts(self.house, 3), self.house.tail("load"))
        self.audit("random " + " ".join(f"{name} {count}" for name, count in sorted(done.items())))

    def start(self, name):
        more = ("--terminals", str(self.rng.randint(1, TERMINALS))) if name == "load" else ()
        self.house.start(name, (*more, "--every-kind") if name == "load" and self.rng.random() < 0.7 else more)

    def start_all(self):
        for name in PROCESSES:
            if name not in self.house.running:
                self.start(name)

    # --- one operation after another -----------------------------------------------------------------------------------------

    def day(self):
        """Arguments of a load of one terminal: a day of every kind."""
        return ("--terminals", "1", "--every-kind", "--errands", str(DAY_ERRANDS))

    def numbers(self, stride, victim, how):
        """Operations to strike at; with a stride each way of dying begins elsewhere. The key process has few, and syncs are rare."""
        stride = 1 if victim == "keys" else max(stride // SYNC_IS_ONE_IN, 1) if "sync" in how else stride
        return range(1 + sum(map(ord, how)) % stride, OPERATIONS_MAX, stride)

    def enumerate_kills(self, victim, how):
        strike, of = KILLS[how]
        strikes = last = 0
        for at in self.numbers(self.run.stride, victim, how):
            if self.run.is_over():
                break
            died = self.strike_once(victim, lambda: self.control.arm(strike, at, of))
            if not died:
                break
            self.run.tally.kill(f"{how} an operation of {victim}")
            self.since_audit += 1
            strikes, last = strikes + 1, at
            if self.since_audit >= AUDIT_EVERY:
                self.audit(f"kill {victim} {how}: up to operation {at}")
        return strikes, last

    def strike_once(self, victim, arm):
        """Starts the victim on the layer and lets a day run. Whether the victim died of SIGKILL; afterwards all is clean again."""
        house = self.house
        self.start_others(victim)
        arm()
        if victim == "load":
            return self.strike_load()
        house.environment = {victim: self.layer()}
        try:
            house.start(victim)
        except NotReady:
            pass
        house.environment = {}
        alive = house.running[victim].poll() is None
        if alive:
            house.start("load", self.day())
            self.wait_for_either(victim, "load")
        died = house.running[victim].poll() == -9
        if died:
            house.collect(victim)
            house.start(victim)
            if not alive:
                house.start("load", self.day())
        else:
            house.kill(victim)
            house.start(victim)
        self.finish_load()
        return died

    def start_others(self, victim):
        """The victim rests (a kill that does not count: it does nothing), what it works with runs on a good disk."""
        self.house.environment = {}
        for name in ("keys", "host"):
            if name == victim and name in self.house.running:
                self.house.kill(name)
            elif name != victim and name not in self.house.running:
                self.house.start(name)

    def strike_load(self):
        house = self.house
        house.environment = {"load": self.layer()}
        house.start("load", self.day())
        house.environment = {}
        code = self.wait_for("load")
        house.collect("load")
        if code != -9:
            return False
        # What was left is finished by a till on a good disk; every fifth time it is left to the next kill.
        if self.rng.random() < 0.8:
            house.start("load", ("--terminals", "1", "--errands", "1"))
            self.finish_load()
        return True

    def finish_load(self):
        code = self.wait_for("load")
        self.house.collect("load")
        self.run.check(f"house {self.number}: a load ends well", code == 0, f"{code}: {self.house.tail('load')}", quiet=True)

    def wait_for(self, name):
        """Waits for the end of a process and gives its exit code."""
        try:
            return self.house.running[name].wait(DAY_WITHIN_S)
        except subprocess.TimeoutExpired:
            return f"{name} did not end within {DAY_WITHIN_S} s"

    def wait_for_either(self, *names):
        end = time.monotonic() + DAY_WITHIN_S
        while time.monotonic() < end and all(self.house.running[name].poll() is None for name in names):
            time.sleep(0.005)

    # --- disks that fail -----------------------------------------------------------------------------------------------------

    def fail(self, victim, how):
        strikes = last = 0
        for at in self.numbers(self.run.fail_stride, victim, how):
            if self.run.is_over():
                break
            struck = self.full_for_a_while(victim, at) if how == "full" else self.fail_once(victim, at, *FAILURES[how])
            if not struck:
                break
            self.run.tally.fail(f"{how} of {victim}")
            self.since_audit += 1
            strikes, last = strikes + 1, at
        return strikes, last

    def fail_once(self, victim, at, strike, of, error):
        """One operation fails. The process may stop, if it says why, or go on; a start on a good disk finishes what is open."""
        house = self.house
        said_before = self.said_so_far()
        self.start_others(victim)
        self.control.arm(strike, at, of, error)
        self.start_failing(victim)
        if victim != "load":
            house.start("load", self.day())
            self.wait_for_either(victim, "load")
        code = self.wait_for("load") if victim == "load" else house.running[victim].poll()
        struck = self.control.struck > 0
        stopped = code not in (None, 0)
        self.end_failing(victim, stopped, said_before)
        if victim == "load":
            house.start("load", ("--terminals", "1", "--errands", "1"))
        self.finish_load()
        return struck

    def start_failing(self, victim):
        self.house.environment = {victim: self.layer()}
        try:
            self.house.start(victim, self.day() if victim == "load" else ())
        except NotReady:
            pass
        self.house.environment = {}

    def end_failing(self, victim, stopped, said_before):
        """Takes the victim off the failing disk; if that stopped it, it must have said so."""
        said = self.said_since(said_before)
        self.house.collect(victim)
        self.control.disarm()
        honest = not stopped or HONEST.search(said)
        self.run.check(f"house {self.number}: {victim} says why it stops", honest, said[-400:] or "nothing was said", quiet=True)
        if victim != "load":
            self.house.start(victim)

    def captures(self):
        return [os.path.join(self.house.captures, name) for name in ("keys.err", "host.err", "load.err", "load.out")]

    def said_so_far(self):
        return {path: os.path.getsize(path) for path in self.captures() if os.path.exists(path)}

    def said_since(self, before):
        """What the processes have said since, on both outputs."""
        text = ""
        for path in filter(os.path.exists, self.captures()):
            with open(path, errors="replace") as file:
                file.seek(before.get(path, 0))
                text += file.read()
        return text

    def full_for_a_while(self, victim, at):
        """The disk is full from one operation on and stays full while the victim is started again; then it has room."""
        house = self.house
        said_before = self.said_so_far()
        self.start_others(victim)
        self.control.arm(FULL, at, ANY)
        self.start_failing(victim)
        if victim != "load":
            house.start("load", self.day())
        self.wait_for_either(*{victim, "load"})
        struck, stopped = self.control.struck > 0, False
        for _ in range(FULL_STARTS if struck else 0):
            if house.running[victim].poll() is not None:
                stopped = house.collect(victim) != 0 or stopped
                self.start_failing(victim)
            time.sleep(FULL_FOR_S / FULL_STARTS)
        # There is room again, perhaps under a running process.
        self.end_failing(victim, stopped, said_before)
        if victim == "load":
            house.start("load", ("--terminals", "1", "--errands", "1"))
        self.finish_load()
        return struck


class Run:
    """All houses."""

    def __init__(self, arguments, work):
        self.irontill = os.path.abspath(arguments.irontill)
        self.work = work
        self.kills, self.stride, self.fail_stride = arguments.kills, arguments.stride, arguments.fail_stride
        self.houses, self.seed = arguments.houses, arguments.seed
        self.checks = harness.Checks(tells=True)
        self.checks_lock = threading.Lock()
        self.broken, self.stopped = threading.Event(), threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopped.set())
        self.library = build_library(work)
        self.tally = Tally(os.path.join(work, "count.json"))
        self.jobs = queue.Queue()
        for job in jobs():
            if list(job) not in self.tally.jobs_done and arguments.only in " ".join(job):
                self.jobs.put(job)

    def is_over(self):
        """Something is wrong, or somebody wants an end: every house is still audited and counted."""
        return self.broken.is_set() or self.stopped.is_set()

    def check(self, name, right, why="", quiet=False):
        """A quiet check is only told and counted when it fails."""
        if quiet and right:
            return
        with self.checks_lock:
            self.checks.check(name, right, why)
        if not right:
            self.broken.set()

    def go(self):
        unseen = imports(self.irontill) & UNSEEN
        self.check("the layer sees every call by which the program changes files", imports(self.irontill) and not unseen, f"{sorted(unseen)}")
        workers = []
        for number in range(self.houses):
            workers.append(Worker(self, number))
        threads = [threading.Thread(target=worker.work) for worker in workers]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        self.tell_progress(threads, began)
        for thread in threads:
            thread.join()
        if not self.is_over():
            self.canary(workers[0])
        self.summary(time.monotonic() - began)

    def tell_progress(self, threads, began):
        told = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"      {time.monotonic() - began:.0f} s: {self.tally.total()} kills", flush=True)

    def canary(self, worker):
        """The audit must see a receipt of a payment that nobody booked."""
        with open(worker.house.receipts, "a") as file:
            file.write("30000001 999999 999999 5 0\n")
        problems, _ = worker.house.audit()
        self.check("canary: a receipt that nobody booked is noticed, by both audits", len([one for one in problems if "999999" in one]) == 2, f"{problems}")

    def summary(self, seconds):
        total = self.tally.total()
        self.check(f"{total} kills, {seconds:.0f} s since the last start", total >= self.kills, "the same command goes on")
        for counts in (self.tally.kills, self.tally.failures):
            for what, count in sorted(counts.items()):
                print(f"      {count:6} {what}")


def jobs():
    """Long ones first."""
    for victim in ("load", "host", "keys"):
        for how in KILLS:
            yield ("kill", victim, how)
    for victim in ("load", "host", "keys"):
        for how in (*FAILURES, "full"):
            yield ("fail", victim, how)


def build_library(folder):
    library = os.path.join(folder, "failing_disk.so")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "failing_disk.c"), "-ldl"], check=True)
    return library


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--irontill", required=True)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--stride", type=int, default=40, help="one storage operation in so many; 1 tries them all")
    parser.add_argument("--fail-stride", type=int, default=60, help="the same for disks that fail")
    parser.add_argument("--houses", type=int, default=3, help="systems at the same time")
    parser.add_argument("--folder", help="keeps houses and count here and goes on where a run was broken off")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", action="store_true", help="keep the folders for a look afterwards")
    parser.add_argument("--only", default="", help="only jobs whose words contain this, as \"fail host\"")
    arguments = parser.parse_args()
    if arguments.folder:
        os.makedirs(arguments.folder, exist_ok=True)
    work = os.path.realpath(arguments.folder or tempfile.mkdtemp(prefix="irontill-kills-"))
    print(f"seed {arguments.seed}, {arguments.kills} kills, {arguments.houses} houses", flush=True)
    run = Run(arguments, work)
    try:
        run.go()
    except Exception as fault:  # noqa: BLE001 - whatever stops the test fails it
        run.check("the test came to its end", False, f"{type(fault).__name__}: {fault}")
    finally:
        if arguments.keep or arguments.folder or run.checks.failed:
            print(f"      folders kept in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    return run.checks.finish()


if __name__ == "__main__":
    sys.exit(main())
