//! Where lines begin. The one rule: counted once, so that ten thousand findings cost no more than their number.

/// The beginnings of a text's lines, in bytes.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line that holds byte `at`, from 0.
    pub(super) fn number(&self, at: usize) -> usize {
        self.0.partition_point(|begin| *begin <= at) - 1
    }

    /// Where line `number` begins; the last line where there are not so many.
    pub(super) fn begin(&self, number: usize) -> usize {
        self.0[number.min(self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn a_line_break_belongs_to_the_line_it_ends() {
        let lines = Lines::new("a\n\nbc");
        assert_eq!([0, 1, 2, 3, 5].map(|at| lines.number(at)), [0, 0, 1, 2, 2]);
        assert_eq!([0, 1, 2, 9].map(|number| lines.begin(number)), [0, 2, 3, 3]);
    }
}
