//! The ABIs that a profile can name: how the kernel tells them apart in a filter, and how their arguments lie in
//! memory. Not its job: their calls' numbers (calls).

use oci_spec::runtime::Arch;

use crate::calls::{self, NONE, Row};

/// x32's system calls are x86_64's with this bit.
pub const X32: u32 = 0x4000_0000;

/// ARM's own calls (set_tls, cacheflush) begin here, far from the shared ones.
const ARM_OWN: u32 = 0xf_0000;

/// How many bits of a register count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The lower half: what is in the upper one is no part of the argument.
    Bits32,
    /// All.
    Bits64,
}

/// Which half of an argument comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// The upper half.
    Big,
    /// The lower half.
    Little,
}

/// One ABI of one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// The spec's word for it.
    pub arch: Arch,
    /// The kernel's word: `struct seccomp_data.arch` (linux/audit.h).
    pub audit: u32,
    /// Its width.
    pub width: Width,
    /// Its order of bytes.
    pub endian: Endian,
    column: usize,
}

const fn abi(arch: Arch, audit: u32, column: usize) -> Abi {
    Abi {
        arch,
        audit,
        width: if audit & 0x8000_0000 == 0 {
            Width::Bits32
        } else {
            Width::Bits64
        },
        endian: if audit & 0x4000_0000 == 0 {
            Endian::Big
        } else {
            Endian::Little
        },
        column,
    }
}

/// x32 and MIPS' n32 have the 64-bit mark of the kernel; their arguments have 32 bits.
const fn narrow(arch: Arch, audit: u32, column: usize) -> Abi {
    Abi {
        width: Width::Bits32,
        ..abi(arch, audit, column)
    }
}

/// All of them, by the spec's list.
pub const ABIS: [Abi; 23] = [
    abi(Arch::ScmpArchX86_64, 0xc000_003e, calls::X86_64),
    abi(Arch::ScmpArchX86, 0x4000_0003, calls::X86),
    narrow(Arch::ScmpArchX32, 0xc000_003e, calls::X32),
    abi(Arch::ScmpArchArm, 0x4000_0028, calls::ARM),
    abi(Arch::ScmpArchAarch64, 0xc000_00b7, calls::AARCH64),
    abi(Arch::ScmpArchLoongarch64, 0xc000_0102, calls::LOONGARCH64),
    abi(Arch::ScmpArchM68k, 0x0000_0004, calls::M68K),
    abi(Arch::ScmpArchMips, 0x0000_0008, calls::MIPS),
    abi(Arch::ScmpArchMips64, 0x8000_0008, calls::MIPS64),
    narrow(Arch::ScmpArchMips64n32, 0xa000_0008, calls::MIPS64N32),
    abi(Arch::ScmpArchMipsel, 0x4000_0008, calls::MIPS),
    abi(Arch::ScmpArchMipsel64, 0xc000_0008, calls::MIPS64),
    narrow(Arch::ScmpArchMipsel64n32, 0xe000_0008, calls::MIPS64N32),
    abi(Arch::ScmpArchParisc, 0x0000_000f, calls::PARISC),
    abi(Arch::ScmpArchParisc64, 0x8000_000f, calls::PARISC64),
    abi(Arch::ScmpArchPpc, 0x0000_0014, calls::PPC),
    abi(Arch::ScmpArchPpc64, 0x8000_0015, calls::PPC64),
    abi(Arch::ScmpArchPpc64le, 0xc000_0015, calls::PPC64),
    abi(Arch::ScmpArchRiscv64, 0xc000_00f3, calls::RISCV64),
    abi(Arch::ScmpArchS390, 0x0000_0016, calls::S390),
    abi(Arch::ScmpArchS390x, 0x8000_0016, calls::S390X),
    abi(Arch::ScmpArchSh, 0x4000_002a, calls::SH),
    abi(Arch::ScmpArchSheb, 0x0000_002a, calls::SH),
];

