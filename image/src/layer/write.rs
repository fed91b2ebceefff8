//! Writes tar entries: ustar, and PAX records only for what ustar can't hold, so that one tree always
//! gives the same bytes. Not its job: which entries, in what order.

use std::io::{self, Read, Write};

use super::entry::{Entry, Kind};
use super::header::BLOCK;

/// The largest number that fits in eight and in twelve octal digits less the final NUL.
const MAX_ID: u32 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;

/// How much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// A tar being written.
pub(crate) struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            buffer: vec![0; CHUNK],
        }
    }

    /// Writes one entry; for a file, exactly its size of `data`.
    pub(crate) fn entry(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        let name = match entry.kind {
            Kind::Directory => [entry.path.bytes(), b"/"].concat(),
            _ => entry.path.bytes().to_vec(),
        };
        let (records, block) = blocks(entry, &name);
        if !records.is_empty() {
            self.out.write_all(&pax_header(records.len() as u64))?;
            self.padded(&records[..], records.len() as u64)?;
        }
        self.out.write_all(&block)?;
        match entry.kind {
            Kind::File { size } => self.padded(data, size),
            _ => Ok(()),
        }
    }

    /// Writes the end of the tar and gives the stream back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn padded(&mut self, mut data: impl Read, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let count = match data.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    return Err(io::Error::other(
                        "the file became shorter while it was read",
                    ));
                }
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.out.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..(BLOCK - rest) % BLOCK])
    }
}

/// The PAX records an entry needs (often none), and its header.
fn blocks(entry: &Entry, name: &[u8]) -> (Vec<u8>, [u8; BLOCK]) {
    let mut records = Vec::new();
    let mut block = [0; BLOCK];
    match split_name(name) {
        Some((prefix, name)) => {
            block[..name.len()].copy_from_slice(name);
            block[345..345 + prefix.len()].copy_from_slice(prefix);
        }
        None => {
            record(&mut records, b"path", name);
            block[..100].copy_from_slice(&name[..100]);
        }
    }
    let (flag, link, size) = kind(&entry.kind);
    if link.len() > 100 {
        record(&mut records, b"linkpath", link);
    }
    let link = &link[..link.len().min(100)];
    block[157..157 + link.len()].copy_from_slice(link);
    octal(&mut block[100..108], u64::from(entry.mode));
    octal(
        &mut block[124..136],
        fit(&mut records, b"size", size, MAX_LONG),
    );
    octal(
        &mut block[108..116],
        fit(&mut records, b"uid", entry.uid.into(), MAX_ID.into()),
    );
    octal(
        &mut block[116..124],
        fit(&mut records, b"gid", entry.gid.into(), MAX_ID.into()),
    );
    let secs = entry.mtime.secs;
    let plain = u64::try_from(secs).ok().filter(|s| *s <= MAX_LONG);
    if plain.is_none() || entry.mtime.nanos != 0 {
        record(&mut records, b"mtime", time(entry).as_bytes());
    }
    octal(&mut block[136..148], plain.unwrap_or(0));
    for (name, value) in &entry.xattrs {
        record(
            &mut records,
            &[b"SCHILY.xattr.", name.as_slice()].concat(),
            value,
        );
    }
    if let Kind::Character { major, minor } | Kind::Block { major, minor } = entry.kind {
        octal(&mut block[329..337], major.into());
        octal(&mut block[337..345], minor.into());
    }
    seal(&mut block, flag);
    (records, block)
}

fn kind(kind: &Kind) -> (u8, &[u8], u64) {
    match kind {
        Kind::File { size } => (b'0', b"", *size),
        Kind::HardLink { target } => (b'1', target.bytes(), 0),
        Kind::Symlink { target } => (b'2', target, 0),
        Kind::Character { .. } => (b'3', b"", 0),
        Kind::Block { .. } => (b'4', b"", 0),
        Kind::Directory => (b'5', b"", 0),
        Kind::Fifo => (b'6', b"", 0),
    }
}

fn pax_header(size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..10].copy_from_slice(b"PaxHeaders");
    octal(&mut block[100..108], 0o644);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], 0);
    seal(&mut block, b'x');
    block
}

