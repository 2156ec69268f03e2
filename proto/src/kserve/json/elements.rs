//! Elements of a tensor as JSON, without a list of values in between, which would take many times their room.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut as _, BytesMut};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserializer, Serialize, Serializer};
use serde_json::Value;
use tidegate_media::{Dtype, Element, Tensor};

use crate::kserve::Data;

/// Every element of nested lists, outermost first; `None` if one is not as it should be.
pub(super) fn walk<F: FnMut(&Value) -> Option<()>>(text: &str, each: &mut F) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let elements = Elements { each, depth: 0 };
    elements.deserialize(&mut deserializer).ok()
}

/// Gives elements to a function as they are read.
struct Elements<'a, F> {
    each: &'a mut F,
    depth: usize,
}

impl<F: FnMut(&Value) -> Option<()>> Elements<'_, F> {
    fn give<E: serde::de::Error>(self, value: &Value) -> std::result::Result<(), E> {
        (self.each)(value).ok_or_else(|| E::custom("of another datatype"))
    }
}

impl<'de, F: FnMut(&Value) -> Option<()>> DeserializeSeed<'de> for Elements<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&Value) -> Option<()>> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        if self.depth == Tensor::MAX_RANK {
            return Err(serde::de::Error::custom("nested too deep"));
        }
        let depth = self.depth + 1;
        let each = self.each;
        while list
            .next_element_seed(Elements {
                each: &mut *each,
                depth,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<(), E> {
        self.give(&Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.give(&Value::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.give(&Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.give(&Value::from(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<(), E> {
        self.give(&Value::from(value))
    }
}

/// An element as its bytes; `None` if it is none of the datatype.
pub(super) fn put(bytes: &mut BytesMut, dtype: Dtype, value: &Value) -> Option<()> {
    match dtype {
        Dtype::Bool => bytes.put_u8(match value {
            Value::Bool(value) => u8::from(*value),
            other => u8::try_from(other.as_u64()?).ok().filter(|v| *v <= 1)?,
        }),
        Dtype::U8 => bytes.put_u8(u8::try_from(value.as_u64()?).ok()?),
        Dtype::U16 => bytes.put_u16_le(u16::try_from(value.as_u64()?).ok()?),
        Dtype::U32 => bytes.put_u32_le(u32::try_from(value.as_u64()?).ok()?),
        Dtype::U64 => bytes.put_u64_le(value.as_u64()?),
        Dtype::I8 => bytes.put_i8(i8::try_from(value.as_i64()?).ok()?),
        Dtype::I16 => bytes.put_i16_le(i16::try_from(value.as_i64()?).ok()?),
        Dtype::I32 => bytes.put_i32_le(i32::try_from(value.as_i64()?).ok()?),
        Dtype::I64 => bytes.put_i64_le(value.as_i64()?),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the nearest 32-bit float is what the datatype asks for"
        )]
        Dtype::F32 => bytes.put_f32_le(value.as_f64()? as f32),
        Dtype::F64 => bytes.put_f64_le(value.as_f64()?),
        Dtype::F16 | Dtype::Bf16 => return None,
    }
    Some(())
}

/// Elements as a flat JSON list, written without a list of values in between.
pub(super) struct Listed(pub(super) Data);

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let tensor = match &self.0 {
            Data::Strings { elements, .. } => {
                let texts = elements.iter().map(|e| std::str::from_utf8(e));
                return to.collect_seq(texts.map(std::result::Result::unwrap_or_default));
            }
            Data::Numbers(tensor) => tensor,
        };
        match tensor.dtype() {
            Dtype::Bool => to.collect_seq(elements::<u8, S>(tensor)?.iter().map(|v| *v != 0)),
            Dtype::U8 => to.collect_seq(elements::<u8, S>(tensor)?.iter()),
            Dtype::U16 => to.collect_seq(elements::<u16, S>(tensor)?.iter()),
            Dtype::U32 => to.collect_seq(elements::<u32, S>(tensor)?.iter()),
            Dtype::U64 => to.collect_seq(elements::<u64, S>(tensor)?.iter()),
            Dtype::I8 => to.collect_seq(elements::<i8, S>(tensor)?.iter()),
            Dtype::I16 => to.collect_seq(elements::<i16, S>(tensor)?.iter()),
            Dtype::I32 => to.collect_seq(elements::<i32, S>(tensor)?.iter()),
            Dtype::I64 => to.collect_seq(elements::<i64, S>(tensor)?.iter()),
            Dtype::F32 => to.collect_seq(elements::<f32, S>(tensor)?.iter()),
            Dtype::F64 => to.collect_seq(elements::<f64, S>(tensor)?.iter()),
            Dtype::F16 | Dtype::Bf16 => Err(S::Error::custom("no numbers of JSON")),
        }
    }
}

fn elements<T: Element, S: Serializer>(
    tensor: &Tensor,
) -> std::result::Result<Cow<'_, [T]>, S::Error> {
    tensor.elements().map_err(S::Error::custom)
}
