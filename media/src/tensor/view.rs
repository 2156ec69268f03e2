//! Tensors as arrays: views without a copy where the bytes are aligned, tensors made of arrays, and casts.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};
use ndarray::{Array, ArrayViewD, CowArray, Dimension, IxDyn};

use super::element::{Element, Wide};
use super::{Dtype, Tensor, TensorError};

/// A tensor's elements as an array.
#[derive(Clone, Debug)]
pub struct View<'a, T> {
    array: CowArray<'a, T, IxDyn>,
    copied: bool,
}

impl<T> View<'_, T> {
    /// The array.
    #[must_use]
    pub fn array(&self) -> ArrayViewD<'_, T> {
        self.array.view()
    }

    /// Whether the elements had to be copied, because the bytes were not aligned for their type: for whoever counts.
    #[must_use]
    pub const fn copied(&self) -> bool {
        self.copied
    }
}

impl<'a, T> From<View<'a, T>> for CowArray<'a, T, IxDyn> {
    fn from(view: View<'a, T>) -> Self {
        view.array
    }
}

impl Tensor {
    /// The elements in row-major order: borrowed when the bytes are aligned for `T`, else copied once.
    ///
    /// # Errors
    /// [`TensorError::Dtype`] if the tensor holds another type.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if !T::reads(self.dtype()) {
            return Err(TensorError::Dtype {
                actual: self.dtype(),
                wanted: T::DTYPE,
            });
        }
        Ok(bytemuck::try_cast_slice(self.data()).map_or_else(
            |_| Cow::Owned(bytemuck::allocation::pod_collect_to_vec(self.data())),
            Cow::Borrowed,
        ))
    }

    /// The tensor as an array of its shape: without a copy when the bytes are aligned for `T`.
    ///
    /// # Errors
    /// [`TensorError::Dtype`] if the tensor holds another type; [`TensorError::Overflow`] if an axis exceeds the machine.
    pub fn view<T: Element>(&self) -> Result<View<'_, T>, TensorError> {
        let shape = self.extents()?;
        let overflow = |_| TensorError::Overflow(self.shape().to_vec());
        Ok(match self.elements()? {
            Cow::Borrowed(elements) => View {
                array: ArrayViewD::from_shape(shape, elements)
                    .map_err(overflow)?
                    .into(),
                copied: false,
            },
            Cow::Owned(elements) => View {
                array: Array::from_shape_vec(shape, elements)
                    .map_err(overflow)?
                    .into(),
                copied: true,
            },
        })
    }

    /// A tensor of an array's elements; takes them without a copy when they lie in row-major order.
    ///
    /// # Errors
    /// [`TensorError::Rank`] for more than [`Tensor::MAX_RANK`] axes.
    pub fn from_array<T: Element, D: Dimension>(array: Array<T, D>) -> Result<Self, TensorError> {
        let shape: Vec<u64> = array.shape().iter().map(|&axis| axis as u64).collect();
        let (elements, offset) = if array.is_standard_layout() {
            array.into_raw_vec_and_offset()
        } else {
            (array.iter().copied().collect(), None)
        };
        let count = usize::try_from(shape.iter().product::<u64>()).unwrap_or(usize::MAX);
        let bytes = Bytes::from_owner(Elements(elements));
        let start = offset.unwrap_or(0) * size_of::<T>();
        Self::new(
            T::DTYPE,
            &shape,
            bytes.slice(start..start + count * size_of::<T>()),
        )
    }

    /// A tensor of elements in row-major order, taken without a copy.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_vec<T: Element>(shape: &[u64], elements: Vec<T>) -> Result<Self, TensorError> {
        Self::new(T::DTYPE, shape, Bytes::from_owner(Elements(elements)))
    }

    /// The same values as another type, by the rules of [`Element::narrow`]; booleans are whether a value is not zero. To
    /// its own type it is a cheap clone.
    ///
    /// # Errors
    /// None for a tensor that holds what its type says; the signature leaves room for types that cannot be cast.
    pub fn cast(&self, to: Dtype) -> Result<Self, TensorError> {
        if to == self.dtype() {
            return Ok(self.clone());
        }
        match self.dtype() {
            Dtype::Bool | Dtype::U8 => self.cast_from::<u8>(to),
            Dtype::I8 => self.cast_from::<i8>(to),
            Dtype::U16 => self.cast_from::<u16>(to),
            Dtype::I16 => self.cast_from::<i16>(to),
            Dtype::U32 => self.cast_from::<u32>(to),
            Dtype::I32 => self.cast_from::<i32>(to),
            Dtype::U64 => self.cast_from::<u64>(to),
            Dtype::I64 => self.cast_from::<i64>(to),
            Dtype::F16 => self.cast_from::<f16>(to),
            Dtype::Bf16 => self.cast_from::<bf16>(to),
            Dtype::F32 => self.cast_from::<f32>(to),
            Dtype::F64 => self.cast_from::<f64>(to),
        }
    }

    fn cast_from<T: Element>(&self, to: Dtype) -> Result<Self, TensorError> {
        match to {
            Dtype::Bool => {
                let truth: Vec<u8> = self
                    .elements::<T>()?
                    .iter()
                    .map(|&e| u8::from(is_true(e.widen())))
                    .collect();
                Self::new(Dtype::Bool, self.shape(), Bytes::from(truth))
            }
            Dtype::U8 => self.cast_into::<T, u8>(),
            Dtype::I8 => self.cast_into::<T, i8>(),
            Dtype::U16 => self.cast_into::<T, u16>(),
            Dtype::I16 => self.cast_into::<T, i16>(),
            Dtype::U32 => self.cast_into::<T, u32>(),
            Dtype::I32 => self.cast_into::<T, i32>(),
            Dtype::U64 => self.cast_into::<T, u64>(),
            Dtype::I64 => self.cast_into::<T, i64>(),
            Dtype::F16 => self.cast_into::<T, f16>(),
            Dtype::Bf16 => self.cast_into::<T, bf16>(),
            Dtype::F32 => self.cast_into::<T, f32>(),
            Dtype::F64 => self.cast_into::<T, f64>(),
        }
    }

    fn cast_into<T: Element, U: Element>(&self) -> Result<Self, TensorError> {
        let elements: Vec<U> = self
            .elements::<T>()?
            .iter()
            .map(|&e| U::narrow(e.widen()))
            .collect();
        Self::from_vec(self.shape(), elements)
    }

    fn extents(&self) -> Result<IxDyn, TensorError> {
        let extents: Result<Vec<usize>, _> = self
            .shape()
            .iter()
            .map(|&axis| usize::try_from(axis))
            .collect();
        extents
            .map(|extents| IxDyn(&extents))
            .map_err(|_| TensorError::Overflow(self.shape().to_vec()))
    }
}

