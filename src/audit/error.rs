//! Why nothing could be audited.

/// Why nothing could be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A path that can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No file of a known kind.
    #[error("no .wgsl or .metal file in {0}")]
    NothingToAudit(String),
    /// A file that is named and is no shader.
    #[error("{0} is no shader: name .wgsl or .metal files, or directories with such")]
    NoShader(String),
    /// A baseline that is no baseline.
    #[error("{path} is no baseline: {message}")]
    Baseline {
        /// The path.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}
