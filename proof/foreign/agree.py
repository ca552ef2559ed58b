#!/usr/bin/env python3
"""Agreement with foreign implementations: random cases whose answers come from psec, pyemv and pydukpt, run by `irontill vectors`.

    agree.py --irontill PATH [--cases 100000] [--seed S]

The cases go into files of the same shapes as the published vectors, so the product meets them as it would meet any file it has never
seen. Each kind is a function that draws its inputs and lets the foreign library answer. Key blocks agree both ways: the product opens
what psec made, and makes the same block again from the same key, header and padding. None of the three libraries derives AES DUKPT
keys, so that derivation is written here once more, from ANSI X9.24-3 §6.3 alone, over the `cryptography` package's AES.
"""

import json
import os
import random
import sys
import tempfile
import warnings

import psec
import pydukpt
import pyemv
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import harness

# The libraries use ciphers that their own library would like to see gone.
warnings.simplefilter("ignore")

CASES = 100_000
COMMAND_WITHIN_S = 900
# Cases of one file: what a file holds is read into memory at once.
FILE_CASES = 20_000

AES_TYPES = {16: ("AES128", 2, 128), 24: ("AES192", 3, 192), 32: ("AES256", 4, 256)}
AES_USAGES = {"pin_enc": 0x1000, "mac_gen": 0x2000, "data_enc": 0x3000}


