//! A linked program: its image, its sizes, its symbols.

use anyhow::{Context, Result, ensure};
use object::read::elf::{ElfFile32, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};

/// What a program takes of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The bytes for the flash, from its first address on.
    pub image: Vec<u8>,
    /// Where they begin.
    pub address: u32,
    /// Bytes of static data in RAM.
    pub static_bytes: u64,
    /// It has a path that formats a panic's message.
    pub formats_panics: bool,
}

impl Linked {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// It is none, or has nothing to be loaded.
    pub fn read(elf: &[u8]) -> Result<Self> {
        let file = ElfFile32::<Endianness>::parse(elf).context("not an ELF file")?;
        let endian = file.endian();
        let mut segments = Vec::new();
        for header in file.elf_program_headers() {
            let data = header.data(endian, elf).ok().context("a segment that is not there")?;
            if header.p_type(endian) == object::elf::PT_LOAD && !data.is_empty() {
                segments.push((header.p_paddr(endian), data));
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
        // By their names: functions that run from RAM make a section of code of `.data`.
        let in_ram = |name| matches!(name, ".data" | ".bss" | ".uninit");
        let sections = file.sections().filter(|section| section.name().is_ok_and(in_ram));
        let static_bytes = sections.map(|section| section.size()).sum();
        let formats_panics =
            file.symbols().any(|symbol| symbol.name().is_ok_and(|name| name.contains("panic_fmt")));
        Ok(Self { image, address, static_bytes, formats_panics })
    }
}
