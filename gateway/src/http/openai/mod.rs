//! What clients of OpenAI's interfaces find here: each is another way into the same sessions, and the model is a pipeline's name.
//!
//! Absent: a second path. A request becomes the same `session::open::Request` as every other, over a link in this process.

pub(crate) mod calls;
mod encode;
mod form;
mod interfaces;
mod models;
mod parameters;
pub(crate) mod realtime;
mod refusal;
mod run;
mod speech;
mod sse;
mod transcript;
mod transcriptions;

pub(super) use models::{model, models};
pub(super) use refusal::{as_openai, unknown_path};
pub(super) use speech::speech;
pub(super) use transcriptions::transcriptions;
