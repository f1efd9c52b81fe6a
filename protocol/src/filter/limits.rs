//! What one filter may ask for. Every bound is far above what people write and low enough that a
//! hostile filter is refused before it costs much.

/// Nesting of objects and arrays, the filter itself being 1. MongoDB's manual promises 100.
pub const FILTER_DEPTH_MAX: usize = 128;

/// Conditions and expressions in one filter, all levels together.
pub const FILTER_NODES_MAX: usize = 10_000;

/// Members of one `$in`, `$nin` or `$all`.
pub const LIST_MAX: usize = 10_000;

/// Components of one dotted path. Documents are nested less deep than this.
pub const PATH_COMPONENTS_MAX: usize = 200;

/// Bytes of one regular expression; MongoDB's own bound.
pub const PATTERN_BYTES_MAX: usize = 32_764;

/// Regular expressions in one filter. Each takes some memory once it is compiled.
pub const PATTERNS_MAX: usize = 100;

/// How often, in one document, a path component may be followed both as a position and as a key.
/// Each time doubles the ways, so that a document made for it could keep a filter busy for ever.
pub const BRANCHES_MAX: u32 = 100_000;

/// Steps of `$expr` on one document. A step is a call, an element visited, or 64 bytes handled.
pub const EXPRESSION_STEPS_MAX: u32 = 1_000_000;

/// Bytes of strings and arrays that `$expr` may make for one document.
pub const EXPRESSION_BYTES_MAX: usize = 1 << 20;
