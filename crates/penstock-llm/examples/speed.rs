use std::time::Instant;
use penstock_llm::{scan::Scan, api::Api, sse::SseDecoder, usage::Tail};
use bytes::Bytes;
fn time(name:&str, n:u32, mut f: impl FnMut()) { for _ in 0..n/10 {f()} let t=Instant::now(); for _ in 0..n {f()} println!("{name}: {:?}", t.elapsed()/n); }
fn main(){
  for (n, c) in [("ascii","hello world, this is text. "),("escaped","line\\nline \\\"q\\\" "),("chinese","你好世界，这是一个测试。")] {
    let body=format!(r#"{{"model":"gpt-4","stream":true,"messages":[{{"role":"user","content":"{}"}}]}}"#, c.repeat(65536/c.len()));
    time(&format!("scan {n} {}",body.len()), 2000, || { std::hint::black_box(Scan::of(body.as_bytes()).unwrap()); });
    time(&format!("utf8 {n}"), 2000, || { std::hint::black_box(std::str::from_utf8(body.as_bytes()).unwrap()); });
    let b=body.as_bytes(); time("memmem developer", 2000, || { std::hint::black_box(memchr::memmem::find(b, b"\"developer\"")); });
  }
  for p in ["/v1/chat/completions","/x/v1/embeddings","/v1/files/abc/content","/unknown/path/here","/v1beta/models/g:streamGenerateContent"] { time(p, 1000000, || { std::hint::black_box(Api::from_path(std::hint::black_box(p))); }); }
  let ev=Bytes::from("data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n".to_string());
  let mut d=SseDecoder::new(); let mut out=Vec::new();
  time("sse event", 1000000, || { out.clear(); d.push(ev.clone(), &mut out).unwrap(); });
  let mut t=Tail::new(); time("tail small", 1000000, || t.push(&ev));
  let big=Bytes::from(vec![b'x';16384]); time("tail big", 1000000, || t.push(&big));
  time("usage none 16k", 10000, || {std::hint::black_box(t.usage());});
}
