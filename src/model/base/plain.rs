//! Makes text from outside safe to show in a log, an Event, an annotation, a page or a terminal.
//!
//! A value of a ConfigMap, a name in a manifest and a server's response may contain escape sequences, line breaks, direction marks or
//! invisible characters. Each of them can falsify the line in which it is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The replacement for a character that is not shown.
const HIDDEN: char = '?';

/// Returns the text on one line, without characters that affect the text around them.
pub fn plain(text: &str) -> Cow<'_, str> {
    // Fast path: nearly all text is ASCII, and all shown text passes through here.
    let printable = |byte: u8| matches!(byte, b' '..=b'~');
    if text.bytes().all(printable) || !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_hostile(c) => HIDDEN,
        c => c,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Returns the same, cut to at most `bytes` bytes.
pub fn short(text: &str, bytes: usize) -> String {
    let kept = &text[..text.floor_char_boundary(bytes)];
    let more = if kept.len() < text.len() { "…" } else { "" };
    format!("{}{more}", plain(kept))
}

/// Returns equivalent JSON, with hostile characters escaped. Line breaks stay, because JSON strings contain none.
pub fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _written = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a character is a control character, a direction mark, or invisible.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_what_is_around_it() {
        for hostile in [
            "a\u{1b}[31mb",
            "a\nb",
            "a\rb",
            "a\u{7f}b",
            "a\u{9b}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{feff}b",
            "a\u{2028}b",
            "a\u{e0041}b",
            "a\u{ad}b",
        ] {
            let shown = plain(hostile);
            assert!(
                !shown.contains(is_hostile) && shown.starts_with('a'),
                "{shown:?}"
            );
            let text = json(&serde_json::json!([hostile]).to_string());
            assert!(!text.contains(is_hostile), "{text:?}");
            let back: Vec<String> = serde_json::from_str(&text).expect("JSON");
            assert_eq!(back, [hostile]);
        }
        for good in ["8.8.8.8/32", "Zürich – 東京 🙂", ""] {
            assert!(matches!(plain(good), Cow::Borrowed(text) if text == good));
        }
        assert_eq!(json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
        assert_eq!(plain("one\ntwo"), "one two");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(short("aüb", 2), "a…");
        assert_eq!(short("a\nb", 9), "a b");
    }
}
