//! Any bytes → resources: never a panic, and what was read can be printed and
//! read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_manifest::Listing;
use penstock_manifest::listing::{assemble, overlay};
use penstock_manifest::node::Position;
use penstock_manifest::read::{FilePath, read_bytes};
use penstock_manifest::template::is_unresolved;
use penstock_manifest::yaml::{parse_value, render};

/// The path decides how much a file may leave out.
const PATHS: &[&str] = &["all.yaml", "ingresses/a.yaml", "wasmplugins/key-auth.internal.yaml"];

fuzz_target!(|data: &[u8]| {
    let mut before = Listing::default();
    for path in PATHS {
        let content = read_bytes(&FilePath::standalone(*path), data);
        for resource in &content.resources {
            let read = parse_value(&render(&resource.root), Position::default());
            // What cannot be used is kept only as that; `.nan` differs from
            // itself.
            if !is_unresolved(&resource.root) && resource.root == resource.root {
                assert_eq!(read.as_ref(), Ok(&resource.root));
            }
        }
        let listing = overlay(assemble([&content]), &before);
        assert!(listing.broken.len() <= content.broken.len() + content.resources.len());
        before = listing;
    }
});
