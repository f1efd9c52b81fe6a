//! Reads JSON text (RFC 8259) straight into the binary form, without a tree in between.
//!
//! It has its own reader because the common one turns integers beyond 64 bits, and `-0`, into doubles
//! before anyone can see how they were written, and the type of a number matters to filters.

use serde_json::Value;

use crate::document::encode::{ARRAY, Encoder, OBJECT};
use crate::document::{DOCUMENT_BYTES_MAX, Document};

/// Why a text or a JSON tree is not taken, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// In a text.
    #[error("line {line} column {column}: {fault}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong there.
        fault: JsonFault,
    },
    /// In a JSON tree.
    #[error("{}: {fault}", if path.is_empty() { "the document" } else { path })]
    Member {
        /// The dotted path of the member; empty for the outermost value.
        path: String,
        /// What is wrong there.
        fault: JsonFault,
    },
}

impl JsonError {
    /// What is wrong, without the place.
    #[must_use]
    pub const fn fault(&self) -> JsonFault {
        match self {
            Self::Text { fault, .. } | Self::Member { fault, .. } => *fault,
        }
    }
}

/// What can be wrong with JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The text is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// The text ends inside the value.
    #[error("the text ends too early")]
    End,
    /// No value begins here.
    #[error("expected a value")]
    Value,
    /// A member does not begin with a string.
    #[error("expected a key in double quotes")]
    Key,
    /// A key is not followed by a colon.
    #[error("expected `:` after the key")]
    Colon,
    /// An element or member is followed by something else.
    #[error("expected `,` or the closing bracket")]
    Comma,
    /// Something follows the value.
    #[error("unexpected text after the value")]
    Trailing,
    /// A number is not written as JSON writes numbers.
    #[error("malformed number")]
    Number,
    /// An integer outside the signed 64 bits.
    #[error("the integer does not fit 64 bits")]
    IntegerRange,
    /// A number outside the doubles.
    #[error("the number is too large")]
    DoubleRange,
    /// An unescaped control character in a string.
    #[error("a control character in a string must be escaped")]
    Control,
    /// An unknown escape sequence.
    #[error("unknown escape sequence")]
    Escape,
    /// An escaped surrogate without its other half.
    #[error("half of a surrogate pair")]
    Surrogate,
    /// Nested too deep.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
}

/// Reads exactly one value.
pub(super) fn read(text: &[u8], depth_max: usize) -> Result<Document, JsonError> {
    let valid = match std::str::from_utf8(text) {
        Ok(valid) if valid.len() <= DOCUMENT_BYTES_MAX => valid,
        Ok(_) => return Err(locate(b"", 0, JsonFault::TooLarge)),
        Err(error) => return Err(locate(text, error.valid_up_to(), JsonFault::Utf8)),
    };
    let mut reader = Reader {
        text: valid,
        at: 0,
        depth_max,
        encoder: Encoder::with_capacity(text.len() + 16),
        scratch: String::new(),
    };
    match reader.whole() {
        Ok(()) => Ok(Document::of(reader.encoder)),
        Err(fault) => Err(locate(text, reader.at, fault)),
    }
}

fn locate(text: &[u8], at: usize, fault: JsonFault) -> JsonError {
    let before = &text[..at.min(text.len())];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    JsonError::Text {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[start..]).chars().count() + 1,
        fault,
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth_max: usize,
    encoder: Encoder,
    /// Holds a string while its escapes are resolved.
    scratch: String,
}

