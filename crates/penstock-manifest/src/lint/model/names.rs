//! Which existing name was meant by one that does not exist.

use crate::diagnostic::nearest;

/// The parts of a derived name that say nothing about which one it is.
const PREFIXES: &[&str] = &["ai-route-", "domain-", "llm-"];
const SUFFIXES: &[&str] = &[".dns", ".static", ".svc.cluster.local", ".internal", ".fallback"];

/// How many names a hint lists at most.
const LISTED_MAX: usize = 4;

/// How many candidates are compared whatever they begin with.
const COMPARED_MAX: usize = 1000;
/// How many letters a slip of the pen changes at most.
const TYPO_MAX: usize = 2;

/// The candidate that was most likely meant: one of which the name is a
/// longer or shorter form, else the most similar one.
pub(crate) fn closest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    let wanted = core(name);
    let initial = wanted.chars().next();
    let is_few = candidates.len() <= COMPARED_MAX;
    let compared = || {
        let all = candidates.iter().map(|candidate| (core(candidate), *candidate));
        all.filter(move |(core, _)| is_few || core.chars().next() == initial)
    };
    let is_form =
        |core: &str| extends_at_boundary(wanted, core) || extends_at_boundary(core, wanted);
    let mut forms: Vec<(&str, &'n str)> = compared().filter(|(core, _)| is_form(core)).collect();
    if forms.is_empty() {
        forms = compared().collect();
    }
    if let [(_, only)] = forms.as_slice()
        && is_form(core(only))
    {
        return Some(only);
    }
    let likely = nearest(wanted, forms.iter().map(|(core, _)| *core))?;
    forms.iter().find(|(core, _)| *core == likely).map(|(_, candidate)| *candidate)
}

/// The candidate that a name is a misspelling of.
pub(crate) fn typo_of<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    candidates
        .iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= TYPO_MAX)
        .map(|candidate| (strsim::osa_distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= TYPO_MAX)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The closest candidate, or the only one there is.
pub(crate) fn meant<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    closest(name, candidates).or(match candidates {
        [only] => Some(only),
        _ => None,
    })
}

/// A hint that names the closest candidate, else the candidates if they are
/// few.
pub(crate) fn did_you_mean(name: &str, candidates: &[&str]) -> Option<String> {
    if let Some(closest) = closest(name, candidates) {
        return Some(format!("did you mean `{closest}`?"));
    }
    match candidates {
        [] => None,
        [only] => Some(format!("the only one is `{only}`")),
        many if many.len() <= LISTED_MAX => Some(format!("there are {}", listed(many))),
        _ => None,
    }
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
