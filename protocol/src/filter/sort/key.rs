//! Values as bytes whose order is the total order. Every form ends by itself, so that keys can stand one
//! after the other and can be complemented for descending order.

use crate::document::ValueRef;
use crate::filter::sort::select::Key;
use crate::filter::terms::double_key;

/// How deep values are followed; documents are far below it.
const NEST_MAX: usize = 256;

/// Ends a string, an object or an array; it is below everything that may go on.
const END: u8 = 0;

/// Writes a value; nothing, an empty array, is below null.
pub(super) fn write(key: Key<'_>, out: &mut Vec<u8>) {
    match key {
        None => out.push(END),
        Some(value) => {
            out.push(value.rank());
            write_payload(value, out, NEST_MAX);
        }
    }
}

fn write_payload(value: ValueRef<'_>, out: &mut Vec<u8>, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match value {
        ValueRef::Null => {}
        ValueRef::Bool(value) => out.push(u8::from(value)),
        ValueRef::Int(value) => write_int(value, out),
        ValueRef::Double(value) => write_number(value, 0, out),
        ValueRef::String(text) => write_text(text.as_bytes(), out),
        ValueRef::Object(object) => {
            for (key, value) in object.members() {
                out.push(value.rank());
                write_text(key, out);
                write_payload(value, out, depth);
            }
            out.push(END);
        }
        ValueRef::Array(array) => {
            for value in array {
                out.push(value.rank());
                write_payload(value, out, depth);
            }
            out.push(END);
        }
    }
}

/// An integer as the next double below it, and what it is above that.
fn write_int(value: i64, out: &mut Vec<u8>) {
    let mut below = value as f64;
    if below as i128 > i128::from(value) {
        below = below.next_down();
    }
    let above = i128::from(value) - below as i128;
    let above = u16::try_from(above).expect("doubles lie at most 1024 apart below 2^63");
    write_number(below, above, out);
}

fn write_number(double: f64, above: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&double_key(double).to_be_bytes());
    out.extend_from_slice(&above.to_be_bytes());
}

/// The bytes 0 and 1 are escaped, so that the end is below every byte.
fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            0 | 1 => out.extend_from_slice(&[1, byte + 1]),
            byte => out.push(*byte),
        }
    }
    out.push(END);
}
