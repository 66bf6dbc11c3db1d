//! AMF0, the encoding of RTMP commands and FLV script tags: a small reader that trusts nothing, and a writer.
//!
//! Source: Adobe, "Action Message Format -- AMF 0" (2007); section numbers below are its own.

use super::reader::Reader;

/// How deep objects and arrays may lie in each other. Encoders use three.
const MAX_DEPTH: usize = 16;
/// How many values one message may hold, so that a message costs memory in proportion to its bytes.
const MAX_VALUES: usize = 4096;

/// A value. Strings that are not UTF-8 are read with replacement characters.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    /// An anonymous or typed object; the class name of a typed one is dropped.
    Object(Vec<(String, Value)>),
    Null,
    Undefined,
    EcmaArray(Vec<(String, Value)>),
    StrictArray(Vec<Value>),
    /// Milliseconds since the Unix epoch, UTC.
    Date(f64),
}

/// Bytes are no AMF0, or more of it than is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Amf0Error {
    #[error("AMF0 ends within a value that begins at byte {at}: send the whole message")]
    Truncated { at: usize },
    #[error("AMF0 type marker {marker:#04x} at byte {at} is not supported: send AMF0 types only")]
    Marker { marker: u8, at: usize },
    #[error("AMF0 objects lie more than {MAX_DEPTH} deep in each other at byte {at}: send flatter ones")]
    Depth { at: usize },
    #[error("an AMF0 message holds more than {MAX_VALUES} values: send fewer")]
    Values,
}

impl Value {
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object or ECMA array.
    pub fn members(&self) -> &[(String, Value)] {
        match self {
            Self::Object(members) | Self::EcmaArray(members) => members,
            _ => &[],
        }
    }

    /// The first member of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// An object of the given members.
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Reads all values of a message.
pub fn read(bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut decoder = Decoder { reader: Reader::new(bytes), values: 0 };
    let mut values = Vec::new();
    while decoder.reader.left() > 0 {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    reader: Reader<'a>,
    values: usize,
}

impl Decoder<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let at = self.reader.position();
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Amf0Error::Values);
        }
        if depth > MAX_DEPTH {
            return Err(Amf0Error::Depth { at });
        }
        let truncated = Amf0Error::Truncated { at };
        let marker = self.reader.u8().ok_or(truncated)?;
        Ok(match marker {
            0x00 => Value::Number(self.reader.f64().ok_or(truncated)?),
            0x01 => Value::Boolean(self.reader.u8().ok_or(truncated)? != 0),
            0x02 => Value::String(self.short_string().ok_or(truncated)?),
            0x03 => Value::Object(self.members(depth, truncated)?),
            0x05 => Value::Null,
            0x06 | 0x0d => Value::Undefined,
            // A reference to an earlier object (2.9): nothing that we read is ever sent twice.
            0x07 => self.reader.u16().map(|_| Value::Undefined).ok_or(truncated)?,
            // The count is a hint (2.10): the end marker decides.
            0x08 => {
                self.reader.u32().ok_or(truncated)?;
                Value::EcmaArray(self.members(depth, truncated)?)
            }
            0x0a => {
                let count = self.reader.u32().ok_or(truncated)?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(depth + 1)?);
                }
                Value::StrictArray(items)
            }
            0x0b => {
                let millis = self.reader.f64().ok_or(truncated)?;
                self.reader.u16().ok_or(truncated)?;
                Value::Date(millis)
            }
            // Long strings (2.14) and XML documents (2.17).
            0x0c | 0x0f => {
                let length = self.reader.u32().ok_or(truncated)?;
                Value::String(self.string(length as usize).ok_or(truncated)?)
            }
            0x10 => {
                self.short_string().ok_or(truncated)?;
                Value::Object(self.members(depth, truncated)?)
            }
            marker => return Err(Amf0Error::Marker { marker, at }),
        })
    }

    /// Members until the end marker. Some encoders leave it out at the end of a message: the end of the bytes counts as well.
    fn members(&mut self, depth: usize, truncated: Amf0Error) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut members = Vec::new();
        while self.reader.left() > 0 {
            let name = self.short_string().ok_or(truncated)?;
            let mut ahead = self.reader;
            if name.is_empty() && matches!(ahead.u8(), Some(0x09) | None) {
                self.reader = ahead;
                break;
            }
            members.push((name, self.value(depth + 1)?));
        }
        Ok(members)
    }

    fn short_string(&mut self) -> Option<String> {
        let length = self.reader.u16()?;
        self.string(usize::from(length))
    }

    fn string(&mut self, length: usize) -> Option<String> {
        self.reader.take(length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The bytes of a message of these values.
pub fn write(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * values.len());
    for value in values {
        write_value(&mut out, value);
    }
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0x00);
            out.extend(number.to_be_bytes());
        }
        Value::Boolean(value) => out.extend([0x01, u8::from(*value)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(length) => {
                out.push(0x02);
                out.extend(length.to_be_bytes());
                out.extend(text.as_bytes());
            }
            Err(_) => {
                let text = clip(text, u32::MAX as usize);
                out.push(0x0c);
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text.as_bytes());
            }
        },
        Value::Object(members) => {
            out.push(0x03);
            write_members(out, members);
        }
        Value::Null => out.push(0x05),
        Value::Undefined => out.push(0x06),
        Value::EcmaArray(members) => {
            out.push(0x08);
            out.extend((members.len() as u32).to_be_bytes());
            write_members(out, members);
        }
        Value::StrictArray(items) => {
            out.push(0x0a);
            out.extend((items.len() as u32).to_be_bytes());
            for item in items {
                write_value(out, item);
            }
        }
        Value::Date(millis) => {
            out.push(0x0b);
            out.extend(millis.to_be_bytes());
            out.extend([0, 0]);
        }
    }
}

