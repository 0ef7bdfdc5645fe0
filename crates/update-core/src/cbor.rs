//! Reading CBOR that must be deterministically encoded (RFC 8949 section 4.2.1).

use minicbor::Decoder;
use minicbor::decode::Error;

/// A decoder that refuses every encoding of a value but one. It refuses an indefinite length, a length or an
/// integer in more bytes than it needs, and map keys out of order or repeated.
///
/// So a signed structure cannot be changed in the parts that the signature does not cover.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'b, E> {
    decoder: Decoder<'b>,
    /// The error for bytes that are not what was asked for.
    malformed: E,
    /// The error for the right value in another encoding.
    not_deterministic: E,
}

impl<'b, E: Copy> Reader<'b, E> {
    pub(crate) fn new(bytes: &'b [u8], malformed: E, not_deterministic: E) -> Self {
        Self { decoder: Decoder::new(bytes), malformed, not_deterministic }
    }

    /// The error for a value that is not what the structure requires.
    pub(crate) const fn malformed(&self) -> E {
        self.malformed
    }

    pub(crate) fn uint(&mut self) -> Result<u64, E> {
        self.head(Decoder::u64, |value| *value)
    }

    pub(crate) fn int(&mut self) -> Result<i64, E> {
        // The argument of a negative integer is -1 - value: the bitwise complement.
        self.head(Decoder::i64, |value| if *value < 0 { !*value } else { *value } as u64)
    }

    pub(crate) fn tag(&mut self, expected: u64) -> Result<(), E> {
        let tag = self.head(|decoder| Ok(decoder.tag()?.as_u64()), |tag| *tag)?;
        if tag == expected { Ok(()) } else { Err(self.malformed) }
    }

    /// The number of elements that follow.
    pub(crate) fn array(&mut self) -> Result<u64, E> {
        let len = self.head(Decoder::array, |len| len.unwrap_or_default())?;
        len.ok_or(self.not_deterministic)
    }

    /// The number of key-value pairs that follow; read each key with [`Self::key`].
    pub(crate) fn map(&mut self) -> Result<u64, E> {
        let len = self.head(Decoder::map, |len| len.unwrap_or_default())?;
        len.ok_or(self.not_deterministic)
    }

    /// Checks that an array or map has exactly this many elements or pairs.
    pub(crate) fn exactly(&self, len: u64, expected: u64) -> Result<(), E> {
        if len == expected { Ok(()) } else { Err(self.malformed) }
    }

    /// An integer key of a map. `previous` starts empty and keeps the encoding of the key before.
    pub(crate) fn key(&mut self, previous: &mut &'b [u8]) -> Result<i64, E> {
        let start = self.decoder.position();
        let key = self.int()?;
        let encoding = self.since(start);
        if encoding <= *previous {
            return Err(self.not_deterministic);
        }
        *previous = encoding;
        Ok(key)
    }

    pub(crate) fn null(&mut self) -> Result<(), E> {
        self.decoder.null().map_err(|_| self.malformed)
    }

