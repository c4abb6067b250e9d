use proptest::prelude::*;

use super::*;

/// One line per document: its value as JSON, or its error.
fn outcome(text: &str) -> String {
    let line = |document: &Document| match &document.result {
        Ok(node) => node.to_json().to_string(),
        Err(error) => {
            format!("error {:?} {}:{} {error}", error.kind, error.at.line, error.at.column)
        }
    };
    parse(text).iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A line of JSON as a value, so that neither `1e3` nor the order of keys
/// matters; an error as its text.
fn value_of(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|_| line.into())
}

#[test]
fn conformance() {
    let table = include_str!("conformance.txt");
    let mut failures = String::new();
    for case in table.split("\n=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---------->").unwrap();
        let text = text.replace('⏎', "\r").replace('⇥', "\t").replace('␠', " ");
        let actual = outcome(&text);
        let values = |lines: &str| lines.trim().lines().map(value_of).collect::<Vec<_>>();
        if values(&actual) != values(expected) {
            failures += &format!("=== {name}\nexpected:{expected}actual:\n{actual}\n");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn check(text: &str, expected: &str) {
    assert_eq!(outcome(text), expected, "{text:?}");
}

#[test]
fn what_a_text_file_cannot_hold() {
    check("\u{feff}a: 1\n", r#"{"a":1}"#);
    check("\u{feff}# x\n---\na: 1\n", r#"{"a":1}"#);
    check("a: 1\r---\rb: 2\r", "{\"a\":1}\n{\"b\":2}");
    check(
        "a: 1\r\n---\r\nb: [\r\n---\r\nc: 3",
        "{\"a\":1}\nerror Syntax 4:1 while parsing a node, did not find expected node content\n{\"c\":3}",
    );
    check("", "");
    check("\n \t\n# x", "");
    check("--- x", "\"x\"");
    check("---", "");
    check("...", "");
    check("a: 1\n...", r#"{"a":1}"#);
}

/// Every position of a document, as `path line:column`.
fn positions(node: &Node, path: &str, out: &mut Vec<String>) {
    out.push(format!("{path} {}:{}", node.at.line, node.at.column));
    match &node.value {
        Value::List(list) => {
            for (index, item) in list.iter().enumerate() {
                positions(item, &format!("{path}[{index}]"), out);
            }
        }
        Value::Map(map) => {
            for entry in &map.entries {
                let path = format!("{path}.{}", entry.key);
                out.push(format!("{path}: {}:{}", entry.key_at.line, entry.key_at.column));
                positions(&entry.node, &path, out);
            }
        }
        _ => {}
    }
}

fn check_positions(text: &str, expected: &str) {
    let mut out = Vec::new();
    for document in parse(text) {
        out.push(format!("# {}:{}", document.at.line, document.at.column));
        positions(document.result.as_ref().unwrap(), "", &mut out);
    }
    assert_eq!(out.join("\n"), expected, "{text}");
}

#[test]
fn positions_are_those_of_the_file() {
    check_positions("# c\n\na: 1\n", "# 3:1\n 3:1\n.a: 3:1\n.a 3:4");
    check_positions(
        "x: 1\n---\n\n# c\né: {ü: y}\n",
        "# 1:1\n 1:1\n.x: 1:1\n.x 1:4\n# 5:1\n 5:1\n.é: 5:1\n.é 5:4\n.é.ü: 5:5\n.é.ü 5:8",
    );
    check_positions("\u{feff}a: b", "# 1:1\n 1:1\n.a: 1:1\n.a 1:4");
    check_positions("a: |\n\n   x\n", "# 1:1\n 1:1\n.a: 1:1\n.a 2:4");
    check_positions("a: >-\n  x\n  y\n", "# 1:1\n 1:1\n.a: 1:1\n.a 2:3");
    check_positions(
        "a:\n\n# c\n\nb:\n- \n",
        "# 1:1\n 1:1\n.a: 1:1\n.a 1:1\n.b: 5:1\n.b 6:3\n.b[0] 6:3",
    );
    check_positions("---  {a: 1}", "# 1:6\n 1:6\n.a: 1:7\n.a 1:10");
    check_positions(
        "a: 1\r\n---\r\nb: 2\r\n",
        "# 1:1\n 1:1\n.a: 1:1\n.a 1:4\n# 3:1\n 3:1\n.b: 3:1\n.b 3:4",
    );
}

#[test]
fn a_value_inside_a_value_keeps_its_place() {
    let text = "data:\n  data: |-\n    {\n      \"a\": 1,\n      \"b\": [}\n    }\n";
    let documents = parse(text);
    let outer = documents[0].result.as_ref().unwrap();
    let data = outer.get("data").unwrap().get("data").unwrap();
    let error = parse_value(data.as_str().unwrap(), data.at).unwrap_err();
    assert_eq!(error.at, Position::new(5, 13));
    let node = parse_value("{\n  \"a\": 1\n}", data.at).unwrap();
    assert_eq!(node.get("a").unwrap().at, Position::new(4, 12));
    assert!(parse_value("", data.at).unwrap().is_null());
    assert!(parse_value("a: 1\n---\nb: 1", data.at).is_err());
    let unknown = parse_value("a: 1", Position::default()).unwrap();
    assert_eq!(unknown.get("a").unwrap().at, Position::default());
}

#[test]
fn ranges_cover_the_documents() {
    let text = "\u{feff}a: 1\n---\n# x\n---\nb: [\n...\n# y\n%YAML 1.1\n--- c\n";
    let ranges: Vec<&str> =
        parse(text).into_iter().map(|document| &text[document.text_range]).collect();
    assert_eq!(ranges, ["a: 1\n", "---\nb: [\n", "# y\n%YAML 1.1\n--- c\n"]);
}

#[track_caller]
fn check_limit(text: &str) {
    let documents = parse(text);
    let error = documents[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind, YamlErrorKind::Limit, "{error}");
}

#[test]
fn bombs_are_refused() {
    let laughs: String = (1..20)
        .map(|level| {
            format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(","))
        })
        .collect();
    check_limit(&format!("a0: &a0 lol\n{laughs}"));
    let big = "x".repeat(1 << 20);
    check_limit(&format!("a: &a {big}\nb: [{}]", vec!["*a"; 100].join(",")));
    check_limit(&"[".repeat(200));
    check_limit(&(0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>());
    let chain: String =
        (1..200).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    check_limit(&format!("a0: &a0 x\n{chain}"));
    let merges: String = (1..200)
        .map(|level| format!("a{level}: &a{level} {{<<: *a{}, k{level}: 1}}\n", level - 1))
        .collect();
    assert!(parse(&format!("a0: &a0 {{}}\n{merges}"))[0].result.is_ok());
}

#[test]
fn what_is_nearly_too_deep_is_read() {
    let text = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert!(parse(&text)[0].result.is_ok());
    let text = (0..20_000).map(|n| format!("k{n}: {n}\n")).collect::<String>();
    assert_eq!(parse(&text)[0].result.as_ref().unwrap().as_map().unwrap().entries.len(), 20_000);
}

fn check_render(value: serde_json::Value, expected: &str) {
    let node = node_of(&value);
    let text = render(&node);
    assert_eq!(text, expected);
    assert_eq!(parse_value(&text, Position::default()).unwrap(), node);
}

fn node_of(value: &serde_json::Value) -> Node {
    parse_value(&value.to_string(), Position::default()).unwrap()
}

#[test]
fn rendering() {
    use serde_json::json;
    check_render(
        json!({"a": 1, "b": [], "c": {}, "d": null, "e": -1.5}),
        "a: 1\nb: []\nc: {}\nd: null\ne: -1.5\n",
    );
    check_render(
        json!({"spec": {"rules": [{"host": "x.test", "paths": [["a"], "b"]}]}}),
        "spec:\n  rules:\n  - host: x.test\n    paths:\n    - - a\n    - b\n",
    );
    check_render(
        json!({"1": "010", "on": "on", "true": "y"}),
        "\"1\": \"010\"\n\"on\": \"on\"\n\"true\": \"y\"\n",
    );
    check_render(
        json!(["2000-01-01T00:00:00Z", "1:20", "~", "", "1e3", "="]),
        "- \"2000-01-01T00:00:00Z\"\n- \"1:20\"\n- \"~\"\n- \"\"\n- \"1e3\"\n- \"=\"\n",
    );
    check_render(
        json!(["*", "a: b", "a #b", "- x", "-x", "it's", "@x", " x", "x:", "---"]),
        "- '*'\n- 'a: b'\n- 'a #b'\n- '- x'\n- -x\n- it's\n- '@x'\n- ' x'\n- 'x:'\n- '---'\n",
    );
    check_render(
        json!(["https://x.test:80/v1", "100% a.static:80", "sk-1"]),
        "- https://x.test:80/v1\n- 100% a.static:80\n- sk-1\n",
    );
    check_render(
        json!({"d": "{\n  \"a\": 1\n}", "e": ["x\n\n"]}),
        "d: |-\n  {\n    \"a\": 1\n  }\ne:\n- |+\n  x\n\n",
    );
    check_render(
        json!({"a": "x\ty", "b": "\u{feff}\u{85}", "c": "\n", "d": " x\ny"}),
        "a: \"x\\ty\"\nb: \"\\uFEFF\\x85\"\nc: \"\\n\"\nd: \" x\\ny\"\n",
    );
    check_render(json!("x\ny\n"), "|\n  x\n  y\n");
    let long = "k".repeat(2000);
    check_render(json!({"a": {&long: 1}}), &format!("a:\n  ? {long}\n  : 1\n"));
    check_render(json!({"a": {&long: [1]}}), &format!("a:\n  ? {long}\n  :\n  - 1\n"));
}

#[test]
fn documents_are_separated() {
    let (a, b) = (node_of(&serde_json::json!({"a": 1})), node_of(&serde_json::json!([2])));
    assert_eq!(render_documents([&a, &b]), "a: 1\n---\n- 2\n");
}

/// Texts that readers like to get wrong, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,8}",
        "[-+0-9._:exob]{0,8}",
        "[ \t\n\r#:,\\[\\]{}&*!|>'\"%@`~a?=<-]{0,12}",
        "(y|n|yes|No|ON|off|null|~|<<|[0-9]{4}-[0-9]{2}-[0-9]{2})[ \n]?",
        "([ a-z\t:#'\"-]{0,6}\n){0,4}[ a-z]{0,3}",
        "\\PC{0,6}",
        any::<String>(),
    ]
}

/// Every value that reading can give; a float without a fraction is an
/// integer there, and `NaN` equals nothing.
fn value() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("has a fraction", |number| number.fract() != 0.0 && number.is_finite())
            .prop_map(Value::Float),
        text().prop_map(|text| Value::String(text.into())),
    ]
    .prop_map(Node::synthetic);
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((text(), inner), 0..6).prop_map(|entries| {
                let mut map = Map::default();
                for (key, node) in entries {
                    map.set(&key, node);
                }
                Value::Map(map)
            }),
        ]
        .prop_map(Node::synthetic)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_reads_as_the_same(node in value()) {
        let text = render(&node);
        let read = parse_value(&text, Position::default());
        prop_assert_eq!(read.as_ref(), Ok(&node), "{}", text);
        prop_assert_eq!(render(&read.unwrap()), text);
    }

    #[test]
    fn documents_do_not_touch_each_other(nodes in prop::collection::vec(value(), 0..4)) {
        let read: Vec<Node> =
            parse(&render_documents(&nodes)).into_iter().filter_map(|document| document.result.ok()).collect();
        let nodes: Vec<Node> = nodes.into_iter().filter(|node| !node.is_null()).collect();
        prop_assert_eq!(read, nodes);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "([ a:\n\t\r\\[\\]{},&*!|>'\"%?#<.é-]|---\n|- |: |<<: |\\*a|&a ){0,60}") {
        for document in parse(&text) {
            prop_assert!(text.get(document.text_range.clone()).is_some());
            if let Ok(node) = document.result {
                prop_assert_eq!(parse_value(&render(&node), Position::default()), Ok(node));
            }
        }
    }
}
