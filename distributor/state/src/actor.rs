//! Who uses this process, for the history.

use nix::unistd::{Uid, User};

/// The operator's name: who became another by `sudo`, else the user of this process.
#[must_use]
pub fn actor() -> String {
    let uid = Uid::current();
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    let known = || User::from_uid(uid).ok().flatten().map(|user| user.name);
    sudo.or_else(known).unwrap_or_else(|| format!("uid {uid}"))
}
