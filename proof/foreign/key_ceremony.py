"""A key ceremony as two people and an auditor see it, over the real program and its real key process.

    key_ceremony.py --irontill PATH

Custodians through a pipe and through a pseudo-terminal (no echo), wrong turns, the record checked with and without its
signature, the combined key's check value against another implementation of DES if `cryptography` is there, lineage and
audit, a cut audit file and the way out.
"""

import json
import os
import pty
import select
import signal
import subprocess
import time

import harness

PEOPLE = {"li.wei": "correct horse battery", "wang.fang": "purple monkey dishes"}
COMPONENTS = ["0123456789ABCDEFFEDCBA9876543210", "1C1C1F1F0B0B0D0D0E0E10101313 1515"]
PTY_SECONDS = 30


def odd(text):
    """Hex digits with odd parity in every byte."""
    data = bytes.fromhex(text)
    return bytes(byte & 0xFE | (bin(byte & 0xFE).count("1") + 1) % 2 for byte in data).hex().upper()


PARTS = [odd(text) for text in COMPONENTS]


def foreign_check(checks, value):
    """The check value of the combined key, reckoned without the product."""
    try:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
        from cryptography.hazmat.primitives.ciphers import Cipher, modes
    except ImportError:
        return
    key = bytes(one ^ two for one, two in zip(*(bytes.fromhex(part) for part in PARTS)))
    cipher = Cipher(TripleDES(key + key[:8]), modes.ECB()).encryptor()
    checks.equal("a foreign DES gives the same check value", value, cipher.update(bytes(8))[:4].hex().upper())


class Office:
    def __init__(self, program, data):
        self.program, self.data = program, data

    def keys(self, *words, text=""):
        return harness.run_tool(self.program, "keys", *words, "--data", self.data, text=text)

    def json(self, *words):
        code, output, error = self.keys(*words, "--json")
        assert code == 0, error
        return json.loads(output)


def register(office, checks):
    for name, passphrase in PEOPLE.items():
        code, output, error = office.keys("custodian", "add", name, text=passphrase + "\n")
        checks.check(f"{name} is registered", code == 0 and passphrase not in output + error, error)
    code, _, _ = office.keys("custodian", "add", "third", text="a third passphrase\n")
    checks.equal("a third needs one who vouches", code, 1)
    code, _, _ = office.keys("custodian", "remove", "li.wei", "--approver", "wang.fang", text=PEOPLE["wang.fang"] + "\n")
    checks.equal("two must remain", code, 1)
    names = [line["name"] for line in office.json("custodian", "list")["custodians"]]
    checks.equal("both are listed", names, list(PEOPLE))


def lines(name, part, check=""):
    return f"{name}\n{PEOPLE[name]}\n{part}\n{check}\n"


def hold(office, checks, out):
    first, second = PEOPLE
    script = "".join([
        lines(first, PARTS[0], "00000000"),  # wrong check value
        lines(first, PARTS[0]),
        lines(first, PARTS[1]),  # the same person twice
        lines(second, PARTS[1][:-1] + "4"),  # even parity
        lines(second, PARTS[1]),
    ])
    code, output, error = office.keys("ceremony", "--usage", "KEK", "--owner", "BANK A", "--out", out, "--json", text=script)
    checks.equal("the ceremony is held", code, 0)
    secrets = PARTS + [part.lower() for part in PARTS] + list(PEOPLE.values())
    checks.check("nothing secret is printed", not any(secret in output + error for secret in secrets))
    done = json.loads(output)
    foreign_check(checks, done["check"])
    return done


def records(office, checks, done):
    key = office.json("identity")["record"]
    code, output, _ = harness.run_tool(office.program, "keys", "verify-record", done["record"], "--public-key", key)
    checks.check("the record is right", code == 0 and done["check"] in output)
    with open(done["record"], encoding="utf-8") as file:
        text = file.read()
    checks.check("people can read it", "Component 2: entered by wang.fang" in text)
    spoilt = done["record"] + ".spoilt"
    with open(spoilt, "w", encoding="utf-8") as file:
        file.write(text.replace("wang.fang", "li.wei"))
    code, _, _ = harness.run_tool(office.program, "keys", "verify-record", spoilt, "--public-key", key)
    checks.equal("an altered record is not", code, 1)
    code, _, _ = harness.run_tool(office.program, "keys", "verify-record", done["record"], "--public-key", "00" * 32)
    checks.equal("another vault's key does not fit", code, 1)
    again = os.path.join(os.path.dirname(done["record"]), "again")
    os.makedirs(again)
    office.keys("ceremony-record", str(done["ceremony"]), "--out", again)
    with open(os.path.join(again, os.path.basename(done["record"])), encoding="utf-8") as file:
        checks.equal("the record can be had again", file.read(), text)


