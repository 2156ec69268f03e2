//! Sessions: running pipelines bound to their clients, whatever transport these came by.

pub(crate) mod control;
pub(crate) mod driver;
pub(crate) mod figures;
pub(crate) mod hops;
pub(crate) mod link;
pub(crate) mod ports;
mod slot;
pub(crate) mod table;
pub(crate) mod open;
