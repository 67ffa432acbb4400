//! One room per kernel family.
