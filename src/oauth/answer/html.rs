//! What an HTML page says to a person: its title, its first heading, and the exception of a framework's debug page.

use quick_xml::escape::unescape;

/// Elements whose name says that a text is a page, or a part of one.
const ELEMENTS: [&str; 20] = [
    "html", "head", "body", "title", "meta", "br", "b", "p", "pre", "div", "span", "script", "style",
    "center", "font", "table", "h1", "h2", "h3", "hr",
];

/// Whether a text that begins with `<` is HTML.
pub(super) fn is_html(text: &str) -> bool {
    let name = |text: &str| {
        let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
        name.to_ascii_lowercase()
    };
    let mut rest = text;
    while let Some(comment) = rest.strip_prefix("<!--") {
        rest = comment.split_once("-->").map_or("", |(_, rest)| rest).trim_start();
    }
    match rest.strip_prefix("<!") {
        Some(declaration) if name(declaration) == "doctype" => {
            name(declaration["doctype".len()..].trim_start()) == "html"
        }
        Some(_) => false,
        None => rest.strip_prefix('<').is_some_and(|rest| ELEMENTS.contains(&name(rest).as_str())),
    }
}

/// Title, heading and exception, those that are there; else the page's text.
pub(super) fn words(page: &str) -> Vec<String> {
    let lower = page.to_ascii_lowercase();
    let heading = ["<h1", "<h2", "<h3"].iter().find_map(|tag| element(page, &lower, tag));
    let exception = element(page, &lower, "<pre class=\"exception_value\"");
    let mut words: Vec<String> = Vec::new();
    for said in [element(page, &lower, "<title"), heading, exception].into_iter().flatten() {
        if !said.is_empty() && !words.iter().any(|known| known.contains(&said)) {
            words.push(said);
        }
    }
    if words.is_empty() { vec![strip(page)] } else { words }
}

/// The text of the first element that begins with `tag`.
fn element(page: &str, lower: &str, tag: &str) -> Option<String> {
    let begin = lower.find(tag)?;
    let name = tag[1..].split(' ').next()?;
    let open = begin + lower[begin..].find('>')? + 1;
    let close = lower[open..].find(&format!("</{name}")).map_or(page.len(), |length| open + length);
    Some(strip(&page[open..close]))
}

/// The text without its tags, scripts and styles, in one pass.
pub(super) fn strip(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    // Elements whose text is none, as long as one of them may end further on.
    let mut hidden = vec!["script", "style"];
    let mut text = String::new();
    let mut at = 0;
    while let Some(tag) = html[at..].find('<').map(|length| at + length) {
        text.push_str(&html[at..tag]);
        text.push(' ');
        let name = hidden.iter().copied().find(|name| lower[tag + 1..].starts_with(name));
        let end = name.and_then(|name| lower[tag..].find(&format!("</{name}")));
        if end.is_none() {
            hidden.retain(|other| Some(*other) != name);
        }
        let from = tag + end.unwrap_or(0);
        at = html[from..].find('>').map_or(html.len(), |length| from + length + 1);
    }
    let rest = &html[at..];
    text.push_str(rest);
    let text = text.replace("&nbsp;", " ").replace("&#39;", "'").replace("&#x27;", "'");
    let text = unescape(&text).map(std::borrow::Cow::into_owned).unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_are_told_from_xml() {
        for page in [
            "<!doctype html><p>",
            "<HTML>",
            "<!-- x --> <html>",
            "<br />\n<b>Warning</b>",
            "<!DOCTYPE HTML PUBLIC",
        ] {
            assert!(is_html(page), "{page}");
        }
        for other in ["<OAuthTokenDTO>", "<?xml version='1.0'?><a/>", "<!DOCTYPE a>", "<", "<!", "<bar>", ""]
        {
            assert!(!is_html(other), "{other}");
        }
    }

    #[test]
    fn a_page_is_told_by_its_title_heading_and_exception() {
        let django = "<html><head><title>RuntimeError at /o/token</title><style>h1{x}</style></head><body><h1>RuntimeError\n <small>at /o/token</small></h1><pre class=\"exception_value\">You called this URL via POST, but the URL doesn&#x27;t end in a slash</pre>";
        assert_eq!(
            words(django),
            ["RuntimeError at /o/token", "You called this URL via POST, but the URL doesn't end in a slash"]
        );
        assert_eq!(words("<p>Sign&nbsp;in &amp; go</p><script>x</script>"), ["Sign in & go"]);
        assert_eq!(words("<title>502</title><h1>Bad gateway"), ["502", "Bad gateway"]);
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in "[<>/!a-zA-Z &;#\"=é-]{0,120}") {
            _ = (is_html(&page), words(&page));
        }
    }
}
