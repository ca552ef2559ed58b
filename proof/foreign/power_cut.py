"""Power cuts on real processes: whole machines lose power while they work, and what must be true afterwards.

    power_cut.py --irontill PATH [--cuts 100] [--seed S] [--keep]

The processes run on a disk that forgets every write not yet synced (lying_disk.c, preloaded); a cut kills a whole machine (host with
keys, or the terminals), takes back what was not synced - or keeps a random part of it, as a real disk may - and starts it again.
Afterwards: every receipt handed out is booked once, with its amount, and stands; every payment of a till without an answer is
reversed or proved; till and host agree on each open batch; the ledger sums to zero. SIGKILL alone is kills.py's.
Canaries show that the layer forgets and that the audit notices a disk that lies. Exit code 0: all of it held.
"""

import argparse
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

import harness
from house import House, conclude, wait_for_receipts

HERE = os.path.dirname(os.path.abspath(__file__))
# Pause between two cuts.
PAUSE_S = (0.05, 0.6)
# How long a sync takes on the forgetful disk: long enough that cuts fall between a write and its sync.
SYNC_US = 1500
SECTOR = 512
# From so many cuts on, each machine must have lost something in earnest.
FULL_CUTS = 100

checks = harness.Checks(tells=True)
check = checks.check


# --- the forgetful disk ----------------------------------------------------------------------------------------------------

HEAD = struct.Struct("=4sc11x6Q")
# Calls that change files and that lying_disk.c does not see. A program that imports one of them cannot be judged by it.
UNSEEN = {"pwritev", "pwritev64", "pwritev2", "fallocate", "fallocate64", "posix_fallocate", "posix_fallocate64", "renameat",
          "renameat2", "copy_file_range", "sendfile", "sendfile64", "truncate", "truncate64", "link", "sync_file_range",
          "msync"}


class Entry:
    def __init__(self, position, head, body):
        self.position = position
        _, self.kind, self.inode, self.offset, self.old_size, self.a_length, self.b_length, _ = head
        self.a, self.b = body[:self.a_length], body[self.a_length:]


def read_log(path):
    """Whole entries in order. A kill may have cut the last one: what it announced never happened."""
    data = open(path, "rb").read()
    entries, at = [], 0
    while at + HEAD.size <= len(data):
        head = HEAD.unpack_from(data, at)
        assert head[0] == b"LYNG", f"{path}: no entry at {at}"
        end = at + HEAD.size + head[5] + head[6]
        if end > len(data):
            break
        entries.append(Entry(at, head, data[at + HEAD.size:end]))
        at = end
    return entries


class ForgetfulDisk:
    """The layer below one machine: its environment, and the cut."""

    def __init__(self, library, root, log, sync_us=SYNC_US, broken=False):
        self.root, self.log = root, log
        os.makedirs(log, exist_ok=True)
        self.environment = {"LD_PRELOAD": library, "LYING_DISK_ROOT": root, "LYING_DISK_LOG": log, "LYING_DISK_SYNC_US": str(sync_us)}
        if broken:
            self.environment["LYING_DISK_BROKEN"] = "1"
        self.forgotten = 0

    def cut(self, rng, mode):
        """Every process must be dead. Takes back what no sync covers; `mode` says how much of it the disk kept by chance."""
        for name in sorted(os.listdir(self.log)):
            if name.endswith(".log"):
                self._take_back(read_log(os.path.join(self.log, name)), name[:-4], rng, mode)
        for name in os.listdir(self.log):
            os.unlink(os.path.join(self.log, name))

    def _take_back(self, entries, process, rng, mode):
        safe = {}
        for entry in entries:
            if entry.kind == b"S":
                safe[entry.inode] = max(safe.get(entry.inode, 0), entry.offset)
        open_ones = [entry for entry in entries if entry.kind != b"S" and entry.position >= safe.get(entry.inode, 0)]
        names = [entry for entry in open_ones if entry.kind in b"CRU"]
        contents = [entry for entry in open_ones if entry.kind in b"WT"]
        self.forgotten += len(open_ones)
        for entry in reversed(contents):
            self._undo_content(entry)
        if mode == "prefix":
            self._redo_prefix(contents, rng)
        elif mode == "scattered":
            self._redo_scattered(contents, rng)
        kept_names = rng.randint(0, len(names)) if mode != "none" else 0
        for entry in reversed(names[kept_names:]):
            self._undo_name(entry, process)

    def _file(self, inode):
        return open(os.path.join(self.log, f"inode.{inode}"), "r+b", buffering=0)

    def _undo_content(self, entry):
        with self._file(entry.inode) as file:
            if entry.kind == b"W":
                file.seek(entry.offset)
                file.write(entry.a)
                if entry.offset + entry.b_length > entry.old_size:
                    file.truncate(entry.old_size)
            else:
                file.truncate(entry.old_size)
                file.seek(entry.offset)
                file.write(entry.a)

    def _redo(self, entry, bytes_kept, skip=0):
        with self._file(entry.inode) as file:
            if entry.kind == b"T":
                file.truncate(entry.offset)
            else:
                file.seek(entry.offset + skip)
                file.write(entry.b[skip:bytes_kept])

    def _redo_prefix(self, contents, rng):
        """The disk kept the first writes of each file; the last of them may be torn."""
        for inode in sorted({entry.inode for entry in contents}):
            own = [entry for entry in contents if entry.inode == inode]
            count = rng.randint(0, len(own))
            for entry in own[:count]:
                self._redo(entry, entry.b_length)
            if count < len(own) and own[count].kind == b"W":
                self._redo(own[count], rng.randint(0, own[count].b_length))

    def _redo_scattered(self, contents, rng):
        """The disk kept any sectors, in no order."""
        for entry in contents:
            if entry.kind == b"T":
                if rng.random() < 0.5:
                    self._redo(entry, 0)
                continue
            start = 0
            while start < entry.b_length:
                end = min(entry.b_length, start + SECTOR - (entry.offset + start) % SECTOR)
                if rng.random() < 0.5:
                    self._redo(entry, end, start)
                start = end

    def _undo_name(self, entry, process):
        kept = os.path.join(self.log, f"kept.{entry.position}.{process}")
        first = entry.a.decode()
        if entry.kind == b"C":
            if os.path.lexists(first):
                os.unlink(first)
        elif entry.kind == b"R":
            second = entry.b.decode()
            if not os.path.lexists(first) and os.path.lexists(second):
                os.rename(second, first)
            if os.path.exists(kept):
                if os.path.lexists(second):
                    os.unlink(second)
                os.link(kept, second)
        elif os.path.exists(kept) and not os.path.lexists(first):
            os.link(kept, first)


