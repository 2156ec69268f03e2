//! Forms with a file (`multipart/form-data`, RFC 7578), read from a body that is there as a whole.

use axum::body::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use tidegate_nodes::{Code, Error};

use super::refusal::Refusal;

/// More fields than the interface has.
const FIELDS_MAX: usize = 64;

/// A form that was read.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The sound, and what its file was called.
    pub(super) file: Option<(Bytes, Option<String>)>,
    /// The other fields in their order.
    pub(super) fields: Vec<(String, String)>,
}

/// Reads a form.
///
/// # Errors
/// It is none, or broken.
pub(super) async fn read(headers: &HeaderMap, body: Bytes) -> Result<Form, Refusal> {
    let bad = |error: &dyn std::fmt::Display| {
        let text =
            format!("the body is no form with a file: {error}: send it as multipart/form-data");
        Error::new(Code::BadRequest, text)
    };
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|error| bad(&error))?;
    let body = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut parts = multer::Multipart::new(body, boundary);
    let mut form = Form::default();
    while let Some(part) = parts.next_field().await.map_err(|error| bad(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            let called = part.file_name().map(str::to_owned);
            let bytes = part.bytes().await.map_err(|error| bad(&error))?;
            form.file = Some((bytes, called));
        } else if form.fields.len() < FIELDS_MAX {
            let text = part.text().await.map_err(|error| bad(&error))?;
            form.fields.push((name, text));
        } else {
            return Err(bad(&format!("it has more than {FIELDS_MAX} fields")).into());
        }
    }
    Ok(form)
}
