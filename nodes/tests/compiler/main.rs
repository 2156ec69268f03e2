//! The manifest's reader, the compiler and the pictures, from outside; one binary, so that it links once.

mod bad_manifests;
mod binding;
mod builtin_types;
mod never_panics;
mod pictures;
mod remote_reference;
mod types;