fn write_members(out: &mut Vec<u8>, members: &[(String, Value)]) {
    for (name, value) in members {
        let name = clip(name, usize::from(u16::MAX));
        out.extend((name.len() as u16).to_be_bytes());
        out.extend(name.as_bytes());
        write_value(out, value);
    }
    out.extend([0x00, 0x00, 0x09]);
}

/// `text`, or as many whole characters of it as fit in `max` bytes.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_type_is_read() {
        let bytes = [
            &[0x00, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0][..],
            &[0x01, 1],
            &[0x02, 0, 2, b'h', b'i'],
            &[0x03, 0, 1, b'a', 0x05, 0, 0, 9],
            &[0x05, 0x06, 0x0d],
            &[0x07, 0, 1],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0, 1, b'b', 0x01, 0, 0, 0, 9],
            &[0x0a, 0, 0, 0, 2, 0x05, 0x06],
            &[0x0b, 0x40, 0x59, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x0c, 0, 0, 0, 1, b'L'],
            &[0x0f, 0, 0, 0, 4, b'<', b'x', b'/', b'>'],
            &[0x10, 0, 1, b'C', 0, 1, b'c', 0x05, 0, 0, 9],
        ]
        .concat();
        use Value::*;
        assert_eq!(
            read(&bytes).unwrap(),
            [
                Number(1.0),
                Boolean(true),
                String("hi".into()),
                Object(vec![("a".into(), Null)]),
                Null,
                Undefined,
                Undefined,
                Undefined,
                EcmaArray(vec![("b".into(), Boolean(false))]),
                StrictArray(vec![Null, Undefined]),
                Date(100.0),
                String("L".into()),
                String("<x/>".into()),
                Object(vec![("c".into(), Null)]),
            ]
        );
    }

    #[test]
    fn strings_that_are_not_utf_8_are_read_with_replacements() {
        assert_eq!(read(&[0x02, 0, 3, b'a', 0xff, b'b']).unwrap(), [Value::from("a\u{fffd}b")]);
    }

    #[test]
    fn depth_and_count_are_limited() {
        let deep = [&[0x03, 0, 1, b'a'][..]; 10_000].concat();
        assert_eq!(read(&deep), Err(Amf0Error::Depth { at: 4 * (MAX_DEPTH + 1) }));
        let deep = [&[0x0a, 0, 0, 0, 1][..]; 10_000].concat();
        assert_eq!(read(&deep), Err(Amf0Error::Depth { at: 5 * (MAX_DEPTH + 1) }));
        assert_eq!(read(&[0x05; MAX_VALUES + 1]), Err(Amf0Error::Values));
        assert_eq!(read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x05]), Err(Amf0Error::Truncated { at: 6 }));
    }

    #[test]
    fn what_is_no_amf0_is_named_with_its_place() {
        assert_eq!(read(&[0x05, 0x11]), Err(Amf0Error::Marker { marker: 0x11, at: 1 }));
        assert_eq!(read(&[0x05, 0x02, 0, 9, b'x']), Err(Amf0Error::Truncated { at: 1 }));
    }

    #[test]
    fn an_object_may_end_with_the_message() {
        let open = [0x08, 0, 0, 0, 1, 0, 1, b'a', 0x05];
        assert_eq!(read(&open).unwrap(), [Value::EcmaArray(vec![("a".into(), Value::Null)])]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|number| Value::Number(f64::from(number))),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,12}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Date(1e12)),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let members = proptest::collection::vec(("[a-z]{1,8}", inner.clone()), 0..8);
            prop_oneof![
                members.clone().prop_map(Value::Object),
                members.prop_map(Value::EcmaArray),
                proptest::collection::vec(inner, 0..8).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in proptest::collection::vec(value(), 0..4)) {
            prop_assert_eq!(read(&write(&values)).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0_u8..0x14, 0..512)) {
            let _ = read(&bytes);
        }
    }
}
