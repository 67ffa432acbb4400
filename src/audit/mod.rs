//! Memory-access auditor: what each access of a kernel moves, and why.
