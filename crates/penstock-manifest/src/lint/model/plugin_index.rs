//! Which rules of a plugin can take a request, without looking at all.

use std::collections::HashMap;

use super::plugins::{Request, matches};
use super::services::split_service;
use crate::kind::wasm_plugin::MatchRule;

/// The places of rules in their list, by what they name.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    by_ingress: HashMap<Box<str>, Vec<usize>>,
    by_service: HashMap<String, Vec<usize>>,
    /// Rules that name domains or beginnings of routes and no Ingress;
    /// patterns cannot be looked up.
    by_domain: Vec<usize>,
}

impl RuleIndex {
    pub(super) fn new(rules: &[MatchRule<'_>]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            for name in &rule.ingress {
                index.by_ingress.entry((*name).into()).or_default().push(place);
            }
            if !rule.ingress.is_empty() {
                continue;
            }
            if !rule.domain.is_empty() || !rule.route_prefix.is_empty() {
                index.by_domain.push(place);
            }
            for service in &rule.service {
                let host = split_service(service).0.to_ascii_lowercase();
                index.by_service.entry(host).or_default().push(place);
            }
        }
        index
    }

    /// The first rule that names an Ingress.
    pub(super) fn first_of_ingress<'m, 'a>(
        &self,
        rules: &'m [MatchRule<'a>],
        name: &str,
    ) -> Option<&'m MatchRule<'a>> {
        rules.get(*self.by_ingress.get(name)?.first()?)
    }

    /// The first rule that takes a request.
    pub(super) fn first<'m, 'a>(
        &self,
        rules: &'m [MatchRule<'a>],
        request: &Request<'_>,
        is_go: bool,
    ) -> Option<&'m MatchRule<'a>> {
        let takes =
            |place: &&usize| rules.get(**place).is_some_and(|rule| matches(rule, request, is_go));
        let by_ingress = self.by_ingress.get(request.route);
        let by_service = self.by_service.get(&request.service.to_ascii_lowercase());
        let places = [by_ingress, by_service, Some(&self.by_domain)];
        let first =
            places.into_iter().flatten().filter_map(|places| places.iter().find(takes)).min()?;
        rules.get(*first)
    }
}
