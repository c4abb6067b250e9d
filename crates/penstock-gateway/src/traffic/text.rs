//! The change as lines for people. What happens to many alike is one line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use super::{
    Audience, ConsumerChange, Effect, Presence, RouteChange, RouteId, RouteView, Target, Traffic,
};

/// The lines of a section, and the names in a line; the rest is counted.
const LINES_MAX: usize = 20;
const NAMES_MAX: usize = 5;

impl Traffic {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.is_closed.0 == self.is_closed.1
            && self.routes.is_empty()
            && self.services.is_empty()
            && self.consumers.is_empty()
    }

    /// Lines for people, each with its end; empty where nothing changes. Long
    /// sections and lists end in `… and N more`.
    pub fn to_text(&self) -> String {
        let mut text = match self.is_closed {
            (before, Some(after)) if before != Some(after) => {
                format!("everything is closed from now on: {after}\n")
            }
            (Some(_), None) => "not everything is closed any more\n".to_owned(),
            _ => String::new(),
        };
        section(&mut text, "routes", self.route_lines());
        let services = self.services.iter();
        let services = services.map(|s| format!("~ {}: {} -> {}", s.service, s.before, s.after));
        section(&mut text, "services", services.collect());
        section(&mut text, "consumers", self.consumers.iter().map(consumer_line).collect());
        if self.is_told_by_route {
            text +=
                "who gains or loses which route is too much to tell by consumer: see the routes\n";
        }
        text
    }

    /// Routes to which the same happens, in one line, where the first one
    /// stands.
    fn route_lines(&self) -> Vec<String> {
        let mut places: BTreeMap<(char, String), usize> = BTreeMap::new();
        let mut lines: Vec<(char, String, Vec<&RouteId>)> = Vec::new();
        for change in &self.routes {
            let (sign, what) = (change.sign(), change.what(self.is_told_by_route).join("; "));
            let place = *places.entry((sign, what.clone())).or_insert(lines.len());
            match lines.get_mut(place) {
                Some((_, _, routes)) => routes.push(&change.route),
                None => lines.push((sign, what, vec![&change.route])),
            }
        }
        let line = |(sign, what, routes): (char, String, Vec<_>)| {
            format!("{sign} {}: {what}", few(&routes))
        };
        lines.into_iter().map(line).collect()
    }
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    *text += &format!("{title}:\n");
    for line in lines.iter().take(LINES_MAX) {
        *text += &format!("  {line}\n");
    }
    if lines.len() > LINES_MAX {
        *text += &format!("  … and {} more\n", lines.len() - LINES_MAX);
    }
}

/// The first few, and how many more there are.
fn few<T: Display>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} … and {more} more", shown.join(", ")),
    }
}

impl RouteChange {
    fn sign(&self) -> char {
        match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }

    /// What happens, one sentence each; `with_names`: also where a route for
    /// some consumers is for others.
    pub(super) fn what(&self, with_names: bool) -> Vec<String> {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => changed(before, after, with_names),
            (Some(view), None) | (None, Some(view)) => {
                vec![format!("for {}", view.audience.text()), targets_text(&view.targets)]
            }
            (None, None) => Vec::new(),
        }
    }
}

fn changed(before: &RouteView, after: &RouteView, with_names: bool) -> Vec<String> {
    let mut what = Vec::new();
    let is_for_others = match with_names {
        true => before.audience != after.audience,
        false => before.audience.kind() != after.audience.kind() || closed_otherwise(before, after),
    };
    if is_for_others {
        what.push(audience_change(&before.audience, &after.audience));
    }
    let places = |view: &RouteView| -> Vec<_> {
        view.targets.iter().map(|target| (target.service.clone(), target.weight)).collect()
    };
    if places(before) != places(after) {
        let (old, new) = (targets_text(&before.targets), targets_text(&after.targets));
        what.push(format!("{old} -> {new}"));
    }
    if before.upstream_host != after.upstream_host {
        let shown = |view: &RouteView| match &view.upstream_host {
            Some(host) => format!("`{host}`"),
            None => "the client's".to_owned(),
        };
        what.push(format!("upstream host {} -> {}", shown(before), shown(after)));
    }
    let only_in = |one: &RouteView, other: &RouteView| -> Vec<String> {
        one.policy.iter().filter(|said| !other.policy.contains(said)).cloned().collect()
    };
    what.extend(only_in(before, after).into_iter().map(|said| format!("no longer {said}")));
    what.extend(only_in(after, before).into_iter().map(|said| format!("now {said}")));
    let is_closed = |view: &RouteView| matches!(view.audience, Audience::Nobody(_));
    let is_told = is_closed(before) || is_closed(after);
    let is_single = after.targets.len() == 1;
    for new in &after.targets {
        let Some(old) = before.targets.iter().find(|old| old.service == new.service) else {
            continue;
        };
        let sentences = target_change(old, new, is_told);
        what.extend(sentences.into_iter().map(|sentence| match is_single {
            true => sentence,
            false => format!("{}: {sentence}", service_text(new)),
        }));
    }
    if what.is_empty() {
        what.push("its targets are closed for other reasons".to_owned());
    }
    what
}

fn closed_otherwise(before: &RouteView, after: &RouteView) -> bool {
    matches!(
        (&before.audience, &after.audience),
        (Audience::Nobody(old), Audience::Nobody(new)) if old != new
    )
}