class Draw:
    """Random inputs from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def bytes(self, count):
        return self.random.randbytes(count)

    def hex(self, count):
        return self.bytes(count).hex().upper()

    def digits(self, low, high=None):
        count = self.random.randint(low, high or low)
        return "".join(self.random.choice("0123456789") for _ in range(count))

    def pan(self, low=13, high=19):
        return self.random.choice("3456") + self.digits(low - 1, high - 1)

    def tdes_key(self, lengths=(16,)):
        """No two parts alike: a key of less strength than its length is refused, and rightly."""
        while True:
            key = self.bytes(self.random.choice(lengths))
            parts = {bytes(byte & 0xFE for byte in key[at : at + 8]) for at in range(0, len(key), 8)}
            if len(parts) == len(key) // 8:
                return key

    def few_ones(self, width, ones):
        """A counter that a device would reach: not zero, at most so many one bits."""
        places = self.random.sample(range(width), self.random.randint(1, ones))
        return sum(1 << place for place in places)


def upper(data):
    return data.hex().upper()


def dukpt_tdes(draw):
    bdk, counter = draw.tdes_key(), draw.few_ones(21, 10)
    ksn = (draw.random.getrandbits(59) << 21 | counter).to_bytes(10, "big")
    initial = pydukpt.derive_ipek(bdk, ksn)
    key = pydukpt.derive_key(initial, ksn)
    pin, pan = draw.digits(4, 12), draw.pan()
    return {
        "type": "txn_sequence",
        "bdk": upper(bdk),
        "ik": upper(initial),
        "ksn": upper(ksn),
        "txn_key": upper(key),
        "pin": pin,
        "pan": pan,
        "pin_key": upper(pydukpt.pin_key(key)),
        "clear_pinblock_format0": upper(pydukpt.encode_pin_block(pin, pan)),
        "encrypted_pinblock": upper(pydukpt.encrypt_pin(key, pin, pan)),
        "mac_request_key": upper(pydukpt.mac_request_key(key)),
        "mac_response_key": upper(pydukpt.mac_response_key(key)),
        "data_request_key": upper(pydukpt.data_request_key(key)),
        "data_response_key": upper(pydukpt.data_response_key(key)),
    }


def aes_ecb(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def aes_derive(key, usage, type_code, bits, context):
    """One derived key: blocks of version, counter, usage, algorithm, length and context under the deriving key, cut to length."""
    material = b""
    for number in range(1, (bits + 127) // 128 + 1):
        head = bytes([1, number]) + usage.to_bytes(2, "big") + type_code.to_bytes(2, "big") + bits.to_bytes(2, "big")
        material += aes_ecb(key, head + context)
    return material[: bits // 8]


def dukpt_aes(draw):
    bdk = draw.bytes(draw.random.choice((16, 24, 32)))
    _, type_code, bits = AES_TYPES[len(bdk)]
    key_id, counter = draw.bytes(8), draw.few_ones(32, 16)
    initial = aes_derive(bdk, 0x8001, type_code, bits, key_id)
    key, done = initial, 0
    for place in reversed(range(32)):
        if counter >> place & 1:
            done |= 1 << place
            key = aes_derive(key, 0x8000, type_code, bits, key_id[4:] + done.to_bytes(4, "big"))
    keys = {}
    context = key_id[4:] + counter.to_bytes(4, "big")
    for name, code, width in AES_TYPES.values():
        if width <= bits:
            for usage, number in AES_USAGES.items():
                keys[f"{usage}_{name}"] = upper(aes_derive(key, number, code, width, context))
    return {
        "type": "working_key_matrix",
        "ik": upper(initial),
        "ksn": upper(key_id + counter.to_bytes(4, "big")),
        "txn_key": upper(key),
        "keys": keys,
    }


def dukpt_aes_initial(draw):
    bdk, key_id = draw.bytes(draw.random.choice((16, 24, 32))), draw.bytes(8)
    _, type_code, bits = AES_TYPES[len(bdk)]
    return {"type": "derive_ik", "bdk": upper(bdk), "ik_id": upper(key_id), "ik": upper(aes_derive(bdk, 0x8001, type_code, bits, key_id))}


# Header, and the lengths of the keys it fits.
TDES_HEADERS = [("P0", "T", "E"), ("K0", "T", "D"), ("M3", "T", "C"), ("C0", "T", "G"), ("E0", "T", "X"), ("V2", "T", "V"), ("B0", "T", "X")]
AES_HEADERS = [("P0", "A", "B"), ("K0", "A", "N"), ("M6", "A", "C"), ("K1", "A", "D"), ("B0", "A", "X")]


def key_block(draw):
    version = draw.random.choice("ABCD")
    usage, algorithm, mode = draw.random.choice(TDES_HEADERS + (AES_HEADERS if version == "D" else []))
    exportability = draw.random.choice("ENS")
    if algorithm == "T":
        key = draw.tdes_key((16, 24))
    else:
        key = draw.bytes(draw.random.choice((16, 24, 32)))
    # A key is not protected by a weaker one.
    kbpk = draw.bytes(32) if version == "D" else draw.tdes_key((24,))
    header = psec.tr31.Header(version, usage, algorithm, mode, "00", exportability)
    # The library draws its padding; the product needs the same to make the same block.
    drawn = []
    psec.tr31._urandom = lambda count: drawn.append(draw.bytes(count)) or drawn[-1]
    block = psec.tr31.wrap(kbpk, str(header), key)
    opened, again = psec.tr31.unwrap(kbpk, block)
    assert again == key
    macs = {"A": 8, "B": 16, "C": 8, "D": 32}
    return {
        "type": "unwrap",
        "version": version,
        "kbpk": upper(kbpk),
        "header": block[:16],
        "optional_blocks": [],
        "key_usage": usage,
        "algorithm": algorithm,
        "mode_of_use": mode,
        "key_version": "00",
        "exportability": opened.exportability,
        "key": upper(key),
        "clear_padding": upper(drawn[-1]),
        "mac": block[-macs[version] :],
        "key_block": block,
    }


def pin_block_0(draw):
    pin, pan = draw.digits(4, 12), draw.pan()
    block = upper(psec.pinblock.encode_pinblock_iso_0(pin, pan))
    return {"type": draw.random.choice(("format0_encode", "format0_decode")), "pin": pin, "pan": pan, "pin_block": block}


def pin_block_2(draw):
    pin = draw.digits(4, 12)
    kind = draw.random.choice(("format2_encode", "format2_decode"))
    return {"type": kind, "pin": pin, "pin_block": upper(psec.pinblock.encode_pinblock_iso_2(pin))}


def pin_block_3(draw):
    pin, pan = draw.digits(4, 12), draw.pan()
    return {"type": "format3_decode", "pin": pin, "pan": pan, "pin_block": upper(psec.pinblock.encode_pinblock_iso_3(pin, pan))}


def pin_block_4(draw):
    key, pin, pan = draw.bytes(draw.random.choice((16, 24, 32))), draw.digits(4, 12), draw.pan()
    block = psec.pinblock.encipher_pinblock_iso_4(key, pin, pan)
    return {"type": "format4_decipher", "key": upper(key), "pin": pin, "pan": pan, "enciphered_pin_block": upper(block)}


def card_verification_value(draw):
    cvk, pan, expiry, service = draw.tdes_key(), draw.pan(), draw.digits(4), draw.digits(3)
    value = psec.cvv.generate_cvv(cvk, pan, expiry, service)
    # psec stops at the decimal digits of the result. Where there are fewer than three (one value in 18,000), the rule goes on with
    # its letters, and the peer has no answer to compare with.
    if len(value) < 3:
        return card_verification_value(draw)
    return {"type": "cvv", "cvk": upper(cvk), "pan": pan, "expiry": expiry, "service_code": service, "cvv": value}


def pin_verification_value(draw):
    pvk, index, pin, pan = draw.tdes_key(), draw.random.choice("123456"), draw.digits(4), draw.pan()
    value = psec.pin.generate_visa_pvv(pvk, index, pin, pan)
    return {"type": "pvv", "pvk": upper(pvk), "pvki": index, "pin": pin, "pan": pan, "pvv": value}


def icc_master_key(draw):
    function = draw.random.choice((pyemv.kd.derive_icc_mk_a, pyemv.kd.derive_icc_mk_b))
    master, pan, sequence = draw.tdes_key(), draw.pan(13, 19), draw.digits(2)
    name = function.__name__
    return {
        "type": name,
        "function": f"kd.{name}",
        "input": {"iss_mk": upper(master), "pan": pan, "psn": sequence},
        "output": upper(function(master, pan, sequence)),
    }


def session_key(draw):
    master, diversifier = draw.tdes_key(), draw.bytes(8)
    return {
        "type": "derive_common_sk",
        "function": "kd.derive_common_sk",
        "input": {"icc_mk": upper(master), "r": upper(diversifier)},
        "output": upper(pyemv.kd.derive_common_sk(master, diversifier)),
    }


def request_cryptogram(draw):
    key, data = draw.tdes_key(), draw.bytes(draw.random.randint(1, 80))
    padding = draw.random.choice(("EMV", "VISA"))
    cryptogram = pyemv.ac.generate_ac(key, data, getattr(pyemv.ac.PaddingType, padding))
    return {
        "type": "generate_ac",
        "function": "ac.generate_ac",
        "input": {"sk_ac": upper(key), "data": upper(data), "padding_type": padding, "length": None},
        "output": upper(cryptogram),
    }


def response_cryptogram(draw):
    key, request = draw.tdes_key(), draw.bytes(8)
    if draw.random.random() < 0.5:
        code = draw.bytes(2)
        given = {"sk_ac": upper(key), "arqc": upper(request), "arpc_rc": upper(code)}
        answer = pyemv.ac.generate_arpc_1(key, request, code)
        return {"type": "generate_arpc_1", "function": "ac.generate_arpc_1", "input": given, "output": upper(answer)}
    update, more = draw.bytes(4), draw.bytes(draw.random.randint(0, 8))
    given = {"sk_ac": upper(key), "arqc": upper(request), "csu": upper(update), "prop_auth_data": upper(more) if more else None}
    answer = pyemv.ac.generate_arpc_2(key, request, update, more)
    return {"type": "generate_arpc_2", "function": "ac.generate_arpc_2", "input": given, "output": upper(answer)}


def retail_mac(draw):
    key, text = draw.tdes_key(), "".join(chr(draw.random.randint(0x20, 0x7E)) for _ in range(draw.random.randint(1, 120)))
    padding = draw.random.choice((1, 2))
    value = psec.mac.generate_retail_mac(key[:8], key[8:], text.encode("ascii"), padding)
    return {
        "type": "iso9797_1",
        "algorithm": 3,
        "padding": padding,
        "key1": upper(key[:8]),
        "key2": upper(key[8:]),
        "data_ascii": text,
        "mac": upper(value),
    }


# File (its name decides who reads it), what draws its cases, share of the whole.
KINDS = [
    ("dukpt-tdes", dukpt_tdes, 15),
    ("dukpt-aes", dukpt_aes, 10),
    ("dukpt-aes", dukpt_aes_initial, 5),
    ("tr31", key_block, 15),
    ("pin-blocks", pin_block_0, 6),
    ("pin-blocks", pin_block_2, 3),
    ("pin-blocks", pin_block_3, 6),
    ("pin-blocks", pin_block_4, 6),
    ("card-verification", card_verification_value, 8),
    ("card-verification", pin_verification_value, 8),
    ("emv-crypto", icc_master_key, 5),
    ("emv-crypto", session_key, 3),
    ("emv-crypto", request_cryptogram, 4),
    ("emv-crypto", response_cryptogram, 4),
    ("mac", retail_mac, 2),
]


def write_files(folder, cases, draw):
    """Writes so many cases, gives the paths."""
    total = sum(share for _, _, share in KINDS)
    by_area = {}
    for area, make, share in KINDS:
        wanted = max(1, cases * share // total)
        drawn = by_area.setdefault(area, [])
        drawn.extend({"id": f"{make.__name__}-{number}", **make(draw)} for number in range(wanted))
    paths = []
    for area, drawn in by_area.items():
        for part, first in enumerate(range(0, len(drawn), FILE_CASES)):
            path = os.path.join(folder, str(part), f"{area}.json")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                json.dump(drawn[first : first + FILE_CASES], file)
            paths.append(path)
    return paths, sum(len(drawn) for drawn in by_area.values())


def canary(folder, paths):
    """The same files with one digit of one answer changed: a run that does not notice proves nothing."""
    spoilt = os.path.join(folder, "spoilt", os.path.basename(paths[0]))
    os.makedirs(os.path.dirname(spoilt))
    with open(paths[0], encoding="ascii") as file:
        cases = json.load(file)[:50]
    key = cases[7]["txn_key"]
    cases[7]["txn_key"] = ("0" if key[0] != "0" else "1") + key[1:]
    with open(spoilt, "w", encoding="ascii") as file:
        json.dump(cases, file)
    return spoilt


def run_vectors(program, paths):
    code, output, _ = harness.run_tool(program, "vectors", "--json", *paths, seconds=COMMAND_WITHIN_S)
    return code, json.loads(output)


def main():
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    arguments = parser.parse_args()
    checks = harness.Checks(tells=True)
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="irontill-agree-") as folder:
        paths, count = write_files(folder, arguments.cases, Draw(arguments.seed))
        code, report = run_vectors(arguments.irontill, paths)
        first = "; ".join(f"{failure['id']}: {failure['why']}" for failure in report["failures"][:3])
        checks.check(f"{count} random cases agree", code == 0 and report["passed"] == count, f"{report['passed']} of {count}: {first}")
        checks.equal("none is skipped", report["skipped"], 0)
        for area, counts in sorted(report["areas"].items()):
            print(f"      {area}: {counts['passed']} passed, {counts['failed']} failed", flush=True)
        code, report = run_vectors(arguments.irontill, [canary(folder, paths)])
        checks.check("canary: one wrong digit is noticed", code == 1 and report["failed"] == 1, f"{report['failed']}")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
