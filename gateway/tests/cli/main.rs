//! The command line as a shell sees it: the built binary, its exit codes, and what it prints where.

mod bench;
mod docs;
mod look;
mod run;
mod support;
