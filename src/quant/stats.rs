//! How far quantized weights are from the originals.

/// The error of quantized weights. All sums in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorStats {
    /// Largest |original − quantized|.
    pub max_abs: f64,
    /// Index of the weight with the largest error.
    pub max_index: usize,
    /// Root of the mean squared error.
    pub rms: f64,
    /// `rms` over the root mean square of the originals; 0 if all of them are 0 and exact.
    pub relative: f64,
}

impl ErrorStats {
    /// Compares element by element up to the shorter length. A NaN on either side makes every figure but
    /// `max_index` NaN.
    pub fn between(original: &[f32], quantized: &[f32]) -> Self {
        let (mut max_abs, mut max_index) = (0.0_f64, 0);
        let (mut error_sum, mut original_sum) = (0.0_f64, 0.0_f64);
        for (i, (&a, &b)) in original.iter().zip(quantized).enumerate() {
            let error = (f64::from(a) - f64::from(b)).abs();
            if error > max_abs || (error.is_nan() && !max_abs.is_nan()) {
                (max_abs, max_index) = (error, i);
            }
            error_sum += error * error;
            original_sum += f64::from(a) * f64::from(a);
        }
        let count = original.len().min(quantized.len()).max(1) as f64;
        let relative = if error_sum == 0.0 { 0.0 } else { (error_sum / original_sum).sqrt() };
        ErrorStats { max_abs, max_index, rms: (error_sum / count).sqrt(), relative }
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorStats;

    #[test]
    fn by_hand() {
        let stats = ErrorStats::between(&[3.0, 4.0, 0.0, 0.0], &[3.0, 3.0, 0.0, 0.5]);
        assert_eq!((stats.max_abs, stats.max_index), (1.0, 1));
        assert_eq!(stats.rms, (1.25_f64 / 4.0).sqrt());
        assert_eq!(stats.relative, (1.25_f64 / 25.0).sqrt());
        assert_eq!(ErrorStats::between(&[0.0], &[0.0]).relative, 0.0);
        assert!(ErrorStats::between(&[1.0, 2.0], &[f32::NAN, 0.0]).max_abs.is_nan());
    }
}
