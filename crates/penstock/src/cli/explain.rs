//! `penstock explain`: what a request would meet, without sending it.

mod failure;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use penstock_gateway::compile::{self, Options};
use penstock_gateway::explain::{Explainer, Explanation, Outcome, Pass};
use serde_json::{Value, json};

use crate::cli::target::{GatewayArguments, told};
use crate::exit_code::ExitCode;
use crate::store;
use crate::target::Remote;

/// The command line of `explain`.
#[derive(Args)]
pub struct Arguments {
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// The URL that the client asks
    #[arg(long, value_name = "URL")]
    url: Uri,
    /// The method; default: POST with a body, else GET
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<Method>,
    /// A header, `NAME: VALUE`; may be repeated
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; `@FILE` reads it from a file
    #[arg(long, short, value_name = "BODY")]
    data: Option<String>,
    /// Only Ingresses of this class count, in a directory; a gateway has its own
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name =
        name.trim().parse().map_err(|_| format!("`{}` is not a header name", name.trim()))?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|_| "the value is not one of a header")?;
    Ok((name, value))
}

/// `penstock explain`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let body = body(arguments.data)?;
    let request = request(arguments.method, arguments.url, arguments.headers, body)?;
    let (text, json) = match arguments.gateway.open(&arguments.config)? {
        Some(gateway) => explain_from_afar(&gateway, &request)?,
        None => {
            let explainer = explainer(&arguments.config, arguments.ingress_class)?;
            let explanation = explain(&explainer, &request)?;
            (text(&explanation), to_json(&explanation))
        }
    };
    let shown = match arguments.output {
        Output::Text => text,
        Output::Json => format!("{json:#}\n"),
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    Ok(ExitCode::Success)
}

/// What a source would do, without last good versions.
pub fn explainer(source: &str, ingress_class: Option<String>) -> anyhow::Result<Explainer> {
    let listing = store::open(source)?.list()?;
    let compiled = compile::compile(&listing, &[], &Options { ingress_class });
    Ok(Explainer::new(compiled.snapshot))
}

/// A request from its parts.
pub fn request(
    method: Option<Method>,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> anyhow::Result<Request<Bytes>> {
    if url.authority().is_none() {
        bail!("`{url}` has no host: write http://HOST/PATH");
    }
    let default = if body.is_empty() { Method::GET } else { Method::POST };
    let mut request = Request::new(body);
    *request.method_mut() = method.unwrap_or(default);
    *request.uri_mut() = url;
    for (name, value) in headers {
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

/// A body as a command line gives it.
fn body(data: Option<String>) -> anyhow::Result<Bytes> {
    Ok(match data.as_deref().map(|data| (data, data.strip_prefix('@'))) {
        None => Bytes::new(),
        Some((_, Some(file))) => {
            std::fs::read(file).with_context(|| format!("cannot read `{file}`"))?.into()
        }
        Some((text, None)) => Bytes::from(text.to_owned()),
    })
}

/// What a request would meet. Blocks.
pub fn explain(explainer: &Explainer, request: &Request<Bytes>) -> std::io::Result<Explanation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(explainer.explain(request)))
}

/// What a request would meet at a gateway, as text and as JSON.
fn explain_from_afar(
    gateway: &Remote,
    request: &Request<Bytes>,
) -> anyhow::Result<(String, Value)> {
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in request.headers() {
        let value = value.to_str().with_context(|| format!("the header `{name}` is no text"))?;
        headers.entry(name.as_str()).or_default().push(value);
    }
    let body = std::str::from_utf8(request.body()).context("the body is no text")?;
    let mut json = gateway
        .explain(&json!({
            "method": request.method().as_str(),
            "url": request.uri().to_string(),
            "headers": headers,
            "body": body,
        }))
        .map_err(told)?;
    let text = json["text"].as_str().unwrap_or_default().to_owned();
    json.as_object_mut().and_then(|json| json.remove("text"));
    Ok((text, json))
}

/// The explanation for people.
pub fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "host      {}", explanation.host);
    let _ = writeln!(text, "path      {}", explanation.path);
    for candidate in &explanation.candidates {
        let _ = match &candidate.lost_because {
            None => writeln!(text, "route   * {} ({})", candidate.route, candidate.path),
            Some(why) => {
                writeln!(text, "          {} ({}): {why}", candidate.route, candidate.path)
            }
        };
    }
    if explanation.candidates.is_empty() {
        text.push_str("route     none: no host matches\n");
    }
    for pass in &explanation.passes {
        text_of_pass(&mut text, pass);
    }
    text
}