/// Type, dialect and checksum.
fn seal(block: &mut [u8; BLOCK], flag: u8) {
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
}

/// Octal digits with a NUL behind them; the value is known to fit.
fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
    field[digits.len()] = 0;
}

fn fit(records: &mut Vec<u8>, key: &[u8], value: u64, most: u64) -> u64 {
    if value <= most {
        return value;
    }
    record(records, key, value.to_string().as_bytes());
    0
}

/// A name of up to 100 bytes, or one whose directory part fits in the prefix field.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    let slash = (name.len().saturating_sub(101)..name.len() - 1)
        .find(|at| name[*at] == b'/')
        .filter(|at| (1..=155).contains(at))?;
    Some((&name[..slash], &name[slash + 1..]))
}

fn time(entry: &Entry) -> String {
    let (secs, nanos) = (entry.mtime.secs, entry.mtime.nanos);
    let (sign, secs, nanos) = match (secs < 0, nanos) {
        (true, 0) => ("-", secs.unsigned_abs(), 0),
        (true, nanos) => ("-", (secs + 1).unsigned_abs(), 1_000_000_000 - nanos),
        (false, nanos) => ("", secs.unsigned_abs(), nanos),
    };
    match nanos {
        0 => format!("{sign}{secs}"),
        nanos => format!("{sign}{secs}.{nanos:09}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entries, Limits};
    use super::super::path::LayerPath;
    use super::super::pax::Time;
    use super::*;

    fn file(path: &str, edit: impl Fn(&mut Entry)) -> Entry {
        let mut entry = Entry {
            sparse: None,
            path: LayerPath::parse(path.as_bytes()).unwrap(),
            kind: Kind::File { size: 3 },
            uid: 0,
            gid: 0,
            mode: 0o644,
            mtime: Time { secs: 1, nanos: 0 },
            xattrs: Vec::new(),
        };
        edit(&mut entry);
        entry
    }

    fn write(entries: &[Entry]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for entry in entries {
            writer.entry(entry, &b"abc"[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let long = |n: usize| format!("{}/{}", "d".repeat(n), "f".repeat(90));
        let entries = [
            file("a", |_| {}),
            file(&long(150), |_| {}),
            file(&long(200), |_| {}),
            file(&"x".repeat(101), |_| {}),
            file(&"y".repeat(100), |e| e.kind = Kind::Directory),
            file("ids", |e| (e.uid, e.gid) = (MAX_ID + 1, u32::MAX - 1)),
            file("old", |e| {
                e.mtime = Time {
                    secs: -2,
                    nanos: 500_000_000,
                }
            }),
            file("older", |e| e.mtime = Time { secs: -7, nanos: 0 }),
            file("late", |e| {
                e.mtime = Time {
                    secs: 1 << 40,
                    nanos: 1,
                }
            }),
            file("x", |e| {
                e.xattrs = vec![(b"user.x".to_vec(), b"\0=\n".to_vec())]
            }),
            file("l", |e| {
                e.kind = Kind::Symlink {
                    target: vec![b't'; 300],
                }
            }),
            file("h", |e| {
                e.kind = Kind::HardLink {
                    target: e.path.join(b"t"),
                }
            }),
            file("c", |e| e.kind = Kind::Character { major: 1, minor: 3 }),
            file("p", |e| e.kind = Kind::Fifo),
        ];
        let bytes = write(&entries);
        let mut reader = Entries::new(&bytes[..], Limits::default());
        for entry in &entries {
            assert_eq!(reader.next().unwrap().as_ref(), Some(entry));
        }
        assert_eq!(reader.next().unwrap(), None);
        let mut tar = tar::Archive::new(&bytes[..]);
        assert_eq!(tar.entries().unwrap().count(), entries.len());
    }

    #[test]
    fn a_plain_file_needs_no_pax_header() {
        let deep = format!("{}/{}", "d".repeat(150), "f".repeat(90));
        assert_eq!(write(&[file("a", |_| {})]).len(), 4 * BLOCK);
        assert_eq!(write(&[file(&deep, |_| {})]).len(), 4 * BLOCK);
        assert_eq!(write(&[file(&"x".repeat(101), |_| {})]).len(), 6 * BLOCK);
    }
}
