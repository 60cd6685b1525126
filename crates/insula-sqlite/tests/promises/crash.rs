//! What is acknowledged is there afterwards, however the process ends.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use insula_infra::{Append, RunHeader};
use insula_sqlite::SqliteBackend;

use crate::support::{folder, header, raw, run, scope, whole};

/// Tells a child process of this test which file to append to.
const FILE: &str = "INSULA_TEST_APPENDS_TO";

/// Appends for ever, and says which appends were acknowledged.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn append_for_ever(path: &Path) {
    let queue = SqliteBackend::open(path).expect("opens").into_backend().queue;
    for group in 0.. {
        let headers: Vec<_> = (0..8).map(|n| header("ada", "t", &format!("r-{group}-{n}"))).collect();
        let commits: Vec<_> = headers.iter().map(|header| queue.append(with_call(header))).collect();
        for (header, commit) in headers.iter().zip(commits) {
            commit.await.expect("commits");
            println!("acknowledged {}", header.run);
        }
    }
}

fn with_call(header: &Arc<RunHeader>) -> Append {
    let mut append = whole(header);
    append.create.as_mut().expect("a creation").0.webhook = Some(raw("{}"));
    append
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    #[expect(clippy::disallowed_methods, reason = "the test tells its own child process what to do")]
    let file = std::env::var_os(FILE);
    if let Some(file) = file {
        return append_for_ever(Path::new(&file)).await;
    }
    let folder = folder();
    let path = folder.path().join("insula.db");
    let acknowledged = killed_after(&path, 500);
    let backend = SqliteBackend::open(&path).expect("opens").into_backend();
    for id in &acknowledged {
        let found = backend.runs.run(&scope("ada"), &run(id)).await.expect("reads").expect("acknowledged");
        assert_eq!(found.events, 2);
    }
    let page = backend.log.thread_events(&scope("ada"), &header("ada", "t", "r").thread, 0, usize::MAX).await;
    let page = page.expect("every chunk is whole").expect("there");
    assert!(
        page.events.iter().map(|event| event.seq).eq(1..=page.head) && page.head as usize >= 2 * acknowledged.len()
    );
    let usage = backend.usage.usage(&scope("ada"), 0, 0).await.expect("reads");
    let due = backend.webhooks.due_webhooks(Duration::from_secs(60), usize::MAX).await.expect("answers");
    assert_eq!(
        (2 * usage[0].completed, 2 * due.len() as u64),
        (page.head, page.head),
        "neither more nor fewer than ended"
    );
}

/// Runs this test as a child, kills it in the middle of its work, and says what it had acknowledged.
fn killed_after(path: &Path, appends: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "crash::a_killed_process_loses_nothing_that_it_acknowledged", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let output = child.stdout.take().expect("piped");
    let mut acknowledged = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.expect("text");
        // The runner's own words may stand before the first.
        if let Some((_, id)) = line.split_once("acknowledged ") {
            acknowledged.push(id.to_owned());
        }
        if acknowledged.len() == appends {
            child.kill().expect("kills");
        }
    }
    child.wait().expect("ends");
    assert!(acknowledged.len() >= appends);
    // The last line may have been cut short.
    acknowledged.pop();
    acknowledged
}
