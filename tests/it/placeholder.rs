//! Configurations of tests, with words such as `SIM` standing for what is known only at run time. A word is filled in only
//! where it stands alone, and what was put in is not searched: names of temporary folders are random letters and digits,
//! and may hold any word as a part.

/// `text` with every word of `values` replaced, in one pass.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let is_part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part_of_word) {
        let (before, word_on) = rest.split_at(start);
        let end = word_on.find(|letter| !is_part_of_word(letter)).unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(end);
        let value = values.iter().find(|(name, _)| *name == word).map_or(word, |(_, value)| value);
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled + rest
}

#[test]
fn a_word_that_is_a_part_of_a_random_name_is_left_alone() {
    let text = "path = \"/tmp/.tmpSIMxyz/a_SIM/PLACE\"\napi = \"SIM/api\"\nport = PORT";
    let values = [("SIM", "http://[::1]:1"), ("PLACE", "/tmp/.tmpPORTab/SIM"), ("PORT", "7")];
    let filled =
        "path = \"/tmp/.tmpSIMxyz/a_SIM//tmp/.tmpPORTab/SIM\"\napi = \"http://[::1]:1/api\"\nport = 7";
    assert_eq!(fill(text, &values), filled);
}
