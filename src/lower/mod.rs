//! WGSL files to a validated naga module, and from there to target text.
