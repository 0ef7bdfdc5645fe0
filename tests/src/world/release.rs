//! A signed image.

use super::{Dice, Disk, Keys};
use update_core::block::{BlockNumber, BlockSize, ImageSize, Layout};
use update_core::digest::Digest;
use update_core::distribution::Update;
use update_core::platform::{Area, Record};
use update_core::record::UpdateRecord;
use update_core::suit::{self, Offer};
use update_core::suit_build::Draft;
use update_core::tree_build::TreeBuilder;

/// The vendor that the images of the world are for.
pub(super) const VENDOR: [u8; 16] = *b"vendor-of-worlds";
/// See [`VENDOR`].
pub(super) const CLASS: [u8; 16] = *b"class-of-agents!";

/// An image with everything that is signed with it.
pub struct Release {
    /// The signed SUIT envelope.
    pub envelope: Vec<u8>,
    /// What it says.
    pub offer: Offer,
    /// The image.
    pub image: Vec<u8>,
    /// All pages of its hash tree.
    pub pages: Vec<u8>,
}

impl Release {
    /// A random image of this many bytes.
    #[must_use]
    pub fn new(
        keys: &Keys,
        sequence_number: u64,
        image_bytes: u32,
        block_bytes: u32,
        dice: &mut Dice,
    ) -> Self {
        Self::of(keys, sequence_number, dice.bytes(image_bytes as usize), block_bytes)
    }

    /// This image.
    #[must_use]
    pub fn of(keys: &Keys, sequence_number: u64, image: Vec<u8>, block_bytes: u32) -> Self {
        let layout = Layout {
            image_size: ImageSize::new(image.len() as u32).expect("an image that can be sent"),
            block_size: BlockSize::new(block_bytes).expect("a block size"),
        };
        let mut builder = TreeBuilder::new(layout);
        for block in image.chunks(block_bytes as usize) {
            builder.push(block).expect("the blocks fit the layout");
        }
        let tree = builder.finish().expect("all blocks are there");
        let draft = Draft {
            sequence_number,
            vendor: VENDOR,
            class: CLASS,
            image_size: layout.image_size,
            image_digest: tree.image_digest,
            block_size: layout.block_size,
            tree_root: tree.root_digest,
        };
        let envelope = draft.attach(keys.sign_image(&draft.to_be_signed()));
        let offer = suit::verify(&envelope, &keys.key_set).expect("just signed");
        Self { envelope, offer, image, pages: tree.pages }
    }

    /// The update, for a distribution.
    #[must_use]
    pub fn update(&self) -> Update {
        Update { envelope: self.envelope.clone(), offer: self.offer, pages: self.pages.clone() }
    }

    /// SHA-256 of the signed manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.offer.digest
    }

    /// How many blocks or pages an area has.
    #[must_use]
    pub fn count(&self, area: Area) -> u32 {
        match area {
            Area::Image => self.offer.layout.block_count(),
            Area::Pages => self.pages.len() as u32 / self.offer.layout.block_size.bytes(),
        }
    }

    /// Where a block or page begins, and its right bytes; `None` beyond the last one.
    #[must_use]
    pub fn block(&self, area: Area, number: u32) -> Option<(usize, &[u8])> {
        let bytes = self.offer.layout.block_size.bytes() as usize;
        match area {
            Area::Image => {
                let (offset, len) = self.offer.layout.block_range(BlockNumber(number))?;
                Some((offset as usize, &self.image[offset as usize..offset as usize + len]))
            }
            Area::Pages => {
                let start = number as usize * bytes;
                Some((start, self.pages.get(start..start + bytes)?))
            }
        }
    }
}

/// All images of a world, in the order in which they are pushed.
pub struct Releases {
    all: Vec<Release>,
    current: usize,
}

impl Releases {
    /// Images of these sizes and block sizes, in bytes.
    #[must_use]
    pub fn new(keys: &Keys, sizes: &[(u32, u32)], dice: &mut Dice) -> Self {
        let numbered = sizes.iter().zip(7..);
        let all = numbered.map(|((image, block), number)| Release::new(keys, number, *image, *block, dice));
        Self { all: all.collect(), current: 0 }
    }

    /// The one that is being pushed.
    #[must_use]
    pub fn current(&self) -> &Release {
        &self.all[self.current]
    }

    /// Advances to the next one; `false` when there is none.
    pub fn advance(&mut self) -> bool {
        let more = self.current + 1 < self.all.len();
        self.current += usize::from(more);
        more
    }

    /// The one in a disk's update record.
    #[must_use]
    pub fn on_record(&self, disk: &Disk) -> Option<&Release> {
        let record = UpdateRecord::decode(disk.record(Record::Update)?).ok()?;
        self.all.iter().find(|release| release.envelope == record.envelope)
    }

    /// The one whose signed manifest has this digest.
    #[must_use]
    pub fn by_digest(&self, digest: &[u8; 32]) -> Option<&Release> {
        self.all.iter().find(|release| release.digest().0 == *digest)
    }

    /// Whether one of them is the image with this SHA-256.
    #[must_use]
    pub fn has_image(&self, digest: Digest) -> bool {
        self.all.iter().any(|release| release.offer.image_digest == digest)
    }

    /// The most blocks or pages that any of them has.
    #[must_use]
    pub fn most(&self, area: Area) -> u32 {
        self.all.iter().map(|release| release.count(area)).max().unwrap_or(0)
    }
}