    /// A byte string.
    // Called from two dozen places, each of which would take a copy of it.
    #[inline(never)]
    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], E> {
        Ok(self.bytes_and_encoding()?.0)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn array_of<const N: usize>(&mut self) -> Result<&'b [u8; N], E> {
        self.bytes()?.try_into().map_err(|_| self.malformed)
    }

    /// A byte string, without and with its head.
    pub(crate) fn bytes_and_encoding(&mut self) -> Result<(&'b [u8], &'b [u8]), E> {
        let start = self.decoder.position();
        let bytes = self.decoder.bytes().map_err(|_| self.malformed)?;
        let encoding = self.since(start);
        self.minimal(encoding.len() - bytes.len(), bytes.len() as u64)?;
        Ok((bytes, encoding))
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, E> {
        let start = self.decoder.position();
        let text = self.decoder.str().map_err(|_| self.malformed)?;
        self.minimal(self.since(start).len() - text.len(), text.len() as u64)?;
        Ok(text)
    }

    /// Reads CBOR that is wrapped in a byte string, to its end.
    pub(crate) fn inside<T>(
        &self,
        wrapped: &'b [u8],
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut reader = Self::new(wrapped, self.malformed, self.not_deterministic);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// Where the next value begins.
    pub(crate) fn position(&self) -> usize {
        self.decoder.position()
    }

    /// The bytes read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'b [u8] {
        self.decoder.input().get(start..self.decoder.position()).unwrap_or_default()
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&self) -> Result<(), E> {
        let at_end = self.decoder.position() == self.decoder.input().len();
        if at_end { Ok(()) } else { Err(self.malformed) }
    }

    /// Reads a head and checks that it is as short as its argument allows.
    fn head<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
        argument: impl FnOnce(&T) -> u64,
    ) -> Result<T, E> {
        let start = self.decoder.position();
        let value = read(&mut self.decoder).map_err(|_| self.malformed)?;
        self.minimal(self.decoder.position() - start, argument(&value))?;
        Ok(value)
    }

    fn minimal(&self, head_len: usize, argument: u64) -> Result<(), E> {
        let shortest = minicbor::len(argument);
        if head_len == shortest { Ok(()) } else { Err(self.not_deterministic) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_, &'static str> {
        Reader::new(bytes, "malformed", "not deterministic")
    }

    #[test]
    fn only_the_shortest_head_is_read() {
        assert_eq!(reader(&[0x17]).uint(), Ok(23));
        assert_eq!(reader(&[0x18, 0x17]).uint(), Err("not deterministic"));
        assert_eq!(reader(&[0x18, 0x18]).uint(), Ok(24));
        assert_eq!(reader(&[0x19, 0x00, 0xff]).uint(), Err("not deterministic"));
        assert_eq!(reader(&[0x32]).int(), Ok(-19));
        assert_eq!(reader(&[0x38, 0x12]).int(), Err("not deterministic"));
        assert_eq!(reader(&[0x3b, 0x7f, 255, 255, 255, 255, 255, 255, 255]).int(), Ok(i64::MIN));
        assert_eq!(reader(&[0x41, 7]).bytes(), Ok(&[7][..]));
        assert_eq!(reader(&[0x58, 1, 7]).bytes(), Err("not deterministic"));
        assert_eq!(reader(&[0x61, b'a']).text(), Ok("a"));
        assert_eq!(reader(&[0x78, 1, b'a']).text(), Err("not deterministic"));
        assert_eq!(reader(&[0x81]).array(), Ok(1));
        assert_eq!(reader(&[0x98, 1]).array(), Err("not deterministic"));
        assert_eq!(reader(&[0x9f, 0xff]).array(), Err("not deterministic"));
        assert_eq!(reader(&[0xbf, 0xff]).map(), Err("not deterministic"));
        assert_eq!(reader(&[0xd2]).tag(18), Ok(()));
        assert_eq!(reader(&[0xd8, 18]).tag(18), Err("not deterministic"));
    }

    #[test]
    fn another_type_is_malformed() {
        assert_eq!(reader(&[0x41, 7]).uint(), Err("malformed"));
        assert_eq!(reader(&[0x20]).uint(), Err("malformed"));
        assert_eq!(reader(&[]).bytes(), Err("malformed"));
        assert_eq!(reader(&[0x42, 7]).bytes(), Err("malformed"));
        assert_eq!(reader(&[0xd3]).tag(18), Err("malformed"));
        assert_eq!(reader(&[0x41, 7]).array_of::<2>(), Err("malformed"));
        assert_eq!(reader(&[0]).end(), Err("malformed"));
    }

    #[test]
    fn keys_ascend() {
        let read_two = |bytes| {
            let (mut reader, mut previous) = (reader(bytes), &[][..]);
            reader.key(&mut previous)?;
            reader.key(&mut previous)
        };
        assert_eq!(read_two(&[1, 2]), Ok(2));
        assert_eq!(read_two(&[23, 0x18, 24]), Ok(24));
        assert_eq!(read_two(&[1, 0x20]), Ok(-1));
        assert_eq!(read_two(&[2, 1]), Err("not deterministic"));
        assert_eq!(read_two(&[2, 2]), Err("not deterministic"));
        assert_eq!(read_two(&[0x20, 1]), Err("not deterministic"));
    }
}
