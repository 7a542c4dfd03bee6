//! What a stranger sent, as it can be shown: it must neither steer the terminal nor look like something else.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Combining marks that one character may bear; more pile up over the lines around.
const MARKS: usize = 3;

/// The text without what is not seen, or changes how other characters are seen.
pub(crate) fn plain(text: &str) -> String {
    let mut marks = 0;
    let is_shown = |c: &char| {
        marks = if is_mark(*c) { marks + 1 } else { 0 };
        !is_hidden(*c) && marks <= MARKS
    };
    text.chars().filter(is_shown).collect()
}

/// Controls, line ends of Unicode, and what it calls ignorable by default (UAX #44, `Default_Ignorable_Code_Point`): among these
/// are all that turns the direction of writing, has no width, or selects variants. Also the blank of Braille, and annotations.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The blocks of combining diacritical marks.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// JSON in one line, whose text is kept whole: what [`plain`] leaves out is escaped.
pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Escaping);
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if is_hidden(c) || is_mark(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            } else {
                write!(out, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\x1b[2J\u{9b}\n\u{202e}b\u{2066}\u{200b}\u{200d}\u{feff}\u{ad}\u{3164}\u{e0041}\u{2028}c";

    #[test]
    fn what_steers_hides_or_turns_is_not_shown() {
        assert_eq!(plain(HOSTILE), "a[2Jbc");
        assert_eq!(
            plain("e\u{301}\u{302}\u{303}\u{304}\u{305}x\u{301}"),
            "e\u{301}\u{302}\u{303}x\u{301}"
        );
        // Words of any script, and pictures, are.
        for text in ["Grüße", "नमस्ते", "שלום", "สวัสดี", "你好", "🙂"]
        {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn json_says_the_same_in_characters_that_a_terminal_can_be_given() {
        let text = json(&[HOSTILE, "Grüße \"e\u{301}\""]).expect("JSON");
        assert!(
            !text.chars().any(|c| is_hidden(c) || is_mark(c)),
            "{text:?}"
        );
        assert!(text.contains("Grüße"), "{text}");
        let back: Vec<String> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back, [HOSTILE, "Grüße \"e\u{301}\""]);
    }
}
