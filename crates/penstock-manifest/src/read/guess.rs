//! What a document seems to be when it does not say so properly.

use crate::kind;
use crate::node::{Entry, Map, Node, Position, Value};
use crate::read::FilePath;
use crate::resource::{ResourceKey, SYSTEM_NAMESPACE};

/// Whether a document that cannot be read may be a WasmPlugin: its folder
/// says so, or its text has the word.
pub(super) fn may_be_wasm_plugin(path: &FilePath, text: &str) -> bool {
    path.is_for_wasm_plugins()
        || contains_ignoring_case(text, "wasmplugin")
        || contains_ignoring_case(text, "extensions.higress.io")
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// The key of a document whose text does not parse, from the lines that look
/// like `kind:` and `metadata.name:`, else from the path.
pub(super) fn key(path: &FilePath, text: &str, is_single: bool) -> Option<ResourceKey> {
    let from_path = if is_single { path.key() } else { None };
    let lines = Lines::scan(text);
    let kind = match lines.kind {
        Some(kind) => kind::by_kind(kind)?.kind,
        None => path.folder_kind()?.kind,
    };
    match lines.name {
        Some(name) => {
            Some(ResourceKey::new(kind, lines.namespace.unwrap_or(SYSTEM_NAMESPACE), name))
        }
        None => from_path.filter(|key| &*key.kind == kind),
    }
}

/// The lines that name a resource, found without a parser.
#[derive(Default)]
struct Lines<'t> {
    kind: Option<&'t str>,
    name: Option<&'t str>,
    namespace: Option<&'t str>,
}

impl<'t> Lines<'t> {
    fn scan(text: &'t str) -> Self {
        let mut found = Self::default();
        let mut is_in_metadata = false;
        let mut indentation = None;
        for line in text.lines() {
            let content = line.trim_start_matches(' ');
            let indent = line.len() - content.len();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if indent == 0 {
                is_in_metadata = content.trim_end() == "metadata:";
                indentation = None;
                if let Some(value) = content.strip_prefix("kind:") {
                    found.kind = found.kind.or(word(value));
                }
            } else if is_in_metadata && *indentation.get_or_insert(indent) == indent {
                if let Some(value) = content.strip_prefix("name:") {
                    found.name = found.name.or(word(value));
                } else if let Some(value) = content.strip_prefix("namespace:") {
                    found.namespace = found.namespace.or(word(value));
                }
            }
        }
        found
    }
}

/// The one word that a value is, quoted or not.
fn word(value: &str) -> Option<&str> {
    let value = value.split(" #").next().unwrap_or_default().trim();
    let value = value.trim_matches(['"', '\'']);
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!value.is_empty() && value.chars().all(is_word)).then_some(value)
}

/// What an item of a typed list has without saying it.
#[derive(Clone)]
pub(super) struct Inherited {
    kind: Box<str>,
    api_version: Box<str>,
    at: Position,
}

/// The documents that a list of documents holds: a JSON array, `kind: List`,
/// or `kind: IngressList` and the like. Any other root comes back.
pub(super) fn into_items(root: Node) -> Result<Vec<(Node, Option<Inherited>)>, Node> {
    if let Value::List(items) = root.value {
        return Ok(items.into_iter().map(|item| (item, None)).collect());
    }
    let text = |key: &str| root.get(key).and_then(Node::as_str).unwrap_or_default();
    let Some(element) = text("kind").strip_suffix("List") else { return Err(root) };
    let is_list_of_known = element.is_empty() || kind::by_kind(element).is_some();
    if !is_list_of_known || root.get("items").and_then(Node::as_list).is_none() {
        return Err(root);
    }
    let inherited = (!element.is_empty()).then(|| Inherited {
        kind: element.into(),
        api_version: text("apiVersion").into(),
        at: root.at,
    });
    let items = match root.value {
        Value::Map(mut map) => map.remove("items").map(|items| items.value),
        _ => None,
    };
    match items {
        Some(Value::List(items)) => {
            Ok(items.into_iter().map(|item| (item, inherited.clone())).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// An item with the kind and apiVersion of its list where it has none.
pub(super) fn with_inherited(mut item: Node, inherited: Option<Inherited>) -> Node {
    if let (Some(inherited), Value::Map(map)) = (inherited, &mut item.value) {
        let at = inherited.at;
        add_absent(map, "kind", inherited.kind, at);
        add_absent(map, "apiVersion", inherited.api_version, at);
    }
    item
}

/// Puts a text at the beginning of a mapping that does not have the key.
pub(super) fn add_absent(map: &mut Map, key: &str, text: Box<str>, at: Position) {
    if map.get(key).is_none() {
        let node = Node { value: Value::String(text), at };
        map.entries.insert(0, Entry { key: key.into(), key_at: at, node });
    }
}
