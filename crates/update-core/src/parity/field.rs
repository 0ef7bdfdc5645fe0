//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1: bytes that can be added, multiplied and divided.
//! Addition and subtraction are both exclusive or.

/// x^8, reduced: what an overflowing bit is replaced by.
const REDUCED: u8 = 0x1d;

/// The inverse of each element; 0 for zero, which has none.
const INVERSES: [u8; 256] = inverses();

const fn inverses() -> [u8; 256] {
    let mut inverses = [0; 256];
    // 2 generates all elements except zero: 2^n and 2^(255 - n) are inverses of each other.
    let mut powers = [1_u8; 256];
    let mut n = 1;
    while n < 256 {
        powers[n] = double(powers[n - 1]);
        n += 1;
    }
    let mut n = 0;
    while n < 256 {
        inverses[powers[n] as usize] = powers[255 - n];
        n += 1;
    }
    inverses
}

const fn double(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 == 0 { 0 } else { REDUCED })
}

/// The product.
pub(super) const fn product(a: u8, b: u8) -> u8 {
    let (mut sum, mut shifted, mut bit) = (0, a, 0);
    while bit < 8 {
        if b >> bit & 1 == 1 {
            sum ^= shifted;
        }
        shifted = double(shifted);
        bit += 1;
    }
    sum
}

/// The inverse; 0 for zero, which has none.
pub(super) fn inverse(a: u8) -> u8 {
    INVERSES.get(usize::from(a)).copied().unwrap_or(0)
}

/// The products of one factor with all bytes, split into their lower and upper four bits: small enough for a
/// microcontroller's stack, and computed in a few steps.
struct Products {
    of_lower: [u8; 16],
    of_upper: [u8; 16],
}

impl Products {
    fn of(factor: u8) -> Self {
        let (mut of_lower, mut of_upper) = ([0; 16], [0; 16]);
        for bits in 0..16_u8 {
            of_lower[usize::from(bits)] = product(factor, bits);
            of_upper[usize::from(bits)] = product(factor, bits << 4);
        }
        Self { of_lower, of_upper }
    }

    const fn with(&self, byte: u8) -> u8 {
        self.of_lower[(byte & 15) as usize] ^ self.of_upper[(byte >> 4) as usize]
    }
}

/// Adds `factor` times `bytes` to `sum`, byte by byte, up to the shorter length.
pub(super) fn add_product(factor: u8, bytes: &[u8], sum: &mut [u8]) {
    let products = Products::of(factor);
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= products.with(*byte);
    }
}

/// Multiplies each byte by `factor`.
pub(super) fn multiply(factor: u8, bytes: &mut [u8]) {
    let products = Products::of(factor);
    for byte in bytes {
        *byte = products.with(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_but_zero_has_its_inverse() {
        for a in 1..=u8::MAX {
            assert_eq!(product(a, inverse(a)), 1, "{a}");
        }
        assert_eq!(inverse(0), 0);
    }

    #[test]
    fn products_are_those_of_polynomials() {
        // By hand: x^7 * x = x^8 = x^4 + x^3 + x^2 + 1, and a well-known table of this field.
        assert_eq!(product(0x80, 2), 0x1d);
        assert_eq!(product(0x53, 0xca), 0x8f);
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(product(a, b), product(b, a));
                assert_eq!(Products::of(a).with(b), product(a, b));
                assert_eq!(product(a, b ^ 0x35), product(a, b) ^ product(a, 0x35));
            }
        }
    }
}
