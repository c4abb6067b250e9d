use penstock_manifest::Position;
use penstock_manifest::diagnostic::{AUTH_FAIL_OPEN, DESTINATION_PORT, INGRESS_CLASS};
use serde_json::{Value, json};

use super::*;

/// A finding of each severity: complete, without hint, without a place.
fn findings() -> Vec<Diagnostic> {
    let at = |line, column| Position::new(line, column);
    vec![
        Diagnostic::in_file(
            &DESTINATION_PORT,
            "shop/a b,c:ü.yaml".into(),
            at(7, 5),
            "`x.dns:1` names port 1, 100% wrong",
        )
        .with_path("metadata.annotations[\"higress.io/destination\"]")
        .with_hint("write `x.dns:443`"),
        Diagnostic::in_file(&AUTH_FAIL_OPEN, "plugin.yaml".into(), at(3, 0), "first\r\nsecond"),
        Diagnostic::in_file(&INGRESS_CLASS, "<stdin>".into(), at(0, 0), "\u{1b}[31mred")
            .with_path("spec"),
        Diagnostic::in_file(&DESTINATION_PORT, "b.yaml".into(), at(1, 1), "again")
            .with_severity(Severity::Info),
    ]
}

#[test]
fn text_is_what_a_compiler_prints() {
    assert_eq!(
        text(&findings()),
        "shop/a b,c:ü.yaml:7:5: error[PS402]: `x.dns:1` names port 1, 100% wrong\n  \
           at: metadata.annotations[\"higress.io/destination\"]\n  \
           hint: write `x.dns:443`\n\
         plugin.yaml:3:0: warning[PS601]: first\\r\\nsecond\n\
         <stdin>: info[PS309]: \\u{1b}[31mred\n  \
           at: spec\n\
         b.yaml:1:1: info[PS402]: again\n"
    );
    assert_eq!(text(&[]), "");
}

#[test]
fn text_of_ordinary_findings_is_their_display() {
    for finding in findings().into_iter().filter(|f| !f.message.contains(char::is_control)) {
        assert_eq!(text(std::slice::from_ref(&finding)), format!("{finding}\n"));
    }
}

#[test]
fn json_has_every_field_of_every_finding() {
    let parsed: Value = serde_json::from_str(&json(&findings())).unwrap();
    let diagnostics = parsed["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 4);
    assert_eq!(
        diagnostics[0],
        json!({
            "code": "PS402", "severity": "error", "file": "shop/a b,c:ü.yaml",
            "line": 7, "column": 5,
            "path": "metadata.annotations[\"higress.io/destination\"]",
            "message": "`x.dns:1` names port 1, 100% wrong", "hint": "write `x.dns:443`",
        })
    );
    assert_eq!(
        diagnostics[2],
        json!({
            "code": "PS309", "severity": "info", "file": "<stdin>", "line": 0, "column": 0,
            "path": "spec", "message": "\u{1b}[31mred", "hint": null,
        })
    );
    assert_eq!(serde_json::from_str::<Value>(&json(&[])).unwrap(), json!({ "diagnostics": [] }));
}

#[test]
fn sarif_names_its_rules_and_places() {
    let log: Value = serde_json::from_str(&sarif(&findings())).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "penstock");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["PS309", "PS402", "PS601"]);
    assert_eq!(rules[1]["help"]["text"], DESTINATION_PORT.help);
    assert_eq!(rules[1]["shortDescription"]["text"], DESTINATION_PORT.title);
    assert_eq!(rules[0]["defaultConfiguration"]["level"], "note");
    let results = run["results"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    assert_eq!(
        results[0],
        json!({
            "ruleId": "PS402", "ruleIndex": 1, "level": "error",
            "message": { "text": "`x.dns:1` names port 1, 100% wrong\nhint: write `x.dns:443`" },
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": { "uri": "shop/a%20b%2Cc%3A%C3%BC.yaml" },
                    "region": { "startLine": 7, "startColumn": 5 },
                },
                "logicalLocations": [{
                    "fullyQualifiedName": "metadata.annotations[\"higress.io/destination\"]",
                }],
            }],
        })
    );
    // Lines and columns of SARIF begin at 1: what is not known is left out.
    let physical = |index: usize| results[index]["locations"][0]["physicalLocation"].clone();
    assert_eq!(physical(1)["region"], json!({ "startLine": 3 }));
    assert_eq!(physical(2), json!({ "artifactLocation": { "uri": "%3Cstdin%3E" } }));
    assert_eq!(results[3]["level"], "note");
}

#[test]
fn sarif_without_findings_is_a_run_without_results() {
    let log: Value = serde_json::from_str(&sarif(&[])).unwrap();
    assert_eq!(log["runs"][0]["results"], json!([]));
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"], json!([]));
}

#[test]
fn github_escapes_what_would_end_a_command() {
    assert_eq!(
        github(&findings()),
        "::error file=shop/a b%2Cc%3Aü.yaml,line=7,col=5,title=PS402\
           ::`x.dns:1` names port 1, 100%25 wrong%0Ahint: write `x.dns:443`\n\
         ::warning file=plugin.yaml,line=3,title=PS601::first%0D%0Asecond\n\
         ::notice file=<stdin>,title=PS309::\u{1b}[31mred\n\
         ::notice file=b.yaml,line=1,col=1,title=PS402::again\n"
    );
}
