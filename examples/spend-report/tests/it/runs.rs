//! Whole runs: what a user sees of them, and what is left behind.

use insula_infra::Backend;
use serde_json::{Value, json};
use spend_report::{Format, Shape, generate};

use crate::island::Island;

const SHIPPED: &str = include_str!("../../data/usage.csv");

fn small(seed: u64, format: Format) -> Value {
    generate(seed, 400, &Shape { malformed: 4, format, ..Shape::default() }).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_file_becomes_a_report() {
    let island = Island::new();
    let outcome = island.run("ada@example.org", "march", "spend-report", SHIPPED.into()).await;
    let result = outcome.result().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!((&result["totals"]["records"], &result["totals"]["malformed"]), (&json!(2_991), &json!(9)));
    let found: Vec<_> = result["findings"].as_array().expect("findings").iter().collect();
    assert_eq!(found.len(), 5);
    assert!(found.windows(2).all(|two| two[0]["amount"].as_f64() >= two[1]["amount"].as_f64()));
    let (cost, saving) = (result["totals"]["cost"].as_f64(), result["totals"]["potential_saving"].as_f64());
    assert!(saving > Some(0.0) && saving < cost);
    for file in result["files"].as_array().expect("files") {
        let path = file["path"].as_str().expect("a name");
        assert!(path.starts_with("acme/ada=40example.org/march/report."), "{path}");
        let written = std::fs::read_to_string(island.reports().join(path)).expect("a file");
        assert_eq!(file["bytes"], written.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_sees_every_step_and_no_path_of_the_machine() {
    let island = Island::new();
    island.run("ada", "r", "spend-report", small(1, Format::Csv)).await;
    let log = island.log("ada", "r").await;
    let count = |kind: &str| log.iter().filter(|(told, _)| told == kind).count();
    assert_eq!((count("tool_executing"), count("tool_completed")), (8, 8));
    assert!(log.iter().any(|(_, data)| data.contains("This is CSV with a header: 396 good rows, 4 malformed.")));
    assert!(log.iter().any(|(_, data)| data.contains("Malformed: line ")));
    let root = island.reports().display().to_string();
    assert!(log.iter().all(|(_, data)| !data.contains(&root)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_run_again_loads_the_same_rows_once() {
    let island = Island::new();
    let input = json!({"load": "l", "file": small(2, Format::Csv)});
    for run in ["one", "two"] {
        let loaded = island.run("ada", run, "spend-data", input.clone()).await;
        assert_eq!(loaded.result().expect("loaded")["rows"], 396);
    }
    let found =
        island.run("ada", "ask", "spend-optimization", json!({"load": "l", "analyses": ["spend_by_team"]})).await;
    assert_eq!(found.result().expect("found")["spend_by_team"]["calls"], 396);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_and_json_lines_give_the_same_figures() {
    let island = Island::new();
    let csv = island.run("ada", "csv", "spend-report", small(3, Format::Csv)).await;
    let json = island.run("ada", "json", "spend-report", small(3, Format::Jsonl)).await;
    let figures = |outcome: &insula_engine::Outcome| {
        let result = outcome.result().expect("a result").clone();
        (result["totals"].clone(), result["findings"].clone())
    };
    assert_eq!(figures(&csv), figures(&json));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_at_the_same_time_get_their_own_figures() {
    let island = Island::new();
    let users = ["ada", "bob", "cleo", "dan", "eve"];
    let run = |(n, user)| island.run(user, "same-run", "spend-report", small(n, Format::Csv));
    let together = futures::future::join_all((10..).zip(users).map(run)).await;
    for ((n, user), outcome) in (10..).zip(users).zip(together) {
        let alone = Island::new().run(user, "same-run", "spend-report", small(n, Format::Csv)).await;
        assert_eq!(outcome.result().expect("a result"), alone.result().expect("a result"));
        assert!(island.reports().join(format!("acme/{user}/same-run/report.html")).exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_good_row_fails_in_words() {
    let island = Island::new();
    let header = "time,team,model,input_tokens,output_tokens,cost\n";
    let cases = [
        (json!(""), "The file is empty."),
        (json!("%PDF-1.7"), "This is neither CSV with a header nor JSON lines"),
        (json!(header), "The file has a header and no rows."),
        (json!(format!("{header}x,t,m,1,1,1\n")), "The file has one row, and it cannot be read: line 2: time \"x\""),
        (json!(format!("{header}x\ny\n")), "None of the 2 rows of the file can be read: line 2: 1 fields"),
    ];
    for (n, (input, words)) in cases.into_iter().enumerate() {
        let outcome = island.run("ada", &format!("r{n}"), "spend-report", input).await;
        let message = outcome.end.message().unwrap_or_default();
        assert!(!outcome.is_success() && message.contains(words), "{message}");
    }
    assert!(!island.reports().exists(), "nothing is written about nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_come_from_the_cache_the_second_time_and_without_one_it_is_said() {
    let input = || json!({"file": small(4, Format::Csv)});
    let island = Island::new();
    for (run, source) in [("one", "built_in"), ("two", "cache")] {
        let loaded = island.run("ada", run, "spend-data", input()).await;
        assert_eq!(loaded.result().expect("loaded")["prices"], source);
    }
    let island = Island::with(|backend| Backend { cache: None, ..backend });
    let loaded = island.run("ada", "r", "spend-data", input()).await;
    let loaded = loaded.result().expect("loaded");
    assert_eq!(loaded["prices"], "built_in_without_cache");
    assert!(loaded["warnings"][0].as_str().expect("a warning").starts_with("Going on without the cache for prices"));
}

#[test]
fn the_shipped_file_is_what_the_generator_writes() {
    let shape = Shape { malformed: 9, ..Shape::default() };
    assert!(generate(7, 3_000, &shape) == SHIPPED, "write it again with the command in README.md");
}
