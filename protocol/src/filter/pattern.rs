//! Regular expressions: PCRE on UTF-8, classes ASCII, case folding Unicode, under limits that keep one
//! search below about 100 ms whatever the pattern and the string.
//!
//! PCRE counts its steps anew at each position of the string, and a run of one class counts as one step
//! whatever its length. So there are two compiled forms. *Quick* is the pattern itself, for short
//! strings. *Thorough* lets the pattern itself look for its beginning, so that one count covers all
//! positions; it runs on longer strings, and where quick gave up. It runs again without the just-in-time
//! compiler if only the small stack of that compiler was in the way.

use std::sync::OnceLock;

use pcre2::bytes::{Regex, RegexBuilder};

use crate::document::Text;
use crate::filter::error::{EvalError, EvalFault};

/// Strings up to so many bytes are searched with the quick form.
const SHORT_MAX: usize = 256;

/// Longer strings are searched only with patterns whose every step is counted.
const MIDDLE_MAX: usize = 16 * 1024;

/// Product of the lengths of string and pattern above which a long string is refused.
const LONG_PRODUCT_MAX: usize = 200_000_000;

/// Steps at one position. Measured at 1.5 ns each: 40 ms for the 256 positions of a short string.
const QUICK_STEPS: u32 = 100_000;

/// Steps at one position if the thorough form cannot be had: 120 ms for 16 384 positions.
const MODEST_STEPS: u32 = 5_000;

/// Steps in all; 45 ms compiled.
const THOROUGH_STEPS: u32 = 20_000_000;

/// Steps in all without the compiler, at 10 ns each.
const PATIENT_STEPS: u32 = 3_000_000;

/// KiB that the uncompiled form may take.
const HEAP_KIB: u32 = 65_536;

/// The stack of the just-in-time compiler, in bytes, per pattern and thread.
const STACK_BYTES: usize = 256 * 1024;

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

/// A checked and compiled regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The pattern behind its option verbs.
    text: Box<str>,
    flags: Flags,
    /// The path it is applied to, for errors; nothing within `$expr`.
    path: Option<Box<str>>,
    quick: Regex,
    thorough: OnceLock<Option<Regex>>,
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
        let quick = flags.compile(&format!("(*LIMIT_MATCH={QUICK_STEPS})"), text, true);
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
            thorough: OnceLock::new(),
            patient: OnceLock::new(),
        })
    }

    /// Whether the pattern is found anywhere in a string.
    pub(super) fn is_found_in(&self, text: Text<'_>) -> Result<bool, EvalError> {
        let bytes = text.as_bytes();
        if bytes.len() <= SHORT_MAX
            && let Ok(found) = self.quick.is_match(bytes)
        {
            return Ok(found);
        }
        self.search_thoroughly(bytes)
            .ok_or_else(|| self.too_costly(bytes))
    }

    fn search_thoroughly(&self, bytes: &[u8]) -> Option<bool> {
        if bytes.len() > MIDDLE_MAX && !self.is_fit_for_long(bytes.len()) {
            return None;
        }
        let thorough = self.thorough.get_or_init(|| self.compile_thorough());
        if let Ok(found) = thorough.as_ref()?.is_match(bytes) {
            return Some(found);
        }
        let patient = self.patient.get_or_init(|| self.compile_patient());
        patient.as_ref()?.is_match(bytes).ok()
    }

    fn compile_thorough(&self) -> Option<Regex> {
        if let Some(whole) = self.self_searching()
            && let Ok(regex) = self.flags.compile(&total(THOROUGH_STEPS), &whole, true)
        {
            return Some(regex);
        }
        let verbs = format!("(*LIMIT_MATCH={MODEST_STEPS})");
        self.flags.compile(&verbs, &self.text, true).ok()
    }

    fn compile_patient(&self) -> Option<Regex> {
        let whole = self.self_searching()?;
        let verbs = total(PATIENT_STEPS);
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

    /// Whether no part of the pattern can run far without being counted: no atomic part, look-around,
    /// back reference or large repetition.
    fn is_fit_for_long(&self, length: usize) -> bool {
        const UNCOUNTED: [&str; 14] = [
            "*+", "++", "?+", "}+", "(?>", "(?=", "(?!", "(?<", "(?(", "(?P", "(?&", "(*", "\\g",
            "\\k",
        ];
        let recurses = (self.text.as_bytes().windows(3)).any(|part| {
            part.starts_with(b"(?") && matches!(part[2], b'0'..=b'9' | b'+' | b'-' | b'R' | b'C')
        });
        let counted = !recurses && !UNCOUNTED.iter().any(|mark| self.text.contains(mark));
        let bytes = self.text.as_bytes();
        let refers_back = (bytes.windows(2))
            .any(|pair| pair[0] == b'\\' && matches!(pair[1], b'1'..=b'9' | b'X' | b'R'));
        let repeats_much = (bytes.windows(4))
            .any(|part| matches!(part[0], b'{' | b',') && part[1..].iter().all(u8::is_ascii_digit));
        counted
            && !refers_back
            && !repeats_much
            && length.saturating_mul(bytes.len()) <= LONG_PRODUCT_MAX
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
            .build(&format!(
                "(*LIMIT_HEAP={HEAP_KIB}){verbs}{properties}{text}"
            ))
    }
}

/// Limits for a pattern that searches by itself.
fn total(steps: u32) -> String {
    format!("(*LIMIT_MATCH={steps})(*NO_AUTO_POSSESS)")
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
