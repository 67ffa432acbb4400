//! 4-bit weight formats: quantize, pack, unpack, layouts.
