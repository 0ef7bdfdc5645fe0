//! The address of a network controller that comes without one.

use sha2::{Digest as _, Sha256};

/// A locally administered unicast MAC address (IEEE 802), derived from the chip's unique number.
#[must_use]
pub fn hardware_address(unique: &[u8]) -> [u8; 6] {
    const LOCAL: u8 = 2;
    const MULTICAST: u8 = 1;
    let [first, b, c, d, e, f, ..] = <[u8; 32]>::from(Sha256::digest(unique));
    [(first | LOCAL) & !MULTICAST, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_local_and_for_one_and_differs() {
        let addresses = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| hardware_address(&[number; 12]));
        assert!(addresses.iter().all(|address| address[0] & 3 == 2));
        let same = |address| addresses.iter().filter(|other| *other == address).count();
        assert!(addresses.iter().all(|address| same(address) == 1));
        assert_eq!(addresses[3], hardware_address(&[3; 12]));
    }
}
