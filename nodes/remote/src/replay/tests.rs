//! Ring and ledger.
