//! The hash tree of an image: its shape, and the checks of blocks and hash pages against it.
//!
//! A leaf is the first 16 bytes of SHA-256(00 || block), the hash of a page the first 16 bytes of SHA-256(01
//! || page). A page is exactly one block size long and holds block size / 16 entries. Entries at the end of a
//! level that are not used are zero bytes. The `hashes` resource is all pages: the root page first, then
//! level by level downwards, each level from left to right. The index of a page is its Block1 number there.
//! The full SHA-256(01 || page) of the root page is signed with the SUIT manifest.

use crate::block::{BlockNumber, BlockSize, Layout};
use crate::digest::{Digest, Hasher};
use crate::limits::{BLOCK_BYTES_MIN, IMAGE_BYTES_MAX, LEVELS_MAX};
use crate::platform::Area;

/// The bytes of one entry of a hash page.
pub const ENTRY_BYTES: usize = 16;

/// How many hash pages a tree has, on how many levels, and which entry holds the hash of what.
///
/// It follows from the signed sizes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeShape {
    layout: Layout,
    levels: usize,
    /// The index of the first page of each level. After the last level, the number of all pages.
    starts: [u32; LEVELS_MAX + 1],
}

impl TreeShape {
    /// The shape of the tree for this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let entries = entries_per_page(layout.block_size);
        let mut levels = 1;
        let mut reach = entries;
        while levels < LEVELS_MAX && reach < layout.block_count() {
            levels += 1;
            reach = reach.saturating_mul(entries);
        }
        // `reach` is now what the root page covers. A page on each lower level covers `entries` times less.
        let mut starts = [0; LEVELS_MAX + 1];
        let mut next = 0;
        for start in starts.iter_mut().take(levels) {
            *start = next;
            next += layout.block_count().div_ceil(reach.max(1));
            reach /= entries;
        }
        for start in starts.iter_mut().skip(levels) {
            *start = next;
        }
        Self { layout, levels, starts }
    }

    /// How the image is cut.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of levels: 1 to [`LEVELS_MAX`]. Level 0 is the root page alone.
    #[must_use]
    pub const fn levels(&self) -> usize {
        self.levels
    }

    /// The number of pages on all levels.
    #[must_use]
    pub const fn page_count(&self) -> u32 {
        self.starts[LEVELS_MAX]
    }

    /// The number of entries in a page.
    #[must_use]
    pub const fn entries_per_page(&self) -> u32 {
        entries_per_page(self.layout.block_size)
    }

    /// The index of the first page of the bottom level, whose entries are the leaves.
    #[must_use]
    pub fn bottom_level_first(&self) -> u32 {
        self.start(self.levels - 1)
    }

    /// The level of a page, 0 for the root page; `None` beyond the last page.
    #[must_use]
    pub fn level_of(&self, page: u32) -> Option<usize> {
        if page >= self.page_count() {
            return None;
        }
        (0..self.levels).rev().find(|level| self.start(*level) <= page)
    }

    /// Page index and entry of the leaf of block `number`; `None` beyond the last block.
    #[must_use]
    pub fn entry_of_leaf(&self, number: BlockNumber) -> Option<(u32, usize)> {
        if number.0 >= self.layout.block_count() {
            return None;
        }
        let (page, entry) = self.split(number.0);
        Some((self.bottom_level_first() + page, entry))
    }

    /// Page index and entry of the hash of `page`; `None` for the root page and beyond the last page.
    #[must_use]
    pub fn parent(&self, page: u32) -> Option<(u32, usize)> {
        let above = self.level_of(page)?.checked_sub(1)?;
        let (parent, entry) = self.split(page - self.start(above + 1));
        Some((self.start(above) + parent, entry))
    }

    /// Page index and entry of the hash of a block or page; `None` for the root page and for a number that is
    /// not in the area ([`contains`](Self::contains)).
    #[must_use]
    pub fn parent_of(&self, area: Area, number: u32) -> Option<(u32, usize)> {
        match area {
            Area::Image => self.entry_of_leaf(BlockNumber(number)),
            Area::Pages => self.parent(number),
        }
    }

    /// The number of blocks or pages in an area.
    #[must_use]
    pub const fn count_of(&self, area: Area) -> u32 {
        match area {
            Area::Image => self.layout.block_count(),
            Area::Pages => self.page_count(),
        }
    }

    /// Whether an area has a block or page with this number.
    #[must_use]
    pub const fn contains(&self, area: Area, number: u32) -> bool {
        number < self.count_of(area)
    }

    /// Where a block or page lies in its area, as offset and length in bytes; `None` for a number that is not
    /// in the area.
    #[must_use]
    pub fn range_of(&self, area: Area, number: u32) -> Option<(u32, usize)> {
        let bytes = self.layout.block_size.bytes();
        match area {
            Area::Image => self.layout.block_range(BlockNumber(number)),
            Area::Pages => self.contains(area, number).then_some((number * bytes, bytes as usize)),
        }
    }

    fn split(&self, index: u32) -> (u32, usize) {
        let entries = self.entries_per_page();
        (index / entries, (index % entries) as usize)
    }

    fn start(&self, level: usize) -> u32 {
        self.starts.get(level).copied().unwrap_or(self.page_count())
    }
}

