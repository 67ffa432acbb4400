//! GPU vendors as far as memory layout matters.

use super::lanes::count::Banks;

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

/// How workgroup memory is taken to be banked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BankModel {
    /// 32 banks of 4 bytes.
    Banks32x4,
    /// 16 banks of 4 bytes.
    Banks16x4,
    /// 16 banks of 16 bytes.
    Banks16x16,
}

impl BankModel {
    /// As it is written in findings.
    pub fn name(self) -> &'static str {
        match self {
            BankModel::Banks32x4 => "32 banks of 4 B",
            BankModel::Banks16x4 => "16 banks of 4 B",
            BankModel::Banks16x16 => "16 banks of 16 B",
        }
    }

    pub(crate) fn banks(self) -> Banks {
        let (banks, bank_bytes) = match self {
            BankModel::Banks32x4 => (32, 4),
            BankModel::Banks16x4 => (16, 4),
            BankModel::Banks16x16 => (16, 16),
        };
        Banks { banks, bank_bytes }
    }
}

impl std::str::FromStr for BankModel {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "32x4" => Ok(BankModel::Banks32x4),
            "16x4" => Ok(BankModel::Banks16x4),
            "16x16" => Ok(BankModel::Banks16x16),
            _ => Err(format!("no bank model `{s}`: choose 32x4, 16x4 or 16x16")),
        }
    }
}

impl Target {
    /// Lanes of a subgroup unless said otherwise.
    pub fn subgroup_size(self) -> u32 {
        match self {
            Target::Intel => 16,
            _ => 32,
        }
    }

    /// Index into [`BLOCK_SIZES`](crate::exec::BLOCK_SIZES) of what one miss fetches.
    pub fn block_ix(self) -> usize {
        match self {
            Target::Nvidia => 0,
            Target::Intel => 1,
            Target::Apple | Target::Amd => 2,
        }
    }

    /// The bank model that is assumed.
    pub fn banks(self) -> BankModel {
        match self {
            Target::Intel => BankModel::Banks16x4,
            _ => BankModel::Banks32x4,
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