def build_library(folder):
    library = os.path.join(folder, "lying_disk.so")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "lying_disk.c"),
                    "-ldl", "-lpthread"], check=True)
    return library


def imports(program):
    text = subprocess.run(["nm", "-D", "--undefined-only", program], capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if line.split()}


# --- canaries: the layer forgets ---------------------------------------------------------------------------------------------

WRITER = """
import os, sys, time
folder, how = sys.argv[1:]
fd = os.open(folder + "/note", os.O_WRONLY)
os.write(fd, b"new, whole")
if how == "sync": os.fsync(fd)
draft = os.open(folder + "/name.draft", os.O_WRONLY | os.O_CREAT)
os.write(draft, b"second")
os.fsync(draft)
os.rename(folder + "/name.draft", folder + "/name")
if how == "sync":
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
print("done", flush=True)
time.sleep(60)
"""

ROWS = """
import sqlite3, sys
folder, synchronous = sys.argv[1:]
db = sqlite3.connect(folder + "/rows.db", isolation_level=None)
db.execute("PRAGMA journal_mode=wal")
db.execute("PRAGMA synchronous=" + synchronous)
number = db.execute("SELECT coalesce(max(n), 0) FROM rows").fetchone()[0]
while True:
    number += 1
    db.execute("INSERT INTO rows VALUES (?)", (number,))
    print(number, flush=True)
"""


def run_and_cut(disk, source, arguments, until, rng, mode):
    """Runs a Python program on the layer, cuts at a moment of `until`'s choice, and gives the lines it printed."""
    process = subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, env={**os.environ, **disk.environment})
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.decode().strip())
            if until(lines):
                break
    finally:
        process.kill()
        rest = process.stdout.read().decode()
        process.wait()
    lines += [line for line in rest.split("\n")[:-1] if line]
    disk.cut(rng, mode)
    return lines


def canary_files(library, work, rng):
    for how, expected in (("none", (b"old", b"first")), ("sync", (b"new, whole", b"second"))):
        root = os.path.join(work, f"canary-{how}")
        os.makedirs(root)
        open(os.path.join(root, "note"), "wb").write(b"old")
        open(os.path.join(root, "name"), "wb").write(b"first")
        disk = ForgetfulDisk(library, root, root + ".log", sync_us=0)
        lines = run_and_cut(disk, WRITER, [root, how], lambda said: True, rng, "none")
        found = tuple(open(os.path.join(root, name), "rb").read() for name in ("note", "name"))
        check(f"canary: a program that syncs {how}", lines == ["done"] and found == expected, f"{lines} {found}")
        check(f"canary: no draft stays ({how})", not os.path.exists(os.path.join(root, "name.draft")))


