//! Chooses how the binary is linked.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_for_this_machine() && glibc_version().is_some_and(|version| version >= (2, 36)) {
        // Half a megabyte of relocations shrinks to 7 KB. The loader of an
        // older glibc does not know them.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

#[expect(clippy::disallowed_methods, reason = "so cargo talks to build scripts")]
fn is_for_this_machine() -> bool {
    let of = |name| env::var(name).unwrap_or_default();
    of("HOST") == of("TARGET")
        && of("CARGO_CFG_TARGET_OS") == "linux"
        && of("CARGO_CFG_TARGET_ENV") == "gnu"
}

/// That of this machine; `getconf` says `glibc 2.36`.
fn glibc_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
