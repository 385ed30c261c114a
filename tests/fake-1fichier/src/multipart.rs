//! A streaming reader of `multipart/form-data`, as picky as the upload nodes (API reference 6, step 2).
//!
//! It holds at most one header block and one piece of data. It never knows what the fields mean.

use bytes::{Buf, Bytes, BytesMut};

/// Longest header block of a part in bytes.
const MAX_HEADERS: usize = 16 * 1024;

/// Why a body was refused; all of them become the page "no file found".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins; `filename` only for files.
    Part {
        name: String,
        filename: Option<String>,
    },
    /// Bytes of the part.
    Data(Bytes),
    /// The part is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Start,
    /// Right behind a boundary: `--` or a line end.
    Boundary,
    Headers,
    Body,
    /// Behind the last boundary; only a line end may follow.
    Done,
}

/// The reader.
#[derive(Debug)]
pub(crate) struct Parser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

/// The boundary of a `Content-Type` header: it must be there and not be quoted.
pub(crate) fn boundary(content_type: &str) -> Result<&str, Malformed> {
    let mut parts = content_type.split(';').map(str::trim);
    if parts
        .next()
        .is_none_or(|kind| !kind.eq_ignore_ascii_case("multipart/form-data"))
    {
        return Err(Malformed("Content-Type is not multipart/form-data"));
    }
    let boundary = parts
        .find_map(|p| p.strip_prefix("boundary="))
        .ok_or(Malformed("no boundary"))?;
    if boundary.contains('"') {
        return Err(Malformed("quoted boundary"));
    }
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(Malformed("boundary must have 1 to 70 characters"));
    }
    Ok(boundary)
}

impl Parser {
    /// A reader for that boundary.
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line end before it; with one it looks like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Start,
        }
    }

    /// Reads more bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.buffer.extend_from_slice(bytes);
        while self.step(out)? {}
        Ok(())
    }

    /// True when the closing boundary was read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, out: &mut Vec<Event>) -> Result<bool, Malformed> {
        match self.state {
            State::Start => {
                if self.buffer.len() < self.delimiter.len() {
                    return Ok(false);
                }
                if !self.buffer.starts_with(&self.delimiter) {
                    return Err(Malformed("the body does not start with the boundary"));
                }
                self.buffer.advance(self.delimiter.len());
                self.state = State::Boundary;
                Ok(true)
            }
            State::Boundary => {
                if self.buffer.len() < 2 {
                    return Ok(false);
                }
                self.state = match &self.buffer[..2] {
                    b"\r\n" => State::Headers,
                    b"--" => State::Done,
                    _ => return Err(Malformed("rubbish behind a boundary")),
                };
                self.buffer.advance(2);
                Ok(true)
            }
            State::Headers => {
                let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
                    if self.buffer.len() > MAX_HEADERS {
                        return Err(Malformed("headers of a part are too long"));
                    }
                    return Ok(false);
                };
                let block = self.buffer.split_to(end);
                self.buffer.advance(4);
                out.push(part(&block)?);
                self.state = State::Body;
                // An empty part ends right here: its delimiter shares the line end of the headers.
                let line = &self.delimiter[2..];
                if self.buffer.starts_with(line) {
                    self.buffer.advance(line.len());
                    out.push(Event::End);
                    self.state = State::Boundary;
                }
                Ok(true)
            }
            State::Body => Ok(self.body(out)),
            State::Done => {
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    fn body(&mut self, out: &mut Vec<Event>) -> bool {
        if let Some(at) = find(&self.buffer, &self.delimiter) {
            if at > 0 {
                out.push(Event::Data(self.buffer.split_to(at).freeze()));
            }
            self.buffer.advance(self.delimiter.len());
            out.push(Event::End);
            self.state = State::Boundary;
            return true;
        }
        // Keep what could be the beginning of a delimiter.
        let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
        if safe > 0 {
            out.push(Event::Data(self.buffer.split_to(safe).freeze()));
        }
        false
    }
}

