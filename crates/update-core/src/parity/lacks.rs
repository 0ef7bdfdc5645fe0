//! How a report says what generations lack: a number for each, of one byte or of two.

use super::Parity;
use crate::limits::LACKS_BYTES_MAX;

/// Reported for a generation that an agent cannot repair with parity symbols, so that it needs its blocks.
/// For other generations an agent reports how many more blocks or symbols it needs. Written as a byte it is
/// 255.
pub const LACKS_BLOCKS: u16 = u16::MAX;

/// The bytes in which it is written what one generation lacks: two, the higher one first, if there can be
/// more than 254 blocks in it.
#[must_use]
pub const fn bytes_each(parity: Parity) -> usize {
    if parity.generation() < u8::MAX as u16 { 1 } else { 2 }
}

/// The number of generations that one census may ask about.
#[must_use]
pub const fn asked_max(parity: Parity) -> u32 {
    (LACKS_BYTES_MAX / bytes_each(parity)) as u32
}

/// Writes what generations lack, as many as there is room for.
pub fn write(parity: Parity, lacks: impl Iterator<Item = u16>, out: &mut [u8]) {
    let bytes = bytes_each(parity);
    for (place, lack) in out.chunks_exact_mut(bytes).zip(lacks) {
        // The lower byte of what stands for blocks does so in one byte.
        place.copy_from_slice(lack.to_be_bytes().get(2 - bytes..).unwrap_or_default());
    }
}

/// Reads what generations lack.
pub fn read(parity: Parity, bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(bytes_each(parity)).map(|place| match *place {
        [u8::MAX] => LACKS_BLOCKS,
        [lack] => lack.into(),
        [high, low] => u16::from_be_bytes([high, low]),
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::ErasureCode;

    #[test]
    fn what_is_written_is_read() {
        let rows: [(_, _, &[u16], &[u8]); 4] = [
            (ErasureCode::Cauchy, 128, &[0, 1, 128, LACKS_BLOCKS], &[0, 1, 128, 255]),
            (ErasureCode::Rs16, 254, &[254, LACKS_BLOCKS], &[254, 255]),
            (ErasureCode::Rs16, 255, &[255, 0, LACKS_BLOCKS], &[0, 255, 0, 0, 255, 255]),
            (ErasureCode::Rs16, 4096, &[4096, 1], &[16, 0, 0, 1]),
        ];
        for (code, generation, lacks, bytes) in rows {
            let parity = Parity::new(code, generation).unwrap();
            let mut out = [7; 6];
            let out = &mut out[..bytes.len()];
            write(parity, lacks.iter().copied(), out);
            assert_eq!(out, bytes);
            assert!(read(parity, bytes).eq(lacks.iter().copied()));
        }
    }
}
