//! Metal Shading Language without a Mac: check, run and trace through clang.
