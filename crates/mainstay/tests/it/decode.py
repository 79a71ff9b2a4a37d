"""Decodes a CloudStack value independently of Mainstay: decode.py V1|V2 KEY VALUE.

V2 is AES-256-GCM written out from FIPS 197 and SP 800-38D (encryption direction only, which is all that GCM
needs); V1 derives the key with hashlib and leaves DES to openssl. Exit code 77: a tool is missing.
"""
import base64
import hashlib
import subprocess
import sys


def xtime(a):
    return ((a << 1) ^ 0x1B) & 0xFF if a & 0x80 else a << 1


def multiply(a, b):
    result = 0
    while b:
        if b & 1:
            result ^= a
        a = xtime(a)
        b >>= 1
    return result


def sbox():
    box = []
    for value in range(256):
        inverse = next((c for c in range(256) if multiply(value, c) == 1), 0)
        out = 0x63
        for shift in range(5):
            out ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xFF
        box.append(out)
    return box


SBOX = sbox()


def expand(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return words


def block(words, data):
    state = [b ^ k for b, k in zip(data, sum(words[0:4], []))]
    for turn in range(1, 15):
        state = [SBOX[b] for b in state]
        state = [state[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if turn < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = state[c:c + 4]
                for r in range(4):
                    mixed.append(multiply(col[r], 2) ^ multiply(col[(r + 1) % 4], 3) ^ col[(r + 2) % 4] ^ col[(r + 3) % 4])
            state = mixed
        state = [b ^ k for b, k in zip(state, sum(words[4 * turn:4 * turn + 4], []))]
    return bytes(state)


def gmul(x, y):
    z = 0
    for bit in range(127, -1, -1):
        if (y >> bit) & 1:
            z ^= x
        x = (x >> 1) ^ (0xE1 << 120) if x & 1 else x >> 1
    return z


def decode_v2(key, raw):
    words = expand(hashlib.sha256(key.encode()).digest())
    nonce, sealed, tag = raw[:12], raw[12:-16], raw[-16:]
    h = int.from_bytes(block(words, bytes(16)), "big")
    ghash = 0
    for i in range(0, len(sealed), 16):
        ghash = gmul(ghash ^ int.from_bytes(sealed[i:i + 16].ljust(16, b"\0"), "big"), h)
    ghash = gmul(ghash ^ (len(sealed) * 8), h)
    first = int.from_bytes(block(words, nonce + b"\0\0\0\1"), "big")
    if (ghash ^ first).to_bytes(16, "big") != tag:
        sys.exit("the tag does not match")
    plain = b""
    for i in range(0, len(sealed), 16):
        stream = block(words, nonce + (i // 16 + 2).to_bytes(4, "big"))
        plain += bytes(a ^ b for a, b in zip(sealed[i:i + 16], stream))
    return plain


def decode_v1(key, raw):
    digest = hashlib.md5(key.encode("ascii") + raw[:8]).digest()
    for _ in range(999):
        digest = hashlib.md5(digest).digest()
    args = ["openssl", "enc", "-d", "-des-cbc", "-provider", "legacy", "-provider", "default",
            "-K", digest[:8].hex(), "-iv", digest[8:].hex()]
    try:
        return subprocess.run(args, input=raw[8:], capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"openssl cannot decode DES here: {error}", file=sys.stderr)
        sys.exit(77)


version, key, value = sys.argv[1:4]
plain = (decode_v1 if version == "V1" else decode_v2)(key, base64.b64decode(value))
sys.stdout.buffer.write(plain)
