//! Names come from outside, and a report shows them without believing them.

use insula_engine::Outcome;
use serde_json::json;

use crate::island::Island;

const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</style></svg><iframe src=//evil.example>",
    "| [a](javascript:alert(1)) | `x` |",
    "&lt;b&gt;'\u{202e}",
];

fn file() -> String {
    let mut text = "time,team,model,input_tokens,output_tokens,cached_tokens,cost,latency_ms,prompt_hash\n".to_owned();
    for n in 0..120_usize {
        let name = HOSTILE[n % HOSTILE.len()].replace('"', "\"\"");
        let (day, slow) = (5 + n % 20, if n % 40 == 0 { 90_000 } else { 900 });
        let cost = if day == 7 { 90 } else { 1 };
        text += &format!("2026-01-{day:02}T10:00:00Z,\"{name}\",\"{name}\",9000,10,0,{cost},{slow},\"{name}\"\n");
    }
    text + "\"<b>no</b>\",x\n<i>,t,m,1,1,0,1,1,h\n"
}

async fn rendered() -> (Outcome, String, String) {
    let island = Island::new();
    let input = json!({"text": file(), "title": "<script>alert(2)</script>"});
    let outcome = island.run("ada", "r", "spend-report", input).await;
    let read = |name: &str| std::fs::read_to_string(island.reports().join("acme/ada/r").join(name)).expect("written");
    let texts = (read("report.html"), read("report.md"));
    (outcome, texts.0, texts.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_text_in_both_forms() {
    let (outcome, html, markdown) = rendered().await;
    assert!(outcome.is_success(), "{outcome:?}");
    for tag in ["<script", "<img", "<iframe", "<b>", "<i>"] {
        assert!(!html.contains(tag) && !markdown.contains(tag), "{tag}");
    }
    assert_eq!((html.matches("</style>").count(), html.matches("<style>").count()), (1, 1));
    assert_eq!(html.matches("<svg ").count(), html.matches("</svg>").count());
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !html.contains('\u{202e}'));
    assert!(!markdown.contains("](javascript:"));
    assert!(html.contains("time &quot;&lt;i&gt;&quot; is not an RFC 3339 time"), "malformed rows are escaped as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_fetches_nothing_and_says_so() {
    let (_, html, _) = rendered().await;
    assert!(html.contains("default-src 'none'; style-src 'sha256-"));
    for reach in [" href=", " src=", "url(", "@import", "<script", " style=", " onload="] {
        let quoted = html.replace("src=x", "").replace("src=//evil.example", "");
        assert!(!quoted.contains(reach), "{reach}");
    }
}
