//! A tar → its entries, as ours, Python's tarfile, GNU tar and libarchive read them: the same, or ours refuses. A reader that
//! refuses what ours takes says nothing: each minds fields that have no meaning where they stand.
#![no_main]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use image::fuzz::Listed;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// Files larger than this are nobody's concern here.
const MOST: u64 = 1 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 4 {
        0 => {
            let size = fuzzer_mutate(data, size, max_size);
            mutate::checked(data, size)
        }
        _ => mutate::tar(data, size, max_size, seed),
    }
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(ours) = image::fuzz::entries(bytes, MOST) else {
        return;
    };
    for entry in &ours {
        let mut names = entry.path.split(|b| *b == b'/');
        assert!(entry.path.is_empty() || names.all(|name| !matches!(name, b"" | b"." | b"..")));
    }
    if bytes.iter().all(|b| *b == 0) {
        return;
    }
    static ORACLES: OnceLock<Vec<Mutex<Oracle>>> = OnceLock::new();
    let oracles = ORACLES.get_or_init(|| {
        [
            Oracle::python("tarfile"),
            Oracle::python("gnutar"),
            Oracle::libarchive(),
        ]
        .into_iter()
        .flatten()
        .map(Mutex::new)
        .collect()
    });
    for oracle in oracles {
        let mut oracle = oracle.lock().expect("nobody else has it");
        let theirs = oracle.ask(bytes);
        if !theirs.starts_with('!') {
            oracle.compare(&ours, &theirs);
        }
    }
});

/// Another reader, asked through pipes.
struct Oracle {
    name: &'static str,
    child: Child,
}

impl Oracle {
    fn python(reader: &'static str) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/oracle.py");
        Self::start(reader, Command::new("python3").args([script, reader]))
    }

    /// `run` builds it where the library is installed.
    fn libarchive() -> Option<Self> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/oracle");
        Self::start("libarchive", &mut Command::new(program))
    }

    fn start(name: &'static str, command: &mut Command) -> Option<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        if child.is_err() {
            eprintln!("{name} is not here");
        }
        Some(Self {
            name,
            child: child.ok()?,
        })
    }

    fn ask(&mut self, bytes: &[u8]) -> String {
        let length = u32::try_from(bytes.len())
            .expect("it is small")
            .to_le_bytes();
        let input = self.child.stdin.as_mut().expect("it is piped");
        input
            .write_all(&[&length, bytes].concat())
            .expect("the oracle lives");
        input.flush().expect("the oracle lives");
        let output = self.child.stdout.as_mut().expect("it is piped");
        let mut length = [0; 4];
        output.read_exact(&mut length).expect("the oracle lives");
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        output.read_exact(&mut answer).expect("the oracle lives");
        String::from_utf8(answer).expect("it says words")
    }

    /// tarfile's times have 53 bits; libarchive takes the fraction of one before 1970 to count forward, GNU tar shows it so.
    fn differs_in_times(&self, entry: &Listed) -> bool {
        let (secs, nanos) = entry.mtime;
        match self.name {
            "tarfile" => secs.unsigned_abs() >= 1 << 31,
            _ => secs < 0 && nanos != 0,
        }
    }

    fn compare(&self, ours: &[Listed], theirs: &str) {
        let theirs: Vec<Words> = theirs
            .lines()
            .map(|line| Words::of(line, self.name))
            .collect();
        assert_eq!(
            ours.len(),
            theirs.len(),
            "entries of {}: {theirs:?}",
            self.name
        );
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let entry = ours;
            let mut ours = Words::ours(entry, self.name);
            // What GNU tar's own headers have in the place of a prefix (times), tarfile puts before the name.
            let before = theirs.path.strip_suffix(&ours.path[..]);
            let prefixed = |before: &[u8]| ours.path.is_empty() || before.ends_with(b"/");
            if self.name == "tarfile" && before.is_some_and(prefixed) {
                ours.path.clone_from(&theirs.path);
            }
            if self.differs_in_times(entry) {
                ours.mtime.clone_from(&theirs.mtime);
            }
            assert_eq!(ours, *theirs, "ours and {}'s", self.name);
        }
    }
}

/// An entry as all say it.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    kind: String,
    path: Vec<u8>,
    size: String,
    link: Vec<u8>,
    device: String,
    mode: String,
    uid: String,
    gid: String,
    mtime: String,
    content: String,
}

impl Words {
    fn of(line: &str, oracle: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            kind,
            path,
            size,
            link,
            device,
            mode,
            uid,
            gid,
            mtime,
            content,
        ] = words[..]
        else {
            panic!("{oracle} says {line:?}");
        };
        let link = bytes(link);
        Self {
            kind: kind.to_owned(),
            path: clean(&bytes(path)),
            size: size.to_owned(),
            link: if kind == "h" { clean(&link) } else { link },
            device: device.to_owned(),
            mode: mode.to_owned(),
            uid: uid.to_owned(),
            gid: gid.to_owned(),
            mtime: mtime.to_owned(),
            content: content.to_owned(),
        }
    }

    fn ours(entry: &Listed, oracle: &str) -> Self {
        let content = match (&entry.content, oracle) {
            (None, _) => "-".to_owned(),
            (Some(content), "libarchive") => format!("{:016x}", sum(content)),
            (Some(content), _) => image::Digest::of(content).hex(),
        };
        let mtime = match oracle {
            "libarchive" => format!("{}.{:09}", entry.mtime.0, entry.mtime.1),
            _ => entry.mtime.0.to_string(),
        };
        Self {
            kind: entry.kind.to_string(),
            path: entry.path.clone(),
            size: entry.size.to_string(),
            link: entry.link.clone(),
            device: format!("{},{}", entry.device.0, entry.device.1),
            mode: format!("{:o}", entry.mode),
            uid: entry.uid.to_string(),
            gid: entry.gid.to_string(),
            mtime,
            content,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.strip_prefix('-').map_or(hex, |_| "").as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16);
    digits
        .chunks(2)
        .map(|two| pair(two).expect("hex"))
        .collect()
}

fn clean(path: &[u8]) -> Vec<u8> {
    let names = path
        .split(|b| *b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    names.collect::<Vec<_>>().join(&b'/')
}

/// FNV-1a, as `oracle.c` computes it.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
