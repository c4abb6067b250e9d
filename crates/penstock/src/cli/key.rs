//! Keys and tokens as the verbs take them: made here, or read from files and
//! standard input. Never from arguments, which every process of the machine
//! can see.
//!
//! Invariant: no error contains what was read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, bail};

/// What a generated key begins with, for people and for tools that look for
/// secrets where there should be none.
const PREFIX: &str = "psk_";
/// The randomness of a generated key, in bytes.
const RANDOM_BYTES: usize = 32;
/// The largest file of keys or tokens, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A new key: [`PREFIX`] and hexadecimal digits from the system's randomness.
pub fn generate() -> anyhow::Result<String> {
    let mut random = [0; RANDOM_BYTES];
    if let Err(error) = getrandom::fill(&mut random) {
        bail!("the system gives no randomness: {error}");
    }
    Ok(random.iter().fold(PREFIX.to_owned(), |mut key, byte| {
        // Writing to a String cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    }))
}

/// The key that a file holds, or standard input for `-`.
pub fn read_key(source: &str) -> anyhow::Result<String> {
    let mut keys = read_tokens(source)?;
    match keys.pop() {
        Some(key) if keys.is_empty() => Ok(key),
        _ => bail!("{} holds more than one line; a key is one", shown(source)),
    }
}

/// The tokens that a file holds, or standard input for `-`: one in each line,
/// at least one. Empty lines do not count.
pub fn read_tokens(source: &str) -> anyhow::Result<Vec<String>> {
    let shown = shown(source);
    let text = read(source).with_context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("{shown} is larger than {FILE_BYTES_MAX} bytes");
    }
    let lines = text.lines().filter(|line| !line.is_empty());
    let tokens: Vec<String> = lines.map(str::to_owned).collect();
    // A blank is hardly ever meant, and a header loses those at its ends.
    let is_usable = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
    match tokens.iter().all(is_usable) {
        _ if tokens.is_empty() => bail!("{shown} is empty"),
        true => Ok(tokens),
        false => bail!("{shown} holds blanks, or characters that are not printable ASCII"),
    }
}

fn shown(source: &str) -> String {
    match source {
        "-" => "standard input".to_owned(),
        path => format!("`{path}`"),
    }
}

fn read(source: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let input: Box<dyn Read> = match source {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path)?),
    };
    input.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}
