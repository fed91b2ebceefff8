#!/usr/bin/env python3
"""oracle.py tarfile|gnutar [TAR...]: lists tars as Python's tarfile or GNU tar reads them, those named, or else those that
come one after another as `length (4 bytes, little endian), tar`, each answered with `length, lines`.
A line is: kind path size link device mode uid gid mtime sha256, names in hex; one that begins with `!` says it is refused."""
import datetime
import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import tarfile

KINDS = {
    tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.CONTTYPE: "f", tarfile.GNUTYPE_SPARSE: "f",
    tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h",
    tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p",
}


class Refused(Exception):
    pass


def clean(path):
    """Without slashes at its ends, doubled ones and `.`."""
    return b"/".join(name for name in path.split(b"/") if name not in (b"", b"."))


def line(kind, path, size, link, device, mode, uid, gid, mtime, digest):
    link = {"h": clean(link), "l": link}.get(kind, b"")
    device = device if kind in "cb" else "0,0"
    size = size if kind == "f" else 0
    return (f"{kind} {clean(path).hex() or '-'} {size} {link.hex() or '-'} {device} {mode:o} {uid} {gid} {mtime} "
            f"{digest if kind == 'f' else '-'}\n")


def by_tarfile(data):
    def raw(text):
        return text.encode("utf-8", "surrogateescape")

    def one(archive, entry):
        kind = KINDS.get(entry.type, "?")
        # Marks a folder by its slash only in the oldest tars (type NUL); others do in all.
        if kind == "f" and entry.name.endswith("/") and entry.size == 0:
            kind = "d"
        digest = hashlib.sha256(archive.extractfile(entry).read()).hexdigest() if kind == "f" else "-"
        return line(kind, raw(entry.name), entry.size, raw(entry.linkname), f"{entry.devmajor},{entry.devminor}",
                    entry.mode & 0o7777, entry.uid, entry.gid, int(entry.mtime // 1), digest)

    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        lines = "".join(one(archive, entry) for entry in archive)
        # It takes a bad header that is not the first for the end.
        if data[archive.offset : archive.offset + 512].strip(b"\0"):
            raise Refused("stopped")
        return lines


# What `tar -tv` says of an entry, names quoted as in C.
QUOTED = rb'"((?:[^"\\]|\\.)*)"'
LISTED = re.compile(rb"(.)(.{9})\S? +(\d+)/(\d+) +(\d+,\d+|\d+) (-?\d+)-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.0*[1-9]\d*)?(?:\.0+)? " + QUOTED
                    + rb"(?: (?:->|link to) " + QUOTED + rb")?\n")
ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unquoted(text):
    def plain(found):
        escape = found.group(1)
        return bytes([int(escape, 8)]) if escape.isdigit() else ESCAPES.get(escape, escape)

    return re.sub(rb"\\([0-7]{3}|.)", plain, text, flags=re.DOTALL)


def bits(text):
    mode = 0
    for place, letter in enumerate(text.decode()):
        if letter in "rwxst":
            mode |= 0o400 >> place
        if letter in "sStT":
            mode |= 0o4000 >> place // 3
    return mode


def gnu_tar(arguments, data):
    tar = ["tar", "--absolute-names", "--warning=no-unknown-keyword", *arguments, "-f", "-"]
    done = subprocess.run(tar, input=data, capture_output=True, env={**os.environ, "LC_ALL": "C", "TZ": "UTC0"}, check=False)
    # A warning says that something was not as it should be, and is followed by a guess.
    if done.returncode or done.stderr:
        raise Refused(done.stderr.decode("utf-8", "replace").partition("\n")[0])
    return done.stdout


def by_gnu_tar(data):
    listing = gnu_tar(["-tv", "--numeric-owner", "--full-time", "--quoting-style=c"], data)
    content = gnu_tar(["-xO"], data)
    lines, at, start = [], 0, 0
    while at < len(listing):
        found = LISTED.match(listing, at)
        if found is None:
            raise Refused(f"listed as {listing[at:at + 200]!r}")
        at = found.end()
        kind, mode, uid, gid, size, *time, fraction, path, link = found.groups()
        # It extracts a contiguous file called like a folder as one, as it does others.
        kind = {b"-": "f", b"C": "d" if path.endswith(b"/") else "f"}.get(kind, kind.decode())
        year, *rest = (int(part) for part in time)
        # It counts the fraction of a second before 1970 forward.
        if not 1 <= year <= 9999 or (year < 1970 and fraction):
            raise Refused("a time that it does not tell")
        mtime = int(datetime.datetime(year, *rest, tzinfo=datetime.timezone.utc).timestamp())
        device, size = (size.decode(), 0) if b"," in size else ("0,0", int(size))
        digest = "-"
        if kind == "f":
            digest = hashlib.sha256(content[start : start + size]).hexdigest()
            start += size
        lines.append(line(kind, unquoted(path), size, unquoted(link or b""), device, bits(mode), int(uid), int(gid), mtime, digest))
    if start != len(content):
        raise Refused(f"{len(content)} bytes of {start} that are listed")
    return "".join(lines)


READERS = {"tarfile": by_tarfile, "gnutar": by_gnu_tar}


def listed(data):
    try:
        return READERS[sys.argv[1]](data)
    except Exception as error:  # whatever it is, it is no list
        return f"!{type(error).__name__} {error}\n".replace("\0", "")


def main():
    for name in sys.argv[2:]:
        with open(name, "rb") as file:
            print(listed(file.read()), end="")
    while len(sys.argv) == 2 and (head := sys.stdin.buffer.read(4)):
        answer = listed(sys.stdin.buffer.read(struct.unpack("<I", head)[0])).encode("utf-8", "replace")
        sys.stdout.buffer.write(struct.pack("<I", len(answer)) + answer)
        sys.stdout.buffer.flush()


main()
