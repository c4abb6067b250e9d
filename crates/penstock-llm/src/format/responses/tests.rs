use std::path::Path;

use serde_json::{Value, json};

use super::{Echo, read_request, write_answer};
use crate::format::answer::{Answer, Choice, Finish};

/// The responses of the goldens.
fn responses() -> Vec<Value> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let folders = ["answer", "stream"].map(|folder| std::fs::read_dir(golden.join(folder)));
    let files = folders.into_iter().flat_map(|files| files.unwrap());
    let texts: Vec<_> =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let sections = texts.iter().flat_map(|text| text.split("=== ").skip(1));
    let bodies = sections
        .filter(|section| section.starts_with("to responses"))
        .map(|section| section.split_once('\n').unwrap().1);
    bodies.filter_map(|body| serde_json::from_str(body).ok()).collect()
}

/// The items without what is the response's own.
fn said(response: &Value) -> Vec<Value> {
    let mut items = response["output"].as_array().unwrap().clone();
    for item in &mut items {
        let item = item.as_object_mut().unwrap();
        item.remove("id");
        item.remove("status");
        for part in item.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
            let part = part.as_object_mut().unwrap();
            part.remove("annotations");
            part.remove("logprobs");
        }
    }
    items
}

#[test]
fn what_was_answered_can_be_sent_back() {
    let mut items_checked = 0;
    for response in responses() {
        let mut input = vec![json!({"role": "user", "content": "Hi"})];
        input.extend(response["output"].as_array().unwrap().iter().cloned());
        let body = json!({"model": "m", "input": input}).to_string();
        let (chat, echo) = read_request(body.as_bytes()).unwrap();
        let parts: Vec<_> =
            chat.messages.into_iter().skip(1).flat_map(|message| message.parts).collect();
        // A call that was cut has no end, so it is not given one.
        let finish = (response["status"] == "incomplete").then_some(Finish::Length);
        let choices = vec![Choice { parts, finish, logprobs: None }];
        let again = write_answer(&Answer { choices, ..Answer::default() }, echo, 1);
        assert_eq!(said(&again), said(&response));
        items_checked += said(&response).len();
    }
    assert!(items_checked > 20, "the goldens have items");
}

#[test]
fn a_response_repeats_its_request() {
    let said = json!({
        "model": "m",
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": false,
        "reasoning": {"effort": "low"},
        "service_tier": "flex",
        "text": {"verbosity": "low"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f"}],
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
    });
    let response = write_answer(&Answer::default(), Echo::of(&said), 1);
    for (key, value) in said.as_object().unwrap() {
        if key != "text" {
            assert_eq!(&response[key], value, "{key}");
        }
    }
    assert_eq!(response["text"], json!({"verbosity": "low", "format": {"type": "text"}}));

    // What is kept of it, whatever was asked for, is nothing.
    let said = json!({"store": true, "temperature": null});
    let response = write_answer(&Answer::default(), Echo::of(&said), 1);
    assert_eq!(response["store"], false);
    assert_eq!(response["temperature"], Value::Null);
    assert_eq!(response["tool_choice"], "auto");
}
