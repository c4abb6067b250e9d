//! The vectors are those of AWS' published test suite, by their names there.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CREDENTIALS: Credentials<'_> =
    Credentials { access_key: "AKIDEXAMPLE", secret_key: SECRET, session_token: None };
const SCOPE: Scope<'_> = Scope { region: "us-east-1", service: "service" };
/// 2015-08-30, 12:36:00.
const NOW: u64 = 1_440_938_160;

fn request<'a>(method: &'a str, path: &'a str, query: &'a str) -> Request<'a> {
    Request {
        method,
        host: "example.amazonaws.com",
        path,
        query,
        headers: &[],
        body_sha256: sha256(b""),
        sends_body_sha256: false,
    }
}

fn authorization(headers: &[(HeaderName, HeaderValue)]) -> &str {
    let (name, value) = headers.last().unwrap();
    assert_eq!(name, AUTHORIZATION);
    assert!(value.is_sensitive());
    value.to_str().unwrap()
}

#[track_caller]
fn check(request: &Request<'_>, names: &str, signature: &str) {
    let headers = request.sign(CREDENTIALS, SCOPE, NOW).unwrap();
    assert_eq!(headers[0].1, "20150830T123600Z");
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders={names}, Signature={signature}"
    );
    assert_eq!(authorization(&headers), expected);
}

#[test]
fn get_vanilla() {
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    check(&request("GET", "/", ""), "host;x-amz-date", signature);
    check(&request("GET", "", ""), "host;x-amz-date", signature);
}

#[test]
fn get_vanilla_query_order_key_case() {
    let signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
    let query = "Param2=value2&Param1=value1";
    check(&request("GET", "/", query), "host;x-amz-date", signature);
    let encoded = "Param2=v%61lue2&&P%61ram1=value1";
    check(&request("GET", "/", encoded), "host;x-amz-date", signature);
}

#[test]
fn get_vanilla_query_unreserved() {
    let all = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197";
    check(&request("GET", "/", &format!("{all}={all}")), "host;x-amz-date", signature);
}

#[test]
fn get_utf8() {
    // The suite gives the path before any encoding.
    let signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85";
    check(&request("GET", "/\u{1234}", ""), "host;x-amz-date", signature);
}

#[test]
fn post_vanilla() {
    let signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    check(&request("POST", "/", ""), "host;x-amz-date", signature);
}

#[test]
fn post_header_key_sort() {
    let signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c";
    let headers = [("My-Header1", "value1")];
    let request = Request { headers: &headers, ..request("POST", "/", "") };
    check(&request, "host;my-header1;x-amz-date", signature);
}

#[test]
fn post_header_value_case() {
    let signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d";
    let headers = [("My-Header1", "VALUE1")];
    let request = Request { headers: &headers, ..request("POST", "/", "") };
    check(&request, "host;my-header1;x-amz-date", signature);
}

#[test]
fn get_header_value_trim() {
    let signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736";
    let headers = [("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")];
    let request = Request { headers: &headers, ..request("GET", "/", "") };
    check(&request, "host;my-header1;my-header2;x-amz-date", signature);
}

#[test]
fn get_header_value_order() {
    let signature = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01";
    let headers = ["value4", "value1", "value3", "value2"].map(|value| ("My-Header1", value));
    let request = Request { headers: &headers, ..request("GET", "/", "") };
    check(&request, "host;my-header1;x-amz-date", signature);
}

#[test]
fn post_x_www_form_urlencoded() {
    let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let body_sha256 = sha256(b"Param1=value1");
    let request = Request { headers: &headers, body_sha256, ..request("POST", "/", "") };
    check(&request, "content-type;host;x-amz-date", signature);
}

#[test]
fn post_sts_header_before() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFq\
                 wAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2w\
                 UE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+x\
                 o0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3i\
                 SIlTJabIQwj2ICCR/oLxBA==";
    let credentials = Credentials { session_token: Some(token), ..CREDENTIALS };
    let headers = request("POST", "/", "").sign(credentials, SCOPE, NOW).unwrap();
    let expected = "SignedHeaders=host;x-amz-date;x-amz-security-token, \
                    Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
    assert!(authorization(&headers).ends_with(expected));
    assert_eq!(headers[1].0, "x-amz-security-token");
    assert_eq!(headers[1].1, token);
    assert!(headers[1].1.is_sensitive());
}

#[test]
fn a_model_in_the_path_is_encoded_twice() {
    let body = br#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
    let request = Request {
        host: "bedrock-runtime.us-east-1.amazonaws.com",
        body_sha256: sha256(body),
        ..request("POST", "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse", "")
    };
    let (canonical, _) = request.canonical(&[]);
    let path = "\n/model/anthropic.claude-3-5-sonnet-20240620-v1%253A0/converse\n";
    assert!(canonical.contains(path), "{canonical}");
    let scope = Scope { service: "bedrock", ..SCOPE };
    let headers = request.sign(CREDENTIALS, scope, NOW).unwrap();
    // Computed by other means.
    let signature = "e360a9ac91bc735a645fbf6ca1bf538dec68ae364581814b871ad3aa48afabf0";
    assert!(authorization(&headers).ends_with(signature));
}

#[test]
fn the_hash_of_the_body_is_signed_where_it_is_sent() {
    let request = Request { sends_body_sha256: true, ..request("GET", "/", "") };
    let headers = request.sign(CREDENTIALS, SCOPE, NOW).unwrap();
    assert_eq!(headers[1].0, "x-amz-content-sha256");
    assert_eq!(headers[1].1, hex(&sha256(b"")).as_str());
    assert!(authorization(&headers).contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date"));
}

#[test]
fn a_key_that_no_header_can_carry_is_an_error_without_it() {
    for credentials in [
        Credentials { access_key: "A\n1", ..CREDENTIALS },
        Credentials { session_token: Some("t\r1"), ..CREDENTIALS },
    ] {
        let error = request("GET", "/", "").sign(credentials, SCOPE, NOW).unwrap_err();
        assert_eq!(error.to_string(), "failed to parse header value");
        assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
    }
}
