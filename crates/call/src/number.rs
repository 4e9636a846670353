//! Numbers as URIs carry them, as trunks write them and as this node writes them.

use duolog_sip::Uri;

use crate::settings::{NumberRule, NumberRules};

/// The number or name a URI stands for, without visual separators (RFC 3966 §5.1.1) and needless
/// escapes (RFC 3261 §19.1.4).
pub(crate) fn number(uri: &Uri) -> String {
    let user = uri.user.as_deref().unwrap_or_default();
    let user = unescaped(user.split(';').next().unwrap_or_default());
    let dialled = user
        .chars()
        .all(|c| c.is_ascii_digit() || "+*#-.()".contains(c));
    if dialled {
        user.chars().filter(|c| !"-.()".contains(*c)).collect()
    } else {
        user
    }
}

/// A number as it stands in a URI: `#` has no place there (RFC 3261 §25.1).
pub(crate) fn escaped(number: &str) -> String {
    number.replace('#', "%23")
}

/// Only what means the same without is undone, and `#`, which phones dial.
fn unescaped(user: &str) -> String {
    let mut parts = user.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..2)
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match byte.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-_.!~*'()+#".contains(c) => {
                plain.push(c);
                plain.push_str(&part[2..]);
            }
            _ => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// A trunk's number in this node's form.
pub(crate) fn inward(rules: &NumberRules, number: &str) -> String {
    rewritten(&rules.inward, number)
}

/// A number of this node as a trunk wants it.
pub(crate) fn outward(rules: &NumberRules, number: &str) -> String {
    rewritten(&rules.outward, number)
}

/// Names are left alone; the first rule that fits decides.
fn rewritten(rules: &[NumberRule], number: &str) -> String {
    let digits = number.strip_prefix('+').unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return number.to_owned();
    }
    let found = rules.iter().find_map(|rule| {
        let rest = number.strip_prefix(&rule.prefix)?;
        Some(format!("{}{rest}", rule.instead))
    });
    found.unwrap_or_else(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_change_nothing_are_undone_and_no_others() {
        for (user, expected) in [
            ("%2B31201234", "+31201234"),
            ("%2b31%2D20", "+3120"),
            ("*21%23", "*21#"),
            ("%61lice", "alice"),
            ("a%40b", "a%40b"),
            ("a%0d%0aVia", "a%0d%0aVia"),
            ("%", "%"),
            ("1%3", "1%3"),
            ("1%+3", "1%+3"),
            ("%C3%BC", "%C3%BC"),
        ] {
            let uri = Uri::sip(Some(user), "x", None);
            assert_eq!(number(&uri), expected, "{user}");
        }
        assert_eq!(escaped("*21#"), "*21%23");
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_names_stay() {
        let rule = |prefix: &str, instead: &str| NumberRule {
            prefix: prefix.into(),
            instead: instead.into(),
        };
        let rules = NumberRules {
            inward: vec![rule("00", "+"), rule("0", "+31"), rule("+", "+")],
            outward: vec![rule("+31", "0"), rule("+", "00"), rule("", "9")],
        };
        for (given, inside, outside) in [
            ("0031201", "+31201", "90031201"),
            ("0201", "+31201", "90201"),
            ("+4420", "+4420", "004420"),
            ("+31201", "+31201", "0201"),
            ("112", "112", "9112"),
            ("anna", "anna", "anna"),
            ("*48", "*48", "*48"),
            ("", "", ""),
            ("+", "+", "+"),
        ] {
            assert_eq!(inward(&rules, given), inside, "{given}");
            assert_eq!(outward(&rules, given), outside, "{given}");
        }
    }
}
