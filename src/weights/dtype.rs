//! Element and block types of both kinds of files.

use std::fmt;

/// The type of a tensor's elements, or of its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(
    non_camel_case_types,
    missing_docs,
    reason = "the names that the files use, which are what there is to say"
)]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    /// OCP FP8, 4 exponent bits.
    F8E4M3,
    /// OCP FP8, 5 exponent bits.
    F8E5M2,
    /// A power of two.
    F8E8M0,
    /// A block type of GGUF files.
    Ggml(Ggml),
    /// A type that this crate does not know, by the name or number that the file gives it.
    Unknown(String),
}

/// GGUF's block types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(
    non_camel_case_types,
    missing_docs,
    reason = "the names that the files use, which are what there is to say"
)]
pub enum Ggml {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    IQ1_M,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
}

/// Every block type: number in files, name, weights of a block, bytes of a block.
const GGML: [(u32, Ggml, &str, usize, usize); 25] = [
    (2, Ggml::Q4_0, "Q4_0", 32, 18),
    (3, Ggml::Q4_1, "Q4_1", 32, 20),
    (6, Ggml::Q5_0, "Q5_0", 32, 22),
    (7, Ggml::Q5_1, "Q5_1", 32, 24),
    (8, Ggml::Q8_0, "Q8_0", 32, 34),
    (9, Ggml::Q8_1, "Q8_1", 32, 36),
    (10, Ggml::Q2_K, "Q2_K", 256, 84),
    (11, Ggml::Q3_K, "Q3_K", 256, 110),
    (12, Ggml::Q4_K, "Q4_K", 256, 144),
    (13, Ggml::Q5_K, "Q5_K", 256, 176),
    (14, Ggml::Q6_K, "Q6_K", 256, 210),
    (15, Ggml::Q8_K, "Q8_K", 256, 292),
    (16, Ggml::IQ2_XXS, "IQ2_XXS", 256, 66),
    (17, Ggml::IQ2_XS, "IQ2_XS", 256, 74),
    (18, Ggml::IQ3_XXS, "IQ3_XXS", 256, 98),
    (19, Ggml::IQ1_S, "IQ1_S", 256, 50),
    (20, Ggml::IQ4_NL, "IQ4_NL", 32, 18),
    (21, Ggml::IQ3_S, "IQ3_S", 256, 110),
    (22, Ggml::IQ2_S, "IQ2_S", 256, 82),
    (23, Ggml::IQ4_XS, "IQ4_XS", 256, 136),
    (29, Ggml::IQ1_M, "IQ1_M", 256, 56),
    (34, Ggml::TQ1_0, "TQ1_0", 256, 54),
    (35, Ggml::TQ2_0, "TQ2_0", 256, 66),
    (39, Ggml::MXFP4, "MXFP4", 32, 17),
    (40, Ggml::NVFP4, "NVFP4", 64, 36),
];

impl Ggml {
    fn row(self) -> &'static (u32, Ggml, &'static str, usize, usize) {
        GGML.iter().find(|row| row.1 == self).expect("every type has a row: a test holds it")
    }

    /// Weights of a block.
    pub fn block_weights(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }
}

impl Dtype {
    /// The type of a number in a GGUF file.
    pub(super) fn of_gguf(number: u32) -> Dtype {
        match number {
            0 => Dtype::F32,
            1 => Dtype::F16,
            24 => Dtype::I8,
            25 => Dtype::I16,
            26 => Dtype::I32,
            27 => Dtype::I64,
            28 => Dtype::F64,
            30 => Dtype::Bf16,
            _ => match GGML.iter().find(|row| row.0 == number) {
                Some(row) => Dtype::Ggml(row.1),
                None => Dtype::Unknown(format!("GGUF type {number}")),
            },
        }
    }

    /// The type of a name in a safetensors file.
    pub(super) fn of_safetensors(name: &str) -> Dtype {
        match name {
            "BOOL" => Dtype::Bool,
            "U8" => Dtype::U8,
            "I8" => Dtype::I8,
            "U16" => Dtype::U16,
            "I16" => Dtype::I16,
            "U32" => Dtype::U32,
            "I32" => Dtype::I32,
            "U64" => Dtype::U64,
            "I64" => Dtype::I64,
            "F16" => Dtype::F16,
            "BF16" => Dtype::Bf16,
            "F32" => Dtype::F32,
            "F64" => Dtype::F64,
            "F8_E4M3" => Dtype::F8E4M3,
            "F8_E5M2" => Dtype::F8E5M2,
            "F8_E8M0" => Dtype::F8E8M0,
            other => Dtype::Unknown(other.to_string()),
        }
    }

    /// Weights and bytes of the least unit that is stored; `None` for types that are not known.
    pub fn block(&self) -> Option<(usize, usize)> {
        Some(match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 | Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E8M0 => (1, 1),
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::Bf16 => (1, 2),
            Dtype::U32 | Dtype::I32 | Dtype::F32 => (1, 4),
            Dtype::U64 | Dtype::I64 | Dtype::F64 => (1, 8),
            Dtype::Ggml(ggml) => (ggml.block_weights(), ggml.block_bytes()),
            Dtype::Unknown(_) => return None,
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Dtype::Bool => "BOOL",
            Dtype::U8 => "U8",
            Dtype::I8 => "I8",
            Dtype::U16 => "U16",
            Dtype::I16 => "I16",
            Dtype::U32 => "U32",
            Dtype::I32 => "I32",
            Dtype::U64 => "U64",
            Dtype::I64 => "I64",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
            Dtype::F8E4M3 => "F8_E4M3",
            Dtype::F8E5M2 => "F8_E5M2",
            Dtype::F8E8M0 => "F8_E8M0",
            Dtype::Ggml(ggml) => ggml.row().2,
            Dtype::Unknown(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_type_has_a_row() {
        // The last variant's number counts them: rows stand in the order of the enum.
        assert_eq!(Ggml::NVFP4 as usize + 1, GGML.len());
        for (i, row) in GGML.iter().enumerate() {
            assert_eq!(row.1 as usize, i, "{}", row.2);
            assert_eq!(Dtype::of_gguf(row.0).to_string(), row.2);
        }
        assert_eq!(Dtype::of_gguf(99).to_string(), "GGUF type 99");
    }
}
