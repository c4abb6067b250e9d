//! Which existing name was meant by one that does not exist.

use std::cell::Cell;

use crate::diagnostic::nearest;

/// The parts of a derived name that say nothing about which one it is.
const PREFIXES: &[&str] = &["ai-route-", "domain-", "llm-"];
const SUFFIXES: &[&str] = &[".dns", ".static", ".svc.cluster.local", ".internal", ".fallback"];

/// How many names a hint lists at most.
const LISTED_MAX: usize = 4;

/// How many letters a slip of the pen changes at most.
const TYPO_MAX: usize = 2;
/// How many comparisons one list of names is good for.
const COMPARISONS_MAX: usize = 500_000;

/// Names that exist, to be asked which of them was meant by others that do
/// not. After many comparisons it has no answer any more, so that thousands
/// of dangling names among thousands of others do not take minutes.
#[derive(Debug)]
pub(crate) struct Candidates<'n> {
    /// Sorted, each once.
    pub(crate) names: Vec<&'n str>,
    budget: Budget,
}

impl<'n> Candidates<'n> {
    pub(crate) fn new(names: impl Iterator<Item = &'n str>) -> Self {
        let mut names: Vec<&'n str> = names.collect();
        names.sort_unstable();
        names.dedup();
        Self { names, budget: Budget::default() }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.binary_search(&name).is_ok()
    }

    /// See [`closest`].
    pub(crate) fn closest(&self, name: &str) -> Option<&'n str> {
        if self.budget.allows(self.names.len()) { closest(name, &self.names) } else { None }
    }

    /// See [`typo_of`].
    pub(crate) fn typo_of(&self, name: &str) -> Option<&'n str> {
        if self.budget.allows(self.names.len()) { typo_of(name, &self.names) } else { None }
    }

    /// The closest candidate, or the only one there is.
    pub(crate) fn meant(&self, name: &str) -> Option<&'n str> {
        self.closest(name).or(match self.names.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }

    /// A hint that names the closest candidate; else the candidates if they
    /// are few, or the nearest of them.
    pub(crate) fn did_you_mean(&self, name: &str) -> Option<String> {
        if let Some(closest) = self.closest(name) {
            return Some(format!("did you mean `{closest}`?"));
        }
        match self.names.as_slice() {
            [] => None,
            [only] => Some(format!("the only one is `{only}`")),
            many if many.len() <= LISTED_MAX => Some(format!("there are {}", listed(many))),
            many if self.budget.allows(many.len()) => {
                let likeness = |candidate: &&&str| strsim::jaro_winkler(name, candidate);
                let nearest = many.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
                Some(format!("the nearest is `{nearest}`"))
            }
            _ => None,
        }
    }
}

/// How many comparisons may still be made.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(COMPARISONS_MAX))
    }
}

impl Budget {
    /// Takes the comparisons off, if they are left.
    pub(super) fn allows(&self, comparisons: usize) -> bool {
        let left = self.0.get().checked_sub(comparisons);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// The candidate that was most likely meant: one of which the name is a
/// longer or shorter form, else the most similar one.
pub(crate) fn closest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    let wanted = core(name);
    let cores = || candidates.iter().map(|candidate| (core(candidate), *candidate));
    let is_form =
        |core: &str| extends_at_boundary(wanted, core) || extends_at_boundary(core, wanted);
    let forms: Vec<(&str, &'n str)> = cores().filter(|(core, _)| is_form(core)).collect();
    let compared = match forms.as_slice() {
        [(_, only)] => return Some(only),
        [] => cores().collect(),
        _ => forms,
    };
    let likely = nearest(wanted, compared.iter().map(|(core, _)| *core))?;
    compared.iter().find(|(core, _)| *core == likely).map(|(_, candidate)| *candidate)
}

/// The candidate that a name is a misspelling of.
fn typo_of<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    candidates
        .iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= TYPO_MAX)
        .map(|candidate| (strsim::osa_distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= TYPO_MAX)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b` and `c` ``, cut off after a few.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<String> =
        names.iter().take(LISTED_MAX).map(|name| format!("`{}`", name.as_ref())).collect();
    match (shown.as_slice(), names.len().saturating_sub(LISTED_MAX)) {
        ([], _) => "nothing".to_owned(),
        ([only], _) => only.clone(),
        ([start @ .., last], 0) => format!("{} and {last}", start.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// `"…"` and then another clause of a hint, where there is one.
pub(crate) fn also(first: String, second: Option<String>) -> String {
    match second {
        Some(second) => format!("{first}; {second}"),
        None => first,
    }
}

fn core(name: &str) -> &str {
    let name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let mut core = name;
    while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| core.strip_suffix(suffix)) {
        core = shorter;
    }
    if core.is_empty() { name } else { core }
}

/// Whether `long` is `short` with something more before or after it, set off
/// by a hyphen, a dot or an underscore.
fn extends_at_boundary(long: &str, short: &str) -> bool {
    let is_boundary = |c: char| matches!(c, '-' | '.' | '_');
    !short.is_empty()
        && (long == short
            || long.strip_prefix(short).is_some_and(|rest| rest.starts_with(is_boundary))
            || long.strip_suffix(short).is_some_and(|rest| rest.ends_with(is_boundary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(closest(name, candidates), expected, "{name}");
    }

    #[test]
    fn a_longer_form_wins_over_likeness() {
        check(
            "llm-orchid-provider.internal.dns",
            &["llm-provider-x.internal.dns", "llm-orchid.internal.dns"],
            Some("llm-orchid.internal.dns"),
        );
        check("orchid-provider", &["orchard-provider", "orchid"], Some("orchid"));
        check(
            "llm-orchid.internal",
            &["llm-orchid.internal.dns", "llm-o.internal.dns"],
            Some("llm-orchid.internal.dns"),
        );
    }

    #[test]
    fn likeness_decides_otherwise() {
        check("orchdi", &["orchid", "lily"], Some("orchid"));
        check("entirely-other", &["orchid", "lily"], None);
        check("x", &[], None);
    }

    #[test]
    fn names_are_listed_as_prose() {
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(listed(&["a", "b", "c", "d", "e", "f"]), "`a`, `b`, `c`, `d` and 2 more");
    }
}