fn text_of_pass(text: &mut String, pass: &Pass) {
    let service = pass.service.as_deref().unwrap_or("no service");
    let _ = writeln!(text, "\n{} %     {service}", pass.weight);
    for step in &pass.steps {
        let rule =
            step.rule.map_or("the default configuration".to_owned(), |r| format!("rule {r}"));
        let _ = writeln!(
            text,
            "plugin    {} ({}, {rule}): {}",
            step.plugin, step.resource, step.decision
        );
    }
    if let Some(secret) = &pass.client_certificate {
        let _ = writeln!(text, "client    needs a certificate that {secret} trusts");
    }
    for (label, value) in [("consumer", &pass.consumer), ("provider", &pass.provider)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{label}  {value}");
        }
    }
    match &pass.outcome {
        Outcome::Reply { status, code, body, cause, .. } => {
            let cause = cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
            let _ = writeln!(text, "answer    {status} {code}{cause}");
            if !body.is_empty() {
                let _ = writeln!(text, "          {body}");
            }
        }
        Outcome::Upstream(upstream) => {
            let _ = writeln!(text, "upstream  {} {}", upstream.method, upstream.url);
            for (name, value) in &upstream.headers {
                let _ = writeln!(text, "          {name}: {value}");
            }
            if let Some(model) = &upstream.model {
                let _ = writeln!(text, "model     {model}");
            }
            let body = upstream.changed_body.as_deref().unwrap_or("as the client sent it");
            let _ = writeln!(text, "body      {body}");
        }
    }
    if let Some(on_failure) = &pass.on_failure {
        failure::text(text, on_failure);
    }
}

/// The explanation for programs.
pub fn to_json(explanation: &Explanation) -> Value {
    json!({
        "host": explanation.host,
        "path": explanation.path,
        "candidates": explanation.candidates.iter().map(|candidate| json!({
            "route": candidate.route,
            "path": candidate.path,
            "chosen": candidate.lost_because.is_none(),
            "lost_because": candidate.lost_because,
        })).collect::<Vec<_>>(),
        "passes": explanation.passes.iter().map(json_of_pass).collect::<Vec<_>>(),
    })
}

fn json_of_pass(pass: &Pass) -> Value {
    let headers = |headers: &[(String, String)]| {
        headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect::<Vec<_>>()
    };
    let outcome = match &pass.outcome {
        Outcome::Reply { status, code, headers: list, body, cause } => json!({
            "reply": {"status": status, "code": code, "headers": headers(list), "body": body, "cause": cause},
        }),
        Outcome::Upstream(upstream) => json!({
            "upstream": {
                "method": upstream.method,
                "url": upstream.url,
                "headers": headers(&upstream.headers),
                "model": upstream.model,
                "changed_body": upstream.changed_body,
            },
        }),
    };
    let fallback = pass.on_failure.as_ref().and_then(|of| of.fallback.as_ref());
    json!({
        "weight": pass.weight,
        "route": pass.route,
        "service": pass.service,
        "plugins": pass.steps.iter().map(|step| json!({
            "plugin": step.plugin,
            "resource": step.resource,
            "rule": step.rule,
            "decision": step.decision,
        })).collect::<Vec<_>>(),
        "client_certificate": pass.client_certificate,
        "consumer": pass.consumer,
        "provider": pass.provider,
        "outcome": outcome,
        "on_failure": pass.on_failure.as_deref().map(failure::to_json),
        "fallback": fallback.map(failure::json_of_fallback),
    })
}
