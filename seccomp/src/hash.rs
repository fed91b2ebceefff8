//! Where the search for a name begins. Used at build time too, which lays the table out by it (build.rs). Not its job:
//! the table.

/// How many places the table has: a power of two, and several times the calls.
pub(crate) const PLACES: usize = 2048;

/// A place where nothing is.
pub(crate) const EMPTY: u16 = u16::MAX;

/// The place at which `name` is looked for first (FNV-1a); then come those after it, in a circle.
pub(crate) fn place(name: &str) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in name.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 16)) as usize % PLACES
}
