//! Images, documents and films as Converse takes them: their bytes, or where
//! they lie in S3.

use serde_json::{Map, Value, json};

use crate::error::LlmError;
use crate::format::chat::{Media, MediaKind, Source};

/// The longest name of a document.
const NAME_CHARS_MAX: usize = 200;

/// Bedrock's words for media types.
const IMAGES: &[(&str, &str)] = &[
    ("image/gif", "gif"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
];
const DOCUMENTS: &[(&str, &str)] = &[
    ("application/msword", "doc"),
    ("application/pdf", "pdf"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
];
const VIDEOS: &[(&str, &str)] = &[
    ("video/3gpp", "three_gp"),
    ("video/mov", "mov"),
    ("video/mp4", "mp4"),
    ("video/mpeg", "mpeg"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
    ("video/x-flv", "flv"),
    ("video/x-matroska", "mkv"),
    ("video/x-ms-wmv", "wmv"),
];
/// How the images begin, in base64.
const BEGINNINGS: &[(&str, &str)] =
    &[("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp"), ("iVBORw0KGgo", "png")];

fn refused(what: &str) -> LlmError {
    LlmError::InvalidRequest(format!("{what} cannot be sent to this provider"))
}

/// A block of what is shown.
///
/// # Errors
/// Converse cannot carry it.
pub(super) fn write_media(media: Media, names: &mut Names) -> Result<Value, LlmError> {
    match media.kind {
        MediaKind::Image => {
            let format = match &media.source {
                Source::Base64 { media_type, data } => word(IMAGES, media_type)
                    .or_else(|| BEGINNINGS.iter().find(|(b, _)| data.starts_with(b)).map(|b| b.1)),
                source => of_extension(IMAGES, extension(source, None)),
            };
            let source = write_source(media.source, "an image by its URL")?;
            let format = format.ok_or_else(|| refused("an image of this media type"))?;
            Ok(json!({"image": {"format": format, "source": source}}))
        }
        MediaKind::Video => {
            let format = match &media.source {
                Source::Base64 { media_type, .. } => word(VIDEOS, media_type),
                source => of_extension(VIDEOS, extension(source, media.name.as_deref())),
            };
            let source = write_source(media.source, "a video by its URL")?;
            let format = format.ok_or_else(|| refused("a video of this media type"))?;
            Ok(json!({"video": {"format": format, "source": source}}))
        }
        MediaKind::Document => write_document(media, names),
        MediaKind::Audio => Err(refused("audio")),
    }
}

fn write_document(media: Media, names: &mut Names) -> Result<Value, LlmError> {
    let of_name = || of_extension(DOCUMENTS, extension(&media.source, media.name.as_deref()));
    let format = match &media.source {
        Source::Text(_) => Some("txt"),
        Source::Base64 { media_type, .. } => word(DOCUMENTS, media_type).or_else(of_name),
        Source::Url(_) | Source::File(_) => of_name(),
    };
    let source = write_source(media.source, "a document by its URL")?;
    let format = format.ok_or_else(|| refused("a document of this media type"))?;
    let mut document = Map::new();
    document.insert("format".into(), format.into());
    document.insert("name".into(), names.name(media.name.as_deref().unwrap_or_default()).into());
    document.insert("source".into(), source);
    // Bedrock has these from Anthropic, under the same names.
    let own = ["context", "citations"];
    document.extend(media.more.into_iter().filter(|(key, _)| own.contains(&key.as_str())));
    Ok(json!({"document": document}))
}

fn write_source(source: Source, by_url: &str) -> Result<Value, LlmError> {
    match source {
        Source::Base64 { data, .. } => Ok(json!({"bytes": data})),
        Source::Text(text) => Ok(json!({"bytes": base64(text.as_bytes())})),
        Source::Url(uri) if uri.starts_with("s3://") => Ok(json!({"s3Location": {"uri": uri}})),
        Source::Url(_) => Err(refused(by_url)),
        Source::File(_) => Err(refused("a file that another provider has")),
    }
}

fn word(table: &[(&str, &'static str)], media_type: &str) -> Option<&'static str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    table.iter().find(|(name, _)| media_type.eq_ignore_ascii_case(name)).map(|(_, word)| *word)
}

fn of_extension(table: &[(&str, &'static str)], extension: &str) -> Option<&'static str> {
    let extension = match extension.to_ascii_lowercase().as_str() {
        "jpg" => "jpeg".to_owned(),
        "htm" => "html".to_owned(),
        "3gp" => "three_gp".to_owned(),
        other => other.to_owned(),
    };
    table.iter().find(|(_, word)| *word == extension).map(|(_, word)| *word)
}

/// What stands behind the last dot of the name, or of the URL.
fn extension<'a>(source: &'a Source, name: Option<&'a str>) -> &'a str {
    let url = match source {
        Source::Url(url) => url,
        _ => "",
    };
    let texts = [name.unwrap_or_default(), url];
    texts.into_iter().find_map(|text| text.rsplit_once('.')).map_or("", |(_, end)| end)
}

/// The names of documents so far: each has to be another one.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// A name that Bedrock takes, made of the file's: letters and digits of
    /// ASCII, hyphens, parentheses, brackets and single spaces. The same
    /// documents get the same names each time, or no cache would find them.
    fn name(&mut self, of: &str) -> String {
        let of = match of.rsplit_once('.') {
            Some((stem, end)) if of_extension(DOCUMENTS, end).is_some() => stem,
            _ => of,
        };
        let allowed = |c: char| match c {
            c if c.is_ascii_alphanumeric() || "-()[] ".contains(c) => c,
            c if c.is_whitespace() => ' ',
            _ => '-',
        };
        let clean: String = of.chars().map(allowed).take(NAME_CHARS_MAX - 10).collect();
        let clean = clean.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let is_said = clean.contains(|c: char| c.is_ascii_alphanumeric());
        let clean = if is_said { clean } else { "document".to_owned() };
        let numbered = (2..).map(|number| format!("{clean} ({number})"));
        let name = std::iter::once(clean.clone()).chain(numbered).find(|n| !self.0.contains(n));
        let name = name.unwrap_or(clean);
        self.0.push(name.clone());
        name
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let is_there = digit <= group.len();
            text.push(if is_there { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_are_valid_and_different() {
        let mut names = Names::default();
        for (of, expected) in [
            ("report.pdf", "report"),
            ("Report_final.v2  (1).pdf", "Report-final-v2 (1)"),
            ("report.txt", "report (2)"),
            ("report", "report (3)"),
            ("", "document"),
            ("документ.pdf", "document (2)"),
            ("a/b\\c:\td", "a-b-c- d"),
            ("report (2)", "report (2) (2)"),
        ] {
            assert_eq!(names.name(of), expected, "{of}");
        }
        assert_eq!(names.name(&"x".repeat(500)).len(), 190);
        assert!(names.name(&"x".repeat(500)).len() <= NAME_CHARS_MAX);
    }

    #[test]
    fn base64_of_rfc_4648() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(texts.map(|text| base64(text.as_bytes())), expected);
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
