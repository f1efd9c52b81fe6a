//! Regular expressions: PCRE on UTF-8, classes ASCII, case folding Unicode, under limits that keep one
//! search below about 100 ms whatever the pattern and the string.
//!
//! PCRE counts its steps anew at each position of the string, and a run of one class counts as one step
//! whatever its length. So a pattern has up to four compiled forms. *Quick* is the pattern itself, for
//! short strings. *Middle* lets the pattern itself look for its beginning, so that one count covers all
//! positions; it also runs where quick gave up. *Long* has every step of a run counted as well. *Patient*
//! does without the just-in-time compiler, where only the small stack of that compiler was in the way.

use std::cell::Cell;
use std::sync::OnceLock;

use pcre2::bytes::{Regex, RegexBuilder};

use crate::document::Text;
use crate::filter::error::{EvalError, EvalFault};

/// Strings up to so many bytes are searched with the quick form first.
const SHORT_MAX: usize = 1024;

/// Square of the string's length times the repetitions of the pattern, up to which runs need not be
/// counted: 16 KiB for one repetition, 4 KiB for 20.
const UNCOUNTED_MAX: usize = 200_000_000;

/// Product of the lengths of string and pattern above which a long string is refused.
const LONG_PRODUCT_MAX: usize = 200_000_000;

/// Steps at one position of a short string. A step takes 1.5 to 5 ns: 20 ms for all 1024 positions.
const QUICK_STEPS: u32 = 4_000;

/// Steps at one position if a pattern cannot search by itself: 70 ms for 14 000 positions.
const MODEST_STEPS: u32 = 2_500;

/// Steps in all positions.
const TOTAL_STEPS: u32 = 10_000_000;

/// Steps in all positions without the compiler, at 10 ns each or more.
const PATIENT_STEPS: u32 = 2_000_000;

/// How often in one document a search may go on where the quick form gave up. A document may hold
/// thousands of strings, each made to cost as much as one search may.
const SECOND_SEARCHES_MAX: u32 = 100;

/// KiB that the uncompiled form may take.
const HEAP_KIB: u32 = 65_536;

/// The stack of the just-in-time compiler, in bytes, per pattern and thread.
const STACK_BYTES: usize = 256 * 1024;

/// PCRE's error for a compiled pattern that ran out of its stack.
const NO_STACK: i32 = -46;

/// The pattern where it is not applied to a path.
const EXPRESSION: &str = "$expr";

/// Words that, as `(*WORD)` at its very beginning, would change how PCRE reads the pattern or lift limits.
const REFUSED_VERBS: [&str; 18] = [
    "NO_JIT",
    "NO_START_OPT",
    "NO_AUTO_POSSESS",
    "NO_DOTSTAR_ANCHOR",
    "NOTEMPTY",
    "NOTEMPTY_ATSTART",
    "LIMIT_HEAP",
    "LIMIT_MATCH",
    "LIMIT_DEPTH",
    "LIMIT_RECURSION",
    "CASELESS_RESTRICT",
    "TURKISH_CASING",
    "CR",
    "LF",
    "CRLF",
    "ANYCRLF",
    "ANY",
    "NUL",
];

/// How many second searches one document has left.
pub(super) struct Patience(Cell<u32>);

impl Default for Patience {
    fn default() -> Self {
        Self(Cell::new(SECOND_SEARCHES_MAX))
    }
}

impl Patience {
    /// Takes one of the second searches, if there is one left.
    fn lasts(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// A checked and compiled regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The pattern behind its option verbs.
    text: Box<str>,
    flags: Flags,
    /// The path it is applied to, for errors; nothing within `$expr`.
    path: Option<Box<str>>,
    quick: Regex,
    middle: OnceLock<Option<Regex>>,
    long: OnceLock<Option<Regex>>,
    patient: OnceLock<Option<Regex>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    caseless: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    /// Unicode properties for classes, asked for by `(*UCP)`.
    properties: bool,
}

impl Pattern {
    /// Compiles a pattern. The failure is the end of a sentence.
    pub(super) fn new(text: &str, flags: &str, path: Option<&str>) -> Result<Self, String> {
        let mut flags = Flags::new(flags)?;
        if text.contains('\0') {
            return Err("the pattern holds a NUL character".into());
        }
        let text = flags.take_verbs(text)?;
        let quick = flags.compile(&steps(QUICK_STEPS), text, true);
        let quick = quick.map_err(|error| {
            // The offset in the library's sentence counts our verbs as well.
            let sentence = error.to_string();
            let reason = sentence.rsplit_once(": ").map_or("", |(_, reason)| reason);
            format!("the pattern does not compile: {reason}")
        })?;
        Ok(Self {
            text: text.into(),
            flags,
            path: path.map(Into::into),
            quick,
            middle: OnceLock::new(),
            long: OnceLock::new(),
            patient: OnceLock::new(),
        })
    }