fn is_true(value: Wide) -> bool {
    match value {
        Wide::Int(int) => int != 0,
        Wide::Float(float) => float != 0.0,
    }
}

/// Elements that `Bytes` can own without a copy.
struct Elements<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;

    #[test]
    fn an_array_becomes_a_tensor_and_a_view_without_a_copy() {
        let array = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let place = array.as_ptr().cast::<u8>();
        let tensor = Tensor::from_array(array.clone()).expect("two axes");
        assert_ne!(tensor.data().as_ptr(), place, "the clone has its own");
        let place = tensor.data().as_ptr();
        let view = tensor.view::<f32>().expect("it holds f32");
        assert!(!view.copied());
        assert_eq!(view.array().as_ptr().cast::<u8>(), place);
        assert_eq!(view.array(), array.into_dyn());
    }

    #[test]
    fn misaligned_bytes_are_copied_once_and_the_view_says_so() {
        let bytes = Bytes::from(vec![0, 1, 0, 0, 0, 2, 0, 0, 0, 0]);
        let at = (1..5)
            .find(|&at| bytes[at..].as_ptr().align_offset(4) != 0)
            .expect("some are odd");
        let tensor = Tensor::new(Dtype::U32, &[1], bytes.slice(at..at + 4)).expect("four bytes");
        assert!(tensor.view::<u32>().expect("it holds u32").copied());
    }

    #[test]
    fn arrays_in_another_order_or_cut_out_of_larger_ones_keep_their_values() {
        let array =
            Array::from_shape_fn((3, 4), |(i, j)| i64::try_from(10 * i + j).expect("small"));
        let turned = array.clone().reversed_axes();
        let tensor = Tensor::from_array(turned.clone()).expect("two axes");
        assert_eq!(
            tensor.view::<i64>().expect("it holds i64").array(),
            turned.into_dyn()
        );
        let (_, lower) = array.view().split_at(Axis(0), 1);
        let mut cut = array.clone();
        cut.slice_axis_inplace(Axis(0), (1..3).into());
        let tensor = Tensor::from_array(cut).expect("two axes");
        assert_eq!(tensor.shape(), [2, 4]);
        assert_eq!(
            tensor.view::<i64>().expect("it holds i64").array(),
            lower.into_dyn()
        );
    }

    #[test]
    fn scalars_and_empty_tensors_have_views_too() {
        let scalar = Tensor::from_vec(&[], vec![f16::from_f32(1.5)]).expect("one element");
        assert_eq!(scalar.view::<f16>().expect("f16").array().len(), 1);
        let empty = Tensor::from_vec::<bf16>(&[0, 3], Vec::new()).expect("no elements");
        assert_eq!(empty.view::<bf16>().expect("bf16").array().shape(), [0, 3]);
    }

    #[test]
    fn a_view_of_another_type_is_refused() {
        let tensor = Tensor::from_vec(&[2], vec![1_i16, 2]).expect("two elements");
        let error = tensor.view::<u16>().expect_err("other type");
        assert!(error.to_string().contains("tensor.cast"), "{error}");
    }

    #[test]
    fn casts_round_saturate_and_come_back() {
        let tensor =
            Tensor::from_vec(&[5], vec![0.0_f32, -1.5, 300.7, f32::NAN, 65_504.0]).expect("five");
        let bytes = tensor.cast(Dtype::U8).expect("casts");
        assert_eq!(*bytes.elements::<u8>().expect("u8"), [0, 0, 255, 0, 255]);
        let truth = tensor.cast(Dtype::Bool).expect("casts");
        assert_eq!(*truth.elements::<u8>().expect("bool"), [0, 1, 1, 1, 1]);
        let big = Tensor::from_vec(&[2], vec![u64::MAX, 1 << 53]).expect("two");
        let signed = big.cast(Dtype::I64).expect("casts");
        assert_eq!(*signed.elements::<i64>().expect("i64"), [i64::MAX, 1 << 53]);
        for to in Dtype::ALL {
            let there = tensor.cast(to).expect("casts");
            assert_eq!((there.dtype(), there.shape()), (to, tensor.shape()));
            assert_eq!(there.data().len(), 5 * to.size());
            let back = there.cast(Dtype::F32).expect("casts");
            assert!(back.elements::<f32>().expect("f32")[0].abs() < f32::EPSILON);
        }
        let half = tensor
            .cast(Dtype::F16)
            .expect("casts")
            .cast(Dtype::F32)
            .expect("casts");
        assert!((half.elements::<f32>().expect("f32")[4] - 65_504.0).abs() < f32::EPSILON);
    }
}
