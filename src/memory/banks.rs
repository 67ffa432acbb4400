//! Banks of workgroup memory: a model, not a measurement.

/// How workgroup memory is cut into banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BankModel {
    /// Number of banks.
    pub banks: u32,
    /// Bytes that are side by side in one bank.
    pub bank_bytes: u32,
}

impl Default for BankModel {
    /// 32 banks of 4 bytes: NVIDIA's and AMD's. Apple's layout is not published.
    fn default() -> Self {
        Self::BANKS_32X4
    }
}

impl BankModel {
    /// 32 banks of 4 bytes.
    pub const BANKS_32X4: Self = Self { banks: 32, bank_bytes: 4 };
    /// 16 banks of 4 bytes.
    pub const BANKS_16X4: Self = Self { banks: 16, bank_bytes: 4 };
    /// 16 banks of 16 bytes.
    pub const BANKS_16X16: Self = Self { banks: 16, bank_bytes: 16 };

    /// As it is written in findings.
    pub fn name(self) -> String {
        format!("{} banks of {} B", self.banks, self.bank_bytes)
    }

    /// Bytes after which the banks begin again.
    pub fn period_bytes(self) -> u64 {
        u64::from(self.banks.max(1)) * u64::from(self.bank_bytes.max(1))
    }

    /// The conflicts of one request: `bytes` bytes from each of these offsets. Words that several lanes share count
    /// once.
    pub fn use_of(self, offsets: impl IntoIterator<Item = u64>, bytes: u64) -> BankUse {
        let (banks, width) = (u64::from(self.banks.max(1)), u64::from(self.bank_bytes.max(1)));
        let mut words: Vec<u64> =
            offsets.into_iter().flat_map(|o| o / width..=(o + bytes.max(1) - 1) / width).collect();
        words.sort_unstable();
        words.dedup();
        let ideal_ways = (words.len() as u64).div_ceil(banks);
        words.iter_mut().for_each(|w| *w %= banks);
        words.sort_unstable();
        let ways = words.chunk_by(|a, b| a == b).map(|same| same.len() as u64).max().unwrap_or(0);
        BankUse { ways, ideal_ways, max_ways: ways }
    }
}

impl std::str::FromStr for BankModel {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "32x4" => Ok(Self::BANKS_32X4),
            "16x4" => Ok(Self::BANKS_16X4),
            "16x16" => Ok(Self::BANKS_16X16),
            _ => Err(format!("no bank model `{s}`: choose 32x4, 16x4 or 16x16")),
        }
    }
}

/// Bank conflicts of one access under a [`BankModel`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BankUse {
    /// The most distinct bank words that a request asks of one bank, summed over requests: the
    /// passes that it takes.
    pub ways: u64,
    /// The passes that it would take if the same number of words were spread evenly.
    pub ideal_ways: u64,
    /// The most passes of one request.
    pub max_ways: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_of_the_bank_count_conflicts_fully() {
        let ways = |stride: u64, bytes| {
            let found = BankModel::default().use_of((0..32).map(|l| l * stride), bytes);
            (found.ways, found.ideal_ways)
        };
        assert_eq!(ways(128, 4), (32, 1));
        assert_eq!(ways(132, 4), (1, 1));
        assert_eq!(ways(0, 4), (1, 1), "a broadcast is no conflict");
        assert_eq!(ways(16, 16), (4, 4));
    }
}