    /// Whether the pattern is found anywhere in a string.
    pub(super) fn is_found_in(&self, text: Text<'_>, patience: &Patience) -> Result<bool, EvalError> {
        let bytes = text.as_bytes();
        if bytes.len() <= SHORT_MAX && self.runs_are_short(bytes.len()) {
            if let Ok(found) = self.quick.is_match(bytes) {
                return Ok(found);
            }
            if !patience.lasts() {
                return Err(self.too_costly(bytes));
            }
        }
        self.search_thoroughly(bytes).ok_or_else(|| self.too_costly(bytes))
    }

    fn search_thoroughly(&self, bytes: &[u8]) -> Option<bool> {
        let form = if self.runs_are_short(bytes.len()) {
            self.middle.get_or_init(|| self.compile_middle())
        } else if self.is_fit_for_long(bytes.len()) {
            self.long.get_or_init(|| self.compile_long())
        } else {
            &None
        };
        match form.as_ref()?.is_match(bytes) {
            Ok(found) => Some(found),
            Err(error) if error.code() == NO_STACK => {
                let patient = self.patient.get_or_init(|| self.compile_patient());
                patient.as_ref()?.is_match(bytes).ok()
            }
            Err(_) => None,
        }
    }

    fn compile_middle(&self) -> Option<Regex> {
        if let Some(whole) = self.self_searching()
            && let Ok(regex) = self.flags.compile(&steps(TOTAL_STEPS), &whole, true)
        {
            return Some(regex);
        }
        let modest = steps(MODEST_STEPS);
        self.flags.compile(&modest, &self.text, true).ok()
    }

    fn compile_long(&self) -> Option<Regex> {
        let verbs = format!("{}(*NO_AUTO_POSSESS)", steps(TOTAL_STEPS));
        let whole = self.self_searching()?;
        self.flags.compile(&verbs, &whole, true).ok()
    }

    fn compile_patient(&self) -> Option<Regex> {
        let verbs = format!("{}(*NO_AUTO_POSSESS)", steps(PATIENT_STEPS));
        let whole = self.self_searching()?;
        self.flags.compile(&verbs, &whole, false).ok()
    }

    /// The pattern behind `\A` and a lazy walk. Not possible where the pattern speaks of its own start,
    /// by verbs that steer the search or by recursion into the whole.
    fn self_searching(&self) -> Option<String> {
        const OF_THE_WHOLE: [&str; 6] = ["(*", "(?R", "(?0", "\\g<0", "\\g'0", "(?C"];
        if OF_THE_WHOLE.iter().any(|mark| self.text.contains(mark)) {
            return None;
        }
        // A comment of an extended pattern ends at the line's end, not at the bracket.
        let end = if self.flags.extended { "\n" } else { "" };
        let text = without_leading_dot_star(&self.text);
        Some(format!("\\A(?s:.*?)(?:{text}{end})"))
    }

    /// Whether all runs together cost little, from whatever position they begin. Without repetitions
    /// there are none.
    fn runs_are_short(&self, length: usize) -> bool {
        let repetitions = self.text.matches(['*', '+', '{', 'X']).count();
        if repetitions == 0 {
            return length.saturating_mul(self.text.len()) <= LONG_PRODUCT_MAX;
        }
        length.saturating_mul(length).saturating_mul(repetitions) <= UNCOUNTED_MAX
    }