def reports(office, checks, done):
    listed = [key for key in office.json("list")["keys"] if key["origin"] == "ceremony"]
    checks.equal("the key is listed with its makers", [key["made_by"] for key in listed], ["li.wei, wang.fang"])
    checks.equal("and its check value", listed[0]["check"], done["check"])
    issuers = office.json("lineage", "IMK-AC/test issuer")["keys"]
    checks.check("issuer keys came under the bureau's KEK",
                 issuers and all(key["ancestors"][0]["usage"] == "KEK" for key in issuers))
    code, _, _ = office.keys("lineage", "PIK/nobody/1")
    checks.equal("an unknown key is a no", code, 1)
    audit = office.json("audit")
    acts = [record["act"] for record in audit["records"]]
    checks.check("the audit tells of the wrong turns", acts.count("Refused") >= 4 and "CeremonyCompleted" in acts)
    checks.check("its end is signed", audit["signature_right"] and audit["total"] == len(acts))
    end = f"{audit['total']}:{audit['head']}"
    code, _, _ = office.keys("audit", "--verify", "--contains", end)
    checks.equal("what was noted is there", code, 0)
    code, _, _ = office.keys("audit", "--verify", "--contains", f"{audit['total']}:{'00' * 32}")
    checks.equal("what was not there is missed", code, 1)


def aborted(office, checks):
    code, _, _ = office.keys("ceremony", "--usage", "KEK", "--owner", "BANK B", text=lines("li.wei", PARTS[0]))
    checks.equal("a ceremony whose input ends is aborted", code, 1)
    act = office.json("audit")["records"][-1]
    checks.equal("and recorded", act["act"], "CeremonyAborted")


def at_a_terminal(office, checks, out):
    """One custodian types, the vault draws for the other: what the screen shows."""
    drawn = os.path.join(out, "wang.component")
    typed = ["li.wei", PEOPLE["li.wei"], PARTS[0], "", "wang.fang", PEOPLE["wang.fang"], "@" + drawn]
    words = [office.program, "keys", "ceremony", "--usage", "KEK", "--owner", "BANK C", "--out", out, "--data", office.data]
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    shown = b""
    try:
        for line in typed:
            shown += until_prompt(screen)
            os.write(screen, line.encode() + b"\n")
        shown += until_prompt(screen, at_end=True)
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(screen)
    checks.equal("a ceremony at a terminal", os.waitstatus_to_exitcode(status), 0)
    text = shown.decode(errors="replace")
    checks.check("what is typed in secret is not shown", PARTS[0] not in text and not any(word in text for word in PEOPLE.values()))
    checks.check("check values are", text.count("check value ") >= 3, text)
    checks.equal("the drawn component is its owner's", os.stat(drawn).st_mode & 0o777, 0o600)
    with open(drawn, encoding="utf-8") as file:
        component = file.readline().strip()
    checks.check("and nowhere on the screen", len(component) == 32 and component not in text.lower())


def until_prompt(screen, at_end=False):
    """What the screen shows until it waits (a prompt ends with a colon) or closes."""
    shown, end = b"", time.monotonic() + PTY_SECONDS
    while time.monotonic() < end:
        if not select.select([screen], [], [], 0.2)[0]:
            if shown.endswith(b": ") and not at_end:
                return shown
            continue
        try:
            more = os.read(screen, 4096)
        except OSError:
            return shown
        if not more:
            return shown
        shown += more
    raise TimeoutError(f"no prompt; the screen shows {shown!r}")


def spoilt_audit(system, office, checks):
    """A cut audit stops the system; setting it aside lets it start again."""
    harness.stop(system.process)
    trail = os.path.join(system.data, "keys", "vault.audit")
    harness.wait_until(lambda: not any(system.data in words for words in harness.command_lines()), harness.STOP_SECONDS)
    with open(trail, "r+b") as file:
        file.truncate(os.path.getsize(trail) - 100)
    serve = [system.program, "host", "serve", "--data", system.data]
    failed = subprocess.run(serve, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.START_SECONDS)
    checks.check("a cut audit is not served", failed.returncode == 3, failed.stderr)
    with open(os.path.join(system.data, "log", "keys-process.log"), encoding="utf-8", errors="replace") as file:
        log = file.read()
    # The message may go to the program's own standard error or to the key process's log.
    checks.check("and the reason is told", "key-ceremony.md" in log + failed.stderr, failed.stderr)
    code, _, error = office.keys("set-audit-aside", "--reason", "a test cut it")
    checks.check("it is set aside", code == 0, error)
    process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        harness.first_line(process, harness.START_SECONDS)
        first = office.json("audit")["records"][0]
        checks.check("the new one says why", first["detail"].endswith("was set aside: a test cut it"), first["detail"])
    finally:
        process.send_signal(signal.SIGTERM)
        harness.stop(process)


def main():
    options = harness.arguments(__doc__.splitlines()[0]).parse_args()

    def work(checks):
        with harness.System(options.irontill) as system:
            office = Office(options.irontill, system.data)
            out = os.path.join(system.base, "records")
            os.makedirs(out)
            with checks.step("custodians"):
                register(office, checks)
            done = hold(office, checks, out)
            with checks.step("records"):
                records(office, checks, done)
            with checks.step("reports"):
                reports(office, checks, done)
            with checks.step("aborted"):
                aborted(office, checks)
            with checks.step("at a terminal"):
                at_a_terminal(office, checks, out)
            with checks.step("spoilt audit"):
                spoilt_audit(system, office, checks)

    harness.main(work)


if __name__ == "__main__":
    main()
