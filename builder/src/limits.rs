//! How much a recipe may come to. Each line may use variables as long as all of them together, so what a recipe
//! of a mebibyte asks for has no end of its own. Not its job: how long a recipe may be (see `lines`).

use std::cell::Cell;

use crate::diagnostic::{Checked, Fault};
use crate::source::Span;
use crate::variables::Variables;

/// No stage may have more variables than this, in bytes: the kernel takes less.
const MOST_VARIABLES: usize = 1 << 20;

/// All that the stages of a recipe come to: expanded words, environments, configs, in bytes.
const MOST: usize = 16 << 20;

/// What an entry of a list takes beside its text, about.
pub(crate) const ENTRY: usize = 48;

/// Sets a variable within the limit.
pub(crate) fn set(variables: &mut Variables, name: &str, value: &str, span: Span) -> Checked<()> {
    variables.set(name, value);
    if variables.bytes() > MOST_VARIABLES {
        return Err(Fault::new(
            span,
            format!("the variables take more than {MOST_VARIABLES} bytes together"),
        ));
    }
    Ok(())
}

/// What a recipe came to so far.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: Cell<usize>,
}

impl Budget {
    /// Adds some bytes.
    ///
    /// # Errors
    /// If it is too much now.
    pub(crate) fn spend(&self, bytes: usize, span: Span) -> Checked<()> {
        self.spent.set(self.spent.get().saturating_add(bytes));
        if self.spent.get() <= MOST {
            return Ok(());
        }
        let message =
            format!("the recipe comes to more than {MOST} bytes once its variables are filled in");
        Err(Fault::new(span, message))
    }
}