fn part(block: &[u8]) -> Result<Event, Malformed> {
    let block =
        std::str::from_utf8(block).map_err(|_| Malformed("headers of a part are not UTF-8"))?;
    let mut lines = block.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let value = match first.split_once(':') {
        Some((name, value)) if name.eq_ignore_ascii_case("content-disposition") => value.trim(),
        _ => return Err(Malformed("Content-Disposition is not the first header")),
    };
    let mut rest = value
        .strip_prefix("form-data")
        .ok_or(Malformed("not form-data"))?;
    let (mut name, mut filename) = (None, None);
    while !rest.trim().is_empty() {
        let item = rest
            .trim_start()
            .strip_prefix(';')
            .ok_or(Malformed("bad Content-Disposition"))?
            .trim_start();
        let (key, quoted) = item
            .split_once('=')
            .ok_or(Malformed("bad Content-Disposition"))?;
        let quoted = quoted
            .strip_prefix('"')
            .ok_or(Malformed("unquoted value"))?;
        let (value, after) = quoted.split_once('"').ok_or(Malformed("unquoted value"))?;
        match key {
            "name" => name = Some(value.to_owned()),
            "filename" => filename = Some(value.to_owned()),
            _ => return Err(Malformed("unknown parameter, such as filename*")),
        }
        rest = after;
    }
    let name = name.ok_or(Malformed("part without a name"))?;
    for line in lines {
        let header = line
            .split_once(':')
            .map(|(h, _)| h.to_ascii_lowercase())
            .ok_or(Malformed("bad header"))?;
        if header == "content-type" && filename.is_none() {
            return Err(Malformed("Content-Type on a plain field"));
        }
    }
    Ok(Event::Part { name, filename })
}

/// Position of `needle` in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, mut from) = (*needle.first()?, 0);
    while let Some(at) = hay[from..].iter().position(|b| *b == first) {
        let at = from + at;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &[u8], step: usize) -> Result<(Vec<Event>, bool), Malformed> {
        let mut parser = Parser::new("B");
        let mut events = Vec::new();
        for piece in body.chunks(step.max(1)) {
            parser.feed(piece, &mut events)?;
        }
        Ok((events, parser.is_done()))
    }

    fn contents(events: Vec<Event>) -> Vec<(String, Option<String>, Vec<u8>)> {
        let mut all = Vec::new();
        for event in events {
            match event {
                Event::Part { name, filename } => all.push((name, filename, Vec::new())),
                Event::Data(data) => all
                    .last_mut()
                    .expect("a part came before")
                    .2
                    .extend_from_slice(&data),
                Event::End => {}
            }
        }
        all
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Ok("abc"));
        assert!(boundary("multipart/form-data; boundary=\"abc\"").is_err());
        assert!(boundary("multipart/form-data").is_err());
        assert!(boundary("application/json; boundary=abc").is_err());
    }

    #[test]
    fn picky() {
        for head in [
            "Content-Type: a/b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"y\"",
            "Content-Disposition: form-data; name=x",
            "Content-Disposition: form-data; name=\"x\"; filename=y",
            "Content-Disposition: form-data; name=\"x\"; filename=\"y\"; filename*=UTF-8''y",
            "Content-Disposition: form-data; name=\"x\"\r\nContent-Type: text/plain",
            "Content-Disposition: attachment; name=\"x\"",
            "Content-Disposition: form-data; filename=\"x\"",
        ] {
            let body = format!("--B\r\n{head}\r\n\r\ndata\r\n--B--\r\n");
            assert!(read(body.as_bytes(), 1000).is_err(), "{head}");
        }
        assert!(read(b"\r\n--B\r\n", 100).is_err());
        assert!(read(b"preamble\r\n--B\r\n", 100).is_err());
        let (_, done) = read(
            b"--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ncut",
            9,
        )
        .expect("so far");
        assert!(!done);
    }

    proptest! {
        #[test]
        fn any_data_in_any_pieces(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..60), 1..5),
            step in 1_usize..50,
        ) {
            let clean = parts.iter().all(|p| find(p, b"\r\n--B").is_none() && !p.starts_with(b"--B"));
            prop_assume!(clean);
            let mut body = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let head = format!("--B\r\nContent-Disposition: form-data; name=\"file[]\"; filename=\"{index}\"\r\n\r\n");
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--B--\r\n");
            let (events, done) = read(&body, step).expect("well formed");
            prop_assert!(done);
            let got: Vec<Vec<u8>> = contents(events).into_iter().map(|p| p.2).collect();
            prop_assert_eq!(got, parts);
        }
    }
}
