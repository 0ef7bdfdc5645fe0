//! A linked program: its image, its sizes, its symbols, and where it may panic.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use object::read::elf::{ElfFile32, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};

/// The contents of a linked program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The bytes for the flash, from its first address on.
    pub image: Vec<u8>,
    /// Where they begin.
    pub address: u32,
    /// Bytes of static data in RAM.
    pub static_bytes: u64,
    /// Whether it has a path that formats a panic's message.
    pub formats_panics: bool,
    /// The source files in the locations of panics, as the compiler was given them.
    pub panics: BTreeSet<String>,
}

/// The length of a `core::panic::Location`: address and length of the file's name, line, column.
const LOCATION_BYTES: usize = 16;
/// The longest file name, and more lines and columns than any file has: anything beyond is not a location.
const NAME_BYTES_MAX: u32 = 300;
const LINES_MAX: u32 = 100_000;
const COLUMNS_MAX: u32 = 1000;

impl Linked {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// It is not an ELF file, or contains nothing to load.
    pub fn read(elf: &[u8]) -> Result<Self> {
        let file = ElfFile32::<Endianness>::parse(elf).context("not an ELF file")?;
        let endian = file.endian();
        let (mut segments, mut mapped) = (Vec::new(), Vec::new());
        for header in file.elf_program_headers() {
            let data = header.data(endian, elf).ok().context("a segment that is not there")?;
            if header.p_type(endian) == object::elf::PT_LOAD && !data.is_empty() {
                segments.push((header.p_paddr(endian), data));
                mapped.push((header.p_vaddr(endian), data));
            }
        }
        segments.sort_by_key(|(address, _)| *address);
        let address = segments.first().context("nothing to be loaded")?.0;
        let mut image = Vec::new();
        for (begin, data) in segments {
            let offset = usize::try_from(begin - address)?;
            ensure!(offset >= image.len(), "segments overlap");
            image.resize(offset, 0xff);
            image.extend_from_slice(data);
        }
        // By name: functions that run from RAM make `.data` a code section.
        let in_ram =
            |name: &str| matches!(name, ".data" | ".bss" | ".uninit") || name.starts_with(".fwcast_retained");
        let sections = file.sections().filter(|section| section.name().is_ok_and(in_ram));
        let static_bytes = sections.map(|section| section.size()).sum();
        let formats_panics =
            file.symbols().any(|symbol| symbol.name().is_ok_and(|name| name.contains("panic_fmt")));
        Ok(Self { image, address, static_bytes, formats_panics, panics: panics(&mapped) })
    }
}

/// The files in the locations of panics in these segments.
fn panics(segments: &[(u32, &[u8])]) -> BTreeSet<String> {
    let places = segments.iter().flat_map(|(_, data)| data.windows(LOCATION_BYTES).step_by(4));
    places.filter_map(|bytes| file_of(segments, bytes)).collect()
}

/// The name of the file, if these bytes are a location.
fn file_of(segments: &[(u32, &[u8])], bytes: &[u8]) -> Option<String> {
    let (words, _) = bytes.as_chunks();
    let [address, length, line, column] = *words else { return None };
    let [address, length, line, column] = [address, length, line, column].map(u32::from_le_bytes);
    let is_likely = (4..NAME_BYTES_MAX).contains(&length)
        && (1..LINES_MAX).contains(&line)
        && (1..COLUMNS_MAX).contains(&column);
    if !is_likely {
        return None;
    }
    segments.iter().find_map(|(begin, data)| {
        let offset = address.checked_sub(*begin)? as usize;
        let text = data.get(offset..offset.checked_add(length as usize)?)?;
        let text = str::from_utf8(text).ok()?.trim_end_matches('\0');
        text.ends_with(".rs").then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_found_and_nothing_else_is() {
        let mut image = b"src/a.rs\0\0\0\0src/b.rx".to_vec();
        let begin = 0x100_u32;
        for words in [[begin, 8, 7, 3], [begin + 12, 8, 7, 3], [begin + 1, 7, 0, 3], [0x9000, 8, 7, 3]] {
            image.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        }
        assert_eq!(panics(&[(begin, &*image)]), BTreeSet::from(["src/a.rs".to_owned()]));
    }
}
