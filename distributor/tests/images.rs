//! The folder of images: what goes in comes out, or nothing does.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;
#[path = "../store/tests/store_suite/mod.rs"]
mod store_suite;

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::{Desk, SIGN};
use distributor::commands::exit_codes::{Exit, Failure};
use fwcast_state::StateDir;
use fwcast_store::Documents as _;
use fwcast_store::images::Images;
use fwcast_store::kind::Kind;
use fwcast_store::{NewDocument, SqliteStore};
use serde_json::json;
use store_suite::{at, name};
use update_core::digest::Digest;

struct World {
    desk: Desk,
    dir: StateDir,
    images: Images,
}

impl World {
    /// A signed image of 5000 bytes.
    fn new() -> Self {
        let desk = Desk::with_group();
        desk.write("firmware", &[7; 5000]);
        desk.ok(SIGN);
        let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
        let images = Images::of(&dir);
        Self { desk, dir, images }
    }

    fn add(&self) -> Digest {
        self.images.add(&self.desk.path("firmware"), &self.desk.read("firmware.suit")).unwrap()
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.dir.state().join("images/sha256").join(hex::encode(digest.0))
    }
}

/// As if it had lain there for two hours.
fn make_old(path: PathBuf) {
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    File::open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn an_image_is_kept_by_the_digest_of_its_suit_manifest() {
    let world = World::new();
    let digest = world.add();
    assert_eq!(world.desk.json("image inspect firmware.suit")["digest"], hex::encode(digest.0));
    // Twice is once.
    assert_eq!(world.add(), digest);
    assert_eq!(world.images.digests().unwrap(), [hex::encode(digest.0)].into());
    let mut stored = world.images.open(&digest).unwrap();
    assert_eq!((stored.envelope, stored.offer.digest), (world.desk.read("firmware.suit"), digest));
    let mut bytes = Vec::new();
    stored.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 5000]);
    for file in ["image", "envelope"] {
        let name = world.place(&digest).join(file);
        assert_eq!(world.desk.mode(name.to_str().unwrap()), 0o600, "{file}");
    }
    let missing = Failure::from(world.images.open(&Digest([9; 32])).unwrap_err());
    assert!(
        missing.exit == Exit::Error && missing.sentence.contains("apply its document again"),
        "{missing}"
    );
}

#[test]
fn what_is_not_what_was_signed_is_neither_taken_nor_given() {
    let world = World::new();
    let envelope = world.desk.read("firmware.suit");
    world.desk.write("other", &[8; 5000]);
    let refused = Failure::from(world.images.add(&world.desk.path("other"), &envelope).unwrap_err());
    assert_eq!(refused.exit, Exit::BadSignature, "{refused}");
    let refused = Failure::from(world.images.add(&world.desk.path("firmware"), b"no envelope").unwrap_err());
    assert_eq!(refused.exit, Exit::BadSignature, "{refused}");
    assert!(world.images.digests().unwrap().is_empty());

    let digest = world.add();
    for (file, spoilt) in [("image", vec![8; 5000]), ("image", vec![7; 4999]), ("envelope", b"x".to_vec())] {
        let path = world.place(&digest).join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, spoilt).unwrap();
        let refused = Failure::from(world.images.open(&digest).unwrap_err());
        assert_eq!(refused.exit, Exit::BadSignature, "{file} {refused}");
        fs::write(&path, whole).unwrap();
    }
    // Under another name it is not what its name says.
    let elsewhere = world.place(&Digest([9; 32]));
    fs::rename(world.place(&digest), &elsewhere).unwrap();
    assert_eq!(Failure::from(world.images.open(&Digest([9; 32])).unwrap_err()).exit, Exit::BadSignature);
    // What is damaged is replaced when it is added again.
    let digest = world.add();
    fs::write(world.place(&digest).join("image"), b"spoilt").unwrap();
    assert_eq!(world.add(), digest);
    world.images.open(&digest).unwrap();
}

#[tokio::test]
async fn only_what_nobody_names_is_collected_and_only_after_an_hour() {
    let world = World::new();
    let digest = world.add();
    let store = SqliteStore::open(&world.dir).await.unwrap();
    let image = NewDocument {
        kind: Kind::Image,
        name: name("lamp"),
        labels: Default::default(),
        spec: json!({"deep": [{"digest": format!("sha256:{}", hex::encode(digest.0))}]}),
    };
    store.apply(&[image], "me", at(1)).await.unwrap();
    let left = world.dir.state().join("images/sha256/.left.over");
    fs::create_dir(&left).unwrap();
    make_old(world.place(&digest));
    assert_eq!(world.images.collect(&store).await.unwrap(), 0);
    assert!(left.exists() && world.images.open(&digest).is_ok());
    store.delete(Kind::Image, &name("lamp"), "me", at(2)).await.unwrap();
    make_old(left.clone());
    assert_eq!(world.images.collect(&store).await.unwrap(), 1);
    assert!(!left.exists() && !world.place(&digest).exists());
    world.add();
    assert_eq!(world.images.collect(&store).await.unwrap(), 0);
    // Taken in again, it is young again.
    make_old(world.place(&digest));
    world.add();
    assert_eq!(world.images.collect(&store).await.unwrap(), 0);
}

#[test]
fn what_a_document_no_longer_names_goes_when_it_is_applied() {
    let world = World::new();
    let document = "apiVersion: fwcast/v1\nkind: Image\nmetadata: { name: lamp }\n\
                    spec: { version: \"1\", file: firmware }\n";
    world.desk.write("lamp.yaml", document.as_bytes());
    world.desk.ok("apply -f lamp.yaml");
    let first = world.add();
    make_old(world.place(&first));
    world.desk.write("firmware", &[8; 5000]);
    fs::remove_file(world.desk.path("firmware.suit")).unwrap();
    world.desk.ok(SIGN);
    world.desk.ok("apply -f lamp.yaml");
    assert!(!world.place(&first).exists());
    let digests = world.images.digests().unwrap();
    assert_eq!(digests, [hex::encode(world.add().0)].into());
}

#[test]
fn a_backup_brings_images_back() {
    let world = World::new();
    let digest = world.add();
    assert_eq!(world.desk.json("backup --out all.tar")["images"], 1);
    fs::rename(world.desk.path("state"), world.desk.path("gone")).unwrap();
    world.desk.ok("restore all.tar");
    world.images.open(&digest).unwrap();
}
