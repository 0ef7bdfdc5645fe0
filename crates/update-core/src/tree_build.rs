//! Building the hash tree of an image, block by block.

use alloc::vec;
use alloc::vec::Vec;

use crate::block::{BlockNumber, Layout};
use crate::digest::{Digest, Hasher};
use crate::platform::Area;
use crate::tree::{ENTRY_BYTES, TreeShape, leaf_hash, page_digest, shortened};

/// Why the tree could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeBuildError {
    /// The length of a block is not the one in the layout.
    WrongLength,
    /// There are more blocks than the image has.
    TooManyBlocks,
    /// Blocks of the image are missing.
    BlocksMissing,
}

/// Hashes the blocks of an image in order.
#[derive(Debug, Clone)]
pub struct TreeBuilder {
    shape: TreeShape,
    pages: Vec<u8>,
    image: Hasher,
    next: u32,
}

/// The hash tree of an image, with the two digests that the SUIT manifest signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The shape of the tree.
    pub shape: TreeShape,
    /// The `hashes` resource: all pages, the root page first.
    pub pages: Vec<u8>,
    /// SHA-256(01 || root page).
    pub root_digest: Digest,
    /// SHA-256 of the whole image.
    pub image_digest: Digest,
}

impl TreeBuilder {
    /// Creates a builder for an image with this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let shape = TreeShape::new(layout);
        let bytes = shape.page_count() as usize * layout.block_size.bytes() as usize;
        Self { shape, pages: vec![0; bytes], image: Hasher::new(), next: 0 }
    }

    /// Adds the next block.
    ///
    /// # Errors
    /// The layout has no such block.
    pub fn push(&mut self, block: &[u8]) -> Result<(), TreeBuildError> {
        let number = BlockNumber(self.next);
        let (_, len) = self.shape.layout().block_range(number).ok_or(TreeBuildError::TooManyBlocks)?;
        if block.len() != len {
            return Err(TreeBuildError::WrongLength);
        }
        let place = self.shape.parent_of(Area::Image, number.0).ok_or(TreeBuildError::TooManyBlocks)?;
        self.write_entry(place, leaf_hash(block));
        self.image.update(block);
        self.next += 1;
        Ok(())
    }

    /// Returns the tree once all blocks have been added.
    ///
    /// # Errors
    /// [`TreeBuildError::BlocksMissing`]
    pub fn finish(mut self) -> Result<Tree, TreeBuildError> {
        if self.next != self.shape.layout().block_count() {
            return Err(TreeBuildError::BlocksMissing);
        }
        // A parent has a lower index than its children. Going backwards, each page is complete when its turn
        // comes.
        for page in (1..self.shape.page_count()).rev() {
            if let Some(place) = self.shape.parent_of(Area::Pages, page) {
                let hash = shortened(page_digest(self.page(page)));
                self.write_entry(place, hash);
            }
        }
        let root_digest = page_digest(self.page(0));
        Ok(Tree { shape: self.shape, pages: self.pages, root_digest, image_digest: self.image.finish() })
    }

    fn page(&self, page: u32) -> &[u8] {
        page_of(&self.pages, self.shape.layout(), page)
    }

    fn write_entry(&mut self, (page, entry): (u32, usize), hash: [u8; ENTRY_BYTES]) {
        let start = page as usize * self.shape.layout().block_size.bytes() as usize + entry * ENTRY_BYTES;
        if let Some(bytes) = self.pages.get_mut(start..start + ENTRY_BYTES) {
            bytes.copy_from_slice(&hash);
        }
    }
}

impl Tree {
    /// The bytes of one page; empty beyond the last page.
    #[must_use]
    pub fn page(&self, page: u32) -> &[u8] {
        page_of(&self.pages, self.shape.layout(), page)
    }
}

fn page_of(pages: &[u8], layout: Layout, page: u32) -> &[u8] {
    let size = layout.block_size.bytes() as usize;
    pages.chunks_exact(size).nth(page as usize).unwrap_or_default()
}
