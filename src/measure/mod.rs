//! Verification against the reference, timing, ceilings.
