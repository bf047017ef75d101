//! Where the application panicked.

use std::{
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    panic,
    sync::Once,
};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, a panic of this thread leaves its message, place and backtrace for [`last`]. Only a hook sees the stack before it is
/// unwound, and a process has one hook, so the one that was set before runs as well.
pub(super) fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if WATCHED.try_with(Cell::get).unwrap_or(false) {
                let text = format!("{info}\n{}", Backtrace::force_capture());
                // A thread that is at its end has no place for it.
                let _ = LAST.try_with(|last| last.replace(Some(text)));
            }
            before(info);
        }));
    });
    WATCHED.set(true);
}

/// Takes what the last panic of this thread has left.
pub(super) fn last() -> Option<String> {
    LAST.take()
}
