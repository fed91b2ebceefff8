//! Who needs which piece of a store, and what goes when somebody is given up. Pure. Not its job: finding
//! out, and removing.

use std::collections::BTreeMap;

use super::references::References;
use crate::Digest;

/// A blob or a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Blob(Digest),
    Layer(String),
}

/// How many need a piece, and how long it is.
#[derive(Debug, Clone, Copy)]
struct Line {
    needed_by: usize,
    length: u64,
}

/// All pieces of a store.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: BTreeMap<Piece, Line>,
}

impl Ledger {
    /// A piece of the store, which nobody is known to need yet.
    pub(super) fn enter(&mut self, piece: Piece, length: u64) {
        let line = Line {
            needed_by: 0,
            length,
        };
        self.lines.insert(piece, line);
    }

    /// One more needs these. What the store lacks is passed over.
    pub(super) fn need(&mut self, needs: &References) {
        for piece in pieces(needs) {
            if let Some(line) = self.lines.get_mut(&piece) {
                line.needed_by += 1;
            }
        }
    }

    /// One more needs whatever there is.
    pub(super) fn need_all(&mut self) {
        self.lines.values_mut().for_each(|line| line.needed_by += 1);
    }

    /// One who needed these does no more.
    pub(super) fn give_up(&mut self, needs: &References) {
        for piece in pieces(needs) {
            if let Some(line) = self.lines.get_mut(&piece) {
                line.needed_by = line.needed_by.saturating_sub(1);
            }
        }
    }

    /// Bytes of what somebody needs.
    pub(super) fn needed(&self) -> u64 {
        let needed = self.lines.values().filter(|line| line.needed_by > 0);
        needed.map(|line| line.length).sum()
    }

    /// What nobody needs, and its bytes.
    pub(super) fn unneeded(&self) -> (References, u64) {
        let mut gone = References::default();
        let mut bytes = 0;
        for (piece, line) in self.lines.iter().filter(|(_, line)| line.needed_by == 0) {
            bytes += line.length;
            match piece {
                Piece::Blob(digest) => drop(gone.blobs.insert(*digest)),
                Piece::Layer(key) => drop(gone.layers.insert(key.clone())),
            }
        }
        (gone, bytes)
    }
}

fn pieces(needs: &References) -> impl Iterator<Item = Piece> {
    let layers = needs.layers.iter().cloned().map(Piece::Layer);
    needs.blobs.iter().copied().map(Piece::Blob).chain(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(blobs: &[&str], layers: &[&str]) -> References {
        References {
            blobs: blobs.iter().map(|b| Digest::of(b.as_bytes())).collect(),
            layers: layers.iter().map(|&l| l.to_owned()).collect(),
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for (n, blob) in (0..).zip(["a", "b", "c"]) {
            ledger.enter(Piece::Blob(Digest::of(blob.as_bytes())), 1 << n);
        }
        ledger.enter(Piece::Layer("x".to_owned()), 8);
        ledger
    }

    #[test]
    fn a_piece_of_two_goes_with_the_second() {
        let mut ledger = ledger();
        let (one, two) = (needs(&["a", "b"], &["x"]), needs(&["b", "c"], &["x"]));
        ledger.need(&one);
        ledger.need(&two);
        assert_eq!((ledger.needed(), ledger.unneeded().1), (15, 0));
        ledger.give_up(&one);
        assert_eq!(ledger.unneeded(), (needs(&["a"], &[]), 1));
        ledger.give_up(&two);
        assert_eq!(ledger.unneeded(), (needs(&["a", "b", "c"], &["x"]), 15));
    }

    #[test]
    fn what_the_store_lacks_is_neither_needed_nor_given_up() {
        let mut ledger = ledger();
        ledger.need(&needs(&["d"], &["y"]));
        ledger.give_up(&needs(&["d", "a"], &["y"]));
        assert_eq!((ledger.needed(), ledger.unneeded().1), (0, 15));
    }

    #[test]
    fn while_all_is_needed_nothing_goes() {
        let mut ledger = ledger();
        ledger.need_all();
        assert_eq!((ledger.needed(), ledger.unneeded().1), (15, 0));
    }
}
