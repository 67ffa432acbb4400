//! GPU vendors as far as memory layout matters.

use crate::memory::{BankModel, Block};

/// A kind of GPU: subgroup width, block size, banks of workgroup memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// 32 lanes, lines of 128 bytes. The banks of threadgroup memory are not published.
    #[default]
    Apple,
    /// 32 lanes, sectors of 32 bytes in lines of 128, 32 banks of 4 bytes.
    Nvidia,
    /// 32 or 64 lanes, lines of 128 bytes, 32 banks of 4 bytes.
    Amd,
    /// 8, 16 or 32 lanes, lines of 64 bytes, 16 banks of 4 bytes.
    Intel,
}

impl Target {
    /// Lanes of a subgroup unless said otherwise.
    pub fn subgroup_size(self) -> u32 {
        match self {
            Target::Intel => 16,
            _ => 32,
        }
    }

    /// What one miss fetches.
    pub fn block(self) -> Block {
        match self {
            Target::Nvidia => Block::Sector,
            Target::Intel => Block::Half,
            Target::Apple | Target::Amd => Block::Line,
        }
    }

    /// The bank model that is assumed.
    pub fn banks(self) -> BankModel {
        match self {
            Target::Intel => BankModel::BANKS_16X4,
            _ => BankModel::BANKS_32X4,
        }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Target::Apple => "apple",
            Target::Nvidia => "nvidia",
            Target::Amd => "amd",
            Target::Intel => "intel",
        }
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        [Target::Apple, Target::Nvidia, Target::Amd, Target::Intel]
            .into_iter()
            .find(|t| t.name() == s)
            .ok_or_else(|| format!("no target `{s}`: choose apple, nvidia, amd or intel"))
    }
}
