//! What was done or passed over, told to whoever wants to hear (`--debug`), and what is wrong without stopping
//! anything, told to whoever shows warnings. Without a listener a word costs one load: nothing is formatted.
//! The child of a clone says nothing here: its parent tells for it. Not its job: failures (they are returned),
//! where words go and how they look (the listeners').

use std::fmt::Arguments;
use std::sync::OnceLock;

/// What hears.
pub type Listener = fn(Arguments<'_>);

static LISTENER: OnceLock<Listener> = OnceLock::new();
static WARNED: OnceLock<Listener> = OnceLock::new();

/// From now on `listener` hears every word; the first one stays.
pub fn listen(listener: Listener) {
    let _one_listens_already = LISTENER.set(listener);
}

/// Whether anybody hears: for words that cost something to find.
pub fn is_heard() -> bool {
    LISTENER.get().is_some()
}

/// Tells one thing that was done or passed over: `sys::log::debug(format_args!("..."))`.
pub fn debug(words: Arguments<'_>) {
    if let Some(listener) = LISTENER.get() {
        listener(words);
    }
}

/// From now on `listener` hears every warning; the first one stays.
pub fn listen_for_warnings(listener: Listener) {
    let _one_listens_already = WARNED.set(listener);
}

/// Tells of something that is wrong, and was passed over because the spec wants it passed over.
pub fn warn(words: Arguments<'_>) {
    if let Some(listener) = WARNED.get() {
        listener(words);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static FORMATTED: AtomicUsize = AtomicUsize::new(0);

    struct Costly;

    impl std::fmt::Display for Costly {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            FORMATTED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn a_word_is_formatted_only_for_a_listener() {
        super::debug(format_args!("{}", Costly));
        assert_eq!(FORMATTED.load(Ordering::Relaxed), 0);
        super::listen(|words| drop(words.to_string()));
        super::debug(format_args!("{}", Costly));
        assert_eq!(FORMATTED.load(Ordering::Relaxed), 1);
    }
}
