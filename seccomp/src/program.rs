//! A compiled filter. Not its job: its loading (sys), its making (compile).

/// The most instructions that the kernel takes (BPF_MAXINSNS).
pub const LONGEST: usize = 4096;

/// One instruction of classic BPF (struct sock_filter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many to skip if it holds.
    pub yes: u8,
    /// And if it does not.
    pub no: u8,
    /// Its operand.
    pub k: u32,
}

/// A filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// At least one and at most [`LONGEST`].
    pub instructions: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u64,
}

impl Program {
    /// The program as the kernel reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * self.instructions.len());
        for i in &self.instructions {
            bytes.extend(i.code.to_ne_bytes());
            bytes.extend([i.yes, i.no]);
            bytes.extend(i.k.to_ne_bytes());
        }
        bytes
    }
}