impl<'t> Reader<'t> {
    fn whole(&mut self) -> Result<(), JsonFault> {
        let slot = self.encoder.slot();
        self.value(slot, 0)?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonFault::Trailing),
        }
    }

    fn value(&mut self, slot: usize, depth: usize) -> Result<(), JsonFault> {
        match self.peek().ok_or(JsonFault::End)? {
            b'{' => self.object(slot, depth + 1),
            b'[' => self.array(slot, depth + 1),
            b'"' => {
                self.at += 1;
                match self.string()? {
                    Some(plain) => self.encoder.text(slot, plain.as_bytes()),
                    None => self.encoder.text(slot, self.scratch.as_bytes()),
                }
                Ok(())
            }
            b't' => self.word("true").map(|()| self.encoder.bool(slot, true)),
            b'f' => self.word("false").map(|()| self.encoder.bool(slot, false)),
            // A reserved slot already reads as null.
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number(slot),
            _ => Err(JsonFault::Value),
        }
    }

    fn object(&mut self, slot: usize, depth: usize) -> Result<(), JsonFault> {
        self.enter(depth)?;
        let body = self.encoder.open(slot, OBJECT);
        if self.peek() != Some(b'}') {
            loop {
                self.expect(b'"', JsonFault::Key)?;
                let slot = match self.string()? {
                    Some(plain) => self.encoder.member(plain),
                    None => self.encoder.member(&self.scratch),
                };
                self.expect(b':', JsonFault::Colon)?;
                self.value(slot, depth)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.expect(b'}', JsonFault::Comma)?;
        self.encoder.close_object(body);
        Ok(())
    }

    fn array(&mut self, slot: usize, depth: usize) -> Result<(), JsonFault> {
        self.enter(depth)?;
        let body = self.encoder.open(slot, ARRAY);
        if self.peek() != Some(b']') {
            loop {
                let slot = self.encoder.slot();
                self.value(slot, depth)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.expect(b']', JsonFault::Comma)?;
        self.encoder.close(body);
        Ok(())
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth > self.depth_max {
            return Err(JsonFault::TooDeep(self.depth_max));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), JsonFault> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(JsonFault::Value)
    }

    fn number(&mut self, slot: usize) -> Result<(), JsonFault> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut whole = true;
        if self.byte() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = &self.text[start..self.at];
        if whole {
            let value = literal.parse().map_err(|_| JsonFault::IntegerRange)?;
            self.encoder.int(slot, value);
            return Ok(());
        }
        match literal.parse::<f64>() {
            Ok(value) if value.is_finite() => self.encoder.double(slot, value),
            Ok(_) => return Err(JsonFault::DoubleRange),
            Err(_) => return Err(JsonFault::Number),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return Err(JsonFault::Number);
        }
        Ok(())
    }

    /// Reads a string after its opening quote. One without escapes is a slice of the text; any other
    /// stands in `scratch`.
    fn string(&mut self) -> Result<Option<&'t str>, JsonFault> {
        let start = self.at;
        self.plain()?;
        let text = self.text;
        if self.byte() == Some(b'"') {
            let plain = &text[start..self.at];
            self.at += 1;
            return Ok(Some(plain));
        }
        self.scratch.clear();
        self.scratch.push_str(&text[start..self.at]);
        loop {
            self.at += 1;
            let character = self.escape()?;
            self.scratch.push(character);
            let start = self.at;
            self.plain()?;
            self.scratch.push_str(&text[start..self.at]);
            if self.byte() == Some(b'"') {
                self.at += 1;
                return Ok(None);
            }
        }
    }

    /// Advances to the next quote or backslash.
    fn plain(&mut self) -> Result<(), JsonFault> {
        loop {
            match self.byte().ok_or(JsonFault::End)? {
                b'"' | b'\\' => return Ok(()),
                0..0x20 => return Err(JsonFault::Control),
                _ => self.at += 1,
            }
        }
    }

    /// Reads an escape sequence after its backslash.
    fn escape(&mut self) -> Result<char, JsonFault> {
        let byte = self.byte().ok_or(JsonFault::End)?;
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(JsonFault::Escape),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, JsonFault> {
        let first = self.hex()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or(JsonFault::Surrogate);
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(JsonFault::Surrogate);
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(JsonFault::Surrogate);
        }
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(JsonFault::Surrogate)
    }

    fn hex(&mut self) -> Result<u32, JsonFault> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.ok_or(JsonFault::End)?;
        let mut value = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(JsonFault::Escape)?;
            value = value * 16 + digit;
        }
        self.at += 4;
        Ok(value)
    }

    fn expect(&mut self, byte: u8, otherwise: JsonFault) -> Result<(), JsonFault> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(otherwise),
            None => Err(JsonFault::End),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Takes over a JSON tree.
pub(super) fn convert(value: &Value, depth_max: usize) -> Result<Document, JsonError> {
    let mut converter = Converter { encoder: Encoder::default(), path: Vec::new(), depth_max };
    let slot = converter.encoder.slot();
    match converter.value(slot, value, 0) {
        Ok(()) => Ok(Document::of(converter.encoder)),
        Err(fault) => Err(JsonError::Member { path: converter.path.join("."), fault }),
    }
}

struct Converter<'v> {
    encoder: Encoder,
    /// The keys that lead to the value at hand; left as it is when a fault is found.
    path: Vec<&'v str>,
    depth_max: usize,
}

impl<'v> Converter<'v> {
    fn value(&mut self, slot: usize, value: &'v Value, depth: usize) -> Result<(), JsonFault> {
        if depth == self.depth_max && (value.is_object() || value.is_array()) {
            return Err(JsonFault::TooDeep(self.depth_max));
        }
        match value {
            Value::Null => {}
            Value::Bool(value) => self.encoder.bool(slot, *value),
            Value::Number(number) => self.number(slot, number)?,
            Value::String(text) => self.encoder.text(slot, text.as_bytes()),
            Value::Object(members) => {
                let body = self.encoder.open(slot, OBJECT);
                for (key, value) in members {
                    let slot = self.encoder.member(key);
                    self.path.push(key);
                    self.value(slot, value, depth + 1)?;
                    self.path.pop();
                }
                self.encoder.close(body);
            }
            Value::Array(elements) => {
                let body = self.encoder.open(slot, ARRAY);
                for value in elements {
                    let slot = self.encoder.slot();
                    self.value(slot, value, depth + 1)?;
                }
                self.encoder.close(body);
            }
        }
        Ok(())
    }

    fn number(&mut self, slot: usize, number: &serde_json::Number) -> Result<(), JsonFault> {
        if let Some(int) = number.as_i64() {
            self.encoder.int(slot, int);
        } else if number.is_u64() {
            return Err(JsonFault::IntegerRange);
        } else {
            let double = number.as_f64().ok_or(JsonFault::DoubleRange)?;
            self.encoder.double(slot, double);
        }
        Ok(())
    }
}
