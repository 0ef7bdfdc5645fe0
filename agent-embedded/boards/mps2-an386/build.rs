//! Links each of the programs at its own place.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for program in ["boot", "agent", "bench"] {
        println!("cargo:rustc-link-arg-bin={program}=-L{folder}/memory/{program}");
        println!("cargo:rustc-link-arg-bin={program}=-Tlink.x");
    }
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=memory");
    println!("cargo:rerun-if-env-changed=FWCAST_IMAGE_VERSION");
}
