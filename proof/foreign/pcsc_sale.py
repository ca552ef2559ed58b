"""Sales with a card in a real PC/SC reader: pcscd, its virtual reader driver (vpcd), our card behind it, our terminal before it.

    pcsc_sale.py --irontill PATH        (a program built with `--features pcsc`; needs pcscd and vsmartcard-vpcd)

As root it all happens in namespaces of its own, so that neither the reader's port nor pcscd's socket meets those of the machine.
Otherwise it uses the pcscd that runs, or starts one.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys

import harness

CONTACT = ("127.0.0.1", 35963)
SECOND = ("127.0.0.1", 35964)
PCSCD_FOLDER = "/run/pcscd"
PCSCD_SOCKET = os.path.join(PCSCD_FOLDER, "pcscd.comm")
PCSCD_PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
INNER = "IRONTILL_PCSC_INNER"
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
READY_SECONDS = 10
SALE_SECONDS = 25
ALL_SECONDS = 58
PIN = "123456"


def in_own_namespaces():
    """Runs this script again where network, mounts and processes are its own. Gives the exit code, `None` if that cannot be."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return None
    if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        return None
    again = [*words, sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
    return subprocess.run(again, env={**os.environ, INNER: "1"}, timeout=ALL_SECONDS).returncode


def furnish_namespaces():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    os.makedirs(PCSCD_FOLDER, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", PCSCD_FOLDER], check=True)


@contextlib.contextmanager
def pcscd():
    if os.path.exists(PCSCD_SOCKET) and not os.environ.get(INNER):
        yield
        return
    program = shutil.which("pcscd", path=PCSCD_PLACES)
    assert program, "pcscd is not installed"
    process = subprocess.Popen([program, "--foreground"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        assert harness.wait_until(lambda: os.path.exists(PCSCD_SOCKET), READY_SECONDS), "pcscd does not start"
        # Trying the port would be a card: the socket table tells as well.
        ready = lambda: CONTACT[1] in listening_ports() and SECOND[1] in listening_ports()
        assert harness.wait_until(ready, READY_SECONDS), "no virtual reader: is vsmartcard-vpcd installed?"
        yield
    finally:
        harness.stop(process)


def listening_ports():
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(name, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
            ports |= {int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == "0A"}
    return ports


@contextlib.contextmanager
def card(program, profile, address):
    """A card that is in the reader as long as this lasts."""
    process = subprocess.Popen([program, "card", "serve", "--profile", profile, "--vpcd", "%s:%d" % address],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        harness.stop(process)


def pay(program, data, reader, amount="12.50", pin=PIN):
    words = ["pay", "--json", "--data", data, "--reader", reader, "--amount", amount, "--pin", pin]
    code, output, complaint = harness.run_tool(program, *words, seconds=SALE_SECONDS)
    assert output, f"exit {code}, no output: {complaint.strip()[:200]}"
    return code, json.loads(output)


def approved(code, outcome, card_number, amount="CNY 12.50"):
    assert (code, outcome["status"], outcome["response_code"]) == (0, "approved", "00"), (code, outcome["status"])
    assert outcome["card"] == card_number and outcome["amount"] == amount, "another card or amount"
    assert outcome["rrn"] in outcome["receipt"], "the receipt"


def sell(program, checks):
    with harness.System(program) as system, card(program, "unionpay-credit", CONTACT):
        outcome = {}
        with checks.step("a sale with the card in the first reader"):
            code, outcome = pay(program, system.data, "any")
            approved(code, outcome, "622262*********1001")
        with checks.step("its explanation has the reader's answer to reset and the card's cryptograms"):
            code, text, _ = harness.run_tool(program, "explain", "--data", system.data, outcome["stan"])
            assert code == 0 and all(word in text for word in ("answer to reset 3B", "GENERATE AC", "ARQC ", "TC "))
        with checks.step("the same card again: its counter has grown"):
            code, second = pay(program, system.data, "any", "1.00")
            approved(code, second, "622262*********1001", "CNY 1.00")
            assert "ATC: 0001" in outcome["receipt"] and "ATC: 0002" in second["receipt"], "the counter"
        with checks.step("a wrong PIN is declined"):
            code, declined = pay(program, system.data, "any", pin="111111")
            assert (code, declined["response_code"]) == (1, "55"), (code, declined["response_code"])
        with checks.step("a sale in the second reader, by its name"), card(program, "unionpay-debit", SECOND):
            code, outcome = pay(program, system.data, "00 01")
            approved(code, outcome, "621785*********2009")
        with checks.step("a reader that is not there: no sale"):
            code, output, complaint = harness.run_tool(program, "pay", "--json", "--data", system.data, "--reader", "nowhere",
                                                       "--amount", "1.00", "--pin", PIN, seconds=SALE_SECONDS)
            assert code in (1, 2, 3) and "approved" not in output and complaint.strip(), f"exit {code}"
        code, _, _ = harness.run_tool(program, "host", "verify", "--data", system.data)
        checks.equal("the host's books are in order", code, 0)


def main():
    options = harness.arguments(__doc__.splitlines()[0]).parse_args()
    if not os.environ.get(INNER):
        code = in_own_namespaces()
        if code is not None:
            sys.exit(code)

    def work(checks):
        if os.environ.get(INNER):
            furnish_namespaces()
        with pcscd():
            sell(options.irontill, checks)

    harness.main(work)


if __name__ == "__main__":
    main()
