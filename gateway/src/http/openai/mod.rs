//! What clients of OpenAI's interfaces find here: each is another way into the same sessions, and the model is a pipeline's name.

pub(crate) mod realtime;
