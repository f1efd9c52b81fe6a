//! Turns values back into JSON text and JSON trees. Integers print without a fraction, doubles always
//! with a fraction or an exponent, so that a text that is read again gives the same types.

use std::fmt;

use serde_json::{Map, Value};

use crate::document::value::{ArrayRef, NEST_MAX, ObjectRef, ValueRef};

impl ValueRef<'_> {
    /// Appends the value as JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write(*self, out, NEST_MAX);
    }

    /// The value as a JSON tree.
    #[must_use]
    pub fn to_value(&self) -> Value {
        tree(*self, NEST_MAX)
    }
}

fn write(value: ValueRef<'_>, out: &mut Vec<u8>, depth: usize) {
    match (value, depth.checked_sub(1)) {
        (ValueRef::Null, _) | (_, None) => out.extend_from_slice(b"null"),
        (ValueRef::Bool(value), _) => {
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        (ValueRef::Int(value), _) => write_scalar(&value, out),
        (ValueRef::Double(value), _) => write_scalar(&value, out),
        (ValueRef::String(text), _) => write_text(text.as_bytes(), out),
        (ValueRef::Object(object), Some(depth)) => {
            out.push(b'{');
            for (n, (key, value)) in object.members().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_text(key, out);
                out.push(b':');
                write(value, out, depth);
            }
            out.push(b'}');
        }
        (ValueRef::Array(array), Some(depth)) => {
            out.push(b'[');
            for (n, value) in array.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(value, out, depth);
            }
            out.push(b']');
        }
    }
}

fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    write_scalar(&String::from_utf8_lossy(bytes), out);
}

fn write_scalar(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a scalar is written to memory");
}

fn tree(value: ValueRef<'_>, depth: usize) -> Value {
    match (value, depth.checked_sub(1)) {
        (ValueRef::Null, _) | (_, None) => Value::Null,
        (ValueRef::Bool(value), _) => Value::Bool(value),
        (ValueRef::Int(value), _) => Value::from(value),
        (ValueRef::Double(value), _) => Value::from(value),
        (ValueRef::String(text), _) => String::from_utf8_lossy(text.as_bytes()).into(),
        (ValueRef::Object(object), Some(depth)) => object
            .iter()
            .map(|(key, value)| (key.to_owned(), tree(value, depth)))
            .collect::<Map<_, _>>()
            .into(),
        (ValueRef::Array(array), Some(depth)) => {
            array.iter().map(|value| tree(value, depth)).collect::<Vec<_>>().into()
        }
    }
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write_json(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl fmt::Debug for ObjectRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueRef::Object(*self).fmt(f)
    }
}

impl fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueRef::Array(*self).fmt(f)
    }
}

impl fmt::Debug for crate::document::Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueRef::String(*self).fmt(f)
    }
}
