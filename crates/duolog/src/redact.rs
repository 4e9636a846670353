//! Personal data in logs: numbers and names appear only through here.

use std::fmt;

/// A number or SIP user of which a log line shows the last two characters.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(pub &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.chars().count();
        if count <= 4 {
            return f.write_str("****");
        }
        f.write_str("****")?;
        self.0
            .chars()
            .skip(count - 2)
            .try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_end_of_a_long_number_and_nothing_of_a_short_one() {
        assert_eq!(Redacted("+31201234567").to_string(), "****67");
        assert_eq!(format!("{:?}", Redacted("100")), "****");
        assert_eq!(Redacted("").to_string(), "****");
    }
}
