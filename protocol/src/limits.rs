//! Every bound that a client can run into, in one place. Each says what it protects.

/// Longest JSON body of a request, in bytes. A description is small; a file is a multipart part.
pub const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Longest `asset_uri`, in bytes. It is a key of the uri index, and a request path carries it.
pub const ASSET_URI_BYTES_MAX: usize = 4096;

/// Longest description of one asset in its stored form, in bytes: two request bodies, because an
/// update may add to what a create stored.
pub const DESCRIPTION_BYTES_MAX: usize = 2 * JSON_BODY_BYTES_MAX;

/// Longest file name or media type of an uploaded part, in bytes.
pub const FILE_FACT_BYTES_MAX: usize = 1024;

/// Most rows in one page of a query, and the default.
pub const PAGE_ROWS_MAX: usize = 1000;

/// Bytes of descriptions, in their stored form, in one page of a query; then it ends early and another follows. A thousand
/// of 16 KiB: a node that answers several clients at once has them all in memory.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
