//! What stands before an entry and speaks of it: long names, extended headers. Not its job: what records mean
//! (`pax.rs`), and the entry itself.

use std::io::Read;

use super::super::header::{BLOCK, Header};
use super::super::pax::Extensions;
use super::{Entries, Skip};
use crate::Result;

/// Bytes of one extended header or long name at most (CVE-2025-58183 and its like).
const MAX_EXTENSION: u64 = 1 << 20;

/// What precedes an entry: long names and PAX records.
#[derive(Default, PartialEq)]
pub(super) struct Ahead {
    pub(super) gnu_path: Option<Vec<u8>>,
    pub(super) gnu_link: Option<Vec<u8>>,
    pub(super) pax: Option<Extensions>,
}

impl<R: Skip> Entries<R> {
    /// Takes a header that only says something about the next one; `false` if it is an entry itself.
    pub(super) fn extension(&mut self, header: &Header<'_>, ahead: &mut Ahead) -> Result<bool> {
        let slot = match header.flag() {
            b'L' => &mut ahead.gnu_path,
            b'K' => &mut ahead.gnu_link,
            b'x' if ahead.pax.is_some() => {
                return Err(self.refuse("two extended headers before one entry"));
            }
            b'x' => {
                let data = self.extension_data(header)?;
                let parsed = Extensions::parse(&data).map_err(|rule| self.refuse(rule))?;
                ahead.pax = Some(parsed);
                return Ok(true);
            }
            b'g' => {
                let data = self.extension_data(header)?;
                Extensions::check_global(&data).map_err(|rule| self.refuse(rule))?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        if slot.is_some() {
            return Err(self.refuse("two long names before one entry"));
        }
        let mut name = self.extension_data(header)?;
        // The name ends at the first NUL; GNU tar counts that in the size.
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        if name[end..].iter().any(|b| *b != 0) {
            return Err(self.refuse("a long name holds a NUL"));
        }
        name.truncate(end);
        *slot = Some(name);
        Ok(true)
    }

    fn extension_data(&mut self, header: &Header<'_>) -> Result<Vec<u8>> {
        let size = header.size().map_err(|rule| self.refuse(rule))?;
        if size > MAX_EXTENSION && !sys::fault::broken("no-header-limit") {
            return Err(self.refuse(format!(
                "an extended header of {size} bytes, more than {MAX_EXTENSION}"
            )));
        }
        self.expect_data(size)?;
        // At most MAX_EXTENSION.
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut data).map_err(|e| self.failed(&e))?;
        self.empty_padding()?;
        Ok(data)
    }

    /// Some readers take whole blocks of names and records: bytes behind the end would be more of them.
    fn empty_padding(&mut self) -> Result<()> {
        let mut rest = [0; BLOCK];
        self.data_left = std::mem::take(&mut self.padding);
        // Less than a block.
        let rest = &mut rest[..usize::try_from(self.data_left).unwrap_or(0)];
        self.read_exact(rest).map_err(|e| self.failed(&e))?;
        match rest.iter().all(|b| *b == 0) || sys::fault::broken("no-padding-check") {
            true => Ok(()),
            false => Err(self.refuse("bytes behind an extended header's end")),
        }
    }
}
