//! Intents as verbs read them: files, directories, standard input.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use penstock_manifest::diagnostic::INTENT_SECRET;
use penstock_manifest::intent::secret::{Lookup, resolve};
use penstock_manifest::intent::{self, Intent, IntentFile};
use penstock_manifest::{Diagnostic, Resource, Severity};

use crate::cli::lint_output;
use crate::target::key_of;

/// The largest value that `${file:…}` reads, in bytes.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Reads the intent that `-f` names: files, directories with files, or `-`.
/// Findings go to standard error; an error among them ends the verb.
pub fn read(sources: &[String]) -> anyhow::Result<Intent> {
    let (intent, diagnostics) = parse(&self::sources(sources)?);
    report(&diagnostics, "the intent cannot be used")?;
    Ok(intent)
}

fn parse(files: &[(String, String)]) -> (Intent, Vec<Diagnostic>) {
    intent::parse(files.iter().map(|(name, text)| IntentFile { name, text }))
}

/// The names and texts of what `-f` names.
pub fn sources(sources: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for source in sources {
        read_source(source, &mut files)?;
    }
    Ok(files)
}

/// The values that an intent's references to the environment and to files
/// have here, by `env:NAME` and `file:PATH`. One that cannot be read is an
/// error: what refers to it would lose its secret.
pub fn secret_values(files: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let may_refer = |(_, text): &(String, String)| text.contains("${");
    if !files.iter().any(may_refer) {
        return Ok(BTreeMap::new());
    }
    let (intent, diagnostics) = parse(files);
    // The target says the rest again.
    if diagnostics.iter().any(|found| found.severity == Severity::Error) {
        eprint!("{}", lint_output::text(&diagnostics));
        bail!("the intent cannot be used");
    }
    let mut values = BTreeMap::new();
    let (_, diagnostics) = resolve(&intent, |lookup| {
        let value = look_up(lookup)?;
        values.insert(key_of(lookup), value.clone());
        Ok(value)
    });
    eprint!("{}", lint_output::text(&diagnostics));
    match diagnostics.is_empty() {
        true => Ok(values),
        false => bail!("the secrets of the intent cannot be used"),
    }
}

fn read_source(source: &str, files: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    if source == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("reading standard input")?;
        files.push(("<stdin>".to_owned(), text));
        return Ok(());
    }
    let path = Path::new(source);
    if !path.is_dir() {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{source}`"))?;
        files.push((source.to_owned(), text));
        return Ok(());
    }
    for name in find(path)? {
        let shown = name.display().to_string();
        let text = fs::read_to_string(&name).with_context(|| format!("cannot read `{shown}`"))?;
        files.push((shown, text));
    }
    Ok(())
}

/// The files of YAML and JSON in a directory and in those below it, sorted; a
/// path that is no directory is a file. Names that begin with a dot are left
/// out.
pub fn find(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    find_below(path, &mut files)?;
    if files.is_empty() {
        bail!("`{}` holds no .yaml, .yml or .json file", path.display());
    }
    Ok(files)
}

/// A link to a directory is not followed: it may lead round in circles.
fn find_below(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let unreadable = || format!("cannot read `{}`", path.display());
    let mut entries = fs::read_dir(path)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .with_context(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.path();
        if is_hidden(&name) {
            continue;
        }
        if entry.file_type().with_context(unreadable)?.is_dir() {
            find_below(&name, files)?;
        } else if has_extension(&name) && name.is_file() {
            files.push(name);
        }
    }
    Ok(())
}

/// Whether a name is that of YAML or JSON.
fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|end| {
        ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known))
    })
}

/// Whether a name begins with a dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The Secrets that an intent's references to the environment and to files
/// become, as far as they can be read here: the manifests only name them, so
/// that one which cannot is a warning.
pub fn secrets(intent: &Intent) -> anyhow::Result<Vec<Resource>> {
    let (resources, mut diagnostics) = resolve(intent, look_up);
    for diagnostic in &mut diagnostics {
        if *diagnostic.code == INTENT_SECRET {
            diagnostic.severity = Severity::Warning;
        }
    }
    report(&diagnostics, "the secrets of the intent cannot be used")?;
    Ok(resources)
}

#[expect(clippy::disallowed_methods, reason = "an intent names the variable; it is no setting")]
fn look_up(lookup: Lookup<'_>) -> Result<String, String> {
    match lookup {
        Lookup::Env(name) => match std::env::var(name) {
            Ok(value) => Ok(value),
            Err(std::env::VarError::NotPresent) => Err("is not set".to_owned()),
            Err(std::env::VarError::NotUnicode(_)) => Err("is not text".to_owned()),
        },
        Lookup::File(path) => {
            let refused = |error: io::Error| format!("cannot be read: {error}");
            let file = fs::File::open(path).map_err(refused)?;
            let mut text = String::new();
            let read =
                file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(refused)?;
            match u64::try_from(read) {
                Ok(read) if read <= SECRET_BYTES_MAX => Ok(text),
                _ => Err("is larger than a secret may be".to_owned()),
            }
        }
    }
}

/// Prints findings; an error among them becomes the verb's.
pub fn report(diagnostics: &[Diagnostic], failure: &str) -> anyhow::Result<()> {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}");
    }
    if diagnostics.iter().any(|found| found.severity == Severity::Error) {
        bail!("{failure}");
    }
    Ok(())
}
