//! Each analysis against data that is small enough to compute by hand.

use serde_json::{Value, json};

use crate::island::Island;

const HEADER: &str = "time,team,model,input_tokens,output_tokens,cached_tokens,cost,latency_ms,prompt_hash\n";

/// A file with prices that make sums easy: `big` costs ten times as much as `small`.
fn file(rows: &[&str]) -> Value {
    json!({
        "text": format!("{HEADER}{}\n", rows.join("\n")),
        "prices": [
            {"model": "big", "input": 10.0, "cached_input": 1.0, "output": 20.0, "smaller": "small"},
            {"model": "small", "input": 1.0, "cached_input": 0.1, "output": 2.0},
        ],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spend_is_added_up_by_team_and_by_model() {
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,10,1,0,1.50,10,a",
                "2026-01-06T10:00:00Z,red,small,10,1,0,0.25,10,b",
                "2026-01-07T10:00:00Z,blue,big,10,1,0,0.75,10,c",
            ]),
            "spend_by_team",
        )
        .await;
    assert_eq!((&found["cost"], &found["calls"]), (&json!(2.5), &json!(3)));
    assert_eq!((&found["from"], &found["to"]), (&json!("2026-01-05"), &json!("2026-01-07")));
    assert_eq!(
        found["teams"],
        json!([{"name": "red", "calls": 2, "cost": 1.75}, {"name": "blue", "calls": 1, "cost": 0.75}])
    );
    assert_eq!(
        found["models"],
        json!([{"name": "big", "calls": 2, "cost": 2.25}, {"name": "small", "calls": 1, "cost": 0.25}])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_out_of_line_is_named_with_the_team_behind_it() {
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,10,1,0,10,10,a",
                "2026-01-06T10:00:00Z,red,big,10,1,0,11,10,a",
                "2026-01-07T10:00:00Z,red,big,10,1,0,10,10,a",
                "2026-01-07T11:00:00Z,blue,small,10,1,0,80,10,a",
                "2026-01-08T10:00:00Z,red,big,10,1,0,9,10,a",
                "2026-01-09T10:00:00Z,red,big,10,1,0,10,10,a",
            ]),
            "spend_trend",
        )
        .await;
    let anomaly =
        json!({"day": "2026-01-07", "cost": 90.0, "excess": 80.0, "team": "blue", "model": "small", "team_cost": 80.0});
    assert_eq!(found["anomalies"], json!([anomaly]));
    assert_eq!(found["next_week"], json!(50.0));
    assert_eq!(found["days"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_counts_within_a_day_of_the_same_team_and_model() {
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,10,1,0,1,10,a",
                "2026-01-05T11:00:00Z,red,big,10,1,0,2,10,a",
                "2026-01-06T10:59:00Z,red,big,10,1,0,4,10,a",
                "2026-01-07T11:00:00Z,red,big,10,1,0,8,10,a",
                "2026-01-05T12:00:00Z,blue,big,10,1,0,16,10,a",
                "2026-01-05T12:00:00Z,red,small,10,1,0,32,10,a",
                "2026-01-05T12:00:00Z,red,big,10,1,0,64,10,",
                "2026-01-05T12:00:00Z,red,big,10,1,0,64,10,",
            ]),
            "duplicate_prompts",
        )
        .await;
    assert_eq!((&found["saving"], &found["calls"]), (&json!(6.0), &json!(2)));
    assert_eq!(
        found["groups"],
        json!([
            {"team": "red", "model": "big", "detail": "a", "calls": 2, "cost": 6.0, "saving": 6.0}
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_answer_would_cost_less_with_the_smaller_model() {
    // Small: (600,000 - 100,000) * 1 + 100,000 * 0.1 + 200 * 2 per million = 0.5104.
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,600000,200,100000,5.1040,10,a",
                "2026-01-05T10:00:00Z,red,big,600000,201,100000,5.1040,10,b",
                "2026-01-05T10:00:00Z,red,small,600000,200,100000,5.1040,10,c",
                "2026-01-05T10:00:00Z,red,unheard-of,600000,200,100000,5.1040,10,d",
            ]),
            "oversized_models",
        )
        .await;
    assert_eq!((&found["saving"], &found["calls"]), (&json!(4.5936), &json!(1)));
    assert_eq!(found["groups"][0]["detail"], "small");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_share_of_cached_tokens_saves_the_difference_in_price() {
    // Red has 10% of 2,000,000 tokens cached; at 60% it pays 9 less for each of a million more.
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,1000000,500,200000,8,10,a",
                "2026-01-05T10:00:00Z,red,big,1000000,500,0,10,10,b",
                "2026-01-05T10:00:00Z,blue,big,1000000,500,700000,4,10,c",
                "2026-01-05T10:00:00Z,green,big,1000,500,0,1,10,d",
            ]),
            "cache_misses",
        )
        .await;
    assert_eq!((&found["saving"], &found["calls"]), (&json!(9.0), &json!(2)));
    assert_eq!(
        found["groups"],
        json!([
            {"team": "red", "model": "big", "detail": "10", "calls": 2, "cost": 18.0, "saving": 9.0}
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_could_save_in_three_ways_saves_once() {
    // The second call repeats the first (saves all 10), is a short answer of a big model, and is not cached.
    // The first is only oversized: 10 against 1; what the cache would save, 5.4, is less.
    let found = Island::new()
        .ask(
            &file(&[
                "2026-01-05T10:00:00Z,red,big,1000000,0,0,10,10,a",
                "2026-01-05T10:05:00Z,red,big,1000000,0,0,10,10,a",
            ]),
            "saving_potential",
        )
        .await;
    assert_eq!(found, json!({"saving": 19.0, "calls": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn percentiles_are_times_of_calls_that_were_made() {
    let rows: Vec<_> = (1..=100).map(|n| format!("2026-01-05T10:00:00Z,red,big,1,1,0,1,{},h", n * 10)).collect();
    let mut rows: Vec<_> = rows.iter().map(String::as_str).collect();
    rows.push("2026-01-05T11:00:00Z,red,big,1,1,0,1,9000,h");
    rows.push("2026-01-05T11:00:00Z,blue,small,1,1,0,1,9000,h");
    rows.push("2026-01-05T12:00:00Z,red,big,1,1,0,1,,h");
    let found = Island::new().ask(&file(&rows), "latency_outliers").await;
    assert_eq!(
        found["models"],
        json!([
            {"model": "big", "calls": 101, "p50": 510, "p95": 960, "p99": 1000},
            {"model": "small", "calls": 1, "p50": 9000, "p95": 9000, "p99": 9000},
        ])
    );
    assert_eq!(found["outlier_calls"], 1);
    let worst = json!({"line": 102, "at": "2026-01-05 11:00:00", "team": "red", "model": "big", "latency_ms": 9000, "times": 17.6});
    assert_eq!(found["outliers"], json!([worst]));
    let counts: Vec<_> =
        found["buckets"].as_array().expect("buckets").iter().map(|bucket| bucket["calls"].clone()).collect();
    assert_eq!(counts, [24, 25, 50, 1, 0, 0, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_not_there_is_an_error_and_no_good_news() {
    let island = Island::new();
    island.ask(&file(&["2026-01-05T10:00:00Z,red,big,1,1,0,1,1,h"]), "spend_by_team").await;
    let asked = json!({"load": "another", "analyses": ["duplicate_prompts"]});
    let outcome = island.run("ada", "r", "spend-optimization", asked).await;
    let message = outcome.end.message().unwrap_or_default();
    assert!(message.contains("There is no load \"another\""), "{message}");
}
