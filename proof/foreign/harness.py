"""What the system tests share: a running system in a temporary folder, and a count of checks.

Standard library only. Nothing here prints a PIN, a card number or a key.
"""

import argparse
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

START_SECONDS = 30
STOP_SECONDS = 5
TOOL_SECONDS = 30


class Checks:
    """Counts checks. A failed one does not stop the others. `tells` prints those that hold, too."""

    def __init__(self, tells=False):
        self.passed = 0
        self.failed = 0
        self.tells = tells

    def check(self, name, right, why=""):
        if right:
            self.passed += 1
            if self.tells:
                print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED {name}{': ' if why else ''}{why}", flush=True)
        return bool(right)

    def equal(self, name, got, expected):
        return self.check(name, got == expected, f"{got!r} instead of {expected!r}")

    @contextlib.contextmanager
    def step(self, name):
        """One check that fails by an exception."""
        try:
            yield
        except Exception as error:  # whatever it is, the other checks go on
            self.check(name, False, f"{type(error).__name__}: {error}")
        else:
            self.check(name, True)

    def finish(self):
        """Prints the last line, gives the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--irontill", required=True, help="the product's program")
    return parser


def run_tool(program, *words, text=None, seconds=TOOL_SECONDS):
    """Runs a command to its end. Gives exit code, standard output and standard error."""
    done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def first_line(process, seconds):
    """The first line a process prints, or an error if it takes too long."""
    end, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        ready = left > 0 and select.select([process.stdout], [], [], left)[0]
        assert ready, "the process did not become ready in time"
        byte = os.read(process.stdout.fileno(), 1)
        assert byte, "the process ended before it was ready"
        line += byte
    return line.decode().strip()


def stop(process):
    """Ends one process that we started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


class System:
    """`irontill host serve` on a temporary folder; stopped and removed at the end."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        self.base = tempfile.mkdtemp(prefix="irontill-proof-")
        self.data = os.path.join(self.base, "system")
        self.process = None
        try:
            self.process = subprocess.Popen([self.program, "host", "serve", "--data", self.data], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.address = first_line(self.process, START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            stop(self.process)
        shutil.rmtree(self.base, ignore_errors=True)

    def endpoint(self):
        host, port = self.address.rsplit(":", 1)
        return host, int(port)

    def stop_and_check_gone(self, checks):
        """Stops the serving process: its children must go with it."""
        endpoint = self.endpoint()
        stop(self.process)
        end = time.monotonic() + STOP_SECONDS
        gone = False
        while not gone and time.monotonic() < end:
            try:
                socket.create_connection(endpoint, timeout=1).close()
                time.sleep(0.05)
            except OSError:
                gone = True
        checks.check("the host goes with the process that serves it", gone)
        alone = wait_until(lambda: not any(self.data in words for words in command_lines()), STOP_SECONDS)
        checks.check("no process of the system stays", alone)


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def command_lines():
    """The words of every process's command line."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                yield file.read().decode(errors="replace").split("\0")


def main(work):
    """Runs a script's work, whatever it raises becomes a failed check."""
    checks = Checks()
    try:
        work(checks)
    except Exception as error:  # the last line must be printed whatever happens
        checks.check("the script itself", False, f"{type(error).__name__}: {error}")
    sys.exit(checks.finish())
