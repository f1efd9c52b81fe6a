//! A thousand hostile tokens, none of which may be accepted.
