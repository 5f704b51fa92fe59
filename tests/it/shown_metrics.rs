//! What `/metrics` shows: every count that an alarm of the documents asks for from the start, and each of them once something
//! has happened.

use crate::harness::{ALL_APPS, Time, World, gate};

/// Series of the alarms in docs/operations.md: a metric with one label of one value.
fn alarmed() -> Vec<String> {
    let documents = include_str!("../../docs/operations.md");
    let alarms = documents.split("Alarms worth having").nth(1).unwrap().split("## Logs").next().unwrap();
    let mut series = Vec::new();
    for (at, _) in alarms.match_indices("{") {
        let name = alarms[..at].rsplit(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap();
        let (label, values) = alarms[at + 1..].split('}').next().unwrap().split_once('=').unwrap();
        // The states of accounts are counted as they are, and none is a count that only grows.
        if name.ends_with("_total") {
            let values = values.trim_start_matches('~').trim_matches('"').split('|');
            series.extend(values.map(|value| format!("{name}|{label}=\"{value}\"")));
        }
    }
    series
}

async fn shown(w: &World) -> String {
    w.admin("/metrics").await.body
}

#[test]
fn what_alarms_ask_for_stands_at_zero_from_the_start() {
    gate(Time::Held, ALL_APPS, |w| async move {
        let metrics = shown(&w).await;
        let alarmed = alarmed();
        assert!(alarmed.len() >= 5, "{alarmed:?}");
        for series in alarmed {
            let (name, label) = series.split_once('|').unwrap();
            let stands = |line: &str| line.starts_with(name) && line.contains(label) && line.ends_with(" 0");
            assert!(metrics.lines().any(stands), "{series}: {metrics}");
        }
        assert!(metrics.contains("\nmarketgate_panics_total 0\n"), "{metrics}");
    });
}

#[test]
fn every_code_of_the_documents_is_counted_from_the_start() {
    gate(Time::Held, ALL_APPS, |w| async move {
        let metrics = shown(&w).await;
        let documents = include_str!("../../docs/http.md");
        let table = documents.split("| Status | `code` |").nth(1).unwrap().split("\n\n").next().unwrap();
        let codes: Vec<&str> = table.lines().filter_map(|row| row.split('`').nth(1)).collect();
        assert!(codes.len() >= 20, "{codes:?}");
        for code in codes {
            assert!(
                metrics.contains(&format!("marketgate_refusals_total{{code=\"{code}\"}} 0\n")),
                "{code}: {metrics}"
            );
        }
    });
}

#[test]
fn the_program_and_its_process_are_shown() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let metrics = shown(&w).await;
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            metrics.contains(&format!("marketgate_build_info{{version=\"{version}\"}} 1\n")),
            "{metrics}"
        );
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_max_fds",
            "process_threads",
        ] {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            assert!(
                line.is_some_and(|value| value.parse::<f64>().is_ok_and(|value| value > 0.0)),
                "{name}: {metrics}"
            );
        }
        assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1, "{metrics}");
    });
}

#[test]
fn a_browser_is_shown_text_in_which_every_family_has_the_name_of_its_samples() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let asked = w.to_admin("GET", "/metrics").header("accept", "text/html,*/*;q=0.8");
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().await.unwrap();
        assert!(text.contains("# TYPE marketgate_refusals_total counter\n"), "{text}");
        assert!(text.contains("# TYPE marketgate_build_info gauge\n") && !text.contains("# EOF"), "{text}");
    });
}

#[test]
fn an_answer_is_counted_by_its_hundred_and_a_connection_by_its_api() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.get("/any/status/404").await.status, 404);
        let metrics = shown(&w).await;
        for status in ["2xx", "4xx"] {
            let series =
                format!("marketgate_request_duration_seconds_count{{app=\"any\",status=\"{status}\"}} 1\n");
            assert!(metrics.contains(&series), "{status}: {metrics}");
        }
        let bucket = "marketgate_request_duration_seconds_bucket{le=\"0.005\",app=\"any\",status=\"2xx\"}";
        assert!(metrics.contains(bucket) && metrics.contains("le=\"10.0\""), "{metrics}");
        assert!(metrics.contains("marketgate_upstream_connections{upstream=\"http://"), "{metrics}");
        assert!(metrics.contains("\nmarketgate_requests_in_flight 0\n"), "{metrics}");
    });
}

#[test]
fn an_api_that_refuses_connections_is_counted_by_that_word() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = format!(
        "[apps.shop]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://{closed}\"\napi_key = \"key-x\"\n"
    );
    gate(Time::Runs, &configuration, |w| async move {
        let name = "marketgate_upstream_errors_total{kind=\"connection_refused\"}";
        assert!(shown(&w).await.contains(&format!("{name} 0\n")));
        assert_eq!(w.get("/shop/x").await.status, 502);
        assert!(shown(&w).await.contains(&format!("{name} 1\n")));
    });
}
