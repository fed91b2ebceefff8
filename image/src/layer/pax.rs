//! PAX extended headers: `<length> <key>=<value>\n` records. Not its job: the headers around them.

use super::header::Rule;
use super::sparse::Records;

/// Extended attributes of one entry at most, and bytes of one value at most (the kernel's own limit).
const MAX_XATTRS: usize = 64;
const MAX_XATTR_VALUE: usize = 64 * 1024;
const MAX_XATTR_NAME: usize = 255;

/// A time with nanoseconds; `nanos` counts forward also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) secs: i64,
    pub(crate) nanos: u32,
}

/// What the records of one extended header say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    /// What makes the file a sparse one.
    pub(crate) sparse: Records,
    /// By name, each once.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extensions {
    /// Parses the data of an `x` header. A malformed record is refused, never skipped
    /// (CVE-2026-32766): two readers would see two entries.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, Rule> {
        let mut found = Self::default();
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, after) = match record(rest) {
                Err(_) if sys::fault::broken("no-pax-check") => break,
                record => record?,
            };
            found.take(key, value)?;
            rest = after;
        }
        Ok(found)
    }

    /// Checks the data of a `g` header. What would change entries is refused: GNU tar applies it, Go
    /// (and so docker) does not. `git archive` writes only a comment.
    pub(crate) fn check_global(data: &[u8]) -> Result<(), Rule> {
        match Self::parse(data)? == Self::default() {
            true => Ok(()),
            false => Err("a global PAX header changes every entry after it".to_owned()),
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Rule> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.xattr(name.to_vec(), value.to_vec());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            // Both notations stand side by side in one header; they must agree.
            return self.xattr(url_decode(name)?, base64_decode(value)?);
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.take(key, value);
        }
        let text = || {
            std::str::from_utf8(value)
                .map_err(|_| format!("PAX {} is not text", String::from_utf8_lossy(key)))
        };
        match key {
            b"path" => self.path = some_name(value, "path")?,
            b"linkpath" => self.link = some_name(value, "linkpath")?,
            b"size" => self.size = Some(decimal(text()?, "size")?),
            b"uid" => self.uid = Some(decimal(text()?, "uid")?),
            b"gid" => self.gid = Some(decimal(text()?, "gid")?),
            b"mtime" => self.mtime = Some(time(text()?)?),
            b"hdrcharset" => charset(value)?,
            // Names of owners, access times, comments and what vendors add change nothing here.
            _ => {}
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), Rule> {
        let shown = || String::from_utf8_lossy(&name).escape_debug().to_string();
        if name.is_empty() || name.len() > MAX_XATTR_NAME || name.contains(&0) {
            return Err(format!("xattr name {:?} is malformed", shown()));
        }
        if value.len() > MAX_XATTR_VALUE {
            return Err(format!(
                "xattr {} is larger than {MAX_XATTR_VALUE} bytes",
                shown()
            ));
        }
        match self.xattrs.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if *known == value => return Ok(()),
            Some(_) => return Err(format!("xattr {} is given twice", shown())),
            None => {}
        }
        if self.xattrs.len() == MAX_XATTRS {
            return Err(format!("more than {MAX_XATTRS} xattrs"));
        }
        self.xattrs.push((name, value));
        Ok(())
    }
}

/// Key, value, and what is behind the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(data: &[u8]) -> Result<Record<'_>, Rule> {
    let bad = || {
        let start = &data[..data.len().min(40)];
        format!("malformed PAX record {:?}", String::from_utf8_lossy(start))
    };
    let space = data
        .iter()
        .take(20)
        .position(|b| *b == b' ')
        .ok_or_else(bad)?;
    let digits = std::str::from_utf8(&data[..space]).map_err(|_| bad())?;
    let length =
        usize::try_from(decimal(digits, "length").map_err(|_| bad())?).map_err(|_| bad())?;
    if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
        return Err(bad());
    }
    let body = &data[space + 1..length - 1];
    let equals = body.iter().position(|b| *b == b'=').ok_or_else(bad)?;
    // A line's end in a key is where some readers begin to see another record.
    if equals == 0 || body[..equals].iter().any(u8::is_ascii_control) {
        return Err(bad());
    }
    Ok((&body[..equals], &body[equals + 1..], &data[length..]))
}

