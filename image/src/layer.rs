//! Layers: tar streams on one side, directories that overlay can stack on the other. Not its job:
//! images, which are layers in an order.

pub(crate) mod below;
pub(crate) mod changes;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod entry;
pub(crate) mod flatten;
pub(crate) mod header;
pub(crate) mod kept;
pub(crate) mod kind;
pub(crate) mod link;
pub(crate) mod metadata;
pub(crate) mod onto;
pub(crate) mod path;
pub(crate) mod pax;
pub(crate) mod sparse;
pub(crate) mod tree;
pub(crate) mod unpack;
pub(crate) mod whiteout;
pub(crate) mod write;
pub(crate) mod written;
