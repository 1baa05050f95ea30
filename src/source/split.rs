//! Splits the API server's response into single objects while it arrives, so that at most one object is in memory.

/// The maximum size of an object in bytes. etcd stores at most 1.5 MiB, and JSON may need six bytes for one.
pub(super) const MAX_OBJECT: usize = 16 << 20;
/// How many bytes of a larger object are kept. They contain its name.
const HEAD: usize = 64 << 10;
/// The maximum size of a list without its items, in bytes.
const MAX_SHELL: usize = 64 << 10;

/// The response is not a list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    #[error("it is not JSON with a list of objects")]
    NotAList,
    #[error("it has more than {MAX_SHELL} bytes besides its objects")]
    TooLong,
}

/// Collects the bytes of one object. An object that is too large keeps its beginning, which is not valid JSON but contains the name.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Piece {
    fn push(&mut self, bytes: &[u8]) {
        if self.is_cut {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MAX_OBJECT {
            self.bytes.truncate(HEAD);
            self.bytes.shrink_to_fit();
            self.is_cut = true;
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.is_cut = false;
        std::mem::take(&mut self.bytes)
    }
}

/// Splits the lines of a watch.
#[derive(Default)]
pub(super) struct Lines {
    line: Piece,
}

impl Lines {
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.push(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = self.line.take();
            if !line.trim_ascii().is_empty() {
                each(&line);
            }
        }
        self.line.push(bytes);
    }
}

/// Splits a list: `{"metadata": …, "items": [ITEM, …]}`.
#[derive(Default)]
pub(super) struct List {
    /// The list without its items.
    shell: Vec<u8>,
    item: Piece,
    depth: usize,
    in_items: bool,
    in_text: bool,
    escaped: bool,
    begun: bool,
}

impl List {
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), SplitError> {
        // The start of the current item.
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let was_inside = self.is_in_item();
            self.step(*byte)?;
            match (was_inside, self.is_in_item()) {
                (false, true) => from = at,
                (true, false) => {
                    self.item.push(&bytes[from..=at]);
                    each(&self.item.take());
                }
                _ => {}
            }
        }
        if self.is_in_item() {
            self.item.push(&bytes[from..]);
        }
        Ok(())
    }

    /// Returns the list without its items, once all of it has arrived.
    pub(super) fn finish(self) -> Result<Vec<u8>, SplitError> {
        let whole = self.begun && self.depth == 0 && !self.in_text;
        whole.then_some(self.shell).ok_or(SplitError::NotAList)
    }

    fn is_in_item(&self) -> bool {
        self.in_items && self.depth > 2
    }

    fn step(&mut self, byte: u8) -> Result<(), SplitError> {
        let mut outside = !self.in_items;
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    let is_items = self.depth == 1 && byte == b'[' && self.names_items();
                    self.depth += 1;
                    self.begun = true;
                    self.in_items |= is_items;
                }
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1).ok_or(SplitError::NotAList)?;
                    if self.in_items && self.depth == 1 {
                        self.in_items = false;
                        outside = true;
                    }
                }
                _ => {}
            }
            // Only commas may stand between items.
            let between = self.in_items && self.depth == 2 && !outside;
            if between && !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace() {
                return Err(SplitError::NotAList);
            }
        }
        if outside && !byte.is_ascii_whitespace() | self.in_text {
            self.shell.push(byte);
            if self.shell.len() > MAX_SHELL {
                return Err(SplitError::TooLong);
            }
        }
        Ok(())
    }

    fn names_items(&self) -> bool {
        self.shell.ends_with(b"\"items\":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, chunk: usize) -> Result<(Vec<String>, String), SplitError> {
        let (mut list, mut items) = (List::default(), Vec::new());
        for bytes in text.as_bytes().chunks(chunk) {
            list.push(bytes, |item| {
                items.push(String::from_utf8(item.to_vec()).expect("UTF-8"));
            })?;
        }
        let shell = String::from_utf8(list.finish()?).expect("UTF-8");
        Ok((items, shell))
    }

    #[test]
    fn items_come_out_whole_however_they_arrive() {
        let items = [
            r#"{"a":[1,{"b":"]}\"\\"}]}"#.to_owned(),
            r#"{"metadata": {"name": "ü , [{"}}"#.to_owned(),
            format!("{{\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000)),
            "{}".to_owned(),
            "[]".to_owned(),
        ];
        let list = format!(
            "{{\"metadata\": {{\"continue\":\"a b\"}},\n \"items\" : [ {} ] , \"items2\": [{{}}], \"x\": {{\"items\": [7]}}}}\n",
            items.join(" ,\n")
        );
        for chunk in [1, 2, 3, 7, 64, 1 << 20] {
            let (found, shell) = split(&list, chunk).expect("a list");
            assert_eq!(found, items, "{chunk}");
            assert_eq!(
                shell,
                r#"{"metadata":{"continue":"a b"},"items":[],"items2":[{}],"x":{"items":[7]}}"#
            );
        }
        for empty in [r#"{"items":[]}"#, r#"{"items":null}"#, "{}"] {
            assert!(split(empty, 3).is_ok_and(|(items, _)| items.is_empty()));
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for text in [
            "",
            "}",
            "{\"items\":[",
            "{\"items\":[{}",
            "{\"items\":[7]}",
            "{\"items\":[\"{}\"]}",
            "<html>",
            "{\"items\":[null]}",
        ] {
            assert!(split(text, 4).is_err(), "{text}");
        }
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_SHELL));
        assert_eq!(split(&long, 1 << 12), Err(SplitError::TooLong));
    }

    #[test]
    fn an_object_that_is_too_long_keeps_only_its_beginning() {
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_OBJECT));
        let (items, _) = split(&format!("{{\"items\":[{long},{{}}]}}"), 1 << 16).expect("a list");
        assert_eq!((items[0].len(), items[1].as_str()), (HEAD, "{}"));
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for bytes in format!("{long}\n\n{{}}\n{{\"half\":")
            .as_bytes()
            .chunks(1 << 16)
        {
            lines.push(bytes, |line| found.push(line.len()));
        }
        assert_eq!(found, [HEAD, 2]);
    }
}
