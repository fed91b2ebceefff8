//! The image that this process runs from, changed without an exec: its segments are mapped anew from the
//! same file behind another mount, then the kernel is told that this is its executable (prctl(2),
//! PR_SET_MM_MAP: made for checkpoint/restore). An exec would cost ten times as much, most of it in the
//! start-up code of libc. Not its job: which mount that is (the runtime's self_image).

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd};

use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use crate::process::last_errno;
use crate::{Errno, Result, SysError};

/// Pages of every architecture are a multiple of this that divides its own size.
fn page_size() -> usize {
    rustix::param::page_size()
}

/// One run of whole pages of our executable in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// The first byte's address.
    start: usize,
    /// Whole pages.
    length: usize,
    /// Its place in the file.
    offset: u64,
    protection: Protection,
}

/// What may be done with a piece's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// As in the file: constants, or code.
    Constant { code: bool },
    /// Changed since it was read from the file.
    Changed,
    /// Changed while the program was being linked, constant since (RELRO).
    Settled,
}

/// Makes this process one that runs from `image`: a descriptor, open for reading, of the very file that it
/// runs from already, reached through another mount. `/proc/self/exe` and all mappings then lead through
/// that mount. On an error the process still runs as before.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE over our user namespace; EINVAL on kernels without
/// checkpoint/restore; as mmap(2) and mremap(2).
pub fn run_from(image: impl AsFd) -> Result<()> {
    let fail = |call| move |errno| SysError::new(call, "/proc/self/exe", errno);
    if crate::fault::broken("no-mm-map") {
        return Err(fail("prctl")(Errno::INVAL));
    }
    let layout = Layout::now()?;
    for piece in pieces()? {
        match piece.protection {
            Protection::Constant { code } => {
                map_again(&image, &piece, code).map_err(fail("mmap"))?
            }
            Protection::Changed | Protection::Settled => {
                copy_over(&piece).map_err(fail("mremap"))?;
            }
        }
    }
    layout.tell(&image).map_err(fail("prctl"))
}

/// The pieces that come from our file, by its own program headers.
fn pieces() -> Result<Vec<Piece>> {
    let headers = program_headers()?;
    // Where the table is, against where the file says that it is: what a loader has added.
    let moved = headers
        .iter()
        .find(|header| header.p_type == libc::PT_PHDR)
        .map_or(0, |header| {
            headers.as_ptr() as usize - address(header.p_vaddr)
        });
    let relro = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_RELRO)
        .map_or(0..0, |header| {
            let start = address(header.p_vaddr) + moved;
            start..start + address(header.p_memsz)
        });
    let mut pieces = Vec::new();
    for header in headers
        .iter()
        .filter(|h| h.p_type == libc::PT_LOAD && h.p_filesz > 0)
    {
        pieces.extend(segment(header, moved, relro.end));
    }
    Ok(pieces)
}

fn address(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A segment's one or two pieces: what is settled after linking, and the rest.
fn segment(header: &libc::Elf64_Phdr, moved: usize, relro_end: usize) -> Vec<Piece> {
    let page = page_size();
    let begin = address(header.p_vaddr) + moved;
    let start = begin & !(page - 1);
    let end = (begin + address(header.p_filesz)).next_multiple_of(page);
    let offset = header.p_offset - (begin - start) as u64;
    let code = header.p_flags & libc::PF_X != 0;
    if header.p_flags & libc::PF_W == 0 {
        let protection = Protection::Constant { code };
        return vec![Piece {
            start,
            length: end - start,
            offset,
            protection,
        }];
    }
    let border = (relro_end & !(page - 1)).clamp(start, end);
    let parts = [
        (start, border, Protection::Settled),
        (border, end, Protection::Changed),
    ];
    let parts = parts.into_iter().filter(|(from, to, _)| from < to);
    parts
        .map(|(from, to, protection)| Piece {
            start: from,
            length: to - from,
            offset: offset + (from - start) as u64,
            protection,
        })
        .collect()
}

/// Our program headers, as they lie in memory.
fn program_headers() -> Result<&'static [libc::Elf64_Phdr]> {
    // SAFETY: getauxval(3) only reads what the kernel left for us.
    let [table, size, count] =
        unsafe { [libc::AT_PHDR, libc::AT_PHENT, libc::AT_PHNUM].map(|key| libc::getauxval(key)) };
    let (size, count) = (address(size), address(count));
    if table == 0 || size != size_of::<libc::Elf64_Phdr>() {
        return Err(SysError::new("getauxval", "AT_PHDR", Errno::NOEXEC));
    }
    // SAFETY: the kernel gave us the table's address and number; it is mapped for the process' life.
    Ok(unsafe { std::slice::from_raw_parts(table as *const libc::Elf64_Phdr, count) })
}

