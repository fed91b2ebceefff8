//! Sys: asks the kernel, and says exactly what failed.
