//! Builder: follows a recipe and leaves an image. Not its job: flags and printing.
