/// The deepest nesting that the JSON reader takes.
pub(crate) const DEEPEST: usize = 127;

/// Whether what was written can be read again: the writer nests without bound, the reader does not.
pub(crate) fn is_readable(json: &[u8]) -> bool {
    let opening = json.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    opening <= DEEPEST || serde_json::from_slice::<serde_json::Value>(json).is_ok()
}
