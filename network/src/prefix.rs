//! A range of addresses by its first one and a length. Pure. Not its job: who has them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A range of addresses: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits all its addresses share.
    pub length: u8,
}

impl Prefix {
    /// A range of IPv4.
    pub const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            length,
        }
    }

    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let length = self.length.min(other.length);
        match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                u32::from(length) <= differ.leading_zeros()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                u32::from(length) <= differ.leading_zeros()
            }
            _ => false,
        }
    }

    /// Whether the address is among them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let length = if address.is_ipv4() { 32 } else { 128 };
        self.overlaps(&Self { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_overlap_if_one_holds_the_other() {
        let ten = Prefix::v4(10, 0, 0, 0, 8);
        assert!(ten.overlaps(&Prefix::v4(10, 9, 0, 0, 16)));
        assert!(Prefix::v4(10, 9, 0, 0, 16).overlaps(&ten));
        assert!(!ten.overlaps(&Prefix::v4(11, 0, 0, 0, 8)));
        assert!(Prefix::v4(0, 0, 0, 0, 0).overlaps(&ten));
        assert!(!ten.holds("fe80::1".parse().unwrap()));
        assert!(ten.holds("10.255.255.255".parse().unwrap()));
    }
}
