//! `penstock consumer`: who may use the gateway, and with which key.

pub mod routes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use penstock_gateway::access_log::timestamp;
use penstock_manifest::edit::Edit;
use penstock_manifest::intent::consumer::KeySource;

use crate::cli::apply::Shown;
use crate::cli::edit::EditArguments;
use crate::cli::key;
use crate::exit_code::ExitCode;

/// The command line of `consumer`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What happens to a consumer.
#[derive(Subcommand)]
enum Action {
    /// Add a consumer
    Add(AddArguments),
    /// Give a consumer a new key; the old ones end later
    Rotate(RotateArguments),
    /// End a consumer's access at once: its keys, and its name in every allow list
    Revoke(RevokeArguments),
    /// List the routes that a consumer may use
    Routes(routes::Arguments),
}

#[derive(Args)]
struct AddArguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    name: String,
    /// Where its key stands in a request
    #[arg(long, value_enum, default_value_t)]
    source: Source,
    /// The name of the header or query parameter
    #[arg(long, value_name = "NAME", required_if_eq_any([("source", "header"), ("source", "query")]))]
    key_name: Option<String>,
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    edit: EditArguments,
}

#[derive(Args)]
struct RotateArguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    name: String,
    /// How long the old keys still work: `90s`, `15m`, `24h`, `7d`; `0` ends them at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_overlap)]
    overlap: Duration,
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    edit: EditArguments,
}

#[derive(Args)]
struct RevokeArguments {
    /// The consumer
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    edit: EditArguments,
}

/// Where a key comes from.
#[derive(Args)]
#[group(multiple = false)]
struct KeyArguments {
    /// Make a key and print it, once, when the change is made; the default
    #[arg(long)]
    generate: bool,
    /// The file with the key, or `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    key_file: Option<String>,
}

/// Where a key stands in a request.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Source {
    /// `Authorization: Bearer KEY`
    #[default]
    Bearer,
    /// A header
    Header,
    /// A query parameter
    Query,
}

/// `penstock consumer`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::Add(arguments) => add(arguments),
        Action::Rotate(arguments) => rotate(arguments),
        Action::Revoke(RevokeArguments { name, edit }) => {
            edit.make(Edit::RevokeConsumer { name }, Shown::Change)
        }
        Action::Routes(arguments) => routes::run(&arguments),
    }
}

fn add(arguments: AddArguments) -> anyhow::Result<ExitCode> {
    let AddArguments { name, source, key_name, key, edit } = arguments;
    let source = match (source, key_name) {
        (Source::Header, Some(name)) => KeySource::Header(name.into()),
        (Source::Query, Some(name)) => KeySource::Query(name.into()),
        (_, None) => KeySource::Bearer,
        (Source::Bearer, Some(_)) => {
            eprintln!("error: --key-name goes with --source header or query");
            return Ok(ExitCode::Usage);
        }
    };
    let (value, shown) = key.key()?;
    edit.make(Edit::AddConsumer { name, source, value }, shown)
}

fn rotate(arguments: RotateArguments) -> anyhow::Result<ExitCode> {
    let RotateArguments { name, overlap, key, edit } = arguments;
    let (value, shown) = key.key()?;
    let until = (!overlap.is_zero()).then(|| after(overlap));
    let told = match &until {
        Some(until) => format!(
            "the old keys end at {until}; Higress does not know of ends: there they work until \
             the next rotation"
        ),
        None => "the old keys end at once".to_owned(),
    };
    let code = edit.make(Edit::RotateConsumer { name, value, until }, shown)?;
    eprintln!("{told}");
    Ok(code)
}

impl KeyArguments {
    /// The key, and what standard output gets.
    fn key(&self) -> anyhow::Result<(String, Shown)> {
        match &self.key_file {
            Some(source) => Ok((key::read_key(source)?, Shown::Key(None))),
            None => {
                let key = key::generate()?;
                Ok((key.clone(), Shown::Key(Some(key))))
            }
        }
    }
}

/// The longest overlap, in seconds: ten years.
const OVERLAP_S_MAX: u64 = 3650 * 86_400;

fn parse_overlap(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and `s`, `m`, `h` or `d`, such as `24h`, or `0`".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(wrong());
    }
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s));
    match seconds {
        Some(seconds) if seconds <= OVERLAP_S_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err("at most 3650d".to_owned()),
    }
}

/// The moment after a time from now, in whole seconds, never earlier.
fn after(time: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(now.as_secs() + 1) + time;
    timestamp(UNIX_EPOCH + end).replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_have_units() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(parse_overlap(text).ok(), seconds.map(Duration::from_secs), "{text}");
        };
        check("0", Some(0));
        check("0s", Some(0));
        check("90s", Some(90));
        check("15m", Some(900));
        check("24h", Some(86_400));
        check("7d", Some(604_800));
        check("3650d", Some(OVERLAP_S_MAX));
        let wrong =
            ["", "s", "7", "-1s", "+1s", "1.5h", "1 h", "1w", "1H", "1h30m", "3651d", "ä", "7é"];
        for text in wrong {
            check(text, None);
        }
        check("99999999999999999999s", None);
        check("9999999999999999999d", None);
    }
}
