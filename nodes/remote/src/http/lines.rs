//! Lines of an answer that comes in parts.

use bytes::BytesMut;

/// What was read, and how far it was searched for the end of its first line: a line of many megabytes comes in thousands of parts.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    searched: usize,
}

impl Lines {
    /// Splits the first line off, with its end. With `ended`, what is left without one is a line too.
    pub(crate) fn next(&mut self, read: &mut BytesMut, ended: bool) -> Option<BytesMut> {
        let unsearched = read.get(self.searched..).unwrap_or_default();
        let end = unsearched.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.searched = read.len();
            let rest = ended && !read.is_empty();
            return rest.then(|| self.split(read, read.len()));
        };
        Some(self.split(read, self.searched + end + 1))
    }

    fn split(&mut self, read: &mut BytesMut, at: usize) -> BytesMut {
        self.searched = 0;
        read.split_to(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_are_parted() {
        let text = b"one\n\ntwo is longer\nthree";
        for size in 1..text.len() {
            let (mut lines, mut read, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
            for part in text.chunks(size) {
                read.extend_from_slice(part);
                found.extend(std::iter::from_fn(|| lines.next(&mut read, false)));
            }
            found.extend(std::iter::from_fn(|| lines.next(&mut read, true)));
            assert_eq!(found, [&b"one\n"[..], b"\n", b"two is longer\n", b"three"]);
        }
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        let (mut lines, mut read) = (Lines::default(), BytesMut::new());
        for part in 1..=1_000 {
            read.extend_from_slice(b"part");
            assert_eq!(lines.next(&mut read, false), None);
            assert_eq!(lines.searched, 4 * part);
        }
        read.extend_from_slice(b"\nmore");
        let line = lines.next(&mut read, false);
        assert_eq!(
            (line.map(|line| line.len()), lines.searched),
            (Some(4_001), 0)
        );
    }
}
