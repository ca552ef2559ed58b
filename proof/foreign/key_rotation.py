"""Keys of every kind rotate while terminals pay; no payment fails, is lost or stays unknown. A copied device raises an alarm.

    key_rotation.py --irontill PATH [--seconds 10]
"""

import json
import os

import harness

TERMINALS = 4
EVERY_SECONDS = 1
# Enrolments, the last payments and the audit on a busy machine.
SLACK_SECONDS = 300
FIRST_TERMINAL = 30_000_001


class House:
    def __init__(self, options, system):
        self.program = options.irontill
        self.seconds = options.seconds
        self.system = system
        self.receipts = os.path.join(system.base, "receipts")

    def load(self, *more):
        words = ["load", "--data", self.system.data, "--terminals", str(TERMINALS), "--json", *more]
        code, out, errors = harness.run_tool(self.program, *words, seconds=self.seconds + SLACK_SECONDS)
        assert out, errors
        return code, json.loads(out)

    def host_log(self):
        with open(os.path.join(self.system.data, "log", "host-process.log"), encoding="utf-8") as file:
            return file.read()

    def serial_file(self, number):
        return os.path.join(self.system.data, "terminals", str(FIRST_TERMINAL + number), "serial")


def rotate(checks, house):
    code, report = house.load("--seconds", str(house.seconds), "--rotate-keys-every-s", str(EVERY_SECONDS),
                              "--receipts", house.receipts)
    checks.equal("rotation: exit code", code, 0)
    checks.equal("rotation: problems", report["problems"], [])
    checks.equal("rotation: not approved", [report[name] for name in ("declined", "reversed", "unknown")], [0, 0, 0])
    checks.check("rotation: payments", report["approved"] > 0)
    checks.check("rotation: payments of DUKPT devices", report["device_payments"] > 0)
    for kind in ("working_keys", "master_keys", "issuer_keys", "base_derivation_keys"):
        checks.check(f"rotation: {kind}", report["rotations"][kind] > 0, str(report["rotations"]))
    print(f"{report['approved']} payments, {report['device_payments']} of DUKPT devices, rotations {report['rotations']}", flush=True)
    code, audit = house.load("--audit", "--receipts", house.receipts)
    checks.equal("audit: exit code", code, 0)
    checks.equal("audit: problems", audit["problems"], [])
    # The audit looks each receipt up in the ledger; its own count is that of the open batches.
    with open(house.receipts, encoding="utf-8") as file:
        checks.equal("audit: every payment has its receipt", len(file.read().splitlines()), report["approved"])


def copy_a_device(checks, house):
    """The serial number of one terminal turns up in another one."""
    with open(house.serial_file(0), encoding="utf-8") as file:
        serial = file.read()
    with open(house.serial_file(1), "w", encoding="utf-8") as file:
        file.write(serial)
    checks.check("copy: no alarm before", "terminal.serial-elsewhere" not in house.host_log())
    house.load("--audit")
    copy, original = FIRST_TERMINAL + 1, FIRST_TERMINAL
    alarm = f"Alarm {copy} terminal.serial-elsewhere: terminal {original} has claimed this serial number"
    checks.check("copy: the host raises an alarm", alarm in house.host_log())
    checks.check("copy: the log does not repeat the serial number", serial not in house.host_log())


def work(checks):
    parser = harness.arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with harness.System(options.irontill) as system:
        house = House(options, system)
        rotate(checks, house)
        copy_a_device(checks, house)


if __name__ == "__main__":
    harness.main(work)
