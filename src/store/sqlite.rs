//! The SQLite engine: one writer thread, group commit.
