//! An answer, read in passing: what it says about itself, and its JSON texts
//! for whoever wants to see them. Bytes are never held back or changed.
//!
//! Invariant: what is kept is bounded, however long the answer is.

use bytes::Bytes;

use crate::sse::SseDecoder;
use crate::stage::Piece;
use crate::usage::{Reading, Tail, may_have_usage};

/// The largest event that is read (Higress: ai-statistics/sse_framer.go).
const EVENT_BYTES_MAX: usize = 1 << 20;
/// The largest body that is kept to be read as a whole.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Reads one answer.
pub struct AnswerReader {
    framing: Framing,
    /// Whether all texts are wanted, rather than the usage alone.
    is_whole: bool,
    reading: Reading,
}

enum Framing {
    Stream(Box<SseDecoder>),
    /// A body, with its end for one that is too large to be kept.
    Body {
        kept: Vec<u8>,
        is_too_large: bool,
        tail: Tail,
    },
}

impl AnswerReader {
    /// A reader of an event stream or of a body. `is_whole` says whether
    /// every text of it is wanted, or only its usage.
    pub fn new(is_stream: bool, is_whole: bool) -> Self {
        let framing = match is_stream {
            true => Framing::Stream(Box::new(SseDecoder::with_event_bytes_max(EVENT_BYTES_MAX))),
            false => Framing::Body { kept: Vec::new(), is_too_large: !is_whole, tail: Tail::new() },
        };
        Self { framing, is_whole, reading: Reading::default() }
    }

    /// Takes a chunk, and shows the texts that it completes.
    pub fn push(&mut self, chunk: &Bytes, see: &mut dyn FnMut(&str)) {
        match &mut self.framing {
            Framing::Body { kept, is_too_large, tail } => {
                tail.push(chunk);
                *is_too_large |= kept.len() + chunk.len() > BODY_BYTES_MAX;
                if *is_too_large {
                    *kept = Vec::new();
                } else {
                    kept.extend_from_slice(chunk);
                }
            }
            Framing::Stream(decoder) => {
                // Mostly a chunk is some whole events without a usage, and
                // leaves the decoder as it is.
                let is_idle = !self.is_whole
                    && chunk.ends_with(b"\n\n")
                    && decoder.is_between_events()
                    && !may_have_usage(chunk);
                if is_idle {
                    return;
                }
                let mut pieces = Vec::new();
                if decoder.push(chunk.clone(), &mut pieces).is_err() {
                    // The rest of the large event is no JSON by itself.
                    **decoder = SseDecoder::with_event_bytes_max(EVENT_BYTES_MAX);
                }
                pieces.iter().for_each(|piece| self.read(piece, see));
            }
        }
    }

    /// The answer is over, or has broken off.
    pub fn finish(mut self, see: &mut dyn FnMut(&str)) -> Reading {
        match &mut self.framing {
            Framing::Stream(decoder) => {
                if let Some(piece) = decoder.finish() {
                    self.read(&piece, see);
                }
            }
            Framing::Body { kept, is_too_large: false, .. } => {
                if let Ok(text) = std::str::from_utf8(kept)
                    && !text.is_empty()
                {
                    self.reading.see(text);
                    see(text);
                }
            }
            Framing::Body { tail, .. } => {
                self.reading.usage = tail.usage().unwrap_or_default();
            }
        }
        self.reading
    }

