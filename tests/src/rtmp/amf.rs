//! AMF0, as much as an RTMP client needs: enough to speak commands and to read the answers.

/// One AMF0 value (AMF0 specification, section 2). Types that no command uses end the parse.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Null,
    Undefined,
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    pub fn object(fields: &[(&str, Value)]) -> Value {
        Value::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A field of an object; none for anything else.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Values one after the other, as the payload of a command or data message.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for value in values {
        put(&mut out, value);
    }
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend_from_slice(&[1, u8::from(*flag)]),
        Value::String(text) => {
            out.push(2);
            put_name(out, text);
        }
        Value::Object(fields) => {
            out.push(3);
            for (name, value) in fields {
                put_name(out, name);
                put(out, value);
            }
            out.extend_from_slice(&[0, 0, 9]);
        }
        Value::Null => out.push(5),
        Value::Undefined => out.push(6),
        Value::Array(values) => {
            out.push(10);
            out.extend_from_slice(&(values.len() as u32).to_be_bytes());
            for value in values {
                put(out, value);
            }
        }
    }
}

fn put_name(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// All values that can be read from the start of `bytes`; stops at the first one it does not understand.
pub fn decode(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some(value) = take(&mut bytes, 16) {
        values.push(value);
    }
    values
}

fn take(bytes: &mut &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let (&marker, rest) = bytes.split_first()?;
    *bytes = rest;
    match marker {
        0 => Some(Value::Number(f64::from_be_bytes(take_bytes(bytes, 8)?.try_into().ok()?))),
        1 => Some(Value::Boolean(take_bytes(bytes, 1)?[0] != 0)),
        2 => take_name(bytes).map(Value::String),
        3 => take_fields(bytes, depth),
        5 => Some(Value::Null),
        6 => Some(Value::Undefined),
        8 => {
            take_bytes(bytes, 4)?;
            take_fields(bytes, depth)
        }
        10 => {
            let count = u32::from_be_bytes(take_bytes(bytes, 4)?.try_into().ok()?);
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(take(bytes, depth)?);
            }
            Some(Value::Array(values))
        }
        _ => None,
    }
}

fn take_fields(bytes: &mut &[u8], depth: u32) -> Option<Value> {
    let mut fields = Vec::new();
    loop {
        let name = take_name(bytes)?;
        if name.is_empty() && bytes.first() == Some(&9) {
            *bytes = &bytes[1..];
            return Some(Value::Object(fields));
        }
        fields.push((name, take(bytes, depth)?));
    }
}

fn take_name(bytes: &mut &[u8]) -> Option<String> {
    let length = u16::from_be_bytes(take_bytes(bytes, 2)?.try_into().ok()?);
    Some(String::from_utf8_lossy(take_bytes(bytes, usize::from(length))?).into_owned())
}

fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went_in() {
        let values = vec![
            Value::text("connect"),
            Value::Number(1.0),
            Value::object(&[
                ("app", Value::text("live")),
                ("fpad", Value::Boolean(false)),
                ("nothing", Value::Null),
                ("list", Value::Array(vec![Value::text("hvc1"), Value::Undefined])),
            ]),
        ];
        assert_eq!(decode(&encode(&values)), values);
    }

    #[test]
    fn a_cut_or_deep_value_ends_the_parse() {
        let bytes = encode(&[Value::Number(5.0), Value::text("stream")]);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).len() < 2);
        }
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            deep.extend_from_slice(&[3, 0, 1, b'a']);
        }
        assert_eq!(decode(&deep), Vec::new());
    }
}
