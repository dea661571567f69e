//! Typed access to the fields of an object, with errors that name the field and the rule.

use super::{Object, Value};

/// A field that is missing or of the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` {rule}")]
pub struct FieldError {
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong with it.
    pub rule: FieldRule,
}

/// What a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldRule {
    /// The field must be present.
    #[error("is required")]
    Required,
    /// The field must be a string.
    #[error("must be a string")]
    String,
    /// The field must be an integer.
    #[error("must be an integer")]
    Integer,
    /// The field must be an array.
    #[error("must be an array")]
    Array,
    /// The field must be an object.
    #[error("must be an object")]
    Object,
}

impl<'a> Object<'a> {
    /// The string under `field`, which must be there.
    ///
    /// # Errors
    /// When it is missing or not a string.
    pub fn string(&self, field: &'static str) -> Result<&str, FieldError> {
        self.required(field, FieldRule::String, Value::as_str)
    }

    /// The string under `field`, if the field is there.
    ///
    /// # Errors
    /// When it is there and not a string.
    pub fn optional_string(&self, field: &'static str) -> Result<Option<&str>, FieldError> {
        self.optional(field, FieldRule::String, Value::as_str)
    }

    /// The integer under `field`, which must be there.
    ///
    /// # Errors
    /// When it is missing or not an integer.
    pub fn integer(&self, field: &'static str) -> Result<i64, FieldError> {
        self.required(field, FieldRule::Integer, Value::as_integer)
    }

    /// The integer under `field`, if the field is there.
    ///
    /// # Errors
    /// When it is there and not an integer.
    pub fn optional_integer(&self, field: &'static str) -> Result<Option<i64>, FieldError> {
        self.optional(field, FieldRule::Integer, Value::as_integer)
    }

    /// The array under `field`, which must be there.
    ///
    /// # Errors
    /// When it is missing or not an array.
    pub fn array(&self, field: &'static str) -> Result<&[Value<'a>], FieldError> {
        self.required(field, FieldRule::Array, Value::as_array)
    }

    /// The object under `field`, which must be there.
    ///
    /// # Errors
    /// When it is missing or not an object.
    pub fn object(&self, field: &'static str) -> Result<&Object<'a>, FieldError> {
        self.required(field, FieldRule::Object, Value::as_object)
    }

    /// The object under `field`, if the field is there.
    ///
    /// # Errors
    /// When it is there and not an object.
    pub fn optional_object(&self, field: &'static str) -> Result<Option<&Object<'a>>, FieldError> {
        self.optional(field, FieldRule::Object, Value::as_object)
    }

    fn required<'s, T>(
        &'s self,
        field: &'static str,
        rule: FieldRule,
        read: impl FnOnce(&'s Value<'a>) -> Option<T>,
    ) -> Result<T, FieldError> {
        self.optional(field, rule, read)?.ok_or(FieldError {
            field,
            rule: FieldRule::Required,
        })
    }

    fn optional<'s, T>(
        &'s self,
        field: &'static str,
        rule: FieldRule,
        read: impl FnOnce(&'s Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or(FieldError { field, rule }),
        }
    }
}
