//! How long a request may take (Higress: annotations/timeout.go).

use super::table::Key;
use super::view::Annotations;

const TIMEOUT: Key = Key::of("timeout");

pub(super) fn parse(annotations: &mut Annotations<'_, '_>) -> Option<u32> {
    annotations.seconds(TIMEOUT).filter(|seconds| *seconds > 0)
}
