//! Sessions: running pipelines bound to their clients, whatever transport these came by.

pub(crate) mod control;
pub(crate) mod driver;
pub(crate) mod figures;
mod handle;
pub(crate) mod hops;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod notes;
pub(crate) mod open;
pub(crate) mod ports;
pub(crate) mod shape;
mod slot;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod turns;
