//! Text: `text.constant` and `text.template`.

mod constant;
mod template;

pub(super) use self::constant::Constant;
pub(super) use self::template::Template;

/// Longest text in a parameter, in bytes.
const TEXT_MAX: usize = 64 * 1_024;

/// Refuses a text that is too long.
fn check_length(path: &str, text: &str) -> Result<(), crate::registry::ParamError> {
    if text.len() <= TEXT_MAX {
        return Ok(());
    }
    let message = format!("has {} bytes: use {TEXT_MAX} or fewer", text.len());
    Err(crate::registry::ParamError::new(path, message))
}
