//! Pictures of pipelines: Mermaid text and SVG, from a [`Description`] and nothing else.
//!
//! Inputs stand at the left, outputs at the right; what the compiler inserted is drawn distinct from what the manifest names.
//! All text from a manifest is escaped. Nothing here knows the compiler or a running session.
//!
//! [`Description`]: crate::compile::Description

mod layout;
mod mermaid;
mod model;
mod svg;

pub use mermaid::to_mermaid;
pub use svg::to_svg;
