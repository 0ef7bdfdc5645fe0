//! The hash tree: shapes, and that only the right block and page pass.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use sha2::{Digest as _, Sha256};
use update_core::block::{BlockNumber, BlockSize, ImageSize, Layout};
use update_core::digest::Digest;
use update_core::limits::LEVELS_MAX;
use update_core::tree::{ENTRY_BYTES, TreeShape, check_block, check_page, check_root};
use update_core::tree_build::{Tree, TreeBuildError, TreeBuilder};

const BLOCK_SIZES: [u32; 5] = [64, 128, 256, 512, 1024];

fn layout(image: u32, block: u32) -> Layout {
    let image_size = ImageSize::new(image).unwrap();
    Layout { image_size, block_size: BlockSize::new(block).unwrap() }
}

/// Bytes in which no two blocks are the same.
fn image(len: u32) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8).wrapping_mul(37) ^ (i >> 16)) as u8).collect()
}

fn build(image: &[u8], block: u32) -> Tree {
    let mut builder = TreeBuilder::new(layout(image.len() as u32, block));
    for block in image.chunks(block as usize) {
        builder.push(block).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn the_largest_images_have_these_shapes() {
    let largest = 64 << 20;
    let expected = [(64, 10, 349_525), (128, 7, 74_899), (256, 5, 17_477), (512, 4, 4229), (1024, 3, 1041)];
    for (block, levels, pages) in expected {
        let shape = TreeShape::new(layout(largest, block));
        assert_eq!((shape.levels(), shape.page_count()), (levels, pages), "{block}");
    }
    assert_eq!(TreeShape::new(layout(largest, 64)).levels(), LEVELS_MAX);
}

#[test]
fn one_page_is_enough_until_it_is_full() {
    for block in BLOCK_SIZES {
        let entries = block / 16;
        for image in [1, block, block + 1, entries * block] {
            let shape = TreeShape::new(layout(image, block));
            assert_eq!((shape.levels(), shape.page_count(), shape.bottom_level_first()), (1, 1, 0));
        }
        let shape = TreeShape::new(layout(entries * block + 1, block));
        assert_eq!((shape.levels(), shape.page_count(), shape.bottom_level_first()), (2, 3, 1));
    }
}

#[test]
fn levels_are_counted_up_from_the_blocks() {
    for block in BLOCK_SIZES {
        for image in [1, 777, 4096, 100_001, 1_000_000, 5_000_003, 64 << 20] {
            let layout = layout(image, block);
            let mut level_pages = vec![layout.block_count().div_ceil(block / 16)];
            while level_pages[0] > 1 {
                level_pages.insert(0, level_pages[0].div_ceil(block / 16));
            }
            let shape = TreeShape::new(layout);
            assert_eq!(shape.levels(), level_pages.len());
            assert_eq!(shape.page_count(), level_pages.iter().sum::<u32>());
            assert_eq!(shape.bottom_level_first(), shape.page_count() - level_pages.last().unwrap());
        }
    }
}

#[test]
fn every_page_but_the_root_has_one_place_a_level_above() {
    for block in BLOCK_SIZES {
        let shape = TreeShape::new(layout(300_001, block));
        let mut places = std::collections::BTreeSet::new();
        assert_eq!((shape.parent(0), shape.level_of(0)), (None, Some(0)));
        for page in 1..shape.page_count() {
            let (parent, entry) = shape.parent(page).unwrap();
            assert_eq!(shape.level_of(parent).unwrap() + 1, shape.level_of(page).unwrap());
            assert!(parent < page && entry < shape.entries_per_page() as usize);
            assert!(places.insert((parent, entry)));
        }
        for number in 0..shape.layout().block_count() {
            let (page, entry) = shape.entry_of_leaf(BlockNumber(number)).unwrap();
            assert_eq!(shape.level_of(page), Some(shape.levels() - 1));
            assert!(page >= shape.bottom_level_first());
            assert!(places.insert((page, entry)));
        }
        for behind in [shape.page_count(), u32::MAX] {
            assert_eq!((shape.parent(behind), shape.level_of(behind)), (None, None));
        }
        assert_eq!(shape.entry_of_leaf(BlockNumber(shape.layout().block_count())), None);
        assert_eq!(shape.entry_of_leaf(BlockNumber(u32::MAX)), None);
    }
}

/// Written down again from the design, without any of the crate's code.
#[test]
fn the_pages_are_as_specified() {
    let image = image(64 * 5 + 7);
    let tree = build(&image, 64);
    let hash = |prefix: u8, bytes: &[u8]| Sha256::digest([&[prefix], bytes].concat());
    let leaves: Vec<u8> = image.chunks(64).flat_map(|block| hash(0, block)[..16].to_vec()).collect();
    let mut bottom = leaves;
    bottom.resize(128, 0);
    let mut root: Vec<u8> = bottom.chunks(64).flat_map(|page| hash(1, page)[..16].to_vec()).collect();
    root.resize(64, 0);
    assert_eq!(tree.pages, [&root[..], &bottom[..]].concat());
    assert_eq!(tree.root_digest.0, hash(1, &root)[..]);
    assert_eq!(tree.image_digest.0, Sha256::digest(&image)[..]);
}

#[test]
fn every_block_and_page_checks() {
    for block in BLOCK_SIZES {
        for size in [1, block - 1, block, block + 1, 16 * block + 1, 40_001] {
            let image = image(size);
            let tree = build(&image, block);
            assert_eq!(tree.image_digest, Digest::of(&image));
            assert!(check_root(&tree.root_digest, tree.page(0)));
            for page in 1..tree.shape.page_count() {
                let (parent, entry) = tree.shape.parent(page).unwrap();
                assert!(check_page(tree.page(parent), entry, tree.page(page)));
            }
            for (number, bytes) in image.chunks(block as usize).enumerate() {
                let (page, entry) = tree.shape.entry_of_leaf(BlockNumber(number as u32)).unwrap();
                assert!(check_block(tree.page(page), entry, bytes));
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_an_image_fails() {
    let mut image = image(4096);
    let tree = build(&image, 256);
    for bit in 0..image.len() * 8 {
        image[bit / 8] ^= 1 << (bit % 8);
        let number = bit / 8 / 256;
        let (page, entry) = tree.shape.entry_of_leaf(BlockNumber(number as u32)).unwrap();
        assert!(!check_block(tree.page(page), entry, &image[number * 256..][..256]));
        image[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_flipped_bit_of_a_page_fails() {
    let tree = build(&image(3000), 64);
    for page in 0..tree.shape.page_count() {
        let mut bytes = tree.page(page).to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match tree.shape.parent(page) {
                None => assert!(!check_root(&tree.root_digest, &bytes)),
                Some((parent, entry)) => assert!(!check_page(tree.page(parent), entry, &bytes)),
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn nothing_passes_in_another_place_or_role() {
    let image = image(64 * 16);
    let tree = build(&image, 64);
    let bottom = tree.page(1);
    assert!(check_block(bottom, 0, &image[..64]));
    assert!(!check_block(bottom, 1, &image[..64]));
    assert!(!check_block(bottom, 0, &image[..63]));
    // A page is no block, and a block is no page.
    assert!(check_page(tree.page(0), 0, bottom));
    assert!(!check_block(tree.page(0), 0, bottom));
    assert!(!check_page(bottom, 0, &image[..64]));
    // Entries outside the page, and truncated pages.
    assert!(!check_block(bottom, bottom.len() / ENTRY_BYTES, &image[..64]));
    assert!(!check_block(bottom, usize::MAX, &image[..64]));
    assert!(!check_block(&bottom[..15], 0, &image[..64]));
    assert!(!check_page(&[], 0, bottom));
    assert!(!check_root(&tree.root_digest, &[]));
}

#[test]
fn the_builder_takes_exactly_the_blocks_of_the_image() {
    let mut builder = TreeBuilder::new(layout(130, 64));
    assert_eq!(builder.push(&[0; 63]), Err(TreeBuildError::WrongLength));
    assert_eq!(builder.push(&[0; 65]), Err(TreeBuildError::WrongLength));
    assert_eq!(builder.push(&[0; 64]), Ok(()));
    assert_eq!(builder.push(&[0; 64]), Ok(()));
    assert_eq!(builder.push(&[0; 64]), Err(TreeBuildError::WrongLength));
    assert_eq!(builder.clone().finish(), Err(TreeBuildError::BlocksMissing));
    assert_eq!(builder.push(&[0; 2]), Ok(()));
    assert_eq!(builder.push(&[0; 2]), Err(TreeBuildError::TooManyBlocks));
    assert!(builder.finish().is_ok());
}