impl Abi {
    /// The ABI of `arch`; SCMP_ARCH_NATIVE is the one that this program was built for.
    pub fn of(arch: Arch) -> &'static Self {
        let found = ABIS.iter().find(|abi| abi.arch == arch);
        found.unwrap_or_else(|| Self::native())
    }

    /// The ABI that this program was built for.
    pub fn native() -> &'static Self {
        let arch = if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
            Arch::ScmpArchX32
        } else if cfg!(target_arch = "x86_64") {
            Arch::ScmpArchX86_64
        } else if cfg!(target_arch = "x86") {
            Arch::ScmpArchX86
        } else if cfg!(target_arch = "aarch64") {
            Arch::ScmpArchAarch64
        } else if cfg!(target_arch = "arm") {
            Arch::ScmpArchArm
        } else if cfg!(target_arch = "riscv64") {
            Arch::ScmpArchRiscv64
        } else if cfg!(target_arch = "loongarch64") {
            Arch::ScmpArchLoongarch64
        } else if cfg!(target_arch = "s390x") {
            Arch::ScmpArchS390x
        } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
            Arch::ScmpArchPpc64le
        } else if cfg!(target_arch = "powerpc64") {
            Arch::ScmpArchPpc64
        } else {
            const { unsupported() }
        };
        ABIS.iter().find(|abi| abi.arch == arch).unwrap_or(&ABIS[0])
    }

    /// The number by which a filter sees the call of this row.
    pub(crate) fn number(&self, row: &Row) -> Option<u32> {
        let number = row.get(self.column).copied().filter(|n| *n != NONE)?;
        Some(number | self.first_bit())
    }

    fn first_bit(&self) -> u32 {
        if self.is_x32() { X32 } else { 0 }
    }

    /// Whether its calls lie in the upper half of another ABI's numbers.
    pub(crate) fn is_x32(&self) -> bool {
        self.arch == Arch::ScmpArchX32
    }

    /// The first number that can be a call of this ABI.
    pub fn first(&self) -> u32 {
        match self.column {
            calls::X32 => X32,
            calls::MIPS => 4000,
            calls::MIPS64 => 5000,
            calls::MIPS64N32 => 6000,
            _ => 0,
        }
    }

    /// The stretches of numbers in which calls are counted up, each as first and last.
    pub(crate) fn spaces(&self) -> &'static [(u32, u32)] {
        match self.column {
            calls::X86_64 => &[(0, X32 - 1)],
            calls::X32 => &[(X32, u32::MAX)],
            calls::ARM => &[(0, ARM_OWN - 1), (ARM_OWN, u32::MAX)],
            _ => &[(0, u32::MAX)],
        }
    }

    /// s390's kernel leaves number 0 in place of one above 255 that it does not know; nothing else uses it.
    pub(crate) fn shows_unknown_as_zero(&self) -> bool {
        matches!(self.column, calls::S390 | calls::S390X)
    }

    /// Whether it has ARM's own calls.
    #[cfg(test)]
    pub(crate) fn column_is_arm(&self) -> bool {
        self.column == calls::ARM
    }

    /// libseccomp's word for it, where the installed release knows it.
    #[cfg(test)]
    pub(crate) fn oracle(&self) -> Option<libseccomp::ScmpArch> {
        use libseccomp::ScmpArch as S;
        Some(match self.arch {
            Arch::ScmpArchX86_64 => S::X8664,
            Arch::ScmpArchX86 => S::X86,
            Arch::ScmpArchX32 => S::X32,
            Arch::ScmpArchArm => S::Arm,
            Arch::ScmpArchAarch64 => S::Aarch64,
            Arch::ScmpArchMips => S::Mips,
            Arch::ScmpArchMips64 => S::Mips64,
            Arch::ScmpArchMips64n32 => S::Mips64N32,
            Arch::ScmpArchMipsel => S::Mipsel,
            Arch::ScmpArchMipsel64 => S::Mipsel64,
            Arch::ScmpArchMipsel64n32 => S::Mipsel64N32,
            Arch::ScmpArchParisc => S::Parisc,
            Arch::ScmpArchParisc64 => S::Parisc64,
            Arch::ScmpArchPpc => S::Ppc,
            Arch::ScmpArchPpc64 => S::Ppc64,
            Arch::ScmpArchPpc64le => S::Ppc64Le,
            Arch::ScmpArchRiscv64 => S::Riscv64,
            Arch::ScmpArchS390 => S::S390,
            Arch::ScmpArchS390x => S::S390X,
            _ => return None,
        })
    }
}

/// Ends the build where no filter could be made.
const fn unsupported() -> Arch {
    if cfg!(not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "s390x",
        target_arch = "powerpc64"
    ))) {
        panic!("seccomp/src/abi.rs has no native ABI for this target");
    }
    Arch::ScmpArchNative
}
