//! Chooses how the binary is linked.

use std::env;
use std::path::Path;
use std::process::Command;

/// The functions that run, see `benches/link-order.sh`.
const LINK_ORDER: &str = "link-order.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LINK_ORDER}");
    if !is_for_this_machine() {
        return;
    }
    if glibc_version().is_some_and(|version| version >= (2, 36)) {
        // Half a megabyte of relocations shrinks to 7 KB. The loader of an
        // older glibc does not know them.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if is_optimised() && links_with_lld() {
        // Most of an idle process' memory is code, mapped in blocks of 64 KB.
        // With those functions next to each other that do run, few blocks are.
        let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join(LINK_ORDER);
        println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={}", order.display());
        println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
}

#[expect(clippy::disallowed_methods, reason = "so cargo talks to build scripts")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn is_for_this_machine() -> bool {
    variable("HOST") == variable("TARGET")
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu"
}

fn is_optimised() -> bool {
    variable("PROFILE") == "release"
}

/// Whether the linker is the one that rustc brings along, and nobody chose
/// another one. Others do not know the option.
fn links_with_lld() -> bool {
    let is_chosen = !variable("RUSTC_LINKER").is_empty()
        || variable("CARGO_ENCODED_RUSTFLAGS").contains("link");
    let sysroot = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let has_lld = sysroot.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let own = ["lib", "rustlib", &variable("TARGET"), "bin", "gcc-ld", "ld.lld"];
        Path::new(&sysroot).join(own.join("/")).exists()
    });
    // Of the targets that are built here, only this one is linked with it.
    has_lld && !is_chosen && variable("TARGET") == "x86_64-unknown-linux-gnu"
}

/// That of this machine; `getconf` says `glibc 2.36`.
fn glibc_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
