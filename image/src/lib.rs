//! Image: turns archives into layers on disk, and back. Not its job: running anything.
