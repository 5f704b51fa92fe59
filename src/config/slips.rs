//! What slips into a credential on its way from a file, a shell or a web page: marks, quotes, blanks, the name of its variable.
//! Nothing is corrected, since a server may have given out just that; a slip is named. No sentence here holds the value.

use super::mask;

/// How programs write that there is no value.
const NOTHING: [&str; 5] = ["null", "undefined", "none", "nil", "nan"];

/// What is wrong with a credential, as a sentence that goes on from its name; None: nothing that could be known.
pub fn slip(value: &str) -> Option<String> {
    let (first, last) = (value.chars().next()?, value.chars().next_back()?);
    let quoted =
        ['"', '\'', '`', '“', '‘', '«'].contains(&first) || ['"', '\'', '`', '”', '’', '»'].contains(&last);
    if first == '\u{feff}' {
        return Some("begins with a byte order mark (U+FEFF)".to_owned());
    }
    if NOTHING.iter().any(|word| value.eq_ignore_ascii_case(word)) || value.bytes().all(|b| b == b'*') {
        return Some(format!("is `{value}`, which stands for a value that is missing"));
    }
    if let Some(variable) = placeholder(value) {
        return Some(format!("is `{variable}`, which nothing has filled in"));
    }
    if let Some(blank) = value.chars().find(|c| c.is_whitespace() || is_invisible(*c)) {
        let place = if last == blank {
            "ends with"
        } else if first == blank {
            "begins with"
        } else {
            "holds"
        };
        return Some(format!("{place} {}", name(blank)));
    }
    if quoted {
        return Some("stands in quotes".to_owned());
    }
    if let Some(variable) = assigned(value) {
        return Some(format!("begins with the name of a variable, `{variable}=`"));
    }
    let ending = value.ends_with("\\n") || value.ends_with("\\r");
    ending.then(|| "ends with a line break that is written out (`\\n`)".to_owned())
}

/// An unfilled placeholder, as shells and templates write them.
pub fn placeholder(value: &str) -> Option<&str> {
    let inner = [("${", "}"), ("$(", ")"), ("{{", "}}"), ("%", "%"), ("<", ">")]
        .into_iter()
        .find_map(|(open, close)| value.strip_prefix(open)?.strip_suffix(close));
    let bare = || value.strip_prefix('$').filter(|name| mask::is_conventional(name));
    let is_name = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || " _.-:".contains(c);
        !text.is_empty() && text.len() <= 64 && text.chars().all(plain)
    };
    (inner.is_some_and(is_name) || bare().is_some()).then_some(value)
}

/// The name before the `=` of `NAME=value`. Base64 ends with `=`, and is no assignment.
fn assigned(value: &str) -> Option<&str> {
    let value = value.strip_prefix("export ").unwrap_or(value);
    let (name, rest) = value.split_once('=')?;
    let known =
        ["client_id", "client_secret", "api_key", "refresh_token", "access_token", "token", "secret", "key"];
    let is_name =
        (name.len() >= 3 && name.contains('_') && mask::is_conventional(name)) || known.contains(&name);
    (is_name && !rest.is_empty() && !rest.starts_with('=')).then_some(name)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}')
}

fn name(blank: char) -> String {
    match blank {
        ' ' => "a space".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        '\u{a0}' => "a no-break space (U+00A0)".to_owned(),
        other => format!("an invisible character (U+{:04X})", u32::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_named_and_the_value_is_not() {
        for (value, named) in [
            ("\u{feff}s3cret", "byte order mark"),
            ("s3cret ", "ends with a space"),
            (" s3cret", "begins with a space"),
            ("s3 cret", "holds a space"),
            ("s3cret\u{a0}", "U+00A0"),
            ("s3\u{200b}cret", "U+200B"),
            ("\"s3cret\"", "in quotes"),
            ("'s3cret'", "in quotes"),
            ("“s3cret”", "in quotes"),
            ("CLIENT_SECRET=s3cret", "`CLIENT_SECRET=`"),
            ("client_secret=s3cret", "`client_secret=`"),
            ("${CLIENT_SECRET}", "${CLIENT_SECRET}"),
            ("$CLIENT_SECRET", "nothing has filled in"),
            ("{{ .Values.secret }}", "nothing has filled in"),
            ("<your-client-id>", "nothing has filled in"),
            ("s3cret\\n", "line break"),
            ("null", "is missing"),
            ("undefined", "is missing"),
            ("********", "is missing"),
        ] {
            let said = slip(value).unwrap_or_else(|| panic!("{value}"));
            assert!(said.contains(named) && !said.contains("s3"), "{value}: {said}");
        }
    }

    #[test]
    fn what_servers_give_out_is_no_slip() {
        for value in [
            "s3cret",
            "c2VjcmV0Cg==",
            "QUJD=",
            "ABC=DEF",
            "a+b/c=",
            "x$y",
            "{curly}",
            "p@ss%word",
            "eyJhbGciOiJub25lIn0.e30.",
            "pak_0123456789",
            "$2a$10$abcdefghijklmnopqrstuv",
            "a=b",
            "it's",
        ] {
            assert_eq!(slip(value), None, "{value}");
        }
    }
}