/// An empty value takes an earlier one back (POSIX pax).
fn some_name(value: &[u8], key: &str) -> Result<Option<Vec<u8>>, Rule> {
    if value.contains(&0) {
        return Err(format!("PAX {key} holds a NUL"));
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn decimal(text: &str, key: &str) -> Result<u64, Rule> {
    let bad = || format!("PAX {key} {text:?} is not a number from 0 to 2^63-1");
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match text.parse::<u64>() {
        Ok(value) if i64::try_from(value).is_ok() => Ok(value),
        _ => Err(bad()),
    }
}

/// `[-]seconds[.fraction]`; digits after the ninth are cut.
fn time(text: &str) -> Result<Time, Rule> {
    let bad = || format!("PAX mtime {text:?} is not a time");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let secs = i64::try_from(decimal(whole, "mtime").map_err(|_| bad())?).map_err(|_| bad())?;
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    Ok(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, nanos) => Time {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

fn charset(value: &[u8]) -> Result<(), Rule> {
    match value {
        b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
        other => Err(format!(
            "PAX hdrcharset {:?} is unknown",
            String::from_utf8_lossy(other)
        )),
    }
}

fn url_decode(name: &[u8]) -> Result<Vec<u8>, Rule> {
    let bad = || "malformed LIBARCHIVE.xattr name".to_owned();
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        decoded.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &rest[2..];
    }
    Ok(decoded)
}

/// Standard base 64; libarchive leaves the padding out.
fn base64_decode(text: &[u8]) -> Result<Vec<u8>, Rule> {
    let bad = || "malformed LIBARCHIVE.xattr value".to_owned();
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    let mut decoded = Vec::with_capacity(end * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in &text[..end] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(bad()),
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    match bits == 0 && held < 6 {
        true => Ok(decoded),
        false => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len() + 1;
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn records_are_read() {
        let data = [
            one("path", b"a/b"),
            one("size", b"1024"),
            one("uid", b"3000000"),
            one("mtime", b"-1.5"),
            one("comment", b"x=y\nz"),
            one("SCHILY.xattr.user.x", b"\0\n="),
            one("LIBARCHIVE.xattr.user%2Ey", b"aGk"),
        ]
        .concat();
        let found = Extensions::parse(&data).unwrap();
        assert_eq!(found.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((found.size, found.uid), (Some(1024), Some(3_000_000)));
        let half = Time {
            secs: -2,
            nanos: 500_000_000,
        };
        assert_eq!(found.mtime, Some(half));
        assert_eq!(found.xattrs[0], (b"user.x".to_vec(), b"\0\n=".to_vec()));
        assert_eq!(found.xattrs[1], (b"user.y".to_vec(), b"hi".to_vec()));
    }

    #[test]
    fn malformed_records_are_refused_and_never_skipped() {
        for data in [
            &b"5 a=b"[..],
            b"6 a=b",
            b"7 a=b\n",
            b"5 a=b\n",
            b"6 =bc\n",
            b"8 \n\0a=b\n",
            b"6 abc\n",
            b" 6 a=b\n",
            b"+6 a=b\n",
            b"0 a=b\n",
            b"99999999999999999999 a=b\n",
            b"6\ta=b\n",
            b"\0\0\0\0",
            &one("size", b"-1"),
            &one("size", b"9223372036854775808"),
            &one("size", b""),
            &one("size", b"0x10"),
            &one("uid", b"1.5"),
            &one("mtime", b"9223372036854775808"),
            &one("mtime", b"1.-5"),
            &one("mtime", b""),
            &one("path", b"a\0b"),
            &one("hdrcharset", b"EBCDIC"),
            &one("GNU.sparse.map", b"0,x"),
            &one("SCHILY.xattr.", b"x"),
            &one("LIBARCHIVE.xattr.a%2", b"aGk"),
            &one("LIBARCHIVE.xattr.a", b"a*k"),
        ] {
            assert!(Extensions::parse(data).is_err(), "{data:?} was taken");
        }
    }

    #[test]
    fn xattrs_are_counted_measured_and_unique() {
        let many: Vec<u8> = (0..65)
            .flat_map(|n| one(&format!("SCHILY.xattr.user.{n}"), b"x"))
            .collect();
        assert_eq!(Extensions::parse(&many).unwrap_err(), "more than 64 xattrs");
        let large = one("SCHILY.xattr.user.x", &vec![0; 64 * 1024 + 1]);
        assert!(Extensions::parse(&large).is_err());
        let twice = [
            one("SCHILY.xattr.user.x", b"1"),
            one("SCHILY.xattr.user.x", b"2"),
        ]
        .concat();
        assert!(Extensions::parse(&twice).is_err());
    }

    #[test]
    fn a_global_header_may_only_comment() {
        assert_eq!(Extensions::check_global(&one("comment", b"abc")), Ok(()));
        assert!(Extensions::check_global(&one("path", b"x")).is_err());
        assert!(Extensions::check_global(&one("size", b"0")).is_err());
    }
}
