//! What stands at the end of an image: the inodes of directories, and the names in them. Not its job: files, which are
//! written already.

use super::file::Image;
use super::metadata::{bare, described};
use super::record::{self, BLOCK, Data, Extent, INODE, Inode, Kind, ROOT_AT, SLOT, SUPERBLOCK_AT};
use super::tree::{Child, Directory, Id, ROOT, Tree};
use super::{Halt, Result, unwritten};
use crate::layer::tree::Shape;

/// Where a directory stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Of its inode.
    number: u64,
    /// Its first block of names.
    block: u32,
    extent: Extent,
    /// The last names stand behind the inode.
    inline: bool,
    links: u32,
    attributes: usize,
}

/// Writes the directories that have a name, and the first block.
pub(super) fn finish(tree: &Tree<'_>, mut image: Image, uuid: [u8; 16]) -> Result<Shape> {
    let named = tree.leaves.iter().filter(|leaf| leaf.links > 0);
    for leaf in named.clone().filter(|leaf| leaf.links != 1) {
        image
            .set_links(leaf.number, leaf.links)
            .map_err(unwritten)?;
    }
    let order = order(tree);
    let begin = image.end();
    let places = places(tree, &order, begin)?;
    let mut first = vec![0; BLOCK as usize];
    for id in &order {
        let place = places[*id as usize];
        let dir = tree.at(*id);
        let mut record = inode(dir, &place)?;
        if *id == ROOT {
            first[ROOT_AT as usize..][..record.len()].copy_from_slice(&record);
            continue;
        }
        if place.inline {
            blocks(tree, *id, &places, |names, last| {
                if last {
                    record.extend_from_slice(names);
                }
                Ok(())
            })?;
        }
        let at = place.number * SLOT;
        image.pad(at).map_err(unwritten)?;
        image.append(&record).map_err(unwritten)?;
    }
    image.pad_block().map_err(unwritten)?;
    for id in &order {
        let place = places[*id as usize];
        blocks(tree, *id, &places, |names, last| {
            if !(last && place.inline) {
                image.append(names).map_err(unwritten)?;
                image.pad_block().map_err(unwritten)?;
            }
            Ok(())
        })?;
    }
    let superblock = record::Superblock {
        inodes: (named.count() + order.len()) as u64,
        blocks: u32::try_from(image.end() / BLOCK).map_err(|_| Halt::Unfit)?,
        uuid,
    };
    first[SUPERBLOCK_AT as usize..ROOT_AT as usize].copy_from_slice(&superblock.bytes());
    image.finish(&first).map_err(unwritten)?;
    Ok(shape(tree, &order))
}

fn shape(tree: &Tree<'_>, order: &[Id]) -> Shape {
    let root = tree.at(ROOT);
    let unsaid = order.iter().any(|id| *id != ROOT && !tree.at(*id).stated);
    Shape {
        leans: tree.leans || unsaid,
        covers: root.opaque,
        states_root: root.stated,
    }
}

/// All directories that have a name, parents before children, the root first.
fn order(tree: &Tree<'_>) -> Vec<Id> {
    let mut order = vec![ROOT];
    let mut next = 0;
    while let Some(id) = order.get(next) {
        let children = tree.at(*id).names.values();
        order.extend(children.filter_map(|child| match child {
            Child::Directory(id) => Some(*id),
            Child::Leaf(_) => None,
        }));
        next += 1;
    }
    order
}

/// Finds a place for every directory: inodes from `begin` on, then the blocks of names.
fn places(tree: &Tree<'_>, order: &[Id], begin: u64) -> Result<Vec<Place>> {
    let mut places = vec![Place::default(); tree.directories.len()];
    let mut at = begin;
    for id in order {
        let dir = tree.at(*id);
        let head = INODE + described(&dir.metadata, dir.opaque)?.len() as u64;
        let mut extent = Extent::default();
        let mut links = 2;
        for (name, child) in names(dir) {
            extent.add(name.len());
            links += u32::from(matches!(child, Some(Child::Directory(_))));
        }
        let inline = *id != ROOT && head + extent.tail <= BLOCK;
        let length = head + if inline { extent.tail } else { 0 };
        let number = match *id {
            ROOT if ROOT_AT + head > BLOCK => return Err(Halt::Unfit),
            ROOT => ROOT_AT / SLOT,
            _ => {
                // An end of names may not go over the end of a block; what has too many attributes begins one.
                if at % BLOCK + length > BLOCK {
                    at = at.next_multiple_of(BLOCK);
                }
                let number = at / SLOT;
                at = (at + length).next_multiple_of(SLOT);
                number
            }
        };
        places[*id as usize] = Place {
            number,
            block: 0,
            extent,
            inline,
            links,
            attributes: (head - INODE) as usize,
        };
    }
    let mut block = at.div_ceil(BLOCK);
    for id in order {
        let place = &mut places[*id as usize];
        place.block = u32::try_from(block).map_err(|_| Halt::Unfit)?;
        block += place.extent.full + u64::from(!place.inline);
    }
    Ok(places)
}

/// The names of a directory in the order of their bytes, with its own two.
fn names(dir: &Directory) -> impl Iterator<Item = (&[u8], Option<Child>)> {
    // Few bytes stand before a dot, and then a name with one goes before its own.
    let own = [&b"."[..], b".."];
    let mut own = own.into_iter().peekable();
    let mut others = dir
        .names
        .iter()
        .map(|(name, child)| (&**name, Some(*child)))
        .peekable();
    std::iter::from_fn(move || match (own.peek(), others.peek()) {
        (Some(mine), Some((name, _))) if *name < *mine => others.next(),
        (Some(_), _) => own.next().map(|mine| (mine, None)),
        (None, _) => others.next(),
    })
}

/// Gives each block of names to `take`, and whether it is the last.
fn blocks(
    tree: &Tree<'_>,
    id: Id,
    places: &[Place],
    mut take: impl FnMut(&[u8], bool) -> Result<()>,
) -> Result<()> {
    let dir = tree.at(id);
    let mut extent = Extent::default();
    let mut entries = Vec::new();
    for (name, child) in names(dir) {
        let (number, kind) = match child {
            Some(Child::Leaf(leaf)) => (tree.leaf(leaf).number, tree.leaf(leaf).kind),
            Some(Child::Directory(id)) => (places[id as usize].number, Kind::Directory),
            None if name == b"." => (places[id as usize].number, Kind::Directory),
            None => (places[dir.parent as usize].number, Kind::Directory),
        };
        if extent.add(name.len()) {
            take(&record::names(&entries), false)?;
            entries.clear();
        }
        entries.push((name, number, kind));
    }
    take(&record::names(&entries), true)
}

fn inode(dir: &Directory, place: &Place) -> Result<Vec<u8>> {
    let data = match place.inline {
        true => Data::Tail(place.block),
        false => Data::Blocks(place.block),
    };
    let inode = Inode {
        links: place.links,
        attributes: place.attributes,
        ..bare(Kind::Directory, &dir.metadata, place.extent.size(), data)
    };
    Ok([&inode.bytes()[..], &described(&dir.metadata, dir.opaque)?].concat())
}
