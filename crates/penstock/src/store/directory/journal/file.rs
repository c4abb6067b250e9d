//! A revision in a file: JSON lines, the record, the state after it, then a
//! line for each file.
//!
//! Invariant: what is read is what was written. A file that was cut short or
//! damaged is an error that names it.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use penstock_manifest::ledger::Ledger;
use penstock_manifest::redact::sha256_hex;
use serde::{Deserialize, Serialize};

use super::OWNER_ONLY;
use crate::store::revision::{Hashes, RECORD_VERSION, Record, Revised, RevisedFile};

/// The second line of a revision.
#[derive(Serialize, Deserialize)]
struct State<'a> {
    ledger: serde_json::Value,
    hashes: Cow<'a, Hashes>,
    /// How many lines follow.
    files: usize,
}

/// Writes a revision to a new file, which has still to be synced.
pub(super) fn write(path: &Path, revised: &Revised) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    let mut writer = io::BufWriter::new(file);
    serde_json::to_writer(&mut writer, &revised.record)?;
    writer.write_all(b"\n")?;
    let hashes = Cow::Borrowed(&revised.hashes);
    let files = revised.files.len();
    serde_json::to_writer(&mut writer, &State { ledger: revised.ledger.to_json(), hashes, files })?;
    for file in &revised.files {
        writer.write_all(b"\n")?;
        serde_json::to_writer(&mut writer, file)?;
    }
    writer.write_all(b"\n")?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A revision as a whole; none where there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<Revised>> {
    with(path, |reader| {
        let record = read_record(reader)?;
        let (ledger, hashes, count) = read_state(reader)?;
        let mut files: Vec<RevisedFile> = Vec::new();
        for line in reader.lines() {
            files.push(serde_json::from_str(&line?)?);
        }
        let is_whole = |file: &RevisedFile| file.after.as_deref().map(sha256_hex) == file.hash;
        match files.len() == count && files.iter().all(is_whole) {
            true => Ok(Revised { record, ledger, hashes, files }),
            false => Err(io::Error::other("it is not as it was written")),
        }
    })
}

/// Only the record of a revision.
pub(super) fn record(path: &Path) -> io::Result<Option<Record>> {
    with(path, read_record)
}

/// Only what holds after a revision.
pub(super) fn state(path: &Path) -> io::Result<Option<(Ledger, Hashes)>> {
    with(path, |reader| {
        read_record(reader)?;
        read_state(reader).map(|(ledger, hashes, _)| (ledger, hashes))
    })
}

/// Reads a file; whatever is wrong with it names it.
fn with<T>(
    path: &Path,
    read: impl FnOnce(&mut BufReader<File>) -> io::Result<T>,
) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
    };
    read(&mut BufReader::new(file)).map(Some).map_err(|error| named(path, &error))
}

/// The error with the file that it is about, and what to do.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("`{path}`: {error}"),
        _ => format!("`{path}` is damaged ({error}); move it away to go on without it"),
    };
    io::Error::new(error.kind(), message)
}

fn read_record(reader: &mut BufReader<File>) -> io::Result<Record> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let record: Record = serde_json::from_str(&line)?;
    if record.penstock_revision != RECORD_VERSION {
        return Err(io::Error::other("a later version of penstock wrote this revision"));
    }
    Ok(record)
}

fn read_state(reader: &mut impl BufRead) -> io::Result<(Ledger, Hashes, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let state: State<'_> = serde_json::from_str(&line)?;
    let ledger = Ledger::from_json(&state.ledger).map_err(io::Error::other)?;
    Ok((ledger, state.hashes.into_owned(), state.files))
}
