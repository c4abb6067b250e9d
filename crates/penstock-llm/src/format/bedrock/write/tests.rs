use super::*;
use crate::format::openai;

const CLAUDE: &str = "anthropic.claude-3-7-sonnet-20250219-v1:0";

/// What becomes of a request in OpenAI's format.
fn write(body: &Value, options: &Options) -> Result<Value, LlmError> {
    write_request(openai::read_request(body.to_string().as_bytes())?, options)
}

#[track_caller]
fn check(body: &Value, pointer: &str, expected: &Value) {
    let written = write(body, &Options::default()).unwrap();
    assert_eq!(written.pointer(pointer).unwrap_or(&Value::Null), expected, "{written:#}");
}

#[track_caller]
fn check_refused(body: &Value, expected: &str) {
    let expected = format!("{expected} cannot be sent to this provider");
    let refused = write(body, &Options::default());
    assert_eq!(refused, Err(LlmError::InvalidRequest(expected)));
}

fn asking(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

fn showing(part: &Value) -> Value {
    json!({"model": CLAUDE, "messages": [{"role": "user", "content": [part]}]})
}

#[test]
fn what_a_model_has_besides_is_said_in_its_own_words() {
    let fields = "/additionalModelRequestFields";
    let low = json!({"reasoning_effort": "low", "temperature": 0.1, "top_k": 5});
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    check(&asking(CLAUDE, low.clone()), fields, &thinking);
    check(&asking(CLAUDE, low.clone()), "/inferenceConfig", &Value::Null);
    let arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
    check(&asking(arn, low.clone()), fields, &thinking);
    check(
        &asking("openai.gpt-oss-120b-1:0", low.clone()),
        fields,
        &json!({"reasoning_effort": "low"}),
    );
    let top_k = json!({"inferenceConfig": {"topK": 5}});
    check(&asking("amazon.nova-pro-v1:0", low.clone()), fields, &top_k);
    check(&asking("meta.llama3-3-70b-instruct-v1:0", low), fields, &Value::Null);
    check(&asking(CLAUDE, json!({"top_k": 5})), fields, &json!({"top_k": 5}));
}

#[test]
fn a_thought_is_shorter_than_the_answer() {
    let budget = "/additionalModelRequestFields/thinking/budget_tokens";
    let high = |max: u64| asking(CLAUDE, json!({"reasoning_effort": "high", "max_tokens": max}));
    check(&high(2000), budget, &1999.into());
    check(&high(1025), budget, &1024.into());
    check(&high(1024), budget, &Value::Null);
}

#[test]
fn fields_of_the_configuration_win() {
    let additional_fields = json!({"top_k": 1, "x": {"y": 2}});
    let Value::Object(additional_fields) = additional_fields else { unreachable!() };
    let options = Options { additional_fields, ..Options::default() };
    let written = write(&asking(CLAUDE, json!({"top_k": 5})), &options).unwrap();
    let expected = json!({"top_k": 1, "x": {"y": 2}});
    assert_eq!(written["additionalModelRequestFields"], expected);
}

#[test]
fn cache_points_stand_where_the_configuration_says() {
    let body = |model: &str, more: Value| {
        let messages = json!([
            {"role": "system", "content": "S"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "so"},
        ]);
        let mut body = asking(model, more);
        body["messages"] = messages;
        body
    };
    let points = |body: &Value, options: &Options| {
        let written = write(body, options).unwrap();
        let places = ["/system/1", "/messages/0/content/1", "/messages/1/content/1"];
        places.map(|place| written.pointer(place).cloned().unwrap_or_default())
    };
    let (none, short) = (Value::Null, json!({"cachePoint": {"type": "default"}}));
    let long = json!({"cachePoint": {"type": "default", "ttl": "1h"}});
    let kept = Options { retention: Some(Retention::InMemory), ..Options::default() };
    let claude = body(CLAUDE, json!({}));
    assert_eq!(points(&claude, &Options::default()), [none.clone(), none.clone(), none.clone()]);
    assert_eq!(points(&claude, &kept), [short.clone(), none.clone(), none.clone()]);
    let other = body("meta.llama3-3-70b-instruct-v1:0", json!({}));
    assert_eq!(points(&other, &kept), [none.clone(), none.clone(), none.clone()]);
    // The request wins, whether it wants more or nothing.
    let asked = body(CLAUDE, json!({"prompt_cache_retention": "24h"}));
    assert_eq!(points(&asked, &Options::default()), [long, none.clone(), none.clone()]);
    let asked = body(CLAUDE, json!({"prompt_cache_retention": "none"}));
    assert_eq!(points(&asked, &kept), [none.clone(), none.clone(), none.clone()]);
    let all = Positions { last_user_message: true, last_message: true, ..Positions::default() };
    let everywhere = Options { positions: all, ..kept.clone() };
    assert_eq!(points(&claude, &everywhere), [short.clone(), short.clone(), short.clone()]);
    let nowhere = Options { positions: Positions::NONE, ..kept };
    assert_eq!(points(&claude, &nowhere), [none.clone(), none.clone(), none]);
    // The last message is the user's: one point for both.
    let written = write(&asking(CLAUDE, json!({})), &everywhere).unwrap();
    assert_eq!(written["messages"][0]["content"], json!([{"text": "hi"}, short]));
}

#[test]
fn tools_that_are_not_told_are_those_that_were_called() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = json!({"model": CLAUDE, "tool_choice": "none", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]});
    let schema = json!({"json": {"type": "object", "properties": {}}});
    let spec = json!({"toolSpec": {"name": "f", "inputSchema": schema}});
    check(&body, "/toolConfig", &json!({"tools": [spec]}));
    let tool = json!({"type": "function", "function": {"name": "g"}});
    let more = json!({"tools": [tool], "tool_choice": "none"});
    check(&asking(CLAUDE, more), "/toolConfig", &Value::Null);
    let more = json!({"tools": [tool], "tool_choice": "required"});
    check(&asking(CLAUDE, more), "/toolConfig/toolChoice", &json!({"any": {}}));
    let more = json!({"tools": [tool], "tool_choice": "required", "reasoning_effort": "low"});
    check(&asking(CLAUDE, more), "/toolConfig/toolChoice", &json!({"auto": {}}));
}

#[test]
fn what_converse_cannot_carry_is_refused() {
    let image = |url: &str| showing(&json!({"type": "image_url", "image_url": {"url": url}}));
    check_refused(&image("https://example.com/a.png"), "an image by its URL");
    check_refused(&image("data:image/tiff;base64,QUJD"), "an image of this media type");
    let s3 = json!({"format": "png", "source": {"s3Location": {"uri": "s3://b/a.PNG"}}});
    check(&image("s3://b/a.PNG"), "/messages/0/content/0/image", &s3);
    let file = |file: Value| showing(&json!({"type": "file", "file": file}));
    check_refused(&file(json!({"file_id": "x"})), "a file that another provider has");
    let zip = json!({"filename": "a.zip", "file_data": "data:application/zip;base64,QUJD"});
    check_refused(&file(zip), "a document of this media type");
    check_refused(&asking(CLAUDE, json!({"n": 2})), "`n` above 1");
}
