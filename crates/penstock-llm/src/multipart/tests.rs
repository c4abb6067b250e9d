use proptest::prelude::*;

use super::*;

const CONTENT_TYPE: &str = "multipart/form-data; boundary=XX";

fn form(text: &str) -> Result<Form, LlmError> {
    Form::read(CONTENT_TYPE, text.replace('\n', "\r\n").as_bytes(), "model")
}

/// Sets the model of a form written with LF and shows it with LF.
#[track_caller]
fn check(text: &str, expected_model: Option<&str>, expected: &str) {
    let body = Bytes::from(text.replace('\n', "\r\n"));
    let form = Form::read(CONTENT_TYPE, &body, "model").unwrap();
    assert_eq!(form.part.as_ref().map(|(model, _)| model.as_str()), expected_model);
    let mut splice = Splice::new(&body);
    form.set("new", &mut splice);
    let edited = String::from_utf8(splice.into_parts().concat()).unwrap();
    assert_eq!(edited.replace("\r\n", "\n"), expected);
}

#[test]
fn the_model_part_is_replaced() {
    check(
        "--XX\nContent-Disposition: form-data; name=\"image\"; filename=\"model\"\nContent-Type: image/png\n\n\n--X\n\
         --XX \ncontent-disposition: form-data; filename=\"a;name=b\" ; NAME=model\nX: y\n\nold\n--XX--\n",
        Some("old"),
        "--XX\nContent-Disposition: form-data; name=\"image\"; filename=\"model\"\nContent-Type: image/png\n\n\n--X\n\
         --XX \ncontent-disposition: form-data; filename=\"a;name=b\" ; NAME=model\nX: y\n\nnew\n--XX--\n",
    );
}

#[test]
fn a_missing_model_part_is_appended() {
    check(
        "preamble\n--XX\nContent-Disposition: form-data; name=\"prompt\"\n\nmodel\n--XX--",
        None,
        "preamble\n--XX\nContent-Disposition: form-data; name=\"prompt\"\n\nmodel\n\
         --XX\nContent-Disposition: form-data; name=\"model\"\n\nnew\n--XX--",
    );
    check("--XX--", None, "--XX\nContent-Disposition: form-data; name=\"model\"\n\nnew\n--XX--");
}

#[test]
fn parts_without_headers_or_content_are_parts() {
    check(
        "--XX\n\ndata\n--XX\nContent-Disposition: form-data; name=\"model\"\n\n\n--XX--",
        Some(""),
        "--XX\n\ndata\n--XX\nContent-Disposition: form-data; name=\"model\"\n\nnew\n--XX--",
    );
}

#[test]
fn broken_forms_are_refused() {
    let model = "--XX\nContent-Disposition: form-data; name=\"model\"\n\nm\n";
    for text in [
        "",
        "--XX",
        "--XX\n",
        "--YY\n--YY--",
        "--XXtra\n\nx\n--XX--",
        "--XX\nContent-Disposition: form-data; name=\"model\"\n--XX--",
        model,
    ] {
        assert_eq!(form(text), Err(malformed()), "{text:?}");
    }
    let twice = LlmError::InvalidRequest("the form has `model` twice".into());
    assert_eq!(form(&format!("{model}{model}--XX--")), Err(twice));
    assert_eq!(Form::read(CONTENT_TYPE, &form_bytes(b"\xff"), "model"), Err(malformed()));
}

fn form_bytes(model: &[u8]) -> Vec<u8> {
    let head = b"--XX\r\nContent-Disposition: form-data; name=model\r\n\r\n";
    [&head[..], model, b"\r\n--XX--"].concat()
}

#[test]
fn a_form_needs_a_boundary() {
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"XX",
        "multipart/form-data; x=boundary",
    ] {
        assert_eq!(
            Form::read(content_type, &form_bytes(b"m"), "model"),
            Err(malformed()),
            "{content_type}"
        );
    }
    for content_type in [
        "multipart/form-data; Boundary=\"XX\"",
        "multipart/form-data;charset=utf-8;boundary=XX",
        "multipart/form-data; x=\"a;\\\"b\"; boundary=XX; y=z",
    ] {
        assert!(Form::read(content_type, &form_bytes(b"m"), "model").is_ok(), "{content_type}");
    }
}

proptest! {
    /// Whatever can be read has the new model afterwards, and as many other
    /// bytes as before.
    #[test]
    fn a_model_that_was_set_is_read_back(tokens in proptest::collection::vec(
        proptest::sample::select(vec![
            "--XX", "--XX--", "\r\n", "\r\n--XX\r\n", "\r\n\r\n", "--", "x", " ", "\n",
            "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"a\"\r\n\r\n",
        ]),
        0..12,
    )) {
        let body = Bytes::from(format!("--XX\r\n{}\r\n--XX--", tokens.concat()));
        if let Ok(form) = Form::read(CONTENT_TYPE, &body, "model") {
            let mut splice = Splice::new(&body);
            form.set("new", &mut splice);
            let edited = splice.into_parts().concat();
            let again = Form::read(CONTENT_TYPE, &edited, "model").unwrap();
            let model = again.part.map(|(model, _)| model);
            prop_assert_eq!(model.as_deref(), Some("new"));
        }
    }
}
