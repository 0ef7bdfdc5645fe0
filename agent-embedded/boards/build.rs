//! Links each program of a board at its own address, with the scripts in `memory/<program>`.

use std::fs;

fn main() {
    let board = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for program in fs::read_dir(format!("{board}/memory")).expect("a board has the folder memory") {
        let program = program.expect("it can be read").file_name().into_string().expect("a program's name");
        println!("cargo:rustc-link-arg-bin={program}=-L{board}/memory/{program}");
        println!("cargo:rustc-link-arg-bin={program}=-Tlink.x");
        println!("cargo:rustc-link-arg-bin={program}=-T{board}/../retained.x");
    }
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=memory");
    println!("cargo:rerun-if-changed=../retained.x");
    println!("cargo:rerun-if-env-changed=FWCAST_IMAGE_VERSION");
}
