//! One kind of instruction each: what it means, and how it is carried out. Not its job: their order.

pub(crate) mod metadata;
pub(crate) mod planned;
