//! Whether this machine runs programs of another architecture: by itself, or by an interpreter that is registered in
//! binfmt_misc. Not its job: which architecture a stage has (`plan`).

use std::path::Path;

use crate::diagnostic::Fault;
use crate::plan::{Action, Plan};
use crate::platform::Platform;

/// Where the kernel lists what is registered.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// A larger entry is none.
const LARGEST: u64 = 64 << 10;

/// An interpreter that takes programs by their first bytes.
#[derive(Debug, PartialEq, Eq)]
struct Interpreter {
    path: String,
    /// It was opened when it was registered (flag F); else it is looked for in the container.
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

/// The first RUN of a stage whose programs this machine can't run, with the reason.
pub(crate) fn refusal(plan: &Plan) -> Option<Fault> {
    for stage in &plan.stages {
        // Its base's own word counts; what stands on nothing is for what the build is for.
        let said = stage
            .made_for
            .as_deref()
            .and_then(|text| Platform::parse(text).ok());
        let Some(platform) = said.or_else(|| stage.platform.clone()) else {
            continue;
        };
        let run = stage
            .steps
            .iter()
            .find(|step| matches!(step.action, Action::Run(_)));
        let Some(run) = run else {
            continue;
        };
        if let Err(why) = runs(&platform, &Platform::here(), &registered) {
            return Some(Fault::new(run.span, format!("RUN needs {platform}: {why}")));
        }
    }
    None
}

/// Whether a machine that is `here` runs programs of `platform`. What is registered is asked for only if that matters.
fn runs(
    platform: &Platform,
    here: &Platform,
    registered: &dyn Fn() -> Vec<Interpreter>,
) -> Result<(), String> {
    let name = platform.architecture.as_str();
    let same = name == here.architecture;
    // The kernel runs the older sibling itself.
    let sibling = matches!(
        (here.architecture.as_str(), name),
        ("amd64", "386") | ("arm64", "arm")
    );
    if platform.os == here.os && (same || sibling) {
        return Ok(());
    }
    let header = header(name).filter(|_| platform.os == "linux");
    let Some(header) = header else {
        return Err(format!("this machine is {here}"));
    };
    let registered = registered();
    let takes: Vec<_> = registered.iter().filter(|one| one.takes(&header)).collect();
    match (takes.iter().any(|one| one.fixed), takes.first()) {
        (true, _) => Ok(()),
        (false, Some(one)) => Err(format!(
            "this machine is {here}, and {}, which is registered in {REGISTERED}, would be looked for in the image: it \
             must be registered with flag F",
            one.path
        )),
        (false, None) => Err(format!(
            "this machine is {here}, and no interpreter for it is registered in {REGISTERED}"
        )),
    }
}

/// The beginning of a program of an architecture: an ELF header, up to the version.
fn header(architecture: &str) -> Option<[u8; 24]> {
    const LITTLE: u8 = 1;
    const BIG: u8 = 2;
    let (class, order, machine): (u8, u8, u16) = match architecture {
        "386" => (1, LITTLE, 3),
        "amd64" => (2, LITTLE, 62),
        "arm" => (1, LITTLE, 40),
        "arm64" => (2, LITTLE, 183),
        "loong64" => (2, LITTLE, 258),
        "mips" => (1, BIG, 8),
        "mipsle" => (1, LITTLE, 8),
        "mips64" => (2, BIG, 8),
        "mips64le" => (2, LITTLE, 8),
        "ppc64" => (2, BIG, 21),
        "ppc64le" => (2, LITTLE, 21),
        "riscv64" => (2, LITTLE, 243),
        "s390x" => (2, BIG, 22),
        _ => return None,
    };
    let mut bytes = [0; 24];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    let two = |number: u16| match order {
        LITTLE => number.to_le_bytes(),
        _ => number.to_be_bytes(),
    };
    // A program that is loaded anywhere, as most are.
    bytes[16..18].copy_from_slice(&two(3));
    bytes[18..20].copy_from_slice(&two(machine));
    bytes[if order == LITTLE { 20 } else { 23 }] = 1;
    Some(bytes)
}

impl Interpreter {
    /// Reads what the kernel says of one; `None` if it is off, or goes by a file's name.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut found = Self {
            path: String::new(),
            fixed: false,
            offset: 0,
            magic: Vec::new(),
            mask: Vec::new(),
        };
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "interpreter" => value.clone_into(&mut found.path),
                "flags:" => found.fixed = value.contains('F'),
                "offset" => found.offset = value.parse().ok()?,
                "magic" => found.magic = bytes(value)?,
                "mask" => found.mask = bytes(value)?,
                _ => {}
            }
        }
        (!found.magic.is_empty()).then_some(found)
    }

    fn takes(&self, header: &[u8]) -> bool {
        let here = header.get(self.offset..).unwrap_or_default();
        here.len() >= self.magic.len()
            && self
                .magic
                .iter()
                .zip(here)
                .enumerate()
                .all(|(at, (magic, byte))| {
                    let mask = self.mask.get(at).copied().unwrap_or(0xff);
                    (magic ^ byte) & mask == 0
                })
    }
}

/// Bytes in hex.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

/// What is registered; nothing where the kernel has no such list.
fn registered() -> Vec<Interpreter> {
    let folder = Path::new(REGISTERED);
    let names = sys::file::open_dir(folder).and_then(sys::file::list);
    let texts = names
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, _)| {
            let bytes = sys::file::read(folder.join(name), LARGEST).ok()?;
            String::from_utf8(bytes).ok()
        });
    texts.filter_map(|text| Interpreter::parse(&text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's package registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn here() -> Platform {
        Platform::parse("linux/amd64").unwrap()
    }

    fn asked(platform: &str, texts: &[&str]) -> Result<(), String> {
        let list = || {
            texts
                .iter()
                .filter_map(|text| Interpreter::parse(text))
                .collect()
        };
        runs(&Platform::parse(platform).unwrap(), &here(), &list)
    }

    #[test]
    fn an_interpreter_takes_its_own_architecture_alone() {
        assert_eq!(asked("linux/arm64", &[ARM64]), Ok(()));
        assert_eq!(asked("linux/amd64", &[]), Ok(()));
        assert_eq!(asked("linux/386", &[]), Ok(()));
        for other in ["linux/arm", "linux/s390x", "linux/riscv64", "windows/arm64"] {
            assert!(asked(other, &[ARM64]).is_err(), "{other}");
        }
        let why = asked("linux/s390x", &[]).unwrap_err();
        assert_eq!(
            why,
            "this machine is linux/amd64, and no interpreter for it is registered in /proc/sys/fs/binfmt_misc"
        );
    }

    #[test]
    fn an_interpreter_must_be_on_and_open_already() {
        let off = ARM64.replace("enabled", "disabled");
        assert!(asked("linux/arm64", &[&off]).is_err());
        let loose = ARM64.replace("POCF", "POC");
        let why = asked("linux/arm64", &[&loose]).unwrap_err();
        assert!(why.contains("must be registered with flag F"), "{why}");
        assert_eq!(asked("linux/arm64", &[&loose, ARM64]), Ok(()));
        assert_eq!(
            Interpreter::parse("enabled\ninterpreter /x\nextension .jar\n"),
            None
        );
    }

    #[test]
    fn the_header_is_in_the_machines_own_order() {
        let big = header("s390x").unwrap();
        assert_eq!((big[5], big[18], big[19], big[23]), (2, 0, 22, 1));
        let little = header("arm64").unwrap();
        assert_eq!(
            (little[5], little[18], little[19], little[20]),
            (1, 183, 0, 1)
        );
    }
}
