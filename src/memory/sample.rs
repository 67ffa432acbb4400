//! Which part of a dispatch is traced.

/// Which workgroups are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceMode {
    /// None.
    #[default]
    Off,
    /// All.
    All,
    /// About so many, evenly spread over the dispatch; all if it has no more.
    Sample(u32),
}

impl TraceMode {
    /// Whether the workgroup number `ix` of `total` is traced.
    pub(crate) fn traces(self, ix: u64, total: u64) -> bool {
        match self {
            Self::Off => false,
            Self::All => true,
            Self::Sample(0) => false,
            // The group in which a multiple of total / n falls.
            Self::Sample(n) if u64::from(n) < total => {
                let n = u128::from(n);
                let (ix, total) = (u128::from(ix), u128::from(total));
                ix * n / total != (ix + 1) * n / total
            }
            Self::Sample(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_sample_has_its_size_and_spreads(n in 1u32..50, total in 1u64..5000) {
            let traced: Vec<u64> = (0..total).filter(|&ix| TraceMode::Sample(n).traces(ix, total)).collect();
            proptest::prop_assert_eq!(traced.len() as u64, u64::from(n).min(total));
        }
    }
}
