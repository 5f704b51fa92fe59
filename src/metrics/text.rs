//! The two text formats. The one rule: OpenMetrics is what is made, and the older format is made of it.

/// How metrics are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which browsers show as well.
    Text,
}

impl Format {
    /// What a client takes, by its `Accept`; OpenMetrics if that leaves it open.
    pub fn accepted(accept: &str) -> Self {
        let accepts = |kind: &str| accept.contains(kind);
        let is_plain = accepts("text/plain") || accepts("text/html");
        if is_plain && !accepts("application/openmetrics-text") { Self::Text } else { Self::OpenMetrics }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics in the older format: a family is called as its samples are there, and a few lines are unknown.
pub(super) fn older(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut suffix = "";
    for line in openmetrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            // The type comes next, and its suffix belongs here as well.
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            suffix = suffix_of(openmetrics, name);
            text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|t| t.split_once(' ')) {
            let kind = if kind == "info" { "gauge" } else { kind };
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else {
            text.extend([line, "\n"]);
        }
    }
    text
}

fn suffix_of(openmetrics: &str, name: &str) -> &'static str {
    let is = |kind: &str| openmetrics.contains(&format!("# TYPE {name} {kind}\n"));
    if is("counter") {
        "_total"
    } else if is("info") {
        "_info"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_told_in_the_older_format_by_its_samples_names() {
        let made = "# HELP a_b Requests.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# HELP a_build Build.\n\
            # TYPE a_build info\na_build_info{version=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\n# UNIT c bytes\nc 3\n# EOF\n";
        let expected = "# HELP a_b_total Requests.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# HELP a_build_info Build.\n\
            # TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 3\n";
        assert_eq!(older(made), expected);
    }

    #[test]
    fn a_browser_gets_text_and_a_scraper_openmetrics() {
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
