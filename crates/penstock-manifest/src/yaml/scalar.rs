//! What an unquoted word means: YAML 1.1 as go-yaml v2 reads it, then the
//! JSON conversion of Kubernetes.
//!
//! go-yaml v2 knows the single letters `y` and `n` as booleans, base 2, 8
//! (`017` and `0o17`) and 16, and underscores in numbers; it does not know
//! base 60. Timestamps end as text. A number without a fraction is an integer
//! however it was written, because JSON does not tell `1.0` from `1`.

use std::borrow::Cow;

use crate::node::Value;

const CORE_PREFIX: &str = "tag:yaml.org,2002:";

/// The short name of a tag: `str`, `int`, … for the core tags.
pub(super) fn tag_name(handle: &str, suffix: &str) -> String {
    let full = format!("{handle}{suffix}");
    match full.strip_prefix(CORE_PREFIX) {
        Some(name) => name.to_owned(),
        None => format!("!{full}"),
    }
}

/// Whether a key asks for a merge. A quoted `<<` is an ordinary key.
pub(super) fn is_merge_key(text: &str, is_plain: bool, tag_name: Option<&str>) -> bool {
    text == "<<" && (tag_name == Some("merge") || (tag_name.is_none() && is_plain))
}

/// The value of an unquoted word without a tag.
pub(super) fn resolve(text: Cow<'_, str>) -> Value {
    special(&text).or_else(|| number(&text)).unwrap_or_else(|| Value::String(text.into()))
}

/// Whether an unquoted word would be read as anything but text.
pub(super) fn is_special(text: &str) -> bool {
    special(text).is_some() || number(text).is_some()
}

/// The value of a word with a tag, or what is wrong with it. Unknown tags
/// leave the text as it is, as go-yaml does.
pub(super) fn resolve_tagged(tag: &str, text: Cow<'_, str>) -> Result<Value, &'static str> {
    let resolved = || special(&text).or_else(|| number(&text));
    match tag {
        "null" => match resolved() {
            Some(Value::Null) => Ok(Value::Null),
            _ => Err("the value is not what its tag !!null says"),
        },
        "bool" => match resolved() {
            Some(value @ Value::Bool(_)) => Ok(value),
            _ => Err("the value is not what its tag !!bool says"),
        },
        "int" => match resolved() {
            Some(value @ Value::Int(_)) => Ok(value),
            _ => Err("the value is not what its tag !!int says"),
        },
        "float" => match resolved() {
            Some(value @ (Value::Int(_) | Value::Float(_))) => Ok(value),
            _ => Err("the value is not what its tag !!float says"),
        },
        // Its bytes need not be text, and Kubernetes wants base64 as it is.
        "binary" => Err("the tag !!binary is not read; write the base64 text without a tag"),
        _ => Ok(Value::String(text.into())),
    }
}

/// The text of a key that is not text, as Kubernetes converts it; none for
/// what it rejects.
pub(super) fn key_text(value: Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(flag) => Some(if flag { "true" } else { "false" }.into()),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(float_text(number).into()),
        Value::Null | Value::Unresolved(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// A float that reads as the same float.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        ".nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else {
        format!("{number:?}")
    }
}

/// The words with a meaning of their own.
fn special(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn number(text: &str) -> Option<Value> {
    if !matches!(text.as_bytes().first()?, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return None;
    }
    let plain: Cow<'_, str> =
        if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    integer(&plain).or_else(|| float(&plain)).map(|number| match number {
        // Exact: the bounds are powers of two, and every integral float
        // between them is an i64.
        Value::Float(float)
            if float.fract() == 0.0
                && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float) =>
        {
            Value::Int(float as i64)
        }
        other => other,
    })
}

fn integer(text: &str) -> Option<Value> {
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&unsigned[2..], 16),
        [b'0', b'o' | b'O', ..] => (&unsigned[2..], 8),
        [b'0', b'b' | b'B', ..] => (&unsigned[2..], 2),
        [b'0', _, ..] => (&unsigned[1..], 8),
        _ => (unsigned, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    match i128::from_str_radix(digits, radix) {
        Ok(magnitude) => {
            let number = if is_negative { -magnitude } else { magnitude };
            // Beyond 64 bits JSON readers take the nearest float, too.
            Some(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
        }
        Err(_) => {
            let magnitude = digits
                .chars()
                .filter_map(|digit| digit.to_digit(radix))
                .fold(0.0, |sum, digit| sum * f64::from(radix) + f64::from(digit));
            let number = if is_negative { -magnitude } else { magnitude };
            // A number too large for a float stays text, as in go-yaml.
            (radix != 10 && number.is_finite()).then_some(Value::Float(number))
        }
    }
}

/// `[-+]? ( \.[0-9]+ | [0-9]+(\.[0-9]*)? ) ([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)))
        }
        None => (unsigned, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && are_digits(fraction),
        Some((whole, fraction)) => are_digits(whole) && are_digits(fraction),
        None => !mantissa.is_empty() && are_digits(mantissa),
    };
    let is_exponent = exponent.is_none_or(|digits| !digits.is_empty() && are_digits(digits));
    if !is_mantissa || !is_exponent {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
}