/// Whether a block or page is the one that was signed. `parent` is the verified page with its hash and the
/// entry in that page ([`TreeShape::parent_of`]). Without a parent, only the root page can be right.
#[must_use]
pub fn check(area: Area, parent: Option<(&[u8], usize)>, root: &Digest, bytes: &[u8]) -> bool {
    match (area, parent) {
        (Area::Image, Some((page, entry))) => check_block(page, entry, bytes),
        (Area::Pages, Some((page, entry))) => check_page(page, entry, bytes),
        (Area::Pages, None) => check_root(root, bytes),
        (Area::Image, None) => false,
    }
}

/// Whether `block` matches `entry` of this verified bottom page.
#[must_use]
pub fn check_block(page: &[u8], entry: usize, block: &[u8]) -> bool {
    entry_of(page, entry) == Some(&leaf_hash(block))
}

/// Whether `page` matches `entry` of its verified parent.
#[must_use]
pub fn check_page(parent_page: &[u8], entry: usize, page: &[u8]) -> bool {
    entry_of(parent_page, entry) == Some(&shortened(page_digest(page)))
}

/// Whether `page` is the root page whose digest was signed with the SUIT manifest.
#[must_use]
pub fn check_root(root: &Digest, page: &[u8]) -> bool {
    *root == page_digest(page)
}

/// The entry for a block: the first 16 bytes of SHA-256(00 || block).
#[must_use]
pub fn leaf_hash(block: &[u8]) -> [u8; ENTRY_BYTES] {
    shortened(prefixed_digest(0, block))
}

/// SHA-256(01 || page). It is signed in full for the root page; for any other page its first 16 bytes are the
/// entry.
#[must_use]
pub fn page_digest(page: &[u8]) -> Digest {
    prefixed_digest(1, page)
}

/// The first 16 bytes of a digest. They resist second preimages at 2^128.
pub(crate) const fn shortened(digest: Digest) -> [u8; ENTRY_BYTES] {
    let (first, _) = digest.0.as_chunks();
    first[0]
}

const fn entries_per_page(block_size: BlockSize) -> u32 {
    1 << block_size.exponent()
}

const _: () = assert!(ENTRY_BYTES == 16, "a block of 2^(SZX + 4) bytes has 2^SZX entries");

/// The prefix keeps a block from being taken for a page, and a page for a block.
fn prefixed_digest(prefix: u8, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[prefix]);
    hasher.update(bytes);
    hasher.finish()
}

fn entry_of(page: &[u8], entry: usize) -> Option<&[u8; ENTRY_BYTES]> {
    page.as_chunks().0.get(entry)
}

/// [`LEVELS_MAX`] is enough for the largest image in the smallest blocks.
const _: () = {
    let entries = BLOCK_BYTES_MIN / ENTRY_BYTES as u32;
    let mut pages = IMAGE_BYTES_MAX.div_ceil(BLOCK_BYTES_MIN).div_ceil(entries);
    let mut levels = 1;
    while pages > 1 {
        pages = pages.div_ceil(entries);
        levels += 1;
    }
    assert!(levels == LEVELS_MAX);
};