    fn read(&mut self, piece: &Piece, see: &mut dyn FnMut(&str)) {
        let Some(data) = piece.event.as_ref().map(|event| &event.data) else {
            return;
        };
        let is_wanted = data.starts_with(b"{") && (self.is_whole || may_have_usage(data));
        if is_wanted && let Ok(text) = std::str::from_utf8(data) {
            self.reading.see(text);
            if self.is_whole {
                see(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Input, output, total, model, and how many texts were seen.
    type Found = (Option<u64>, Option<u64>, Option<u64>, Option<String>, usize);

    fn read(is_stream: bool, is_whole: bool, chunks: &[&[u8]]) -> (Reading, usize) {
        let mut reader = AnswerReader::new(is_stream, is_whole);
        let mut seen = 0;
        for chunk in chunks {
            reader.push(&Bytes::copy_from_slice(chunk), &mut |_| seen += 1);
        }
        let reading = reader.finish(&mut |_| seen += 1);
        (reading, seen)
    }

    #[track_caller]
    fn check(is_stream: bool, text: &str, expected: (u64, u64, u64, &str, usize)) {
        let (reading, seen) = read(is_stream, true, &[text.as_bytes()]);
        let usage = reading.usage;
        let found: Found =
            (usage.prompt_tokens, usage.completion_tokens, reading.total(), reading.model, seen);
        let (input, output, total, model, seen) = expected;
        assert_eq!(found, (Some(input), Some(output), Some(total), Some(model.into()), seen));
    }

    const ANTHROPIC: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"model\":\"claude\",",
        "\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "data: {\"type\":\"ping\"}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n",
    );

    #[test]
    fn all_vendors_are_understood() {
        check(
            true,
            "data: {\"model\":\"g\",\"usage\":null}\n\ndata: {\"model\":\"g\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":4}}\n\ndata: [DONE]\n\n",
            (1, 2, 4, "g", 2),
        );
        check(true, ANTHROPIC, (10, 7, 20, "claude", 3));
        check(
            true,
            "data: {\"type\":\"response.completed\",\"response\":{\"model\":\"g\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}}\n\n",
            (3, 4, 7, "g", 1),
        );
        check(
            false,
            "{\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":6,\"totalTokenCount\":12},\"modelVersion\":\"gem\"}",
            (5, 6, 12, "gem", 1),
        );
    }

    #[test]
    fn details_and_errors_are_kept() {
        let text = "{\"id\":\"c1\",\"error\":{\"code\":1},\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":2,\"x\":\"y\"},\"completion_tokens_details\":{\"reasoning_tokens\":3},\"generated_images\":1}}";
        let (reading, _) = read(false, true, &[text.as_bytes()]);
        let shown = format!("{:?} {:?}", reading.input_details, reading.output_details);
        assert_eq!(
            shown,
            "{\"cached_tokens\": 2} {\"generated_images\": 1, \"reasoning_tokens\": 3}"
        );
        assert_eq!((reading.id.as_deref(), reading.has_error), (Some("c1"), true));
        for fine in ["{\"error\":null}", "{\"error\":\"\"}", "[1]", ""] {
            assert!(!read(false, true, &[fine.as_bytes()]).0.has_error, "{fine}");
        }
    }

    #[test]
    fn only_the_usage_is_read_where_nothing_else_is_wanted() {
        let (reading, seen) = read(true, false, &[ANTHROPIC.as_bytes()]);
        assert_eq!(
            (reading.usage.prompt_tokens, reading.usage.completion_tokens),
            (Some(10), Some(7))
        );
        assert_eq!(seen, 0);
        let (reading, seen) = read(false, false, &[b"{\"usage\":{\"prompt_tokens\":", b"4}}"]);
        assert_eq!((reading.usage.prompt_tokens, seen), (Some(4), 0));
    }

    #[test]
    fn what_is_too_large_is_passed_over() {
        let large = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(2 * EVENT_BYTES_MAX));
        let stream = [large.as_bytes(), b"data: {\"usage\":{\"prompt_tokens\":4}}\n\n"].concat();
        let chunks: Vec<&[u8]> = stream.chunks(10_000).collect();
        assert_eq!(read(true, true, &chunks).0.usage.prompt_tokens, Some(4));
        let body = format!(
            "{{\"x\":\"{}\",\"usage\":{{\"prompt_tokens\":5}}}}",
            "y".repeat(BODY_BYTES_MAX)
        );
        let (reading, seen) = read(false, true, &[body.as_bytes()]);
        assert_eq!((reading.usage.prompt_tokens, seen), (Some(5), 0));
    }

    proptest! {
        #[test]
        fn chunks_say_nothing(cuts in proptest::collection::vec(0..ANTHROPIC.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, ANTHROPIC.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> =
                cuts.windows(2).map(|cut| &ANTHROPIC.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(true, true, &chunks), read(true, true, &[ANTHROPIC.as_bytes()]));
            let usage = |chunks: &[&[u8]]| read(true, false, chunks).0.usage;
            prop_assert_eq!(usage(&chunks), usage(&[ANTHROPIC.as_bytes()]));
        }
    }
}