    /// Whether no part of the pattern can run far without being counted: no atomic part, look-around,
    /// back reference or large repetition.
    fn is_fit_for_long(&self, length: usize) -> bool {
        const UNCOUNTED: [&str; 14] =
            ["*+", "++", "?+", "}+", "(?>", "(?=", "(?!", "(?<", "(?(", "(?P", "(?&", "(*", "\\g", "\\k"];
        let recurses = (self.text.as_bytes().windows(3)).any(|part| {
            part.starts_with(b"(?") && matches!(part[2], b'0'..=b'9' | b'+' | b'-' | b'R' | b'C')
        });
        let counted = !recurses && !UNCOUNTED.iter().any(|mark| self.text.contains(mark));
        let bytes = self.text.as_bytes();
        let refers_back =
            (bytes.windows(2)).any(|pair| pair[0] == b'\\' && matches!(pair[1], b'1'..=b'9' | b'X' | b'R'));
        let repeats_much = (bytes.windows(4))
            .any(|part| matches!(part[0], b'{' | b',') && part[1..].iter().all(u8::is_ascii_digit));
        counted && !refers_back && !repeats_much && length.saturating_mul(bytes.len()) <= LONG_PRODUCT_MAX
    }

    fn too_costly(&self, bytes: &[u8]) -> EvalError {
        EvalError::from(EvalFault::Pattern {
            operator: match self.path {
                Some(_) => "$regex",
                None => "$regexMatch",
            },
            path: self.path.as_deref().unwrap_or(EXPRESSION).to_owned(),
            bytes: bytes.len(),
        })
    }
}

impl Flags {
    fn new(letters: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for letter in letters.chars() {
            match letter {
                'i' => flags.caseless = true,
                'm' => flags.multi_line = true,
                's' => flags.dot_all = true,
                'x' => flags.extended = true,
                // UTF is always on.
                'u' => {}
                other => return Err(format!("unknown flag {other:?} in $options")),
            }
        }
        Ok(flags)
    }

    /// Reads the option verbs that are allowed, and returns what follows them. UTF is always on.
    fn take_verbs<'p>(&mut self, text: &'p str) -> Result<&'p str, String> {
        let mut rest = text;
        loop {
            if let Some(tail) = rest.strip_prefix("(*UCP)") {
                self.properties = true;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("(*UTF)") {
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("(*UTF8)") {
                rest = tail;
            } else {
                return match refused_verb(rest) {
                    Some(verb) => Err(format!("(*{verb}) may not begin the pattern")),
                    None => Ok(rest),
                };
            }
        }
    }

    /// Compiles a pattern behind verbs that set limits, for the just-in-time compiler or without it.
    fn compile(self, verbs: &str, text: &str, in_time: bool) -> Result<Regex, pcre2::Error> {
        let properties = if self.properties { "(*UCP)" } else { "" };
        RegexBuilder::new()
            .utf(true)
            .caseless(self.caseless)
            .multi_line(self.multi_line)
            .dotall(self.dot_all)
            .extended(self.extended)
            .jit_if_available(in_time)
            .max_jit_stack_size(Some(STACK_BYTES))
            .build(&format!("(*LIMIT_HEAP={HEAP_KIB}){verbs}{properties}{text}"))
    }
}

/// The verb that limits the steps.
fn steps(count: u32) -> String {
    format!("(*LIMIT_MATCH={count})")
}

/// The word of a verb at the beginning that is not allowed there.
fn refused_verb(text: &str) -> Option<&str> {
    let word = text.strip_prefix("(*")?;
    let end = word.find(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
    let word = &word[..end.unwrap_or(word.len())];
    (REFUSED_VERBS.contains(&word) || word.starts_with("BSR_")).then_some(word)
}

/// What may match nothing at the beginning does not change whether the rest is found.
fn without_leading_dot_star(text: &str) -> &str {
    let mut rest = text;
    while let Some(tail) = rest.strip_prefix(".*") {
        match tail.strip_prefix('?').unwrap_or(tail) {
            tail if tail.starts_with(['+', '?', '*', '{']) => break,
            tail => rest = tail,
        }
    }
    rest
}

#[cfg(test)]
mod tests;
