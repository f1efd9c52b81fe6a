//! Turns a panic of the database library on damaged pages into an error value and one log line.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::StoreError;

/// Who runs inside a guard on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Nobody,
    /// Looks only: may be unwound anywhere.
    Reader,
    /// Changes things.
    Writer,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Nobody) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`, which only reads; a panic inside becomes [`StoreError::Damaged`].
pub(crate) fn guard<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch(Role::Reader, work).unwrap_or_else(|error| Err(error.into()))
}

/// Runs `work` and keeps a panic apart from what `work` returns. What a writer has half changed may not
/// be used after a panic: the caller opens the file anew.
pub(super) fn catch<T>(role: Role, work: impl FnOnce() -> T) -> Result<T, StoreError> {
    hush();
    let before = ROLE.replace(role);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    ROLE.set(before);
    outcome.map_err(|payload| match payload.downcast::<StoreError>() {
        Ok(error) => *error,
        Err(_) => {
            let cause = PANIC.take().unwrap_or_else(|| "no message".to_owned());
            tracing::error!(%cause, "the database library gave up");
            StoreError::Damaged(cause.into())
        }
    })
}

/// Whether [`unwind_reader`] has somewhere to go.
pub(super) fn reader_is_guarded() -> bool {
    ROLE.get() == Role::Reader
}

/// Leaves the library at once, to the guard of this thread.
pub(super) fn unwind_reader(error: StoreError) -> ! {
    // Whoever asked logs it once; a search for the ends of the damage meets it many times.
    tracing::debug!(%error, "a read failed");
    panic::resume_unwind(Box::new(error))
}

/// Keeps the default panic message off stderr inside [`catch`]; other panics print as before.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if ROLE.get() == Role::Nobody {
                return usual(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic");
            PANIC.set(Some(format!("{text} ({place})")));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_it() {
        let error = guard(|| -> Result<(), StoreError> { panic!("page 7 is odd") }).unwrap_err();
        assert!(error.to_string().contains("page 7 is odd"), "{error}");
    }

    #[test]
    fn a_reader_is_unwound_with_its_error() {
        assert!(!reader_is_guarded());
        let error = guard(|| -> Result<(), StoreError> { unwind_reader(StoreError::Full) }).unwrap_err();
        assert!(matches!(error, StoreError::Full));
        assert!(!reader_is_guarded());
    }

    #[test]
    fn work_after_a_panic_goes_on() {
        let _ = guard(|| -> Result<(), StoreError> { panic!("once") });
        assert_eq!(guard(|| Ok::<_, StoreError>(3)).unwrap(), 3);
    }
}
