//! `error`: what went wrong.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::json::shared::{Result, is_default};
use crate::message::WireError;
use crate::validate;

#[derive(Serialize, Deserialize)]
pub(in crate::json) struct ErrorBody<'a> {
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    fault: Cow<'a, str>,
    #[serde(default)]
    retryable: bool,
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    hop: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    endpoint: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    phase: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    retry_after: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    attempt: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    elapsed: u64,
}

impl ErrorBody<'_> {
    pub(in crate::json) fn decode(self) -> Result<WireError> {
        Ok(WireError {
            code: validate::short("error.code", self.code.into_owned())?,
            message: validate::for_people(self.message.into_owned()),
            fault: validate::short("error.fault", self.fault.into_owned())?,
            retryable: self.retryable,
            hop: validate::optional("error.hop", self.hop.into_owned())?,
            endpoint: validate::optional("error.endpoint", self.endpoint.into_owned())?,
            phase: validate::optional("error.phase", self.phase.into_owned())?,
            retry_after: validate::optional_micros(self.retry_after),
            attempt: (self.attempt > 0).then_some(self.attempt),
            elapsed: validate::optional_micros(self.elapsed),
        })
    }
}

impl<'a> From<&'a WireError> for ErrorBody<'a> {
    fn from(error: &'a WireError) -> Self {
        let optional = |text: &'a Option<String>| text.as_deref().unwrap_or_default().into();
        Self {
            code: (&error.code).into(),
            message: (&error.message).into(),
            fault: (&error.fault).into(),
            retryable: error.retryable,
            hop: optional(&error.hop),
            endpoint: optional(&error.endpoint),
            phase: optional(&error.phase),
            retry_after: validate::some_micros(error.retry_after),
            attempt: error.attempt.unwrap_or_default(),
            elapsed: validate::some_micros(error.elapsed),
        }
    }
}