def canary_sqlite(library, work, rng):
    lost = {"OFF": 0, "FULL": 0}
    rows = 0
    for synchronous in ("OFF", "FULL"):
        root = os.path.join(work, f"rows-{synchronous}")
        os.makedirs(root)
        db = sqlite3.connect(os.path.join(root, "rows.db"))
        db.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY)")
        db.commit()
        db.close()
        disk = ForgetfulDisk(library, root, root + ".log", sync_us=200)
        for mode in ("none", "none", "prefix", "scattered", "scattered"):
            target = rng.randint(5, 150)
            said = run_and_cut(disk, ROWS, [root, synchronous], lambda lines: len(lines) >= target, rng, mode)
            try:
                db = sqlite3.connect(os.path.join(root, "rows.db"))
                whole = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                kept = db.execute("SELECT coalesce(max(n), 0) FROM rows").fetchone()[0]
                db.close()
            except sqlite3.DatabaseError:
                whole, kept = False, 0
            rows += len(said)
            lost[synchronous] += not whole or kept < int(said[-1])
            if not whole:
                break
    check("canary: SQLite with synchronous=OFF loses what it committed", lost["OFF"] > 0, f"{lost}")
    check("SQLite with synchronous=FULL loses nothing", lost["FULL"] == 0, f"{lost}")


# --- the cuts ---------------------------------------------------------------------------------------------------------------

def cuts_part(irontill, work, cuts, rng, library):
    house = House(irontill, work, "cuts")
    machines = {"host": ("host", "keys"), "terminals": ("load",)}
    disks = {machine: ForgetfulDisk(library, house.data, os.path.join(work, f"cuts.{machine}.log")) for machine in machines}
    try:
        house.set_up()
        for machine, processes in machines.items():
            house.environment.update({process: disks[machine].environment for process in processes})
        for name in ("keys", "host", "load"):
            house.start(name)
        check("cuts: it works before the first", wait_for_receipts(house, 5), house.tail("load"))
        done = {machine: 0 for machine in machines}
        for _ in range(cuts):
            time.sleep(rng.uniform(*PAUSE_S))
            for machine in rng.choice((("host",), ("terminals",), ("host", "terminals"))):
                cut_machine(house, disks[machine], machines[machine], rng)
                done[machine] += 1
            for name in ("keys", "host", "load"):
                if name not in house.running:
                    house.start(name)
            if rng.random() < 0.3:
                wait_for_receipts(house, 1, 5)
        check("cuts: it works after the last", wait_for_receipts(house, 5), house.tail("load"))
        for machine, processes in machines.items():
            cut_machine(house, disks[machine], processes, rng)
        forgotten = {machine: disk.forgotten for machine, disk in disks.items()}
        # A host that syncs in groups is between two syncs most of the time: a handful of cuts may find nothing to forget there.
        # That the layer bites each machine is shown by the canaries above; a full run must also show it on each in earnest.
        bites = all(forgotten.values()) if cuts >= FULL_CUTS else any(forgotten.values())
        check("cuts: the disk forgot something", bites, f"{forgotten}")
        conclude(house, checks, "cuts", f"host {done['host'] + 1} terminals {done['terminals'] + 1}; unsynced changes {forgotten}")
    finally:
        house.stop_all()


def cut_machine(house, disk, processes, rng):
    for process in processes:
        house.kill(process)
    disk.cut(rng, rng.choice(("none", "none", "prefix", "scattered")))


def canary_lying(irontill, work, rng, library, machine):
    """A disk that answers a sync and secures nothing: the audit must see the loss, whichever side has such a disk."""
    house = House(irontill, work, f"lying-{machine}")
    processes = {"host": ("host", "keys"), "terminals": ("load",)}[machine]
    disk = ForgetfulDisk(library, house.data, os.path.join(work, f"lying.{machine}.log"), broken=True)
    try:
        house.set_up()
        house.environment = {process: disk.environment for process in processes}
        for name in ("keys", "host", "load"):
            house.start(name)
        working = wait_for_receipts(house, 20)
        for process in processes:
            house.kill(process)
        disk.cut(rng, "none")
        house.stop_all()
        problems, _ = house.audit()
        check(f"canary: a lying disk of the {machine} is noticed", working and problems, f"worked {working}, {len(problems)} problems")
    finally:
        house.stop_all()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--irontill", required=True)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", action="store_true", help="keep the folders for a look afterwards")
    arguments = parser.parse_args()
    irontill = os.path.abspath(arguments.irontill)
    rng = random.Random(arguments.seed)
    work = os.path.realpath(tempfile.mkdtemp(prefix="irontill-power-"))
    print(f"seed {arguments.seed}, {arguments.cuts} cuts", flush=True)
    began = time.monotonic()
    try:
        if arguments.cuts:
            library = build_library(work)
            unseen = imports(irontill) & UNSEEN
            check("the layer sees every call by which the program changes files", imports(irontill) and not unseen, f"{sorted(unseen)}")
            canary_files(library, work, rng)
            canary_sqlite(library, work, rng)
            for machine in ("host", "terminals"):
                canary_lying(irontill, work, rng, library, machine)
            cuts_part(irontill, work, arguments.cuts, rng, library)
    except Exception as fault:  # noqa: BLE001 - whatever stops the test fails it
        check("the test came to its end", False, f"{type(fault).__name__}: {fault}")
    finally:
        if arguments.keep or checks.failed:
            print(f"      folders kept in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    print(f"      {time.monotonic() - began:.0f} s")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
