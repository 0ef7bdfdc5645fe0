//! Reproducible builds: the programs of the boards are the same in any folder.

use anyhow::Result;

use super::boards::Board;
use super::build::{Program, program_of};
use super::setup;
use super::tree::Tree;

/// The programs of a board that has them.
const PROGRAMS: [&str; 2] = ["boot", "agent"];

/// Builds the boot stage and the agent of each board here and in a copy of the repository in another folder;
/// returns how many were compared, and what differs.
///
/// # Errors
/// One does not build.
pub fn compare() -> Result<(usize, Vec<String>)> {
    let folder = tempfile::tempdir()?;
    // Longer than the folder of this repository, so that every length in a program would differ too.
    let elsewhere = folder.path().join("a folder with a longer name").join("elsewhere").join("fwcast");
    let elsewhere = Tree::copy(&elsewhere)?;
    // Cargo does not notice when `compiler.sh` changes, so earlier builds are not used.
    let here = Tree { target: Some(folder.path().join("here")), ..Tree::own() };
    let (mut programs, mut differs) = (0, Vec::new());
    for board in [Board::EMULATED].iter().chain(&Board::REAL) {
        let core = setup::target(board.target)?;
        eprintln!("building boot stage and agent for {} here and elsewhere", board.name);
        for name in PROGRAMS {
            let build = |tree| program_of(tree, core, board, name, "1", &[]);
            programs += 1;
            differs.extend(difference(board, name, &build(&here)?, &build(&elsewhere)?));
        }
    }
    Ok((programs, differs))
}

fn difference(board: &Board, name: &str, here: &Program, there: &Program) -> Option<String> {
    let (here, there) = (&here.linked.image, &there.linked.image);
    let at = here.iter().zip(there).position(|(one, other)| one != other);
    let at = at.or_else(|| (here.len() != there.len()).then(|| here.len().min(there.len())))?;
    let sizes = format!("of {} and {} bytes", here.len(), there.len());
    Some(format!("{name} of {}: {sizes}, from byte {at} on", board.name))
}
