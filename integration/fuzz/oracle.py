#!/usr/bin/env python3
"""Lists tars as Python's tarfile reads them. Reads `length (4 bytes, little endian), tar` again and again; answers each with
`length, lines`: kind path size link device mode uid gid mtime sha256, names in hex; or a line that begins with `!`."""
import hashlib
import io
import struct
import sys
import tarfile

KINDS = {
    tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.CONTTYPE: "f", tarfile.GNUTYPE_SPARSE: "f",
    tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h",
    tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p",
}


def raw(text):
    return text.encode("utf-8", "surrogateescape").hex() or "-"


def line(archive, entry):
    kind = KINDS.get(entry.type, "?")
    digest, size = "-", 0
    if kind == "f":
        size = entry.size
        digest = hashlib.sha256(archive.extractfile(entry).read()).hexdigest()
    device = f"{entry.devmajor},{entry.devminor}" if kind in "cb" else "0,0"
    link = raw(entry.linkname) if kind in "lh" else "-"
    mtime = int(entry.mtime // 1)
    return f"{kind} {raw(entry.name)} {size} {link} {device} {entry.mode & 0o7777:o} {entry.uid} {entry.gid} {mtime} {digest}\n"


def listed(data):
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            lines = "".join(line(archive, entry) for entry in archive)
            # It takes a bad header that is not the first for the end.
            if data[archive.offset : archive.offset + 512].strip(b"\0"):
                return "!stopped\n"
            return lines
    except Exception as error:  # whatever it is, it is no list
        return f"!{type(error).__name__} {error}\n"


def main():
    while head := sys.stdin.buffer.read(4):
        answer = listed(sys.stdin.buffer.read(struct.unpack("<I", head)[0])).encode("utf-8", "replace")
        sys.stdout.buffer.write(struct.pack("<I", len(answer)) + answer)
        sys.stdout.buffer.flush()


main()
