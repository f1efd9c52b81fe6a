//! What an account may be called. Names stand in keys of the store, in headers and in logs.

/// The longest name of an account, in bytes.
pub(super) const ACCOUNT_BYTES_MAX: usize = 128;

/// Whether a text is a name of an account: 1 to 128 of ASCII letters, digits and `.` `_` `-` `@` `+` `:` `|` `=`, of
/// which the first is a letter or digit. There is no `/`, so that no account's keys begin with another's.
#[must_use]
pub fn is_account(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+:|=".contains(&byte);
    text.len() <= ACCOUNT_BYTES_MAX
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_identity_providers_give_are_accounts() {
        for name in
            ["a", "7", "acme", "auth0|5f7c8ec7c33c", "system:serviceaccount:ns:worker", "a.b+c@d-e.org"]
        {
            assert!(is_account(name), "{name}");
        }
        assert!(is_account(&"x".repeat(128)));
    }

    #[test]
    fn names_that_could_leave_their_place_are_none() {
        for name in
            ["", "a/b", "/", ".", "..", "-a", "|a", "a b", "a\0", "a\n", "größe", "a%2fb", "a\\b", "\"a\""]
        {
            assert!(!is_account(name), "{name:?}");
        }
        assert!(!is_account(&"x".repeat(129)));
    }
}
