//! The largest image is signed and verified in a stream. A file of its own: it measures all its child
//! processes.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use common::{Desk, SIGN};
use nix::sys::resource::{UsageWho, getrusage};

#[test]
fn a_64_mib_image_takes_little_memory() {
    let desk = Desk::new();
    desk.ok("key generate --kind image --out image.pem");
    let file = std::fs::File::create(desk.path("firmware")).unwrap();
    file.set_len(64 * 1024 * 1024).unwrap();
    desk.ok(SIGN);
    desk.ok("image verify firmware.suit firmware --key image.pem.pub");
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(kib < 24 * 1024, "{kib} KiB");
}
