//! Where a text is from, in Anthropic's words, which the pivot has for it.

use serde_json::{Map, Value};

/// Bedrock's citation as Anthropic has it; `None` for what it has no word for.
pub(super) fn citation_of(mut citation: Value) -> Option<Value> {
    let mut location = citation.get_mut("location").map(Value::take)?;
    let mut take = |key: &str| citation.get_mut(key).map(Value::take).filter(|v| !v.is_null());
    let title = take("title").unwrap_or_default();
    let cited: String = match take("sourceContent") {
        Some(Value::Array(list)) => {
            list.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    };
    let (kind, place) = location.as_object_mut()?.iter_mut().next()?;
    let (name, ends) = match kind.as_str() {
        "documentChar" => ("char_location", ["start_char_index", "end_char_index"]),
        "documentPage" => ("page_location", ["start_page_number", "end_page_number"]),
        "documentChunk" => ("content_block_location", ["start_block_index", "end_block_index"]),
        "web" => ("web_search_result_location", ["", ""]),
        _ => return None,
    };
    let mut member = |key: &str| place.get_mut(key).map(Value::take).unwrap_or_default();
    let mut found = Map::new();
    found.insert("type".into(), name.into());
    found.insert("cited_text".into(), cited.into());
    if kind == "web" {
        found.insert("url".into(), member("url"));
        found.insert("title".into(), title);
    } else {
        found.insert("document_index".into(), member("documentIndex"));
        found.insert("document_title".into(), title);
        for (to, from) in ends.into_iter().zip(["start", "end"]) {
            found.insert(to.into(), member(from));
        }
    }
    Some(Value::Object(found))
}
