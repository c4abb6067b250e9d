//! A file with the id of the process that serves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The file; removed at the end, unless a successor has written it anew.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it as a whole, over that of a predecessor.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(path: &Path) -> anyhow::Result<Self> {
        let pid = std::process::id();
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{pid}"));
        fs::write(&draft, format!("{pid}\n"))
            .and_then(|()| fs::rename(&draft, path))
            .with_context(|| format!("cannot write `{}` (--pid-file)", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let written = fs::read_to_string(&self.0).unwrap_or_default();
        if written.trim_end() == std::process::id().to_string() {
            // A file that cannot be removed names a process that has ended,
            // which whoever reads it has to expect anyway.
            let _ = fs::remove_file(&self.0);
        }
    }
}