/// Maps constants again: the same bytes of the same file, so nothing that runs notices.
fn map_again(image: impl AsFd, piece: &Piece, code: bool) -> std::result::Result<(), Errno> {
    let mut protection = ProtFlags::READ;
    protection.set(ProtFlags::EXEC, code);
    // SAFETY: `run_from` is given the file that these pages come from; they were never written to, and the
    // kernel replaces the mapping as one act.
    unsafe {
        rustix::mm::mmap(
            piece.start as *mut c_void,
            piece.length,
            protection,
            MapFlags::PRIVATE | MapFlags::FIXED,
            image.as_fd(),
            piece.offset,
        )
    }
    .map(drop)
}

/// Moves a copy over what has been changed since it was read: no file stands behind it any more.
fn copy_over(piece: &Piece) -> std::result::Result<(), Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
    // SAFETY: new pages that nobody has.
    let copy = unsafe {
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), piece.length, protection, flags)?
    };
    // SAFETY: both are mapped over the whole length, and the copy was made just now, so they do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(piece.start as *const u8, copy.cast::<u8>(), piece.length);
    }
    if piece.protection == Protection::Settled {
        // SAFETY: the copy is ours, and nobody writes to it any more.
        unsafe { rustix::mm::mprotect(copy, piece.length, MprotectFlags::READ)? };
    }
    // SAFETY: the same bytes come to stand at the same place, as one act. Nothing has written to the
    // original since the copy: this process has one thread (its caller's word), and no call in between
    // touches a variable.
    unsafe {
        rustix::mm::mremap_fixed(
            copy,
            piece.length,
            piece.length,
            MremapFlags::MAYMOVE,
            piece.start as *mut c_void,
        )
    }
    .map(drop)
}

/// `struct prctl_mm_map` (linux/prctl.h): what the kernel knows of our memory's layout.
#[repr(C)]
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl Layout {
    /// As it is: /proc/self/stat says all but the heap's end.
    fn now() -> Result<Self> {
        let stat = crate::proc::read("self/stat")?;
        Self::parse(&stat).ok_or_else(|| SysError::new("read", "/proc/self/stat", Errno::BADMSG))
    }

    /// proc(5): the fields are counted from 1, the third stands after the name's parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            start_code: field(26)?,
            end_code: field(27)?,
            start_stack: field(28)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            ..Self::default()
        })
    }

    /// Tells the kernel the same layout, with `image` as its executable.
    fn tell(mut self, image: impl AsFd) -> std::result::Result<(), Errno> {
        self.exe_fd = image.as_fd().as_raw_fd().cast_unsigned();
        // Asked now: what was allocated since the rest was read may have moved it.
        // SAFETY: brk(2) of 0 asks; it changes nothing.
        self.brk = unsafe { libc::syscall(libc::SYS_brk, 0) }.cast_unsigned();
        // SAFETY: the kernel reads the structure and checks all that it is told.
        let result = unsafe {
            libc::prctl(
                libc::PR_SET_MM,
                libc::PR_SET_MM_MAP,
                &raw const self,
                size_of::<Self>(),
                0,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_a_parenthesis_does_not_shift_the_fields() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b) R {}\n", numbers.join(" "));
        let layout = Layout::parse(&stat).unwrap();
        assert_eq!((layout.start_code, layout.env_end), (26, 51));
    }

    #[test]
    fn a_writable_segment_is_split_where_its_settled_part_ends() {
        // SAFETY: zeros are a valid header.
        let mut header: libc::Elf64_Phdr = unsafe { std::mem::zeroed() };
        header.p_flags = libc::PF_W | libc::PF_R;
        (header.p_vaddr, header.p_offset, header.p_filesz) = (0x40_1100, 0x1100, 0x3000);
        let pieces = segment(&header, 0, 0x40_3000);
        let found: Vec<_> = pieces
            .iter()
            .map(|p| (p.start, p.length, p.offset, p.protection))
            .collect();
        assert_eq!(
            found,
            [
                (0x40_1000, 0x2000, 0x1000, Protection::Settled),
                (0x40_3000, 0x2000, 0x3000, Protection::Changed),
            ]
        );
    }
}
