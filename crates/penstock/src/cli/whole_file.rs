//! Files that verbs write whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file that has this mode, unless the system narrows it. What is no
/// file, such as a device or a pipe, is written to as it is.
pub fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, text);
    }
    replace(path, mode, |mut file| file.write_all(text.as_ref()))
}

/// Fills a new file beside the path and renames it there, so that no reader
/// sees half of it, and nobody who may read the old one what is secret in the
/// new one.
pub fn replace(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(File) -> io::Result<()>,
) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let result = fill(file).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The failure to tell is the first one. What is left may be secret.
        let _ = fs::remove_file(&temporary);
    }
    result
}
