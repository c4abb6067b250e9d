//! `gzip`: how answers are compressed (Higress: configmap/gzip.go).

use std::ops::RangeInclusive;

use crate::node::{Node, Value};

/// What Envoy takes for `chunkSize`, in bytes.
pub(super) const CHUNK_BYTES: RangeInclusive<i64> = 4096..=65_536;

/// How answers are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gzip {
    /// `minContentLength`: the length of the smallest body that is
    /// compressed, in bytes; 1024 by default. A body of unknown length is
    /// taken for large.
    pub min_content_length: u32,
    /// `contentType`: the media types that are compressed, without
    /// parameters.
    pub content_types: Vec<Box<str>>,
    /// `disableOnEtagHeader`: whether an answer with an `ETag` is left as it
    /// is; true by default.
    pub disable_on_etag_header: bool,
    /// `memoryLevel`: how much memory zlib takes, 1 to 9; 5 by default.
    pub memory_level: u8,
    /// `windowBits`: the binary logarithm of zlib's window, 9 to 15; 12 by
    /// default.
    pub window_bits: u8,
    /// `chunkSize`: the size of the pieces of the compressed body, 4096 to
    /// 65536 bytes; 4096 by default.
    pub chunk_bytes: u32,
    /// `compressionLevel`: 1 (`BEST_SPEED`) to 9 (`BEST_COMPRESSION`, the
    /// default).
    pub level: u8,
    /// `compressionStrategy`.
    pub strategy: Strategy,
}

/// zlib's strategies, which suit contents of different kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `DEFAULT_STRATEGY`
    #[default]
    Default,
    /// `FILTERED`: few matches, many literals.
    Filtered,
    /// `FIXED`: no Huffman tables of the content's own.
    Fixed,
    /// `HUFFMAN_ONLY`: no matches.
    HuffmanOnly,
    /// `RLE`: only runs of one byte.
    Rle,
}

impl Default for Gzip {
    fn default() -> Self {
        let content_types = [
            "text/html",
            "text/css",
            "text/plain",
            "text/xml",
            "application/json",
            "application/javascript",
            "application/xhtml+xml",
            "image/svg+xml",
        ];
        Self {
            min_content_length: 1024,
            content_types: content_types.map(Box::from).into(),
            disable_on_etag_header: true,
            memory_level: 5,
            window_bits: 12,
            chunk_bytes: 4096,
            level: 9,
            strategy: Strategy::Default,
        }
    }
}

impl Gzip {
    /// What a document that was checked says; `None` where it is switched
    /// off. It is on unless it is.
    pub(super) fn of(document: &Node) -> Option<Self> {
        let default = Self::default();
        let Some(section) = document.get("gzip") else { return Some(default) };
        let field = |name: &str| section.get(name).filter(|node| !node.is_null());
        let flag = |name: &str| field(name).and_then(Node::as_bool);
        if flag("enable") == Some(false) {
            return None;
        }
        let number = |name: &str| match field(name)?.value {
            Value::Int(number) => Some(number),
            _ => None,
        };
        let small = |name: &str| number(name).and_then(|number| u8::try_from(number).ok());
        let text = |name: &str| field(name).and_then(Node::as_str);
        let types = field("contentType").and_then(Node::as_list).map(|list| {
            list.iter().filter_map(|node| Some(Box::from(node.as_str()?.trim()))).collect()
        });
        let chunk_bytes =
            number("chunkSize").map(|n| n.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end()));
        Some(Self {
            min_content_length: number("minContentLength")
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default.min_content_length),
            content_types: types.unwrap_or(default.content_types),
            disable_on_etag_header: flag("disableOnEtagHeader")
                .unwrap_or(default.disable_on_etag_header),
            memory_level: small("memoryLevel").unwrap_or(default.memory_level),
            window_bits: small("windowBits").unwrap_or(default.window_bits),
            chunk_bytes: chunk_bytes
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(default.chunk_bytes),
            level: text("compressionLevel").map_or(default.level, level_of),
            strategy: text("compressionStrategy").map_or(default.strategy, strategy_of),
        })
    }
}

fn level_of(name: &str) -> u8 {
    match name.strip_prefix("COMPRESSION_LEVEL_") {
        Some(number) => number.parse().unwrap_or(9),
        None if name == "BEST_SPEED" => 1,
        None => 9,
    }
}

fn strategy_of(name: &str) -> Strategy {
    match name {
        "FILTERED" => Strategy::Filtered,
        "FIXED" => Strategy::Fixed,
        "HUFFMAN_ONLY" => Strategy::HuffmanOnly,
        "RLE" => Strategy::Rle,
        _ => Strategy::Default,
    }
}