impl Audience {
    /// `anybody`, `anyKey`, `everyConsumer`, `consumers` or `nobody`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::AnyKey => "anyKey",
            Self::EveryConsumer(_) => "everyConsumer",
            Self::Consumers(_) => "consumers",
            Self::Nobody(_) => "nobody",
        }
    }

    /// `anybody`, `ada, bob`, `nobody (REASON)`, …
    pub fn text(&self) -> String {
        match self {
            Self::Anybody => "anybody, without a key".to_owned(),
            Self::AnyKey => "anybody with a key".to_owned(),
            Self::EveryConsumer(_) => "every consumer".to_owned(),
            Self::Consumers(names) if names.is_empty() => "no consumer".to_owned(),
            Self::Consumers(names) => few(names),
            Self::Nobody(reason) => format!("nobody (503: {reason})"),
        }
    }
}

fn audience_change(before: &Audience, after: &Audience) -> String {
    match (before, after) {
        (_, Audience::Anybody) => "now open to anybody, without a key".to_owned(),
        (_, Audience::Nobody(reason)) => format!("now closed: {reason}"),
        (Audience::Anybody, after) => format!("now needs a key: for {}", after.text()),
        (Audience::Nobody(_), after) => format!("no longer closed: for {}", after.text()),
        (_, after) => format!("now for {}", after.text()),
    }
}

fn service_text(target: &Target) -> &str {
    target.service.as_deref().unwrap_or("no service (503)")
}

fn targets_text(targets: &[Target]) -> String {
    let shown: Vec<String> = targets
        .iter()
        .map(|target| match target.weight {
            100 => format!("to {}", service_text(target)),
            weight => format!("{weight}% to {}", service_text(target)),
        })
        .collect();
    few(&shown)
}

/// `is_told`: the route as a whole closes, or does no longer.
fn target_change(before: &Target, after: &Target, is_told: bool) -> Vec<String> {
    let mut what = Vec::new();
    match (&before.closed, &after.closed) {
        (old, Some(new)) if old.as_ref() != Some(new) => what.push(format!("now closed: {new}")),
        (Some(_), None) => what.push("no longer closed".to_owned()),
        _ => {}
    }
    if is_told {
        what.clear();
    }
    let find = |effects: &[Arc<Effect>], plugin: &str| {
        effects.iter().find(|effect| *effect.plugin == *plugin).cloned()
    };
    for old in &before.effects {
        match find(&after.effects, &old.plugin) {
            Some(new) => what.extend(effect_change(old, &new)),
            None => what.push(match &old.destination.provider {
                Some((id, _)) => format!("no provider any more, instead of `{id}`"),
                None => format!("no {} any more", old.plugin),
            }),
        }
    }
    let is_new = |effect: &&Arc<Effect>| find(&before.effects, &effect.plugin).is_none();
    for new in after.effects.iter().filter(is_new) {
        what.push(match &new.destination.provider {
            Some((id, kind)) => format!("now with provider `{id}` ({kind})"),
            None => format!("now with {}", new.plugin),
        });
        what.extend(models_change(&[], &new.destination.models));
    }
    what
}

fn effect_change(before: &Effect, after: &Effect) -> Vec<String> {
    let (old, new) = (&before.destination, &after.destination);
    let mut what = Vec::new();
    if let (Some((old, _)), Some((new, kind))) = (&old.provider, &new.provider)
        && before.destination.provider != after.destination.provider
    {
        what.push(format!("provider `{old}` -> `{new}` ({kind})"));
    } else if old.fingerprint != new.fingerprint {
        let whose = match &new.provider {
            Some((id, _)) => format!("provider `{id}`"),
            None => after.plugin.to_string(),
        };
        what.push(format!("other settings of {whose} change"));
    }
    what.extend(models_change(&old.models, &new.models));
    what
}

type Models = [(Box<str>, Box<str>)];

fn models_change(before: &Models, after: &Models) -> Option<String> {
    let old: BTreeMap<&str, &str> =
        before.iter().map(|(asked, name)| (&**asked, &**name)).collect();
    let new: BTreeMap<&str, &str> = after.iter().map(|(asked, name)| (&**asked, &**name)).collect();
    let set = new.iter().filter(|(asked, name)| old.get(*asked) != Some(*name));
    let set = set.map(|(asked, name)| match name.is_empty() {
        true => format!("`{asked}` stays"),
        false => format!("`{asked}` -> `{name}`"),
    });
    let removed = old.keys().filter(|asked| !new.contains_key(*asked));
    let removed = removed.map(|asked| format!("`{asked}` not any more"));
    let all: Vec<String> = set.chain(removed).collect();
    (!all.is_empty()).then(|| format!("models {}", few(&all)))
}

fn consumer_line(change: &ConsumerChange) -> String {
    let (sign, presence) = match change.presence {
        Presence::Stays => ('~', ""),
        Presence::Comes => ('+', " (new)"),
        Presence::Goes => ('-', " (gone)"),
    };
    let mut what = Vec::new();
    if change.has_other_credentials {
        what.push("credentials change".to_owned());
    }
    if !change.gains.is_empty() {
        what.push(format!("may use {}", few(&change.gains)));
    }
    if !change.loses.is_empty() {
        what.push(format!("may no longer use {}", few(&change.loses)));
    }
    if what.is_empty() {
        what.push("no route more or less".to_owned());
    }
    format!("{sign} {}{presence}: {}", few(&change.consumers), what.join("; "))
}
